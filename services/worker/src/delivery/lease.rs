//! Long work: renews its lease, tells how far it is, and requeues its message before RabbitMQ's consumer timeout.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep_until};
use waybill_ledger::Lease;
use waybill_queue::QueueName;

use crate::{
    context::Context,
    delivery::{outcome::Work, settle, work_delivery::WorkDelivery},
};

/// A lease is valid for so many times the time between two renewals: one may fail, and another be slow.
const HOLDS_FOR: i32 = 3;

/// How often it is told how the rows of a task have ended.
const ROWS_TOLD: Duration = Duration::from_secs(3);

/// Keeps the lease of work that runs here.
#[derive(Debug)]
pub(crate) struct LeaseKeeper<'a> {
    context: &'a Context,
    queue_name: &'a QueueName,
    delivery: &'a WorkDelivery,
    work: Work,
    /// How often the lease was taken or renewed.
    renewals: AtomicU32,
}

impl<'a> LeaseKeeper<'a> {
    pub(crate) fn new(context: &'a Context, queue_name: &'a QueueName, delivery: &'a WorkDelivery, work: Work) -> Self {
        Self { context, queue_name, delivery, work, renewals: AtomicU32::default() }
    }

    /// Renews the lease for as long as it is polled.
    pub(crate) async fn keep_lease(&self) -> Infallible {
        let began = Instant::now();
        let (lease, requeue_after) = (self.context.worker.lease, self.context.worker.requeue_after);
        let (mut next_lease, mut next_requeue) = (began + lease, began + requeue_after);
        // Short work has no lease: a worker that gets it after a crash need not wait.
        let (mut until, mut next_rows, mut told) = (Timestamp::now(), began + ROWS_TOLD, None);
        loop {
            tokio::select! {
                () = sleep_until(next_lease) => {
                    until = Timestamp::now() + SignedDuration::try_from(lease).unwrap_or_default() * HOLDS_FOR;
                    self.lease(until).await;
                    next_lease = Instant::now() + lease;
                }
                () = sleep_until(next_rows) => {
                    if self.delivery.rows() != told {
                        told = self.delivery.rows();
                        self.lease(until).await;
                    }
                    next_rows = Instant::now() + ROWS_TOLD;
                }
                () = sleep_until(next_requeue), if !self.delivery.is_settled() => {
                    settle::requeue_running(self.context, self.queue_name, self.delivery, self.work).await;
                    // Where the queue did not take it, there is time for another try.
                    next_requeue = Instant::now() + lease;
                }
            }
        }
    }

    /// Ends the lease, so that the worker which gets the work next need not wait for it to expire.
    pub(crate) async fn end_lease(&self) {
        if self.renewals.load(Ordering::Relaxed) > 0 {
            self.lease(Timestamp::now()).await;
        }
    }

    async fn lease(&self, until: Timestamp) {
        let Context { worker, name, .. } = self.context;
        let Work { job, task, round, id, .. } = self.work;
        let renewal = self.renewals.fetch_add(1, Ordering::Relaxed);
        let lease = Lease { id, renewal, worker: name.clone(), until, rows: self.delivery.rows() };
        if let Err(error) = worker.ledger.record_lease(job, task, round, lease).await {
            tracing::warn!(%error, "failed to renew the lease");
        }
    }
}
