//! What the outcomes of a job's tasks add up to.

use jiff::Timestamp;

use crate::{
    Outcome, RowTally, TaskTally,
    jobs::{Ended, JobOutcomes, Rank},
};

/// Errors told in a status.
const ERRORS_TOLD: usize = 10;

/// The numbers of a planned job at one time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tallied {
    pub(crate) tasks: TaskTally,
    /// Of tasks that ended well.
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    pub(crate) rows: RowTally,
    /// When the last task ended, if any has.
    pub(crate) finished: Option<Timestamp>,
    /// Whether items are missing from a task that is done for good, as in jobs of earlier releases.
    pub(crate) lacks_items: bool,
    /// The latest round in which a task ended, but for good.
    pub(crate) last_round: u32,
    /// The first tasks that failed or lack items, by number.
    pub(crate) errors: Vec<(u32, Ended)>,
}

/// Adds up the outcomes of a job with so many tasks, in its latest round.
pub(crate) fn tally(outcomes: &JobOutcomes, total: u32, round: u32) -> Tallied {
    let tasks = TaskTally { total: total.into(), pending: total.into(), ..TaskTally::default() };
    let mut all = Tallied {
        tasks,
        bytes: 0,
        records: 0,
        rows: RowTally::default(),
        finished: None,
        lacks_items: false,
        last_round: 0,
        errors: Vec::new(),
    };
    for (task, ended) in outcomes.range(..total) {
        // The end of an earlier round was an end too: no reader sees the time go back.
        all.finished = all.finished.max(Some(ended.finished()));
        if let Rank::Round(of, _) = ended.rank() {
            all.last_round = all.last_round.max(of);
        }
        if !ended.rank().counts_in(round) {
            continue;
        }
        all.tasks.pending -= 1;
        let is_error = match ended {
            Ended::Failed(..) => {
                all.tasks.failed += 1;
                true
            }
            Ended::Partial(_, done) | Ended::Done(done) => {
                match done.outcome {
                    Outcome::Stored => all.tasks.stored += 1,
                    Outcome::Unchanged => all.tasks.unchanged += 1,
                }
                all.bytes = all.bytes.saturating_add(done.bytes);
                all.records = all.records.saturating_add(done.records);
                if let Some(rows) = &done.rows {
                    all.rows.add(rows);
                }
                let is_partial = matches!(ended, Ended::Partial(..));
                all.tasks.incomplete += u64::from(is_partial);
                all.lacks_items |= !is_partial && !done.missing.is_empty();
                is_partial || !done.missing.is_empty()
            }
        };
        if is_error && all.errors.len() < ERRORS_TOLD {
            all.errors.push((*task, ended.clone()));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use waybill_journal::View;

    use super::*;
    use crate::{
        jobs::{Fact, Slot, entries},
        testing::{at, done, failure, id, partial},
    };

    const TOTAL: u32 = 12;

    fn ended() -> impl Strategy<Value = Ended> {
        let outcome = prop_oneof![Just(Outcome::Stored), Just(Outcome::Unchanged)];
        prop_oneof![
            outcome.prop_map(|outcome| Ended::Done(done(outcome, 0))),
            (0..3_u32).prop_map(|round| Ended::Failed(round, failure("gone", 0))),
            (0..3_u32).prop_map(|round| Ended::Partial(round, partial(0))),
        ]
    }

    impl Ended {
        fn finish(&mut self, at: Timestamp) {
            match self {
                Self::Failed(_, failure) => failure.finished = at,
                Self::Partial(_, done) | Self::Done(done) => done.finished = at,
            }
        }
    }

    /// What counts of a task, over all that was ever said of it.
    fn naive(said: &[(u32, Ended)], task: u32, round: u32) -> Option<&Ended> {
        let of_task = || said.iter().filter(|(of, _)| *of == task).map(|(_, ended)| ended);
        let first =
            |is: &dyn Fn(&Ended) -> bool| of_task().filter(|ended| is(ended)).min_by_key(|ended| ended.finished());
        let in_rounds = (round..3).rev().find_map(|n| {
            first(&|ended| matches!(ended, Ended::Partial(of, _) if *of == n))
                .or_else(|| first(&|ended| matches!(ended, Ended::Failed(of, _) if *of == n)))
        });
        first(&|ended| matches!(ended, Ended::Done(_))).or(in_rounds)
    }

    fn outcomes(slot: &Slot) -> JobOutcomes {
        slot.job(id(0, 1)).map(|job| job.outcomes.clone()).unwrap_or_default()
    }

    proptest! {
        /// Outcomes come in any order, some of tasks that the plan does not have, and no look shows less than the one
        /// before it.
        #[test]
        fn the_numbers_are_those_of_what_counts(
            mut said in vec((0..TOTAL + 2, ended()), 0..60),
            round in 0..3_u32,
            looks in 1..5_usize,
        ) {
            // No two at the same time: of those any may count.
            for (n, (_, ended)) in (0..).zip(&mut said) {
                ended.finish(at(n * 7_919 % 1_009));
            }
            let mut slot = Slot::default();
            let (mut seen, mut ended_before) = (0, 0);
            for look in 1..=looks {
                let until = said.len() * look / looks;
                for (task, ended) in &said[seen..until] {
                    entries(id(0, 1), &Fact::Ended(*task, ended.clone())).iter().for_each(|entry| slot.apply(entry));
                }
                seen = until;
                let all = tally(&outcomes(&slot), TOTAL, round);
                prop_assert!(all.tasks.total - all.tasks.pending >= ended_before);
                ended_before = all.tasks.total - all.tasks.pending;
            }
            let all = tally(&outcomes(&slot), TOTAL, round);
            let counts: Vec<_> = (0..TOTAL).map(|task| naive(&said, task, round)).collect();
            let count = |is: &dyn Fn(&Ended) -> bool| counts.iter().flatten().filter(|ended| is(ended)).count() as u64;
            let well = |ended: &Ended, outcome| matches!(ended, Ended::Done(done) | Ended::Partial(_, done) if done.outcome == outcome);
            let (stored, unchanged) = (count(&|it| well(it, Outcome::Stored)), count(&|it| well(it, Outcome::Unchanged)));
            let expected = TaskTally {
                total: TOTAL.into(),
                pending: counts.iter().filter(|ended| ended.is_none()).count() as u64,
                stored,
                unchanged,
                failed: count(&|it| matches!(it, Ended::Failed(..))),
                incomplete: count(&|it| matches!(it, Ended::Partial(..))),
            };
            prop_assert_eq!(all.tasks, expected);
            prop_assert_eq!((all.bytes, all.records), (1_000 * (stored + unchanged), 10 * (stored + unchanged)));
            prop_assert_eq!(all.errors.len() as u64, (expected.failed + expected.incomplete).min(10));
            if expected.pending == 0 {
                prop_assert_eq!(all.finished, counts.iter().flatten().map(|ended| ended.finished()).max());
            }
        }
    }
}
