//! The work of one message, from its delivery to its settlement. No failure of one message may end a consumer loop.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures::FutureExt;
use tracing::{Instrument, Span, field::Empty, info_span};
use waybill_queue::{Consumer, Message, QueueError, QueueName};

use crate::{
    context::Context,
    delivery::{
        lease::LeaseKeeper,
        outcome::{Success, TaskError, Work},
        redelivery, settle,
        work_delivery::WorkDelivery,
    },
    plan::planner,
    retry,
    task::run_task,
};

/// The wait between two tries to create a consumer.
const BETWEEN_TRIES: Duration = Duration::from_secs(1);

/// A consumer; `None` once the queue is closed.
pub(crate) async fn consumer(context: &Context, queue_name: &QueueName, prefetch: u16) -> Option<Box<dyn Consumer>> {
    loop {
        match context.worker.queue.consume(queue_name, prefetch).await {
            Ok(consumer) => return Some(consumer),
            Err(QueueError::Closed) => return None,
            Err(error) => tracing::warn!(%queue_name, %error, "failed to create a consumer"),
        }
        retry::pause(BETWEEN_TRIES, &context.shutdown).await.ok()?;
    }
}

/// Runs the work of one message, and settles its delivery.
pub(crate) async fn run_delivery(context: &Context, queue_name: &QueueName, delivery: WorkDelivery) {
    if let Some(waited) = delivery.waited {
        context.worker.metrics.queue_wait(queue_name).observe(waited.as_secs_f64());
    }
    match Work::of(&delivery.message) {
        Some(work) => {
            let span = span(queue_name, &delivery, work);
            run_one(context, queue_name, &delivery, work).instrument(span).boxed().await;
        }
        None => {
            tracing::error!(%queue_name, content = ?delivery.message, "the message names no job");
            settle::dead_letter(context, queue_name, &delivery, "the message names no job").await;
        }
    }
}

/// The span of the work, in the trace of the message's publisher.
fn span(queue_name: &QueueName, delivery: &WorkDelivery, work: Work) -> Span {
    let (job, source) = (work.job, delivery.source());
    let span = match work.task {
        None => info_span!("plan", %job, source, %queue_name, outcome = Empty, error = Empty, trace_id = Empty),
        Some(task) => {
            info_span!("task", %job, task, source, %queue_name, item = Empty, outcome = Empty, error = Empty, trace_id = Empty)
        }
    };
    waybill_telemetry::begin(&span, delivery.trace.as_ref());
    span
}

async fn run_one(context: &Context, queue_name: &QueueName, delivery: &WorkDelivery, work: Work) {
    let began = Instant::now();
    // Held until the delivery is settled: a duplicate must not look for an outcome while it is recorded.
    let in_hand = context.take(work.job, work.task);
    let lease_keeper = LeaseKeeper::new(context, queue_name, delivery, work);
    let result = match &in_hand {
        None => Err(TaskError::AlreadyRunning),
        Some(_) => {
            let performed = AssertUnwindSafe(perform(context, work, delivery)).catch_unwind();
            let performed = tokio::select! {
                biased;
                performed = performed => performed,
                () = context.deadline.cancelled() => Ok(Err(TaskError::Interrupted)),
                never = lease_keeper.keep_lease() => match never {},
            };
            performed.unwrap_or_else(|_| {
                Err(TaskError::Retry { after: None, reason: "the worker panicked, see its log".to_owned() })
            })
        }
    };
    // The worker that gets this work next, by a copy of this message or in a later round, need not wait for the lease.
    let is_left = matches!(
        result,
        Err(TaskError::ThrottledElsewhere
            | TaskError::TableBusy
            | TaskError::Interrupted
            | TaskError::PartlyDone { .. })
    );
    if is_left || matches!(result, Err(TaskError::Retry { .. } | TaskError::Failed { .. })) {
        lease_keeper.end_lease().await;
    }
    if is_left && delivery.kind.may_repeat() {
        redelivery::withdraw(context, work).await;
    }
    let label = result.as_ref().map_or_else(TaskError::label, Success::label);
    let reason = result.as_ref().err().and_then(TaskError::reason).map(str::to_owned);
    settle::settle(context, queue_name, delivery, work, result, began).await;
    Span::current().record("outcome", label);
    if let Some(reason) = reason {
        Span::current().record("error", reason);
    }
}

async fn perform(context: &Context, work: Work, delivery: &WorkDelivery) -> Result<Success, TaskError> {
    match &delivery.message {
        Message::PlanJob(_) => planner::run(context, work, delivery).await,
        Message::RunTask(message) => run_task::run(context, work, message, delivery).await,
    }
}
