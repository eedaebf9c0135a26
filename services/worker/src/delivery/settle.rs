//! Settles deliveries. Everything that follows from how work ended is here: its outcome in the ledger, and whether the
//! message is acknowledged, requeued or dead-lettered.
//!
//! No message is acknowledged before its outcome is committed, or the queue has taken a copy of it.

use std::time::{Duration, Instant};

use jiff::{Timestamp, Unit};
use waybill_ledger::{Done, Failure, LedgerError, Outcome, Wait};
use waybill_queue::{QueueError, QueueName};

use crate::{
    context::Context,
    delivery::{
        outcome::{Object, Success, TaskError, Work},
        work_delivery::{DeliveryKind, WorkDelivery},
    },
    retry,
};

/// How long a message waits whose work this process runs already.
const BUSY: Duration = Duration::from_secs(5);

/// Waits from this length on are shown in the job.
const NOTICED: Duration = Duration::from_secs(2);

/// How long a message waits whose source or table another worker has the lock of.
const THROTTLED: Duration = Duration::from_secs(1);

/// Records how the work ended, and settles its delivery.
pub(crate) async fn settle(
    context: &Context,
    queue_name: &QueueName,
    delivery: &WorkDelivery,
    work: Work,
    result: Result<Success, TaskError>,
    began: Instant,
) {
    let policy = context.worker.retry;
    // What was done in part is no failed attempt.
    let is_partly_done = matches!(result, Err(TaskError::PartlyDone { .. }));
    let result = match result {
        Err(TaskError::Retry { reason, .. }) if work.attempt >= policy.attempts => Err(TaskError::Failed { reason }),
        Err(TaskError::Retry { after, reason } | TaskError::PartlyDone { after, reason }) => {
            let (failures, next, how) = if is_partly_done {
                (1, work.attempt, "done in part, to be continued")
            } else {
                (work.attempt, work.attempt + 1, "failed, to be retried")
            };
            let delay = retry::delay(policy, failures).max(after.unwrap_or_default());
            count(context, delivery, work, "retried");
            tracing::warn!(error = reason, delay_ms = delay.as_millis() as u64, "{how}");
            record_wait(context, work, delay, reason).await;
            return requeue(context, queue_name, delivery, next, delay).await;
        }
        result => result,
    };
    let recorded = tokio::select! {
        biased;
        recorded = record(context, work, &result, began) => recorded,
        // It waits for a store that is away.
        () = context.deadline.cancelled() => return delivery.give_back().await,
    };
    if let Err(error) = recorded {
        // The attempt does not count: its end could not be written down.
        count(context, delivery, work, "retried");
        tracing::warn!(%error, "failed to record how the work ended, to be retried");
        return requeue(context, queue_name, delivery, work.attempt, retry::delay(policy, work.attempt)).await;
    }
    count(context, delivery, work, result.as_ref().map_or_else(TaskError::label, Success::label));
    let duration_ms = began.elapsed().as_millis() as u64;
    // Where the work takes long: by then there is an outcome, a newer lease, or an expired one.
    let busy_long = context.worker.lease * 2;
    match &result {
        Ok(success) => {
            log(success, duration_ms);
            delivery.ack().await;
        }
        Err(TaskError::Rejected { reason, quarantine }) => {
            tracing::warn!(error = reason, s3_key = quarantine, duration_ms, "file rejected");
            dead_letter(context, queue_name, delivery, reason).await;
        }
        Err(TaskError::Failed { reason } | TaskError::Retry { reason, .. } | TaskError::PartlyDone { reason, .. }) => {
            tracing::warn!(error = reason, attempts = work.attempt, duration_ms, "failed for good");
            dead_letter(context, queue_name, delivery, reason).await;
        }
        Err(TaskError::JobNotFound) => {
            tracing::error!("message of an unknown job");
            dead_letter(context, queue_name, delivery, "there is no such job").await;
        }
        Err(TaskError::AlreadyRunning) => {
            let delay = if delivery.kind == DeliveryKind::Requeued { busy_long } else { BUSY };
            requeue(context, queue_name, delivery, work.attempt, delay).await;
        }
        Err(TaskError::LeasedElsewhere { remaining }) => match delivery.kind {
            // It may be the last message of the work.
            DeliveryKind::Redelivered | DeliveryKind::Requeued => {
                requeue(context, queue_name, delivery, work.attempt, (*remaining).min(busy_long)).await;
            }
            // The worker that has the lease has a message of its own.
            DeliveryKind::First | DeliveryKind::Resent => delivery.ack().await,
        },
        Err(TaskError::ThrottledElsewhere | TaskError::TableBusy) => {
            requeue(context, queue_name, delivery, work.attempt, THROTTLED).await;
        }
        Err(TaskError::Interrupted) => delivery.give_back().await,
        Err(TaskError::Cancelled) => delivery.ack().await,
    }
}

fn log(success: &Success, duration_ms: u64) {
    match success {
        Success::Stored(Object { key, bytes, records, missing, .. }) => {
            let missing = missing.len();
            tracing::info!(s3_key = key, size_bytes = bytes, records, missing, duration_ms, "stored");
        }
        Success::Unchanged(Object { key, bytes, records, missing, .. }) => {
            let missing = missing.len();
            tracing::info!(s3_key = key, size_bytes = bytes, records, missing, duration_ms, "unchanged");
        }
        Success::Planned { tasks } => tracing::info!(tasks, duration_ms, "planned"),
        Success::AlreadyEnded => {}
    }
}

/// Counts how work ended, once that is recorded: no count runs ahead of the ledger.
fn count(context: &Context, delivery: &WorkDelivery, work: Work, label: &'static str) {
    let counts = context.counts(delivery.source());
    match work.task {
        Some(_) => counts.task(label),
        None => counts.plan(label),
    }
}

/// Records how work ended. A plan is written by the planner.
async fn record(
    context: &Context,
    work: Work,
    result: &Result<Success, TaskError>,
    began: Instant,
) -> Result<(), LedgerError> {
    let (ledger, finished) = (&context.worker.ledger, Timestamp::now());
    let (outcome, object) = match result {
        Ok(Success::Stored(object)) => (Outcome::Stored, object),
        Ok(Success::Unchanged(object)) => (Outcome::Unchanged, object),
        Err(TaskError::Failed { reason }) => return record_failure(context, work, reason, None, finished).await,
        Err(TaskError::Rejected { reason, quarantine }) => {
            return record_failure(context, work, reason, Some(quarantine.clone()), finished).await;
        }
        Ok(Success::Planned { .. } | Success::AlreadyEnded) | Err(_) => return Ok(()),
    };
    let Some(task) = work.task else { return Ok(()) };
    let done = Done {
        outcome,
        object: object.key.clone(),
        bytes: object.bytes,
        records: object.records,
        seconds: began.elapsed().as_secs_f64(),
        attempts: work.attempt,
        finished,
        missing: object.missing.clone(),
        rows: object.rows.map(|rows| Box::new(rows.tally)),
        quarantine: object.quarantine.as_deref().map(Into::into),
    };
    ledger.record_done(work.job, task, work.round, &done).await?;
    if let Some(rows) = object.rows.filter(|rows| rows.records > 0)
        && let Err(error) = ledger.trim_row_log(work.job, task, rows.records).await
    {
        // It is deleted with the job.
        tracing::debug!(%error, "failed to delete what the outcome of rows has made superfluous");
    }
    Ok(())
}

async fn record_failure(
    context: &Context,
    work: Work,
    reason: &str,
    quarantine: Option<String>,
    finished: Timestamp,
) -> Result<(), LedgerError> {
    let ledger = &context.worker.ledger;
    let failure = Failure { reason: reason.to_owned(), quarantine, attempts: work.attempt, finished };
    match work.task {
        Some(task) => ledger.record_failure(work.job, task, work.round, &failure).await,
        None => ledger.record_plan_failure(work.job, work.round, &failure).await,
    }
}

/// Tells people what a job waits for, where that is long enough to be noticed.
async fn record_wait(context: &Context, work: Work, delay: Duration, reason: String) {
    if delay < NOTICED {
        return;
    }
    let until = Timestamp::now() + delay;
    let until = until.round(Unit::Second).unwrap_or(until);
    let wait = Wait { task: work.task, until, reason };
    if let Err(error) = context.worker.ledger.record_wait(work.job, work.round, work.attempt + 1, wait).await {
        tracing::warn!(%error, "failed to write what the job waits for");
    }
}

/// Publishes a copy of the message, delivered after `delay`, and acknowledges the original; unless a copy is
/// published already.
async fn requeue(context: &Context, queue_name: &QueueName, delivery: &WorkDelivery, attempt: u32, delay: Duration) {
    if delivery.is_settled() {
        return;
    }
    // Never without a delay: a consumer that waits for room on its own queue might wait for itself.
    let delay = delay.max(Duration::from_millis(1));
    let is_requeued = delivery.kind == DeliveryKind::Requeued;
    if let Err(error) = replace(context, queue_name, delivery, attempt, is_requeued, delay).await {
        tracing::warn!(%error, "failed to requeue the message");
        // The delivery goes back, but not in a tight loop.
        let _ = retry::pause(context.worker.retry.max_wait, &context.shutdown).await;
        delivery.give_back().await;
    }
}

/// Publishes a copy of the message of work that goes on, before RabbitMQ's consumer timeout. It is delivered when the
/// work may be over: then it finds the outcome, a lease, or the work to do.
pub(crate) async fn requeue_running(context: &Context, queue_name: &QueueName, delivery: &WorkDelivery, work: Work) {
    match replace(context, queue_name, delivery, work.attempt, true, context.worker.requeue_after).await {
        Ok(()) => tracing::info!("requeued the message of a long task"),
        Err(error) => tracing::warn!(%error, "failed to requeue the message of a long task"),
    }
}

async fn replace(
    context: &Context,
    queue_name: &QueueName,
    delivery: &WorkDelivery,
    attempt: u32,
    is_requeued: bool,
    delay: Duration,
) -> Result<(), QueueError> {
    let copy = delivery.copy(attempt, is_requeued);
    context.worker.queue.publish(queue_name, &copy, delay).await?;
    delivery.ack().await;
    Ok(())
}

/// Moves a message to the dead letters, for people to look at. Its outcome is recorded: nothing is lost where that fails.
pub(crate) async fn dead_letter(context: &Context, queue_name: &QueueName, delivery: &WorkDelivery, reason: &str) {
    if let Err(error) = context.worker.queue.dead_letter(queue_name, &delivery.message, reason).await {
        tracing::warn!(%error, "failed to dead-letter the message");
    }
    delivery.ack().await;
}
