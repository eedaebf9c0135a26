//! The housekeeper: recovers unfinished jobs, removes superseded objects, deletes expired jobs, aborts abandoned
//! uploads, compacts journals, merges counts of requests, keeps tables small. One worker in the fleet holds its lock at a
//! time.
//!
//! The lock saves work; it is not needed for correctness. Any number of housekeepers may run at once.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures::FutureExt;
use jiff::Timestamp;
use waybill_ledger::Recovery;
use waybill_queue::{Lock, QueueError, QueueName};

use crate::{
    context::Context,
    limits::distributed_semaphore::jittered,
    maintenance::{
        garbage::{Sweep, Swept},
        hits, journals, tables,
    },
    retry::pause,
};

/// The housekeeper's lock.
const NAME: &str = "housekeeper";
/// An upload that began so long ago is abandoned.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);
/// The interval of work that takes days to come about.
const HOURLY: Duration = Duration::from_secs(60 * 60);

/// Runs the housekeeper whenever its lock is free, until shutdown. A panic ends one run only: the worker's tasks do not
/// depend on the housekeeper.
pub(crate) async fn keep(context: &Context) {
    let mut housekeeper = Housekeeper {
        context,
        // After a start, a queue in memory is empty.
        everything: !context.worker.queue.is_durable(),
        sweep: Sweep::default(),
        next_hourly: Instant::now(),
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

/// Waits for the lock; `None` at shutdown.
async fn lock(context: &Context) -> Option<Lock> {
    loop {
        match context.worker.queue.try_lock(NAME).await {
            Ok(Some(lock)) => return Some(lock),
            Ok(None) => {}
            Err(QueueError::Closed) => return None,
            Err(error) => tracing::debug!(%error, "failed to try the housekeeper lock"),
        }
        // Jitter: when the holder dies, not all workers try at once.
        pause(jittered(context.worker.housekeeping.min(Duration::from_secs(10))), &context.shutdown).await.ok()?;
    }
}

struct Housekeeper<'a> {
    context: &'a Context,
    /// Whether every unfinished job is to be published again; tried until it succeeds.
    everything: bool,
    sweep: Sweep,
    next_hourly: Instant,
}

impl Housekeeper<'_> {
    /// Until shutdown.
    async fn run(&mut self) {
        let worker = &self.context.worker;
        while let Some(lock) = lock(self.context).await {
            tracing::info!("acquired the housekeeper lock");
            let context = self.context;
            tokio::select! {
                () = journals::keep(context) => {}
                () = hits::keep(context) => {}
                () = tables::keep(context) => {}
                () = self.tick_while_held(&lock) => {}
            }
            if context.shutdown.is_cancelled() {
                return;
            }
            worker.metrics.keeps_house_no_more();
        }
    }

    async fn tick_while_held(&mut self, lock: &Lock) {
        while lock.is_held() {
            self.tick(lock).await;
            if pause(self.context.worker.housekeeping, &self.context.shutdown).await.is_err() {
                return;
            }
        }
    }

    /// One tick, until shutdown or until the lock is lost.
    async fn tick(&mut self, lock: &Lock) {
        let shutdown = self.context.shutdown.clone();
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = lock.lost() => tracing::warn!("lost the housekeeper lock"),
            () = self.run_frequent() => {}
        }
    }

    async fn run_frequent(&mut self) {
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
                    tracing::info!(messages, "republished messages of unfinished jobs");
                }
            }
            Err(error) => {
                worker.metrics.acted("failed", 1);
                tracing::warn!(%error, "failed to recover unfinished jobs");
            }
        }
        match self.sweep.turn(&worker.store, &self.context.index).await {
            Ok(Swept { superseded, entered }) => {
                worker.metrics.acted("superseded_object_removed", superseded);
                worker.metrics.acted("lost_object_entered", entered);
                if superseded + entered > 0 {
                    tracing::info!(superseded, entered, "removed superseded objects, entered lost ones into the index");
                }
            }
            Err(error) => {
                worker.metrics.acted("failed", 1);
                tracing::warn!(%error, "failed to remove superseded objects");
            }
        }
        self.count_messages().await;
        worker.metrics.acted("looked", 1);
        if self.next_hourly <= Instant::now() {
            self.run_hourly().await;
        }
    }

    /// Sets the gauges of waiting messages.
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
        self.next_hourly = Instant::now() + HOURLY;
        match worker.ledger.expire(Timestamp::now()).await {
            Ok(0) => {}
            Ok(jobs) => {
                worker.metrics.acted("job_expired", jobs);
                tracing::info!(jobs, "deleted expired jobs");
            }
            Err(error) => {
                worker.metrics.acted("failed", 1);
                tracing::warn!(%error, "failed to delete expired jobs");
            }
        }
        match worker.store.abort_stale_uploads(ABANDONED).await {
            Ok(0) => {}
            Ok(uploads) => {
                worker.metrics.acted("upload_aborted", uploads as u64);
                tracing::info!(uploads, "aborted abandoned uploads");
            }
            Err(error) => {
                worker.metrics.acted("failed", 1);
                tracing::warn!(%error, "failed to abort abandoned uploads");
            }
        }
    }
}
