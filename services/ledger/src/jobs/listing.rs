//! The facts in the bucket, for people and for checks that trust no status.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use waybill_journal::Unreadable;

use crate::{
    Done, Failure, JobId, Lease, Ledger, LedgerError, Sealed, Wait,
    jobs::{Ended, Job, SLOT, slot_at, slot_of},
    journals::{self, AsOf, JOBS},
};

/// Slots of a source: those of 90 days are 25,920.
const SLOTS: usize = 100_000;

/// The jobs of one slot.
#[derive(Debug, Clone)]
pub struct SlotFacts {
    /// By id.
    pub jobs: Vec<JobFacts>,
    /// Objects of the slot's journal that could not be read: facts may be missing.
    pub unreadable: Vec<Arc<Unreadable>>,
}

/// What counts of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobFacts {
    /// The job.
    pub job: JobId,
    /// When a worker first began to plan.
    pub started: Option<Timestamp>,
    /// When the plan was written.
    pub planned: Option<Timestamp>,
    /// How many tasks the plan has.
    pub tasks: Option<u32>,
    /// How the planning was given up, unless it is being tried again.
    pub plan_failed: Option<Failure>,
    /// The latest round.
    pub round: u32,
    /// Whether every task that was pending in this round was published.
    pub is_sent: bool,
    /// When it was cancelled.
    pub cancelled: Option<Timestamp>,
    /// What the outcomes add up to of a job of which the journal has none any more.
    pub sealed: Option<Sealed>,
    /// The outcomes that count, by task.
    pub outcomes: Vec<TaskOutcome>,
    /// What is known of work that has not ended.
    pub work: Vec<WorkFacts>,
}

/// How a task ended: the outcome that counts.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskOutcome {
    /// The task's number.
    pub task: u32,
    /// The round that it ended in; none where it ended for good.
    pub round: Option<u32>,
    /// How, if well; in a round, where items are missing.
    pub done: Option<Done>,
    /// Why it was given up, if it was.
    pub failure: Option<Failure>,
}

/// A task, or the planning, that has not ended.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkFacts {
    /// The task's number; none for the planning.
    pub task: Option<u32>,
    /// The round.
    pub round: u32,
    /// How often it was begun again.
    pub attempts: u32,
    /// Valid and expired.
    pub leases: Vec<Lease>,
    /// What it waits for, or waited for last.
    pub wait: Option<Wait>,
}

impl TaskOutcome {
    fn of((task, ended): (&u32, &Ended)) -> Self {
        let (round, done, failure) = match ended.clone() {
            Ended::Failed(round, failure) => (Some(round), None, Some(failure)),
            Ended::Partial(round, done) => (Some(round), Some(done), None),
            Ended::Done(done) => (None, Some(done), None),
        };
        Self { task: *task, round, done, failure }
    }
}

impl JobFacts {
    fn of(id: JobId, job: &Job) -> Self {
        let work = job.works().map(|(task, work)| WorkFacts {
            task,
            round: work.round(),
            attempts: work.attempts(),
            leases: work.leases().cloned().collect(),
            wait: work.told_wait(task),
        });
        Self {
            job: id,
            started: job.started,
            planned: job.planned.map(|(at, _)| at),
            tasks: job.planned.map(|(_, tasks)| tasks),
            plan_failed: job.plan_failed().cloned(),
            round: job.round(),
            is_sent: job.is_sent_in(job.round()),
            cancelled: job.cancelled,
            sealed: job.sealed,
            outcomes: job.outcomes.iter().map(TaskOutcome::of).collect(),
            work: work.collect(),
        }
    }
}

impl Ledger {
    /// The slots, of five minutes of submission, of which a source has a journal, oldest first.
    pub async fn journal_slots(&self, source: &str) -> Result<Vec<String>, LedgerError> {
        Ok(self.store.folders(&journals::folder(source, JOBS), None, SLOTS).await?)
    }

    /// The slot of a job, whose journal has its facts.
    pub fn journal_slot_of(job: JobId) -> String {
        slot_of(job)
    }

    /// The slots whose tasks end by the hundred at this time, if any do: the present one and the one before.
    pub fn busy_slots(time: Timestamp) -> [String; 2] {
        let before = time.saturating_sub(SignedDuration::from_mins(SLOT)).unwrap_or(time);
        [slot_at(before), slot_at(time)]
    }

    /// The facts of a slot's jobs, or of one of them.
    pub async fn journal_slot(&self, source: &str, slot: &str, job: Option<JobId>) -> Result<SlotFacts, LedgerError> {
        let follower = self.memory.jobs.view(source, slot.to_owned(), AsOf::Now).await?;
        let is_wanted = |(id, _): &(JobId, &Job)| job.is_none_or(|job| job == *id);
        let jobs = follower.read(|slot| slot.jobs().filter(is_wanted).map(|(id, job)| JobFacts::of(id, job)).collect());
        Ok(SlotFacts { jobs, unreadable: follower.unreadable() })
    }
}
