//! What is done beside work that takes long: it is said again and again that somebody has it in hand, and its
//! message is handed on before the broker takes it away.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicBool, Ordering},
};

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep_until};
use waybill_queue::{Message, PlanJob, QueueName, RunTask};

use crate::{
    context::Context,
    delivery::{outcome::Work, work_delivery::WorkDelivery},
};

/// A lease holds for so many times the time between two of them: one may fail, and another be slow.
const HOLDS_FOR: i32 = 3;

/// A task that runs here, or a planning.
#[derive(Debug)]
pub(crate) struct LeaseKeeper<'a> {
    context: &'a Context,
    queue_name: &'a QueueName,
    delivery: &'a WorkDelivery,
    work: Work,
    leased: AtomicBool,
}

impl<'a> LeaseKeeper<'a> {
    pub(crate) fn new(context: &'a Context, queue_name: &'a QueueName, delivery: &'a WorkDelivery, work: Work) -> Self {
        Self { context, queue_name, delivery, work, leased: AtomicBool::new(false) }
    }

    /// Attends for as long as it is polled.
    pub(crate) async fn keep_lease(&self) -> Infallible {
        let began = Instant::now();
        let (lease, requeue_after) = (self.context.worker.lease, self.context.worker.requeue_after);
        let (mut next_lease, mut next_hand_on) = (began + lease, began + requeue_after);
        loop {
            tokio::select! {
                () = sleep_until(next_lease) => {
                    self.lease(Timestamp::now() + SignedDuration::try_from(lease).unwrap_or_default() * HOLDS_FOR)
                        .await;
                    next_lease = Instant::now() + lease;
                }
                () = sleep_until(next_hand_on), if !self.delivery.is_settled() => {
                    self.requeue().await;
                    // Where the queue did not take it, there is time for another try.
                    next_hand_on = Instant::now() + lease;
                }
            }
        }
    }

    /// Takes back what was said, so that whoever gets the task next need not wait.
    pub(crate) async fn end_lease(&self) {
        if self.leased.load(Ordering::Relaxed) {
            self.lease(Timestamp::now()).await;
        }
    }

    async fn lease(&self, until: Timestamp) {
        self.leased.store(true, Ordering::Relaxed);
        let Context { worker, name, .. } = self.context;
        if let Err(error) = worker.ledger.lease(self.work.job, self.work.task, name, until).await {
            tracing::warn!(%error, "it could not be written down that somebody has this in hand");
        }
    }

    /// The copy comes back once the work may be over: then it finds the marker, or a lease, or the work to do.
    async fn requeue(&self) {
        let worker = &self.context.worker;
        let copy = match self.delivery.message.clone() {
            Message::PlanJob(plan) => Message::PlanJob(PlanJob { requeued: true, ..plan }),
            Message::RunTask(task) => Message::RunTask(RunTask { requeued: true, again: true, ..task }),
        };
        match worker.queue.publish(self.queue_name, &copy, worker.requeue_after).await {
            Ok(()) => {
                tracing::info!("this runs long, and is handed on");
                self.delivery.ack().await;
            }
            Err(error) => tracing::warn!(%error, "what runs long could not be handed on"),
        }
    }
}
