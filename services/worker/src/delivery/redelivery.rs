//! Redelivered work: skips work that another worker has leased, and caps attempts for work that crashes its worker.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    context::Context,
    delivery::outcome::{TaskError, Work},
};

/// Fails where another worker has leased the work.
pub(crate) async fn check_lease(context: &Context, work: Work) -> Result<(), TaskError> {
    let (leases, now) = (context.worker.ledger.leases(work.job, work.task).await?, Timestamp::now());
    let of_others = leases.into_iter().filter(|lease| lease.worker != context.name).map(|lease| lease.until);
    match of_others.max().filter(|until| now < *until) {
        Some(until) => Err(TaskError::LeasedElsewhere {
            remaining: Duration::try_from(until.duration_since(now)).unwrap_or_default(),
        }),
        None => Ok(()),
    }
}

/// Records a further attempt at the work, and fails once there were too many.
pub(crate) async fn count(context: &Context, work: Work) -> Result<(), TaskError> {
    let (ledger, most) = (&context.worker.ledger, context.worker.retry.attempts);
    let attempts = ledger.record_attempt(work.job, work.task, work.round, work.id).await?;
    if attempts > most {
        let reason = format!("given up after {most} attempts, none of which ended: they crashed or lost their workers");
        return Err(TaskError::Failed { reason });
    }
    Ok(())
}

/// Records that this attempt was interrupted by a shutdown, which says nothing about the work.
pub(crate) async fn withdraw(context: &Context, work: Work) {
    let ledger = &context.worker.ledger;
    if let Err(error) = ledger.withdraw_attempt(work.job, work.task, work.round, work.id).await {
        tracing::warn!(%error, "failed to withdraw an interrupted attempt");
    }
}
