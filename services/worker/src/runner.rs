//! The consumers: each takes one message at a time, has it done, and settles it.
//!
//! Nothing that goes wrong with one message may end a loop.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt;
use tokio::task::JoinSet;
use tracing::Instrument;
use waybill_queue::{Consumer, Delivery, Lane, Message, QueueError};
use waybill_source::Limit;

use crate::{
    context::Context,
    housekeeper,
    outcome::{self, Outcome, Work},
    plan, retry, task,
};

/// Jobs planned at once.
const PLANS_AT_ONCE: u32 = 2;

/// How long to wait where no consumer is to be had.
const NO_CONSUMER: Duration = Duration::from_secs(1);

/// Serves all lanes until shutdown, or until the queue is closed; then waits for what runs.
pub(crate) async fn serve(context: Arc<Context>, deadline: Duration) {
    let mut loops = JoinSet::new();
    let sources = context.worker.catalog.iter().map(|it| (Lane::Source(it.name().to_owned()), at_once(it.limit())));
    for (lane, consumers) in [(Lane::Plans, PLANS_AT_ONCE)].into_iter().chain(sources) {
        tracing::info!(%lane, consumers, "serving");
        for _ in 0..consumers {
            loops.spawn(run(context.clone(), lane.clone()));
        }
    }
    let housekeeper = housekeeper::keep(&context);
    tokio::select! {
        () = context.shutdown.cancelled() => {}
        () = all_ended(&mut loops) => {}
        () = housekeeper => {}
    }
    if tokio::time::timeout(deadline, all_ended(&mut loops)).await.is_err() {
        // A delivery that is dropped goes back to the queue.
        tracing::warn!(unfinished = loops.len(), "the deadline has passed: unfinished work is given back");
        loops.shutdown().await;
    }
}

/// Consumers of one source's lane.
fn at_once(limit: Limit) -> u32 {
    match limit {
        Limit::Concurrency(requests) => requests,
        Limit::Rate { .. } => 1,
    }
}

async fn all_ended(loops: &mut JoinSet<()>) {
    while let Some(ended) = loops.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a consumer ended");
        }
    }
}

async fn run(context: Arc<Context>, lane: Lane) {
    let Some(mut consumer) = consumer(&context, &lane).await else { return };
    while run_next(&context, &lane, &mut *consumer).await {}
}

async fn consumer(context: &Context, lane: &Lane) -> Option<Box<dyn Consumer>> {
    loop {
        match context.worker.queue.consume(lane).await {
            Ok(consumer) => return Some(consumer),
            Err(QueueError::Closed) => return None,
            Err(error) => tracing::warn!(%lane, %error, "no consumer"),
        }
        retry::pause(NO_CONSUMER, &context.shutdown).await.ok()?;
    }
}

/// Does one delivery; `false` where there will be no more.
async fn run_next(context: &Context, lane: &Lane, consumer: &mut dyn Consumer) -> bool {
    let delivery = context.shutdown.run_until_cancelled(consumer.next()).await.flatten();
    let Some(delivery) = delivery else { return false };
    match Work::of(&delivery.message) {
        Some(work) => {
            let source = match &delivery.message {
                Message::PlanJob(plan) => &plan.source,
                Message::RunTask(task) => &task.source,
            };
            let span = tracing::info_span!("work", job.id = %work.job, task = work.task, source);
            run_one(context, lane, delivery, work).instrument(span).await;
        }
        None => {
            tracing::error!(%lane, message = ?delivery.message, "the message names no job");
            outcome::bury(context, lane, delivery, "the message names no job").await;
        }
    }
    true
}

async fn run_one(context: &Context, lane: &Lane, delivery: Delivery, work: Work) {
    let began = Instant::now();
    // Held until the delivery is settled, so that no duplicate looks for a marker that is being written.
    let in_hand = context.take(work.job, work.task);
    let outcome = match &in_hand {
        None => Outcome::Busy,
        Some(_) => AssertUnwindSafe(perform(context, work, &delivery.message, delivery.redelivered))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Outcome::Retry { after: None, reason: "the worker panicked, see its log".to_owned() }),
    };
    outcome::settle(context, lane, delivery, work, outcome, began).await;
}

async fn perform(context: &Context, work: Work, message: &Message, redelivered: bool) -> Outcome {
    match message {
        Message::PlanJob(message) => plan::run(context, work.job, message, redelivered).await,
        Message::RunTask(message) => task::run(context, work.job, message, redelivered).await,
    }
}
