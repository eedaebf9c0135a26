//! Counts the markers of a planned job. Markers never change, so a process reads each once; a marker that was counted
//! stays counted, so that no reader sees a job go backwards.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::{
    Done, Failure, JobId, Ledger, LedgerError, Outcome, TaskTally,
    changes::plan::Outline,
    layout::{
        facts::{End, Facts, Marker},
        keys::{self, Name},
        objects::SMALL,
    },
};

/// Markers read at once.
pub(crate) const READS_AT_ONCE: usize = 64;
/// Errors told in a status.
const ERRORS_TOLD: usize = 10;

/// One job's progress, shared by all who ask for it.
pub(crate) type SharedProgress = Arc<Mutex<Progress>>;

/// A job's tasks, counted.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) started: Option<Timestamp>,
    planned: Timestamp,
    round: u32,
    cells: Vec<Cell>,
    /// Bytes and records of tasks that are done for good.
    sizes: (u64, u64),
    /// Bytes and records of tasks that lack items.
    partial: BTreeMap<u32, (u64, u64)>,
    /// Whether items are missing from a task that is done for good, as in jobs of earlier releases.
    pub(crate) lacks_items: bool,
    /// Some of the first markers that tell of an error; [`Progress::first_errors`] says which there should be.
    errors: BTreeMap<u32, Body>,
}

/// What was counted of one task.
#[derive(Debug, Clone, Copy)]
enum Cell {
    Pending,
    Failed { round: u32, finished: Timestamp },
    Partial { round: u32, outcome: Outcome, finished: Timestamp },
    Done { outcome: Outcome, lacks_items: bool, finished: Timestamp },
}

/// A marker that was read.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    Failed(u32, Failure),
    Partial(u32, Done),
    Done(Done),
}

impl Body {
    fn marker(&self) -> Marker {
        match self {
            Self::Failed(round, _) => Marker::Round(*round, End::Failed),
            Self::Partial(round, _) => Marker::Round(*round, End::Partial),
            Self::Done(_) => Marker::Done,
        }
    }

    fn tells_of_an_error(&self) -> bool {
        match self {
            Self::Failed(..) | Self::Partial(..) => true,
            Self::Done(done) => !done.missing.is_empty(),
        }
    }
}

impl Cell {
    fn new(body: &Body) -> Self {
        match body {
            Body::Failed(round, failure) => Self::Failed { round: *round, finished: failure.finished },
            Body::Partial(round, Done { outcome, finished, .. }) => {
                Self::Partial { round: *round, outcome: *outcome, finished: *finished }
            }
            Body::Done(Done { outcome, finished, missing, .. }) => {
                Self::Done { outcome: *outcome, lacks_items: !missing.is_empty(), finished: *finished }
            }
        }
    }

    fn marker(self) -> Option<Marker> {
        match self {
            Self::Pending => None,
            Self::Failed { round, .. } => Some(Marker::Round(round, End::Failed)),
            Self::Partial { round, .. } => Some(Marker::Round(round, End::Partial)),
            Self::Done { .. } => Some(Marker::Done),
        }
    }

    /// Unless a later round than the marker's has begun.
    fn marker_in(self, round: u32) -> Option<Marker> {
        self.marker().filter(|marker| *marker >= Marker::Round(round, End::Failed))
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
        let (partial, errors) = (BTreeMap::new(), BTreeMap::new());
        Self { started, planned, round: 0, cells, sizes: (0, 0), partial, lacks_items: false, errors }
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
        if Some(body.marker()) <= cell.marker() {
            return;
        }
        *cell = Cell::new(&body);
        self.partial.remove(&task);
        self.errors.remove(&task);
        match &body {
            Body::Failed(..) => {}
            Body::Partial(_, done) => drop(self.partial.insert(task, (done.bytes, done.records))),
            Body::Done(done) => {
                self.sizes = sum(self.sizes, (done.bytes, done.records));
                self.lacks_items |= !done.missing.is_empty();
            }
        }
        if body.tells_of_an_error() {
            self.errors.insert(task, body);
            if self.errors.len() > ERRORS_TOLD {
                self.errors.pop_last();
            }
        }
    }

    /// How a task ended well, if that was counted, and its marker.
    pub(crate) fn ended_well(&self, task: u32) -> Option<(Outcome, Marker)> {
        let cell = self.cells.get(task as usize)?;
        let marker = cell.marker_in(self.round)?;
        match cell {
            Cell::Done { outcome, .. } | Cell::Partial { outcome, .. } => Some((*outcome, marker)),
            Cell::Pending | Cell::Failed { .. } => None,
        }
    }

    /// Bytes and records of tasks that ended well.
    pub(crate) fn sizes(&self) -> (u64, u64) {
        let partial = self.partial.iter().filter(|(task, _)| self.ended_well(**task).is_some());
        partial.fold(self.sizes, |all, (_, sizes)| sum(all, *sizes))
    }

    pub(crate) fn tally(&self) -> TaskTally {
        let mut tally = TaskTally { total: self.cells.len() as u64, ..TaskTally::default() };
        for cell in &self.cells {
            if cell.marker_in(self.round).is_none() {
                tally.pending += 1;
                continue;
            }
            match cell {
                Cell::Pending => {}
                Cell::Failed { .. } => tally.failed += 1,
                Cell::Partial { outcome, .. } | Cell::Done { outcome, .. } => match outcome {
                    Outcome::Stored => tally.stored += 1,
                    Outcome::Unchanged => tally.unchanged += 1,
                },
            }
            tally.incomplete += u64::from(matches!(cell, Cell::Partial { .. }));
        }
        tally
    }

    /// When the last task ended; a job without tasks ended when that was known.
    pub(crate) fn finished(&self) -> Timestamp {
        let ends = self.cells.iter().filter_map(|cell| match cell {
            Cell::Pending => None,
            Cell::Failed { finished, .. } | Cell::Partial { finished, .. } | Cell::Done { finished, .. } => {
                Some(*finished)
            }
        });
        ends.max().unwrap_or(self.planned)
    }

    /// The first tasks that failed or lack items, by number, each with its marker, read where it is still known.
    pub(crate) fn first_errors(&self) -> Vec<(u32, Marker, Option<Body>)> {
        let errors = (0..).zip(&self.cells).filter_map(|(task, cell)| {
            let marker = cell.marker_in(self.round)?;
            let is_error = !matches!(cell, Cell::Done { lacks_items: false, .. });
            is_error.then(|| (task, marker, self.errors.get(&task).cloned()))
        });
        errors.take(ERRORS_TOLD).collect()
    }
}

fn sum(left: (u64, u64), right: (u64, u64)) -> (u64, u64) {
    (left.0.saturating_add(right.0), left.1.saturating_add(right.1))
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

    /// Markers whole, by task: those that were pushed out by others, which have since ended well, are read again.
    pub(crate) async fn bodies(
        &self,
        job: JobId,
        first: Vec<(u32, Marker, Option<Body>)>,
    ) -> Result<Vec<(u32, Body)>, LedgerError> {
        let mut bodies = Vec::with_capacity(first.len());
        for (task, marker, known) in first {
            let body = match known {
                Some(body) => body,
                None => self.marker(job, task, marker).await?,
            };
            bodies.push((task, body));
        }
        Ok(bodies)
    }

    /// Reads a marker whose name was seen.
    pub(crate) async fn marker(&self, job: JobId, task: u32, marker: Marker) -> Result<Body, LedgerError> {
        Ok(match marker {
            Marker::Done => Body::Done(self.seen(&keys::of(job, Name::Done { task })).await?),
            Marker::Round(round, End::Partial) => {
                Body::Partial(round, self.seen(&keys::of(job, Name::Partial { task, round })).await?)
            }
            Marker::Round(round, End::Failed) => {
                Body::Failed(round, self.seen(&keys::of(job, Name::Failed { task, round })).await?)
            }
        })
    }

    async fn seen<T: DeserializeOwned>(&self, key: &str) -> Result<T, LedgerError> {
        self.read(key, SMALL).await?.ok_or_else(|| LedgerError::damaged(key, "it was there, and is gone"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        State,
        testing::{at, done, failure, partial},
    };

    const TOTAL: u32 = 12;

    fn body() -> impl Strategy<Value = Body> {
        let outcome = prop_oneof![Just(Outcome::Stored), Just(Outcome::Unchanged)];
        prop_oneof![
            (outcome, 0..100_i64).prop_map(|(outcome, second)| Body::Done(done(outcome, second))),
            (0..3_u32, 0..100_i64).prop_map(|(round, second)| Body::Failed(round, failure("gone", second))),
            (0..3_u32, 0..100_i64).prop_map(|(round, second)| Body::Partial(round, partial(second))),
        ]
    }

    /// Markers as a bucket holds them: one for each name, some of tasks that the plan does not have.
    fn markers() -> impl Strategy<Value = Vec<(u32, Body)>> {
        vec((0..TOTAL + 2, body()), 0..60).prop_map(|mut markers| {
            let mut names = std::collections::HashSet::new();
            markers.retain(|(task, body)| names.insert((*task, body.marker())));
            markers
        })
    }

    fn facts<'a>(markers: impl IntoIterator<Item = &'a (u32, Body)>, round: u32) -> Facts {
        let mut facts = Facts::default();
        facts.add(Name::Plan);
        facts.add(Name::Round(round));
        for (task, body) in markers {
            facts.add(match body {
                Body::Done(_) => Name::Done { task: *task },
                Body::Partial(round, _) => Name::Partial { task: *task, round: *round },
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
            // In a round, the one that lacks items counts before one that failed.
            let ended = of_task().filter_map(|body| match body {
                Body::Failed(of, failure) if *of >= round => Some((*of, false, failure.finished)),
                Body::Partial(of, done) if *of >= round => Some((*of, true, done.finished)),
                _ => None,
            });
            match (done, ended.max()) {
                (Some(done), _) => {
                    match done.outcome {
                        Outcome::Stored => tally.stored += 1,
                        Outcome::Unchanged => tally.unchanged += 1,
                    }
                    bytes += done.bytes;
                    finished = finished.max(Some(done.finished));
                }
                (None, Some((_, is_partial, at))) => {
                    if is_partial {
                        (tally.stored, tally.incomplete, bytes) =
                            (tally.stored + 1, tally.incomplete + 1, bytes + 1_000);
                    } else {
                        tally.failed += 1;
                    }
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
                    let (_, body) = seen.iter().find(|(of, body)| *of == task && body.marker() == marker).unwrap();
                    progress.count(task, body.clone());
                    // Twice is once.
                    progress.count(task, body.clone());
                }
                let tally = progress.tally();
                prop_assert_eq!(tally.total, tally.pending + tally.stored + tally.unchanged + tally.failed);
                prop_assert!(tally.total - tally.pending >= ended_before);
                ended_before = tally.total - tally.pending;
                let by_name = facts.tally(TOTAL);
                let ended = (tally.stored + tally.unchanged, tally.failed, tally.incomplete);
                prop_assert_eq!((by_name.stored, by_name.failed, by_name.incomplete), ended);
            }
            let (tally, bytes, finished) = naive(&markers, round);
            prop_assert_eq!((progress.tally(), progress.sizes()), (tally, (bytes, bytes / 100)));
            if tally.pending == 0 {
                prop_assert_eq!(Some(progress.finished()), finished);
            }
            prop_assert_eq!(progress.first_errors().len() as u64, (tally.failed + tally.incomplete).min(10));
            prop_assert_eq!(facts(&markers, round).state(Some(&tally)) == State::Running, tally.pending > 0);
        }
    }
}
