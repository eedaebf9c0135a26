//! Runs the consumer loops until the worker stops.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use waybill_queue::QueueName;

use crate::{
    consumers::{serial, source},
    context::Context,
    maintenance::housekeeper,
};

/// Jobs planned at once.
const PLANS_AT_ONCE: u32 = 2;

/// How long interrupted work may take to return its message.
const RETURN_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves all queues until shutdown, or until the queue is closed; then waits for what runs.
pub(crate) async fn serve(context: Arc<Context>, deadline: Duration) {
    let mut loops = JoinSet::new();
    for _ in 0..PLANS_AT_ONCE {
        loops.spawn(serial::run(context.clone(), QueueName::Plans));
    }
    for definition in context.worker.catalog.iter() {
        source::serve(&context, definition, &mut loops);
    }
    let housekeeper = housekeeper::keep(&context);
    tokio::select! {
        () = context.shutdown.cancelled() => {}
        () = all_ended(&mut loops) => {}
        () = housekeeper => {}
    }
    if tokio::time::timeout(deadline, all_ended(&mut loops)).await.is_err() {
        tracing::warn!(unfinished = loops.len(), "shutdown deadline passed, unfinished messages return to the queue");
        context.deadline.cancel();
        if tokio::time::timeout(RETURN_TIMEOUT, all_ended(&mut loops)).await.is_err() {
            // A dropped delivery returns to the queue, too.
            loops.shutdown().await;
        }
    }
}

async fn all_ended(loops: &mut JoinSet<()>) {
    while let Some(ended) = loops.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a consumer loop failed");
        }
    }
}
