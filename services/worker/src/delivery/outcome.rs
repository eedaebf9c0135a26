//! How a piece of work ended, and the one place that says what follows from it: a marker and an
//! acknowledgement, another delivery later, or the end.
//!
//! No message is acknowledged before its marker is written, or a copy of it is in the queue's charge.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use waybill_ledger::{Done, Failure, JobId, LedgerError, MissingItem};
use waybill_queue::{Message, QueueName};
use waybill_source::ItemError;
use waybill_store::StoreError;

use crate::{
    context::Context,
    delivery::work_delivery::WorkDelivery,
    retry::{self, GaveUp},
};

/// How long a message waits whose work this process has in hand already.
const BUSY: Duration = Duration::from_secs(5);

/// How a planning or a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The job is planned, and its tasks are sent out.
    Planned { tasks: usize },
    /// A new object was stored.
    Stored(Object),
    /// The upstream has what is stored already.
    Unchanged(Object),
    /// Its job is cancelled.
    Cancelled,
    /// There was nothing to do any more.
    Settled,
    /// The same work is in hand here already.
    AlreadyRunning,
    /// Another worker says that it has this in hand, for so long at least.
    LeasedElsewhere { remaining: Duration },
    /// Not now; after `after` at least, where the upstream said so.
    Retry { after: Option<Duration>, reason: String },
    /// The file failed its checks and is in quarantine.
    Rejected { reason: String, quarantine: String },
    /// Trying again does not help.
    Failed { reason: String },
    /// There is no job that this message belongs to.
    JobNotFound { reason: String },
    /// The process goes down.
    Interrupted,
}

impl Outcome {
    /// What went wrong, if anything did.
    pub(crate) fn error(&self) -> Option<&str> {
        match self {
            Self::Retry { reason, .. }
            | Self::Rejected { reason, .. }
            | Self::Failed { reason }
            | Self::JobNotFound { reason } => Some(reason),
            _ => None,
        }
    }

    /// As it is counted.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Planned { .. } => "planned",
            Self::Stored(_) => "stored",
            Self::Unchanged(_) => "unchanged",
            Self::Cancelled => "cancelled",
            Self::Settled => "repeated",
            Self::AlreadyRunning | Self::LeasedElsewhere { .. } => "elsewhere",
            Self::Retry { .. } => "retried",
            Self::Rejected { .. } => "rejected",
            Self::Failed { .. } => "failed",
            Self::JobNotFound { .. } => "orphaned",
            Self::Interrupted => "interrupted",
        }
    }
}

/// An item's object in data/.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) key: String,
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    /// Items that the upstream does not have.
    pub(crate) missing: Vec<MissingItem>,
}

/// What a message is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    pub(crate) job: JobId,
    /// None for a planning.
    pub(crate) task: Option<u32>,
    pub(crate) round: u32,
    /// From 1.
    attempt: u32,
}

impl Work {
    /// `None` where the message names no job.
    pub(crate) fn of(message: &Message) -> Option<Self> {
        let (id, task, round, attempt) = match message {
            Message::PlanJob(plan) => (&plan.job_id, None, 0, plan.attempt),
            Message::RunTask(task) => (&task.job_id, Some(task.task), task.round, task.attempt),
        };
        Some(Self { job: id.parse().ok()?, task, round, attempt: attempt.max(1) })
    }
}

/// Does what follows from an outcome.
pub(crate) async fn settle(
    context: &Context,
    queue_name: &QueueName,
    delivery: &WorkDelivery,
    work: Work,
    outcome: Outcome,
    began: Instant,
) {
    let policy = context.worker.retry;
    // Where the work runs long, here or elsewhere: by then there is a marker, a newer lease, or an older one.
    let busy_long = context.worker.lease * 2;
    let outcome = match outcome {
        Outcome::Retry { after, reason } if work.attempt < policy.attempts => {
            let delay = retry::delay(policy, work.attempt).max(after.unwrap_or_default());
            count(context, delivery, work, "retried");
            tracing::warn!(error = reason, delay_ms = delay.as_millis() as u64, "failed, to be retried");
            return requeue(context, queue_name, delivery, work.attempt + 1, delay).await;
        }
        Outcome::Retry { reason, .. } => Outcome::Failed { reason },
        other => other,
    };
    if let Err(error) = mark(context, work, &outcome, began).await {
        // The attempt does not count: its end could not be written down.
        count(context, delivery, work, "retried");
        tracing::warn!(%error, "failed to write the marker, to be retried");
        return requeue(context, queue_name, delivery, work.attempt, retry::delay(policy, work.attempt)).await;
    }
    count(context, delivery, work, outcome.label());
    let duration_ms = began.elapsed().as_millis() as u64;
    match &outcome {
        Outcome::Stored(Object { key, bytes, records, missing }) => {
            let missing = missing.len();
            tracing::info!(s3_key = key, size_bytes = bytes, records, missing, duration_ms, "stored");
            delivery.ack().await;
        }
        Outcome::Unchanged(Object { key, bytes, records, missing }) => {
            let missing = missing.len();
            tracing::info!(s3_key = key, size_bytes = bytes, records, missing, duration_ms, "unchanged");
            delivery.ack().await;
        }
        Outcome::Planned { tasks } => {
            tracing::info!(tasks, duration_ms, "planned");
            delivery.ack().await;
        }
        Outcome::Rejected { reason, quarantine } => {
            tracing::warn!(error = reason, s3_key = quarantine, duration_ms, "file rejected");
            dead_letter(context, queue_name, delivery, reason).await;
        }
        Outcome::Failed { reason } => {
            tracing::warn!(error = reason, attempts = work.attempt, duration_ms, "failed for good");
            dead_letter(context, queue_name, delivery, reason).await;
        }
        Outcome::JobNotFound { reason } => {
            tracing::error!(error = reason, "message of an unknown job");
            dead_letter(context, queue_name, delivery, reason).await;
        }
        Outcome::AlreadyRunning if is_requeued(delivery) => {
            requeue(context, queue_name, delivery, work.attempt, busy_long).await;
        }
        Outcome::AlreadyRunning => requeue(context, queue_name, delivery, work.attempt, BUSY).await,
        // One that the queue sent again, or that waited in it, may be the last there is. Any other is a copy
        // made by somebody who did not see that the task runs, and there is no need of it.
        Outcome::LeasedElsewhere { remaining } if delivery.redelivered || work.attempt > 1 || is_requeued(delivery) => {
            requeue(context, queue_name, delivery, work.attempt, (*remaining).min(busy_long)).await;
        }
        Outcome::Interrupted | Outcome::Retry { .. } => delivery.give_back().await,
        Outcome::Cancelled | Outcome::Settled | Outcome::LeasedElsewhere { .. } => delivery.ack().await,
    }
}

/// Counted once the marker is there, so that no count runs ahead of the ledger.
fn count(context: &Context, delivery: &WorkDelivery, work: Work, outcome: &'static str) {
    let counts = context.counts(delivery.source());
    match work.task {
        Some(_) => counts.task(outcome),
        None => counts.plan(outcome),
    }
}

fn is_requeued(delivery: &WorkDelivery) -> bool {
    match &delivery.message {
        Message::PlanJob(plan) => plan.requeued,
        Message::RunTask(task) => task.requeued,
    }
}

/// Writes down how the work ended, if it did. A plan is written where it is made.
async fn mark(context: &Context, work: Work, outcome: &Outcome, began: Instant) -> Result<(), LedgerError> {
    let ledger = &context.worker.ledger;
    let finished = Timestamp::now();
    let (reason, quarantine) = match outcome {
        Outcome::Stored(object) | Outcome::Unchanged(object) => {
            let Some(task) = work.task else { return Ok(()) };
            let stored = matches!(outcome, Outcome::Stored(_));
            let done = Done {
                outcome: if stored { waybill_ledger::Outcome::Stored } else { waybill_ledger::Outcome::Unchanged },
                object: object.key.clone(),
                bytes: object.bytes,
                records: object.records,
                seconds: began.elapsed().as_secs_f64(),
                attempts: work.attempt,
                finished,
                missing: object.missing.clone(),
            };
            return ledger.record_done(work.job, task, work.round, &done).await;
        }
        Outcome::Failed { reason } => (reason, None),
        Outcome::Rejected { reason, quarantine } => (reason, Some(quarantine.clone())),
        Outcome::Planned { .. }
        | Outcome::Cancelled
        | Outcome::Settled
        | Outcome::AlreadyRunning
        | Outcome::LeasedElsewhere { .. }
        | Outcome::Retry { .. }
        | Outcome::JobNotFound { .. }
        | Outcome::Interrupted => return Ok(()),
    };
    let failure = Failure { reason: reason.clone(), quarantine, attempts: work.attempt, finished };
    match work.task {
        Some(task) => ledger.record_failure(work.job, task, work.round, &failure).await,
        None => ledger.record_plan_failure(work.job, work.round, &failure).await,
    }
}

/// Puts a copy into the queue, to come later, and lets the original go; unless a copy is there already.
async fn requeue(context: &Context, queue_name: &QueueName, delivery: &WorkDelivery, attempt: u32, delay: Duration) {
    if delivery.is_settled() {
        return;
    }
    let copy = match delivery.message.clone() {
        Message::PlanJob(plan) => Message::PlanJob(waybill_queue::PlanJob { attempt, ..plan }),
        Message::RunTask(task) => Message::RunTask(waybill_queue::RunTask { attempt, again: true, ..task }),
    };
    // Never without a delay: a consumer that waits for room on its own queue might wait for itself.
    match context.worker.queue.publish(queue_name, &copy, delay.max(Duration::from_millis(1))).await {
        Ok(()) => delivery.ack().await,
        Err(error) => {
            tracing::warn!(%error, "failed to requeue the message");
            // Whether or not the process goes down, the delivery goes back; only not in a tight loop.
            let _ = retry::pause(context.worker.retry.max_wait, &context.shutdown).await;
            delivery.give_back().await;
        }
    }
}

/// The marker is written, so that a message that cannot be put beside the queues is only a loss for whoever
/// wanted to look at it.
pub(crate) async fn dead_letter(context: &Context, queue_name: &QueueName, delivery: &WorkDelivery, reason: &str) {
    if let Err(error) = context.worker.queue.dead_letter(queue_name, &delivery.message, reason).await {
        tracing::warn!(%error, "failed to dead-letter the message");
    }
    delivery.ack().await;
}

impl From<StoreError> for Outcome {
    fn from(error: StoreError) -> Self {
        // Even a refusal: it is a matter of settings, which somebody may put right before the last attempt.
        Self::Retry { after: None, reason: error.to_string() }
    }
}

impl From<LedgerError> for Outcome {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Store(error) => error.into(),
            other => Self::Retry { after: None, reason: other.to_string() },
        }
    }
}

impl From<ItemError> for Outcome {
    fn from(error: ItemError) -> Self {
        Self::Failed { reason: error.to_string() }
    }
}

impl From<GaveUp> for Outcome {
    fn from(gave_up: GaveUp) -> Self {
        match gave_up {
            GaveUp::Later { after, reason } => Self::Retry { after, reason },
            GaveUp::Never { reason } => Self::Failed { reason },
            GaveUp::Interrupted => Self::Interrupted,
        }
    }
}
