//! The housekeeper: looks after what nobody holds. One worker in the fleet does it at a time.
//!
//! What is done for jobs is the ledger's business, and right however many do it at once; here is only when.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures::FutureExt;
use jiff::Timestamp;
use waybill_ledger::Recovery;
use waybill_queue::{Lock, QueueError, QueueName};

use crate::{context::Context, limits::distributed_semaphore::jittered, maintenance::garbage::Sweep, retry::pause};

/// Held by the worker that keeps house.
const NAME: &str = "housekeeper";
/// An upload that was begun so long ago is nobody's any more.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);
/// How often what takes a day or more to come about is looked for.
const SELDOM: Duration = Duration::from_secs(60 * 60);

/// Keeps house whenever no other worker does, until shutdown. A panic ends one run only: the worker's tasks do not
/// depend on the housekeeper.
pub(crate) async fn keep(context: &Context) {
    let mut housekeeper = Housekeeper {
        context,
        // After a start with a queue that was in memory only.
        everything: !context.worker.queue.is_durable(),
        sweep: Sweep::default(),
        next_seldom: Instant::now(),
    };
    let metrics = &context.worker.metrics;
    metrics.may_keep_house();
    while AssertUnwindSafe(housekeeper.run()).catch_unwind().await.is_err() {
        metrics.acted("failed", 1);
        metrics.keeps_house_no_more();
        tracing::error!("the housekeeper panicked, and is started again");
        if pause(context.worker.housekeeping, &context.shutdown).await.is_err() {
            return;
        }
    }
}

/// Waits until nobody else keeps house; `None` at shutdown.
async fn lock(context: &Context) -> Option<Lock> {
    loop {
        match context.worker.queue.try_lock(NAME).await {
            Ok(Some(lock)) => return Some(lock),
            Ok(None) => {}
            Err(QueueError::Closed) => return None,
            Err(error) => tracing::debug!(%error, "nobody can say who keeps house"),
        }
        // Not all at once, when the one who did has died.
        pause(jittered(context.worker.housekeeping.min(Duration::from_secs(10))), &context.shutdown).await.ok()?;
    }
}

struct Housekeeper<'a> {
    context: &'a Context,
    /// Every unfinished job is to be sent out again, which is tried until it works.
    everything: bool,
    sweep: Sweep,
    next_seldom: Instant,
}

impl Housekeeper<'_> {
    /// Until shutdown.
    async fn run(&mut self) {
        let worker = &self.context.worker;
        while let Some(lock) = lock(self.context).await {
            tracing::info!("keeping house");
            while lock.is_held() {
                self.turn(&lock).await;
                if pause(worker.housekeeping, &self.context.shutdown).await.is_err() {
                    return;
                }
            }
            worker.metrics.keeps_house_no_more();
        }
    }

    /// One look at everything, until shutdown or until the hold is lost.
    async fn turn(&mut self, lock: &Lock) {
        let shutdown = self.context.shutdown.clone();
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = lock.lost() => tracing::warn!("another worker may keep house now"),
            () = self.look() => {}
        }
    }

    async fn look(&mut self) {
        let worker = &self.context.worker;
        match worker.ledger.recover_within(Timestamp::now(), self.everything, worker.lost_after).await {
            Ok(Recovery { messages, unfinished }) => {
                self.everything = false;
                worker.metrics.acted("message_sent_again", messages);
                for definition in worker.catalog.iter() {
                    let source = definition.name();
                    worker.metrics.saw_unfinished(source, unfinished.get(source).copied().unwrap_or_default());
                }
                if messages > 0 {
                    tracing::info!(messages, "unfinished jobs were sent out again");
                }
            }
            Err(error) => {
                worker.metrics.acted("failed", 1);
                tracing::warn!(%error, "unfinished jobs cannot be looked for");
            }
        }
        match self.sweep.turn(&worker.store).await {
            Ok(0) => {}
            Ok(objects) => {
                worker.metrics.acted("superseded_object_removed", objects as u64);
                tracing::info!(objects, "superseded objects were removed");
            }
            Err(error) => {
                worker.metrics.acted("failed", 1);
                tracing::warn!(%error, "superseded objects cannot be looked for");
            }
        }
        self.count_messages().await;
        worker.metrics.acted("looked", 1);
        if self.next_seldom <= Instant::now() {
            self.run_hourly().await;
        }
    }

    /// Says how many messages wait on each queue, for whoever watches.
    async fn count_messages(&self) {
        let worker = &self.context.worker;
        let queues = worker.catalog.iter().map(|definition| QueueName::Source(definition.name().to_owned()));
        for queue_name in std::iter::once(QueueName::Plans).chain(queues) {
            let waiting = worker.queue.waiting(&queue_name).await;
            worker.metrics.saw_waiting(&queue_name, waiting.ok());
        }
    }

    async fn run_hourly(&mut self) {
        let worker = &self.context.worker;
        self.next_seldom = Instant::now() + SELDOM;
        match worker.ledger.expire(Timestamp::now()).await {
            Ok(0) => {}
            Ok(jobs) => {
                worker.metrics.acted("job_expired", jobs);
                tracing::info!(jobs, "expired jobs were deleted");
            }
            Err(error) => {
                worker.metrics.acted("failed", 1);
                tracing::warn!(%error, "expired jobs cannot be looked for");
            }
        }
        match worker.store.abort_stale_uploads(ABANDONED).await {
            Ok(0) => {}
            Ok(uploads) => {
                worker.metrics.acted("upload_aborted", uploads as u64);
                tracing::info!(uploads, "abandoned uploads were aborted");
            }
            Err(error) => {
                worker.metrics.acted("failed", 1);
                tracing::warn!(%error, "abandoned uploads cannot be looked for");
            }
        }
    }
}
