//! The view of one slot, of five minutes: of every job that was submitted in it, what counts of all that happened to it and its
//! tasks, in the journal's algebra.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use jiff::Timestamp;
use prost::Message;
use uuid::Uuid;
use waybill_journal::{InvalidSnapshot, View};

use crate::{
    Failure, JobId,
    jobs::{
        Ended, Fact, Sealed, Work,
        entry::{fact_of, from_message, job, messages},
        outcome::{ended, from_failure, outcome},
        proto::{self, Entry, Snapshot},
    },
};

/// The jobs that were submitted in one slot.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Slot {
    jobs: BTreeMap<JobId, Job>,
    /// Of all jobs.
    weight: usize,
}

/// What counts of a job.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Job {
    pub(crate) started: Option<Timestamp>,
    /// When, and how many tasks.
    pub(crate) planned: Option<(Timestamp, u32)>,
    plan_failed: Option<(u32, Failure)>,
    sent: Option<u32>,
    round: Option<(u32, Timestamp)>,
    pub(crate) cancelled: Option<Timestamp>,
    /// Every task is done, and how stands in the job's folder: nothing more is kept of tasks, nor of the planning.
    pub(crate) sealed: Option<Sealed>,
    /// None of a sealed job.
    pub(crate) outcomes: JobOutcomes,
    /// Tasks, and the planning (`None`), that have not ended. None of a sealed job.
    works: BTreeMap<Option<u32>, Work>,
}

/// The outcomes of a job's tasks, by number: about 320 bytes each.
pub(crate) type JobOutcomes = BTreeMap<u32, Ended>;

impl Job {
    /// The latest round: 0, then one more for each retry.
    pub(crate) fn round(&self) -> u32 {
        self.round.map_or(0, |(round, _)| round)
    }

    /// How the planning was given up, unless it is being tried again.
    pub(crate) fn plan_failed(&self) -> Option<&Failure> {
        self.plan_failed.as_ref().filter(|(round, _)| *round >= self.round()).map(|(_, failure)| failure)
    }

    /// Whether the planning was given up in this round or a later one.
    pub(crate) fn has_plan_failed_in(&self, round: u32) -> bool {
        self.plan_failed.as_ref().is_some_and(|(failed, _)| *failed >= round)
    }

    /// Whether every task that was pending when a round began was sent out.
    pub(crate) fn is_sent_in(&self, round: u32) -> bool {
        self.sent >= Some(round)
    }

    /// How a task of a job that is not sealed ended, if it did: what failed or lacked items in an earlier round is being tried again.
    pub(crate) fn outcome(&self, task: u32) -> Option<&Ended> {
        self.outcomes.get(&task).filter(|ended| ended.rank().counts_in(self.round()))
    }

    /// Whether a task ended for good, or in a round.
    pub(crate) fn has_ended(&self, task: u32, round: u32) -> bool {
        self.sealed.is_some() || self.outcomes.get(&task).is_some_and(|ended| ended.rank().counts_in(round))
    }

    /// How those of `tasks` tasks from `first` on were done that are done and not sealed.
    pub(crate) fn done(&self, first: u32, tasks: u32) -> impl Iterator<Item = &Ended> {
        let outcomes = self.outcomes.range(first..first.saturating_add(tasks));
        outcomes.map(|(_, ended)| ended).filter(|ended| matches!(ended, Ended::Done(_)))
    }

    /// What is known of a task, or of the planning (`None`), that has not ended.
    pub(crate) fn work(&self, task: Option<u32>) -> Option<&Work> {
        self.works.get(&task)
    }

    /// What is known of tasks that have not ended.
    pub(crate) fn works(&self) -> impl Iterator<Item = (Option<u32>, &Work)> {
        self.works.iter().map(|(task, work)| (*task, work))
    }

    /// Changes when something happens to the job, but for leases that are renewed.
    pub(crate) fn activity(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.started, self.planned, self.plan_failed.as_ref().map(|(round, _)| *round)).hash(&mut hasher);
        (self.sent, self.round, self.cancelled, self.sealed).hash(&mut hasher);
        // It grows with every outcome, also with one that takes another's place.
        self.outcomes.values().map(|ended| ended.rank().steps()).sum::<u64>().hash(&mut hasher);
        self.works.iter().for_each(|(task, work)| (task, work.activity()).hash(&mut hasher));
        hasher.finish()
    }

    /// The latest time that anything known of it names, by the clock of whoever entered it: until when work waits or is leased
    /// is later than what happened.
    pub(crate) fn latest(&self) -> Option<Timestamp> {
        let of_plan = self.plan_failed.as_ref().map(|(_, failure)| failure.finished);
        let of_job =
            [self.started, self.planned.map(|(at, _)| at), of_plan, self.round.map(|(_, at)| at), self.cancelled];
        let of_works = self.works.values().filter_map(Work::latest);
        of_job.into_iter().flatten().chain(of_works).chain(self.outcomes.values().map(Ended::finished)).max()
    }

    /// Returns by how much it weighs more, or less.
    fn add(&mut self, fact: Fact) -> isize {
        let before = self.weight();
        match fact {
            Fact::Started(at) => self.started = earlier(self.started, at),
            Fact::Planned(at, tasks) => {
                self.planned = self.planned.max(Some((at, tasks)));
                self.forget_ended(None);
            }
            Fact::PlanFailed(round, failure) => {
                if self.plan_failed.as_ref().is_none_or(|(of, there)| plan_outranks((round, &failure), (*of, there))) {
                    self.plan_failed = Some((round, failure));
                }
                self.forget_ended(None);
            }
            Fact::Sent(round) => {
                self.sent = self.sent.max(Some(round));
                self.forget_ended(None);
            }
            Fact::Round(round, at) => {
                let standing = |(round, at): (u32, Timestamp)| (round, Reverse(at));
                if self.round.is_none_or(|there| standing((round, at)) > standing(there)) {
                    self.round = Some((round, at));
                }
            }
            Fact::Cancelled(at) => self.cancelled = earlier(self.cancelled, at),
            Fact::Sealed(sealed) => {
                self.sealed = self.sealed.max(Some(sealed));
                self.outcomes.clear();
                self.works.clear();
            }
            Fact::Work(..) | Fact::Ended(..) if self.sealed.is_some() => {}
            Fact::Work(task, work) => {
                self.works.entry(task).or_insert_with(|| Work::of(work.round())).merge(&work);
                self.forget_ended(task);
            }
            Fact::Ended(task, ended) => {
                match self.outcomes.get_mut(&task) {
                    Some(there) if outranks(&ended, there) => *there = ended,
                    Some(_) => {}
                    None => drop(self.outcomes.insert(task, ended)),
                }
                self.forget_ended(Some(task));
            }
        }
        self.weight().cast_signed() - before.cast_signed()
    }

    /// Its outcomes, and what has not ended of which something is known.
    fn weight(&self) -> usize {
        self.outcomes.len() + self.works.len()
    }

    /// The latest round that the journal names but in outcomes, also where the entry that began it was lost.
    pub(crate) fn last_round(&self) -> u32 {
        let of_plan = self.plan_failed.as_ref().map(|(round, _)| *round);
        self.round().max(of_plan.unwrap_or(0)).max(self.sent.unwrap_or(0))
    }

    /// Forgets what was said of work in a round in which it has ended. Nothing makes that round's end undone.
    fn forget_ended(&mut self, task: Option<u32>) {
        let Some(round) = self.works.get(&task).map(Work::round) else { return };
        let has_ended = match task {
            Some(task) => self.has_ended(task, round),
            // Whoever plans has not ended before all is sent.
            None => self.planned.is_some() && self.is_sent_in(round) || self.has_plan_failed_in(round),
        };
        if has_ended {
            self.works.remove(&task);
        }
    }

    /// Everything but the outcomes.
    fn facts(&self) -> impl Iterator<Item = Fact> {
        let started = self.started.map(Fact::Started).into_iter();
        let planned = self.planned.map(|(at, tasks)| Fact::Planned(at, tasks));
        let plan_failed = self.plan_failed.clone().map(|(round, failure)| Fact::PlanFailed(round, failure));
        let round = self.round.map(|(round, at)| Fact::Round(round, at));
        let works = self.works.iter().map(|(task, work)| Fact::Work(*task, work.clone()));
        let facts = started.chain(planned).chain(plan_failed).chain(self.sent.map(Fact::Sent)).chain(round);
        facts.chain(self.cancelled.map(Fact::Cancelled)).chain(self.sealed.map(Fact::Sealed)).chain(works)
    }
}

fn earlier(there: Option<Timestamp>, at: Timestamp) -> Option<Timestamp> {
    Some(there.map_or(at, |there| there.min(at)))
}

impl Slot {
    /// What is known of a job; `None` where nothing is.
    pub(crate) fn job(&self, job: JobId) -> Option<&Job> {
        self.jobs.get(&job)
    }

    /// All jobs.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.jobs.iter().map(|(id, job)| (*id, job))
    }

    /// How many tasks of all jobs have ended, or have leases and the like, and how many jobs there are.
    pub(crate) fn len(&self) -> usize {
        self.weight + self.jobs.len()
    }

    fn add(&mut self, job: JobId, fact: Fact) {
        self.weight = self.weight.wrapping_add_signed(self.jobs.entry(job).or_default().add(fact));
    }
}

/// Of two outcomes of one rank, the one that was there first counts. Beyond that any rule will do that all readers
/// have.
fn outranks(new: &Ended, there: &Ended) -> bool {
    let standing = |it: &Ended| (it.rank(), Reverse(it.finished()));
    let bytes = |it: &Ended| outcome(0, it).encode_to_vec();
    standing(new).cmp(&standing(there)).then_with(|| bytes(new).cmp(&bytes(there))).is_gt()
}

fn plan_outranks(new: (u32, &Failure), there: (u32, &Failure)) -> bool {
    let standing = |(round, failure): (u32, &Failure)| (round, Reverse(failure.finished));
    let bytes = |(_, failure): (u32, &Failure)| from_failure(failure).encode_to_vec();
    standing(new).cmp(&standing(there)).then_with(|| bytes(new).cmp(&bytes(there))).is_gt()
}

impl View for Slot {
    type Entry = Entry;
    type Snapshot = Snapshot;

    // 1 had outcomes alone, 2 no job that is sealed.
    const SCHEMA: u16 = 3;

    fn apply(&mut self, entry: &Entry) {
        if let Some((job, fact)) = fact_of(entry) {
            self.add(job, fact);
        }
    }

    fn merge(&mut self, other: Self) {
        for (id, job) in other.jobs {
            let there = self.jobs.entry(id).or_default();
            let facts: Vec<_> = job.facts().collect();
            let mut heavier: isize = facts.into_iter().map(|fact| there.add(fact)).sum();
            if there.sealed.is_none() {
                let outcomes = job.outcomes.into_iter().map(|(task, ended)| Fact::Ended(task, ended));
                heavier += outcomes.map(|fact| there.add(fact)).sum::<isize>();
            }
            self.weight = self.weight.wrapping_add_signed(heavier);
        }
    }

    fn to_snapshot(&self) -> Snapshot {
        let job = |(id, job): (&JobId, &Job)| proto::Job {
            job: Uuid::from(*id).as_bytes().to_vec(),
            outcomes: job.outcomes.iter().map(|(task, ended)| outcome(*task, ended)).collect(),
            facts: job.facts().flat_map(|fact| messages(&fact)).collect(),
        };
        Snapshot { jobs: self.jobs.iter().map(job).collect() }
    }

    fn from_snapshot(snapshot: Snapshot) -> Result<Self, InvalidSnapshot> {
        let mut slot = Self::default();
        for proto::Job { job: id, outcomes, facts } in snapshot.jobs {
            let id = job(&id).ok_or("a job has no id")?;
            let mut job = Job::default();
            for outcome in outcomes {
                let ended =
                    ended(&outcome).ok_or_else(|| format!("task {} of job {id} has no outcome", outcome.task))?;
                if job.outcomes.insert(outcome.task, ended).is_some() {
                    return Err(format!("task {} of job {id} comes twice", outcome.task).into());
                }
            }
            for fact in facts {
                job.add(from_message(&fact).ok_or_else(|| format!("a fact of job {id} makes no sense"))?);
            }
            slot.weight += job.weight();
            if slot.jobs.insert(id, job).is_some() {
                return Err(format!("job {id} comes twice").into());
            }
        }
        Ok(slot)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Lease, Outcome, RowTally,
        jobs::entries,
        testing::{at, attempt, done, failure, id, lease, partial, sealed},
    };

    /// Few values, so that facts meet.
    fn fact() -> impl Strategy<Value = Vec<Entry>> {
        let ended = prop_oneof![
            (any::<bool>(), 0..3_i64).prop_map(|(is_stored, second)| {
                let outcome = if is_stored { Outcome::Stored } else { Outcome::Unchanged };
                Ended::Done(done(outcome, second))
            }),
            (0..3_u32, 0..3_i64).prop_map(|(round, second)| Ended::Partial(round, partial(second))),
            (0..3_u32, 0..3_i64, "[ab]")
                .prop_map(|(round, second, reason)| { Ended::Failed(round, failure(&reason, second)) }),
        ];
        let work = (0..3_u32, 0..2_u128, 0..3_u32, any::<bool>(), 0..3_i64, 0..3_u32).prop_map(
            |(round, n, renewal, flag, second, kind)| match kind {
                0 => Work::attempt(round, attempt(n), flag),
                1 => {
                    let rows = flag.then(|| RowTally { done: renewal.into(), ..RowTally::default() });
                    let lease = lease(["one", "two"][n as usize], 0);
                    Work::lease(round, Lease { renewal, until: at(second), rows, ..lease })
                }
                _ => Work::wait(round, (renewal, at(second), ["a", "b"][n as usize].to_owned())),
            },
        );
        let fact = prop_oneof![
            3 => (0..3_u32, ended).prop_map(|(task, ended)| Fact::Ended(task, ended)),
            3 => (prop::option::of(0..3_u32), work).prop_map(|(task, work)| Fact::Work(task, work)),
            1 => (0..3_i64).prop_map(|second| Fact::Started(at(second))),
            1 => (0..3_i64, 0..3_u32).prop_map(|(second, tasks)| Fact::Planned(at(second), tasks)),
            1 => (0..3_u32, 0..3_i64, "[ab]")
                .prop_map(|(round, second, reason)| Fact::PlanFailed(round, failure(&reason, second))),
            1 => (0..3_u32).prop_map(Fact::Sent),
            1 => (0..3_u32, 0..3_i64).prop_map(|(round, second)| Fact::Round(round, at(second))),
            1 => (0..3_i64).prop_map(|second| Fact::Cancelled(at(second))),
            1 => (0..2_u32, 0..2_u64, 0..3_i64)
                .prop_map(|(stored, bytes, second)| Fact::Sealed(sealed(stored, bytes, second))),
        ];
        (0..2_u64, fact).prop_map(|(job, fact)| entries(id(0, job), &fact))
    }

    fn slot(entries: &[Entry]) -> Slot {
        let mut slot = Slot::default();
        entries.iter().for_each(|entry| slot.apply(entry));
        slot
    }

    fn merged(left: &Slot, right: &Slot) -> Slot {
        let mut merged = left.clone();
        merged.merge(right.clone());
        merged
    }

    fn some() -> impl Strategy<Value = Vec<Entry>> {
        prop::collection::vec(fact(), 0..12).prop_map(|facts| facts.concat())
    }

    proptest! {
        #[test]
        fn the_laws_of_a_view(a in some(), b in some(), c in some()) {
            let [x, y, z] = [&a, &b, &c].map(|entries| slot(entries));
            prop_assert_eq!(&merged(&x, &x), &x);
            prop_assert_eq!(merged(&x, &y), merged(&y, &x));
            prop_assert_eq!(merged(&merged(&x, &y), &z), merged(&x, &merged(&y, &z)));
            prop_assert_eq!(&merged(&x, &Slot::default()), &x);
            prop_assert_eq!(merged(&x, &y), slot(&[a, b].concat()));
            prop_assert_eq!(Slot::from_snapshot(x.to_snapshot()).unwrap(), x);
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
            let slot = slot(&entries(id(0, 1), &Fact::Ended(7, ended.clone())));
            assert_eq!(slot.job(id(0, 1)).unwrap().outcomes[&7], ended);
            assert_eq!((slot.len(), slot.job(id(0, 2))), (2, None));
        }
    }

    /// What a later release or a broken writer may have put there.
    #[test]
    fn an_entry_that_makes_no_sense_is_no_fact() {
        let good = entries(id(0, 1), &Fact::Ended(7, Ended::Failed(0, failure("gone", 5)))).remove(0);
        let no_job = Entry { job: b"job".to_vec(), ..good.clone() };
        let no_fact = Entry { outcome: None, ..good.clone() };
        let mut no_end = good;
        no_end.outcome.as_mut().unwrap().end = None;
        assert_eq!(slot(&[no_job, no_fact, no_end]), Slot::default());
    }

    /// The weight is what keeps a slot in memory, so it has to fall.
    #[test]
    fn of_a_sealed_job_no_task_is_kept_whatever_is_said_before_or_after() {
        let job = id(0, 1);
        let ended = |task| Fact::Ended(task, Ended::Done(done(Outcome::Stored, 3)));
        let before = [Fact::Started(at(1)), Fact::Planned(at(2), 2), ended(0), ended(1)];
        let late = [
            ended(1),
            Fact::Ended(0, Ended::Failed(0, failure("gone", 9))),
            Fact::Work(Some(1), Work::attempt(0, attempt(1), false)),
            Fact::Work(None, Work::lease(0, lease("one", 9))),
        ];
        let seal = [Fact::Sealed(sealed(2, 2_000, 3))];
        let entries: Vec<Vec<_>> =
            [&before[..], &seal, &late].map(|facts| facts.iter().flat_map(|fact| entries(job, fact)).collect()).into();
        let all = slot(&entries.concat());
        assert_eq!(slot(&entries[..1].concat()).len(), 3);
        assert_eq!(all.len(), 1);
        let seen = all.job(job).unwrap();
        assert_eq!(
            (seen.sealed, seen.started, seen.planned),
            (Some(sealed(2, 2_000, 3)), Some(at(1)), Some((at(2), 2)))
        );
        assert!(seen.has_ended(0, 7) && seen.has_ended(1, 0));
        assert_eq!(seen.done(0, 2).count(), 0);
        for order in [[1, 2, 0], [2, 0, 1]] {
            assert_eq!(slot(&order.map(|n| entries[n].clone()).concat()), all);
            let mut merged = Slot::default();
            order.iter().for_each(|n| merged.merge(slot(&entries[*n])));
            assert_eq!(merged, all);
        }
        assert!(all.to_snapshot().encoded_len() < 200, "what it weighs in the bucket");
    }

    /// What is said of work late, after it has ended in that round, is not kept; in a later round it is.
    #[test]
    fn nothing_is_kept_of_work_that_has_ended() {
        let mut job = Job::default();
        let work = |round, n| Fact::Work(Some(1), Work::attempt(round, attempt(n), false));
        job.add(work(0, 1));
        assert!(job.work(Some(1)).is_some());
        job.add(Fact::Ended(1, Ended::Failed(0, failure("gone", 1))));
        job.add(work(0, 2));
        assert!(job.work(Some(1)).is_none());
        job.add(work(1, 3));
        assert!(job.work(Some(1)).is_some_and(Work::has_attempts));
        job.add(Fact::Ended(1, Ended::Done(done(Outcome::Stored, 2))));
        job.add(work(2, 4));
        assert!(job.work(Some(1)).is_none());
        job.add(Fact::Work(None, Work::lease(0, lease("one", 9))));
        job.add(Fact::Planned(at(1), 2));
        assert!(job.work(None).is_some(), "its tasks are being sent");
        job.add(Fact::Sent(0));
        assert!(job.work(None).is_none());
    }
}
