//! A message that this worker works on, and the delivery that it came with.
//!
//! The work may outlive the delivery: a long task is handed on before the broker takes it away.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio_util::sync::DropGuard;
use waybill_queue::{Delivery, Message};
use waybill_telemetry::TraceContext;

/// One piece of work. Dropped unsettled, it goes back to the queue.
#[derive(Debug)]
pub(crate) struct WorkDelivery {
    pub(crate) message: Message,
    pub(crate) redelivered: bool,
    /// The span that asked for it.
    pub(crate) trace: Option<TraceContext>,
    /// In the queue, for somebody to take it; not known of one that was out before.
    pub(crate) waited: Option<Duration>,
    delivery: Mutex<Option<Delivery>>,
    /// Dropped with the first request, or with the parcel where there is none.
    starting: Mutex<Option<DropGuard>>,
}

impl WorkDelivery {
    pub(crate) fn new(delivery: Delivery) -> Self {
        let (message, redelivered) = (delivery.message.clone(), delivery.redelivered);
        let waited = delivery.headers.waited().filter(|_| !redelivered);
        let trace = delivery.headers.trace.clone();
        Self { message, redelivered, trace, waited, delivery: Mutex::new(Some(delivery)), starting: Mutex::default() }
    }

    /// Says with `guard` when its work has sent its first request, or has ended.
    pub(crate) fn with_start(self, guard: DropGuard) -> Self {
        Self { starting: Mutex::new(Some(guard)), ..self }
    }

    /// A request of its work goes out.
    pub(crate) fn has_started(&self) {
        drop(self.starting.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The source that the message names.
    pub(crate) fn source(&self) -> &str {
        match &self.message {
            Message::PlanJob(plan) => &plan.source,
            Message::RunTask(task) => &task.source,
        }
    }

    /// Whether the delivery is settled: the queue has a copy then, or will not send it again.
    pub(crate) fn is_settled(&self) -> bool {
        self.delivery.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Says that the work is done, or in the queue's charge once more.
    pub(crate) async fn ack(&self) {
        if let Some(delivery) = self.take()
            && !delivery.ack().await
        {
            tracing::debug!("the queue had forgotten this delivery, and will send it again");
        }
    }

    /// Gives it back, to be delivered to somebody else.
    pub(crate) async fn give_back(&self) {
        if let Some(delivery) = self.take() {
            delivery.give_back().await;
        }
    }

    fn take(&self) -> Option<Delivery> {
        self.delivery.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
