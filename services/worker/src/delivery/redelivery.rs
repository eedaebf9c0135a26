//! Redelivered work: skips work that another worker has leased, and caps attempts for work that crashes its worker.

use std::time::Duration;

use jiff::Timestamp;
use waybill_ledger::LedgerError;

use crate::{
    context::Context,
    delivery::outcome::{TaskError, Work},
};

/// Fails where another worker has leased the work.
pub(crate) async fn check_lease(context: &Context, work: Work) -> Result<(), TaskError> {
    let (lease, now) = (context.worker.ledger.lease_of(work.job, work.task).await?, Timestamp::now());
    match lease.filter(|lease| lease.is_fresh(now) && lease.worker != context.name) {
        Some(lease) => Err(TaskError::LeasedElsewhere {
            remaining: Duration::try_from(lease.until.duration_since(now)).unwrap_or_default(),
        }),
        None => Ok(()),
    }
}

/// Records a further attempt at the work, and fails once there were too many.
pub(crate) async fn count(context: &Context, work: Work) -> Result<(), TaskError> {
    let (ledger, most) = (&context.worker.ledger, context.worker.retry.attempts);
    let number = ledger.record_attempt(work.job, work.task, round(context, work).await?).await?;
    if number > most {
        let reason = format!("given up after {most} attempts, none of which ended: they crashed or lost their workers");
        return Err(TaskError::Failed { reason });
    }
    Ok(())
}

/// Deletes the record of the last attempt: it was interrupted by a shutdown, which says nothing about the work.
pub(crate) async fn forget(context: &Context, work: Work) {
    let forgotten = async {
        let round = round(context, work).await?;
        context.worker.ledger.forget_attempt(work.job, work.task, round).await
    };
    if let Err(error) = forgotten.await {
        tracing::warn!(%error, "failed to delete the record of an interrupted attempt");
    }
}

/// The round of the work; a message to plan a job does not name it.
async fn round(context: &Context, work: Work) -> Result<u32, LedgerError> {
    match work.task {
        Some(_) => Ok(work.round),
        None => context.worker.ledger.round(work.job).await,
    }
}
