//! Runs one task: fetch → spool → check every record and add up → store with metadata. `delivery/settle.rs` records
//! its outcome.
//!
//! A task may run twice, on two workers at once, or be interrupted at any line: the newest fetch of an item counts, and
//! is stored whole. `single_item.rs` fetches one item, `batch.rs` several. A load has no items: `load/`.

use waybill_ledger::{Plan, task_items};
use waybill_queue::RunTask;

use crate::{
    context::Context,
    delivery::{
        outcome::{Success, TaskError, Work},
        redelivery,
        work_delivery::WorkDelivery,
    },
    task::{Task, batch, load, rows, single_item},
};

/// Runs the task that a message asks for.
pub(crate) async fn run(
    context: &Context,
    work: Work,
    message: &RunTask,
    delivery: &WorkDelivery,
) -> Result<Success, TaskError> {
    let (ledger, job) = (&context.worker.ledger, work.job);
    let may_repeat = delivery.kind.may_repeat();
    // A message that the queue had twice is delivered for the first time twice. Rows must not be sent for both.
    let is_sent_once = context.catalog_has_upload(delivery.source());
    if (may_repeat || is_sent_once) && ledger.has_task_ended(job, message.task, message.round).await? {
        return Ok(Success::AlreadyEnded);
    }
    let Some(request) = ledger.request(job).await? else {
        return Err(TaskError::JobNotFound);
    };
    let items = task_items::from_message(&message.items);
    if Plan::is_load(&items) {
        return load::run(context, work, &request, delivery).await;
    }
    let unsent = match may_begin(context, work, may_repeat, is_sent_once).await {
        Ok(()) => None,
        // An earlier run may have sent rows: what has become of them is told, whatever keeps others from being sent.
        Err(why @ (TaskError::Cancelled | TaskError::Failed { .. }))
            if is_sent_once && ledger.has_row_log(job, message.task).await? =>
        {
            Some(why)
        }
        Err(why) => return Err(why),
    };
    let definition = &*ledger.definition(&request.source, &request.definition).await?;
    if let Some(problem) = items.iter().find_map(|item| item.problem.clone()) {
        return Err(TaskError::Failed { reason: problem });
    }
    let about = request.context();
    let partition = definition.partition(&about, &items)?;
    let key = definition.object_item_key(&items)?;
    tracing::Span::current().record("item", &key);
    let Some(throttle) = context.throttle(&request.source) else {
        // Only a message on the wrong queue gets here.
        return Err(TaskError::Failed { reason: format!("there is no source `{}` here", request.source) });
    };
    let task = Task {
        context,
        throttle,
        delivery,
        definition,
        request: &request,
        about,
        number: message.task,
        partition,
        key,
    };
    match items.as_slice() {
        [item] if definition.upload().is_some() => rows::run(&task, item, work, unsent).await,
        [item] if definition.batch() == 1 => single_item::run(&task, item).await,
        items => batch::run(&task, items).await,
    }
}

async fn may_begin(context: &Context, work: Work, may_repeat: bool, is_sent_once: bool) -> Result<(), TaskError> {
    if is_sent_once {
        redelivery::check_lease(context, work).await?;
    }
    if context.is_cancelled(work.job).await? {
        return Err(TaskError::Cancelled);
    }
    if may_repeat {
        redelivery::check_lease(context, work).await?;
        redelivery::count(context, work).await?;
    }
    Ok(())
}
