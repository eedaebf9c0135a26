//! The view of one hour: of every task of the jobs that were submitted in it, the outcome that counts, in the journal's
//! algebra.

use std::{cmp::Reverse, collections::BTreeMap};

use prost::Message;
use uuid::Uuid;
use waybill_journal::{InvalidSnapshot, View};

use crate::{
    JobId,
    outcomes::{
        Ended,
        entry::{ended, job, outcome},
        proto::{Entry, Job, Snapshot},
    },
};

/// The outcomes of one hour's jobs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Hour {
    jobs: BTreeMap<JobId, JobOutcomes>,
    /// Of all jobs.
    tasks: usize,
}

/// The outcomes of a job's tasks, by number: about 300 bytes each.
pub(crate) type JobOutcomes = BTreeMap<u32, Ended>;

impl Hour {
    /// A job's outcomes; `None` where no task of it has ended.
    pub(crate) fn job(&self, job: JobId) -> Option<&JobOutcomes> {
        self.jobs.get(&job)
    }

    /// All of them, by job and task.
    pub(crate) fn all(&self) -> impl Iterator<Item = (JobId, u32, &Ended)> {
        self.jobs.iter().flat_map(|(job, tasks)| tasks.iter().map(|(task, ended)| (*job, *task, ended)))
    }

    /// How many tasks of all jobs have ended.
    pub(crate) fn len(&self) -> usize {
        self.tasks
    }

    fn add(&mut self, job: JobId, task: u32, ended: Ended) {
        let tasks = self.jobs.entry(job).or_default();
        match tasks.get_mut(&task) {
            Some(there) if outranks(&ended, there) => *there = ended,
            Some(_) => {}
            None => {
                tasks.insert(task, ended);
                self.tasks += 1;
            }
        }
    }
}

/// Of two outcomes of one rank, the one that was there first counts. Beyond that any rule will do that all readers
/// have.
fn outranks(new: &Ended, there: &Ended) -> bool {
    let standing = |it: &Ended| (it.rank(), Reverse(it.finished()));
    let bytes = |it: &Ended| outcome(0, it).encode_to_vec();
    standing(new).cmp(&standing(there)).then_with(|| bytes(new).cmp(&bytes(there))).is_gt()
}

impl View for Hour {
    type Entry = Entry;
    type Snapshot = Snapshot;

    const SCHEMA: u16 = 1;

    fn apply(&mut self, entry: &Entry) {
        if let Some(job) = job(&entry.job)
            && let Some(outcome) = &entry.outcome
            && let Some(ended) = ended(outcome)
        {
            self.add(job, outcome.task, ended);
        }
    }

    fn merge(&mut self, other: &Self) {
        for (job, tasks) in &other.jobs {
            for (task, ended) in tasks {
                self.add(*job, *task, ended.clone());
            }
        }
    }

    fn to_snapshot(&self) -> Snapshot {
        let job = |(job, tasks): (&JobId, &JobOutcomes)| Job {
            job: Uuid::from(*job).as_bytes().to_vec(),
            outcomes: tasks.iter().map(|(task, ended)| outcome(*task, ended)).collect(),
        };
        Snapshot { jobs: self.jobs.iter().map(job).collect() }
    }

    fn from_snapshot(snapshot: Snapshot) -> Result<Self, InvalidSnapshot> {
        let mut hour = Self::default();
        for Job { job: id, outcomes } in snapshot.jobs {
            let id = job(&id).ok_or("a job has no id")?;
            let mut tasks = JobOutcomes::new();
            for outcome in outcomes {
                let ended =
                    ended(&outcome).ok_or_else(|| format!("task {} of job {id} has no outcome", outcome.task))?;
                if tasks.insert(outcome.task, ended).is_some() {
                    return Err(format!("task {} of job {id} comes twice", outcome.task).into());
                }
            }
            hour.tasks += tasks.len();
            if hour.jobs.insert(id, tasks).is_some() {
                return Err(format!("job {id} comes twice").into());
            }
        }
        Ok(hour)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Outcome,
        outcomes::entry,
        testing::{at, done, failure, id, partial},
    };

    /// Few values, so that outcomes meet.
    fn fact() -> impl Strategy<Value = Entry> {
        let ended = prop_oneof![
            (any::<bool>(), 0..3_i64).prop_map(|(is_stored, second)| {
                let outcome = if is_stored { Outcome::Stored } else { Outcome::Unchanged };
                Ended::Done(done(outcome, second))
            }),
            (0..3_u32, 0..3_i64).prop_map(|(round, second)| Ended::Partial(round, partial(second))),
            (0..3_u32, 0..3_i64, "[ab]")
                .prop_map(|(round, second, reason)| { Ended::Failed(round, failure(&reason, second)) }),
        ];
        (0..2_u64, 0..3_u32, ended).prop_map(|(job, task, ended)| entry(id(0, job), task, &ended))
    }

    fn hour(entries: &[Entry]) -> Hour {
        let mut hour = Hour::default();
        entries.iter().for_each(|entry| hour.apply(entry));
        hour
    }

    fn merged(left: &Hour, right: &Hour) -> Hour {
        let mut merged = left.clone();
        merged.merge(right);
        merged
    }

    fn some() -> impl Strategy<Value = Vec<Entry>> {
        prop::collection::vec(fact(), 0..12)
    }

    proptest! {
        #[test]
        fn the_laws_of_a_view(a in some(), b in some(), c in some()) {
            let [x, y, z] = [&a, &b, &c].map(|entries| hour(entries));
            prop_assert_eq!(&merged(&x, &x), &x);
            prop_assert_eq!(merged(&x, &y), merged(&y, &x));
            prop_assert_eq!(merged(&merged(&x, &y), &z), merged(&x, &merged(&y, &z)));
            prop_assert_eq!(&merged(&x, &Hour::default()), &x);
            prop_assert_eq!(merged(&x, &y), hour(&[a, b].concat()));
            prop_assert_eq!(Hour::from_snapshot(x.to_snapshot()).unwrap(), x);
        }
    }

    #[test]
    fn an_outcome_is_read_back_as_it_was_written() {
        for ended in [
            Ended::Done(done(Outcome::Unchanged, 3)),
            Ended::Partial(2, partial(4)),
            Ended::Failed(1, failure("gone", 5)),
            Ended::Failed(0, crate::Failure { quarantine: Some("quarantine/x".to_owned()), ..failure("bad", 6) }),
        ] {
            let hour = hour(&[entry(id(0, 1), 7, &ended)]);
            assert_eq!(hour.job(id(0, 1)).unwrap()[&7], ended);
            assert_eq!((hour.len(), hour.job(id(0, 2))), (1, None));
        }
    }

    /// What a later release or a broken writer may have put there.
    #[test]
    fn an_entry_that_makes_no_sense_is_no_outcome() {
        let good = entry(id(0, 1), 7, &Ended::Failed(0, failure("gone", at(5).as_second() % 60)));
        let no_job = Entry { job: b"job".to_vec(), ..good.clone() };
        let mut no_end = good;
        no_end.outcome.as_mut().unwrap().end = None;
        assert_eq!(hour(&[no_job, no_end]), Hour::default());
    }
}
