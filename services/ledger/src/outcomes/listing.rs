//! The outcomes in the bucket, for people and for checks that trust no status.

use std::sync::Arc;

use waybill_journal::Unreadable;

use crate::{
    Done, Failure, JobId, Ledger, LedgerError,
    journals::{self, AsOf, OUTCOMES},
    outcomes::{Ended, hour_of},
};

/// Hours of a source: ten years.
const HOURS: usize = 100_000;

/// How a task ended: the outcome that counts.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskOutcome {
    /// The job.
    pub job: JobId,
    /// The task's number.
    pub task: u32,
    /// The round that it ended in; none where it ended for good.
    pub round: Option<u32>,
    /// How, if well; in a round, where items are missing.
    pub done: Option<Done>,
    /// Why it was given up, if it was.
    pub failure: Option<Failure>,
}

/// The outcomes of one hour's jobs.
#[derive(Debug, Clone)]
pub struct HourOutcomes {
    /// By job and task.
    pub outcomes: Vec<TaskOutcome>,
    /// Objects of the hour's journal that could not be read: outcomes may be missing.
    pub unreadable: Vec<Arc<Unreadable>>,
}

impl Ledger {
    /// The hours of submission in which a source has jobs with outcomes, oldest first.
    pub async fn outcome_hours(&self, source: &str) -> Result<Vec<String>, LedgerError> {
        Ok(self.store.folders(&journals::folder(source, OUTCOMES), None, HOURS).await?)
    }

    /// The hour of a job's submission, whose journal has its outcomes.
    pub fn outcome_hour(job: JobId) -> String {
        hour_of(job)
    }

    /// The outcomes of an hour's jobs.
    pub async fn outcomes(&self, source: &str, hour: &str) -> Result<HourOutcomes, LedgerError> {
        let follower = self.memory.outcomes.view(source, hour.to_owned(), AsOf::Now).await?;
        let outcome = |(job, task, ended): (JobId, u32, &Ended)| {
            let (round, done, failure) = match ended.clone() {
                Ended::Failed(round, failure) => (Some(round), None, Some(failure)),
                Ended::Partial(round, done) => (Some(round), Some(done), None),
                Ended::Done(done) => (None, Some(done), None),
            };
            TaskOutcome { job, task, round, done, failure }
        };
        let outcomes = follower.read(|hour| hour.all().map(outcome).collect());
        Ok(HourOutcomes { outcomes, unreadable: follower.unreadable() })
    }
}
