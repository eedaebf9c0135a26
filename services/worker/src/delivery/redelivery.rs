//! Work that may have been begun before: it may be in other hands, or may have ended its worker. The one must not be
//! run beside, and the other not for ever.

use std::time::Duration;

use jiff::Timestamp;
use waybill_ledger::LedgerError;
use waybill_queue::Message;

use crate::{
    context::Context,
    delivery::{
        outcome::{Outcome, Work},
        work_delivery::WorkDelivery,
    },
};

/// Whether it may have been.
pub(crate) fn is_redelivery(delivery: &WorkDelivery) -> bool {
    delivery.redelivered
        || match &delivery.message {
            Message::PlanJob(plan) => plan.requeued || plan.attempt > 1,
            Message::RunTask(task) => task.again || task.attempt > 1,
        }
}

/// Ends here where another worker says that it has this in hand.
pub(crate) async fn check_lease(context: &Context, work: Work) -> Result<(), Outcome> {
    let (lease, now) = (context.worker.ledger.lease_of(work.job, work.task).await?, Timestamp::now());
    match lease.filter(|lease| lease.is_fresh(now) && lease.worker != context.name) {
        Some(lease) => Err(Outcome::LeasedElsewhere {
            remaining: Duration::try_from(lease.until.duration_since(now)).unwrap_or_default(),
        }),
        None => Ok(()),
    }
}

/// Counts that it is begun again, and gives it up once that was too often.
pub(crate) async fn count(context: &Context, work: Work) -> Result<(), Outcome> {
    let (ledger, most) = (&context.worker.ledger, context.worker.retry.attempts);
    let number = ledger.record_attempt(work.job, work.task, round(context, work).await?).await?;
    if number > most {
        let reason = format!("given up: it was begun again {most} times, and neither ended well nor said why");
        return Err(Outcome::Failed { reason });
    }
    Ok(())
}

/// Takes the last count back: a worker that goes down as it should is no reason to give anything up.
pub(crate) async fn forget(context: &Context, work: Work, delivery: &WorkDelivery) {
    let forgotten = async {
        let round = round(context, work).await?;
        context.worker.ledger.forget_attempt(work.job, work.task, round).await
    };
    if is_redelivery(delivery)
        && let Err(error) = forgotten.await
    {
        tracing::warn!(%error, "an attempt counts that was broken off");
    }
}

/// A planning's message does not say for which round it is.
async fn round(context: &Context, work: Work) -> Result<u32, LedgerError> {
    match work.task {
        Some(_) => Ok(work.round),
        None => context.worker.ledger.round(work.job).await,
    }
}
