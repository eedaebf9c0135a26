//! Reading and writing a job's facts.

use std::sync::Arc;

use jiff::Timestamp;
use waybill_queue::Queue;
use waybill_source::Definition;
use waybill_store::Store;

use crate::{
    Done, Failure, JobFilter, JobId, JobPage, LedgerError, Plan, Request, Status, Submission, SubmitError, Submitted,
    TaskState, TaskStatus,
};

/// The ledger: the store that holds the facts, and the queue that tells workers of them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger {
    store: Store,
    queue: Arc<dyn Queue>,
}

impl Ledger {
    /// A ledger in `store`'s bucket.
    pub fn new(store: Store, queue: Arc<dyn Queue>) -> Self {
        todo!()
    }

    /// Makes a job: the definition's text, the key if there is one, the request; then tells the queue. A
    /// queue that is away does not matter: [`Self::recover`] tells it later.
    pub async fn submit(&self, submission: Submission<'_>) -> Result<Submitted, SubmitError> {
        todo!()
    }

    /// What was asked; `None` for an unknown job. Cached: it never changes.
    pub async fn request(&self, job: JobId) -> Result<Option<Arc<Request>>, LedgerError> {
        todo!()
    }

    /// The definition that a job was asked with. Cached: it never changes.
    pub async fn definition(&self, source: &str, hash: &str) -> Result<Arc<Definition>, LedgerError> {
        todo!()
    }

    /// Says that a worker begins to plan; the first time counts.
    pub async fn record_start(&self, job: JobId, now: Timestamp) -> Result<(), LedgerError> {
        todo!()
    }

    /// Writes the plan unless there is one, and returns the one that counts.
    pub async fn record_plan(&self, job: JobId, plan: Plan) -> Result<Arc<Plan>, LedgerError> {
        todo!()
    }

    /// The plan, once there is one. Cached.
    pub async fn plan(&self, job: JobId) -> Result<Option<Arc<Plan>>, LedgerError> {
        todo!()
    }

    /// Says that the planning was given up.
    pub async fn record_plan_failure(&self, job: JobId, round: u32, failure: &Failure) -> Result<(), LedgerError> {
        todo!()
    }

    /// Sends out every task of the plan that has no marker yet. `again`: they may have been sent before.
    pub async fn publish_tasks(&self, request: &Request, plan: &Plan, again: bool) -> Result<(), LedgerError> {
        todo!()
    }

    /// Says that a task ended well; the first to say so counts.
    pub async fn record_done(&self, job: JobId, task: u32, done: &Done) -> Result<(), LedgerError> {
        todo!()
    }

    /// Says that a task was given up in this round.
    pub async fn record_failure(
        &self,
        job: JobId,
        task: u32,
        round: u32,
        failure: &Failure,
    ) -> Result<(), LedgerError> {
        todo!()
    }

    /// Whether a task ended, well or (in this round) not: nothing to do for whoever holds its message.
    pub async fn is_settled(&self, job: JobId, task: u32, round: u32) -> Result<bool, LedgerError> {
        todo!()
    }

    /// Where a job stands: its summary, or one LIST of its markers. `None` for an unknown job.
    pub async fn status(&self, job: JobId) -> Result<Option<Status>, LedgerError> {
        todo!()
    }

    /// A job's tasks, in the plan's order, from number `from`, at most `limit`.
    pub async fn tasks(
        &self,
        job: JobId,
        state: Option<TaskState>,
        from: u64,
        limit: usize,
    ) -> Result<Option<Vec<TaskStatus>>, LedgerError> {
        todo!()
    }

    /// Jobs, newest first, after `after`.
    pub async fn jobs(&self, filter: &JobFilter, after: Option<JobId>, limit: usize) -> Result<JobPage, LedgerError> {
        todo!()
    }

    /// Writes the summary of every job of the last days that has ended and has none; tells the queue of
    /// jobs that were accepted while it was away (older than a minute, not begun). With `everything`,
    /// as after a start with an empty queue: of every unfinished job and task. Returns how many messages
    /// were sent.
    pub async fn recover(&self, now: Timestamp, everything: bool) -> Result<u64, LedgerError> {
        todo!()
    }
}
