//! What the markers of a planned job add up to. Markers never change, so each is read once by a process;
//! and what was counted stays counted, so that no reader here sees a job go backwards.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use crate::{
    Done, Failure, JobId, Ledger, LedgerError, Outcome, TaskTally,
    changes::plan::Outline,
    layout::{
        facts::{Facts, Marker},
        keys::{self, Name},
        objects::SMALL,
    },
};

/// Markers read at once.
pub(crate) const READS_AT_ONCE: usize = 64;
/// Failures told in a status.
pub(crate) const FAILURES_TOLD: usize = 10;

/// One job's progress, shared by all who ask for it.
pub(crate) type SharedProgress = Arc<Mutex<Progress>>;

/// A job's tasks, counted.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) started: Option<Timestamp>,
    planned: Timestamp,
    round: u32,
    cells: Vec<Cell>,
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    /// Some of the first failures; [`Progress::first_failures`] says which there should be.
    failures: BTreeMap<u32, Failure>,
    /// The first tasks that ended well but for items that the upstream does not have.
    missing: BTreeMap<u32, Done>,
}

/// What was counted of one task.
#[derive(Debug, Clone, Copy)]
enum Cell {
    Pending,
    Failed { round: u32, finished: Timestamp },
    Done { outcome: Outcome, finished: Timestamp },
}

/// A marker that was read.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    Failed(u32, Failure),
    Done(Done),
}

impl Cell {
    fn marker(self) -> Option<Marker> {
        match self {
            Self::Pending => None,
            Self::Failed { round, .. } => Some(Marker::Failed(round)),
            Self::Done { .. } => Some(Marker::Done),
        }
    }
}

pub(crate) fn lock(progress: &SharedProgress) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Progress {
    pub(crate) fn new(outline: &Outline, started: Option<Timestamp>) -> Self {
        Self::of(outline.total(), outline.planned, started)
    }

    fn of(total: u32, planned: Timestamp, started: Option<Timestamp>) -> Self {
        let cells = vec![Cell::Pending; total as usize];
        Self {
            started,
            planned,
            round: 0,
            cells,
            bytes: 0,
            records: 0,
            failures: BTreeMap::new(),
            missing: BTreeMap::new(),
        }
    }

    /// The markers that are there and were not counted yet.
    fn uncounted(&mut self, facts: &Facts) -> Vec<(u32, Marker)> {
        self.round = self.round.max(facts.round);
        let seen = (0..).zip(&self.cells);
        seen.filter_map(|(task, cell)| {
            facts.marker(task).filter(|marker| Some(*marker) > cell.marker()).map(|marker| (task, marker))
        })
        .collect()
    }

    /// Counts a marker, unless it or one that outranks it was counted.
    pub(crate) fn count(&mut self, task: u32, body: Body) {
        let Some(cell) = self.cells.get_mut(task as usize) else { return };
        match body {
            Body::Done(done) if cell.marker() < Some(Marker::Done) => {
                *cell = Cell::Done { outcome: done.outcome, finished: done.finished };
                self.bytes = self.bytes.saturating_add(done.bytes);
                self.records = self.records.saturating_add(done.records);
                self.failures.remove(&task);
                if !done.missing.is_empty() {
                    self.missing.insert(task, done);
                    if self.missing.len() > FAILURES_TOLD {
                        self.missing.pop_last();
                    }
                }
            }
            Body::Failed(round, failure) if cell.marker() < Some(Marker::Failed(round)) => {
                *cell = Cell::Failed { round, finished: failure.finished };
                self.keep(task, failure);
            }
            Body::Done(_) | Body::Failed(..) => {}
        }
    }

    fn keep(&mut self, task: u32, failure: Failure) {
        self.failures.insert(task, failure);
        if self.failures.len() > FAILURES_TOLD {
            self.failures.pop_last();
        }
    }

    /// How a task ended well, if that was counted.
    pub(crate) fn outcome(&self, task: u32) -> Option<Outcome> {
        match self.cells.get(task as usize)? {
            Cell::Done { outcome, .. } => Some(*outcome),
            Cell::Pending | Cell::Failed { .. } => None,
        }
    }

    /// The first tasks that ended well but for items that the upstream does not have.
    pub(crate) fn first_missing(&self) -> Vec<(u32, Done)> {
        self.missing.iter().map(|(task, done)| (*task, done.clone())).collect()
    }

    pub(crate) fn tally(&self) -> TaskTally {
        let mut tally = TaskTally { total: self.cells.len() as u64, ..TaskTally::default() };
        for cell in &self.cells {
            match cell {
                Cell::Done { outcome: Outcome::Stored, .. } => tally.stored += 1,
                Cell::Done { outcome: Outcome::Unchanged, .. } => tally.unchanged += 1,
                Cell::Failed { round, .. } if *round >= self.round => tally.failed += 1,
                Cell::Failed { .. } | Cell::Pending => tally.pending += 1,
            }
        }
        tally
    }

    /// When the last task ended; a job without tasks ended when that was known.
    pub(crate) fn finished(&self) -> Timestamp {
        let ends = self.cells.iter().filter_map(|cell| match cell {
            Cell::Pending => None,
            Cell::Failed { finished, .. } | Cell::Done { finished, .. } => Some(*finished),
        });
        ends.max().unwrap_or(self.planned)
    }

    /// The first tasks that failed, by number, each with its failure where that is still known.
    pub(crate) fn first_failures(&self) -> Vec<(u32, u32, Option<Failure>)> {
        let failed = (0..).zip(&self.cells).filter_map(|(task, cell)| match cell {
            Cell::Failed { round, .. } if *round >= self.round => {
                Some((task, *round, self.failures.get(&task).cloned()))
            }
            _ => None,
        });
        failed.take(FAILURES_TOLD).collect()
    }
}

impl Ledger {
    /// Counts every marker in `facts`, of a job that has a plan. Memory: a few bytes for each task.
    pub(crate) async fn progress(&self, job: JobId, facts: &Facts) -> Result<SharedProgress, LedgerError> {
        let progress = match self.memory.progress.get(&job) {
            Some(progress) => progress,
            None => {
                let outline = self.outline(job).await?;
                let progress = Progress::new(&outline, self.started(job).await?);
                let weight = outline.total() as usize;
                self.memory.progress.get_or_insert(job, Arc::new(Mutex::new(progress)), weight)
            }
        };
        let uncounted = lock(&progress).uncounted(facts);
        stream::iter(uncounted)
            .map(|(task, marker)| async move { Ok((task, self.marker(job, task, marker).await?)) })
            .buffer_unordered(READS_AT_ONCE)
            .try_for_each(|(task, body)| {
                lock(&progress).count(task, body);
                async { Ok::<_, LedgerError>(()) }
            })
            .await?;
        Ok(progress)
    }

    /// Failures whole, by task: those that were pushed out by others, which have since ended well, are read again.
    pub(crate) async fn failures(
        &self,
        job: JobId,
        first: Vec<(u32, u32, Option<Failure>)>,
    ) -> Result<Vec<(u32, Failure)>, LedgerError> {
        let mut failures = Vec::with_capacity(first.len());
        for (task, round, known) in first {
            if let Some(failure) = known {
                failures.push((task, failure));
            } else if let Body::Failed(_, failure) = self.marker(job, task, Marker::Failed(round)).await? {
                failures.push((task, failure));
            }
        }
        Ok(failures)
    }

    /// Reads a marker whose name was seen.
    pub(crate) async fn marker(&self, job: JobId, task: u32, marker: Marker) -> Result<Body, LedgerError> {
        let gone = |key: &str| LedgerError::damaged(key, "it was there, and is gone");
        match marker {
            Marker::Done => {
                let key = keys::of(job, Name::Done { task });
                Ok(Body::Done(self.read(&key, SMALL).await?.ok_or_else(|| gone(&key))?))
            }
            Marker::Failed(round) => {
                let key = keys::of(job, Name::Failed { task, round });
                Ok(Body::Failed(round, self.read(&key, SMALL).await?.ok_or_else(|| gone(&key))?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        State,
        testing::{at, done, failure},
    };

    const TOTAL: u32 = 12;

    fn body() -> impl Strategy<Value = Body> {
        let outcome = prop_oneof![Just(Outcome::Stored), Just(Outcome::Unchanged)];
        prop_oneof![
            (outcome, 0..100_i64).prop_map(|(outcome, second)| Body::Done(done(outcome, second))),
            (0..3_u32, 0..100_i64).prop_map(|(round, second)| Body::Failed(round, failure("gone", second))),
        ]
    }

    /// Markers as a bucket holds them: one for each name, some of tasks that the plan does not have.
    fn markers() -> impl Strategy<Value = Vec<(u32, Body)>> {
        vec((0..TOTAL + 2, body()), 0..60).prop_map(|mut markers| {
            let mut names = std::collections::HashSet::new();
            markers.retain(|(task, body)| names.insert((*task, name(body))));
            markers
        })
    }

    fn name(body: &Body) -> Marker {
        match body {
            Body::Done(_) => Marker::Done,
            Body::Failed(round, _) => Marker::Failed(*round),
        }
    }

    fn facts<'a>(markers: impl IntoIterator<Item = &'a (u32, Body)>, round: u32) -> Facts {
        let mut facts = Facts::default();
        facts.add(Name::Plan);
        facts.add(Name::Round(round));
        for (task, body) in markers {
            facts.add(match body {
                Body::Done(_) => Name::Done { task: *task },
                Body::Failed(round, _) => Name::Failed { task: *task, round: *round },
            });
        }
        facts
    }

    /// What counts, task by task, over all markers at once.
    fn naive(markers: &[(u32, Body)], round: u32) -> (TaskTally, u64, Option<Timestamp>) {
        let mut tally = TaskTally { total: TOTAL.into(), ..TaskTally::default() };
        let (mut bytes, mut finished) = (0, None);
        for task in 0..TOTAL {
            let of_task = || markers.iter().filter(|(of, _)| *of == task).map(|(_, body)| body);
            let done = of_task().find_map(|body| if let Body::Done(done) = body { Some(done) } else { None });
            let failed = of_task().filter_map(|body| match body {
                Body::Failed(of, failure) if *of >= round => Some((*of, failure.finished)),
                _ => None,
            });
            match (done, failed.max()) {
                (Some(done), _) => {
                    match done.outcome {
                        Outcome::Stored => tally.stored += 1,
                        Outcome::Unchanged => tally.unchanged += 1,
                    }
                    bytes += done.bytes;
                    finished = finished.max(Some(done.finished));
                }
                (None, Some((_, at))) => {
                    tally.failed += 1;
                    finished = finished.max(Some(at));
                }
                (None, None) => tally.pending += 1,
            }
        }
        (tally, bytes, finished)
    }

    proptest! {
        /// Markers come to light in any order and in any number of looks; what they add up to is the same, and
        /// no look shows less than the one before it.
        #[test]
        fn any_order_adds_up_to_the_same(
            markers in markers(),
            order in Just(()).prop_perturb(|(), mut rng| rng.next_u64()),
            round in 0..3_u32,
            looks in 1..5_usize,
        ) {
            let mut shuffled = markers.clone();
            shuffled.sort_by_cached_key(|(task, body)| {
                use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
                BuildHasherDefault::<DefaultHasher>::default().hash_one((order, task, format!("{body:?}")))
            });
            let mut progress = Progress::of(TOTAL, at(2), None);
            let mut ended_before = 0;
            for look in 1..=looks {
                let seen = &shuffled[..shuffled.len() * look / looks];
                let facts = facts(seen, round);
                let mut uncounted = progress.uncounted(&facts);
                uncounted.reverse();
                for (task, marker) in uncounted {
                    let (_, body) = seen.iter().find(|(of, body)| *of == task && name(body) == marker).unwrap();
                    progress.count(task, body.clone());
                    // Twice is once.
                    progress.count(task, body.clone());
                }
                let tally = progress.tally();
                prop_assert_eq!(tally.total, tally.pending + tally.stored + tally.unchanged + tally.failed);
                prop_assert!(tally.total - tally.pending >= ended_before);
                ended_before = tally.total - tally.pending;
                let by_name = facts.tally(TOTAL);
                prop_assert_eq!((by_name.stored, by_name.failed), (tally.stored + tally.unchanged, tally.failed));
            }
            let (tally, bytes, finished) = naive(&markers, round);
            prop_assert_eq!((progress.tally(), progress.bytes, progress.records), (tally, bytes, bytes / 100));
            if tally.pending == 0 {
                prop_assert_eq!(Some(progress.finished()), finished);
            }
            prop_assert_eq!(progress.first_failures().len() as u64, tally.failed.min(10));
            prop_assert_eq!(facts(&markers, round).state(Some(&tally)) == State::Running, tally.pending > 0);
        }
    }
}
