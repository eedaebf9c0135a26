//! A message with the delivery that it came by.
//!
//! The work may outlive the delivery: the message of a long task is requeued before RabbitMQ's consumer timeout.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::OwnedSemaphorePermit;
use waybill_ledger::RowTally;
use waybill_queue::{Delivery, Message, PlanJob, RunTask};
use waybill_telemetry::TraceContext;

/// How a message came. It says whether the work may have been begun before, and whether this may be its last message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeliveryKind {
    /// The work's first message, delivered for the first time.
    First,
    /// Recovery or a second planner published it: there may be other messages of the work.
    Resent,
    /// The queue delivered it before, or a worker requeued it after a failed attempt.
    Redelivered,
    /// A worker published it while it ran the work.
    Requeued,
}

impl DeliveryKind {
    fn of(message: &Message, is_redelivered: bool) -> Self {
        let (is_requeued, is_resent, attempt) = match message {
            Message::PlanJob(plan) => (plan.requeued, false, plan.attempt),
            Message::RunTask(task) => (task.requeued, task.resent, task.attempt),
        };
        match () {
            () if is_requeued => Self::Requeued,
            () if is_redelivered || attempt > 1 => Self::Redelivered,
            () if is_resent => Self::Resent,
            () => Self::First,
        }
    }

    /// Whether the work may have been begun before.
    pub(crate) fn may_repeat(self) -> bool {
        self != Self::First
    }
}

/// A message and its delivery. Dropped unsettled, it goes back to the queue.
#[derive(Debug)]
pub(crate) struct WorkDelivery {
    pub(crate) message: Message,
    pub(crate) kind: DeliveryKind,
    /// The span that published it.
    pub(crate) trace: Option<TraceContext>,
    /// How long it waited in the queue; not known where the queue delivered it before.
    pub(crate) waited: Option<Duration>,
    delivery: Mutex<Option<Delivery>>,
    /// Held until the first request goes out, or until the end where there is none.
    starting: Mutex<Option<OwnedSemaphorePermit>>,
    /// Held until the first answer has come whole, or until the end where none does.
    downloading: Mutex<Option<OwnedSemaphorePermit>>,
    /// How the rows of its task have ended so far.
    rows: Mutex<Option<RowTally>>,
}

impl WorkDelivery {
    pub(crate) fn new(delivery: Delivery) -> Self {
        let (message, is_redelivered) = (delivery.message.clone(), delivery.redelivered);
        let kind = DeliveryKind::of(&message, is_redelivered);
        let waited = delivery.headers.waited().filter(|_| !is_redelivered);
        let trace = delivery.headers.trace.clone();
        Self {
            message,
            kind,
            trace,
            waited,
            delivery: Mutex::new(Some(delivery)),
            starting: Mutex::default(),
            downloading: Mutex::default(),
            rows: Mutex::default(),
        }
    }

    /// Holds the permit until its work sends its first request, or ends.
    pub(crate) fn starting_under(self, permit: OwnedSemaphorePermit) -> Self {
        Self { starting: Mutex::new(Some(permit)), ..self }
    }

    /// Holds the permit until the first answer has come whole, or its work ends.
    pub(crate) fn downloading_under(self, permit: OwnedSemaphorePermit) -> Self {
        Self { downloading: Mutex::new(Some(permit)), ..self }
    }

    /// An answer has come whole.
    pub(crate) fn has_downloaded(&self) {
        drop(self.downloading.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// A request of its work goes out.
    pub(crate) fn has_started(&self) {
        drop(self.starting.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// So many rows of its task have ended.
    pub(crate) fn tell_rows(&self, rows: RowTally) {
        *self.rows.lock().unwrap_or_else(PoisonError::into_inner) = Some(rows);
    }

    /// How the rows of its task have ended so far; none where there are no rows.
    pub(crate) fn rows(&self) -> Option<RowTally> {
        *self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The source that the message names.
    pub(crate) fn source(&self) -> &str {
        match &self.message {
            Message::PlanJob(plan) => &plan.source,
            Message::RunTask(task) => &task.source,
        }
    }

    /// The message as it is published again. Its work may have been begun by then.
    pub(crate) fn copy(&self, attempt: u32, requeued: bool) -> Message {
        match self.message.clone() {
            Message::PlanJob(plan) => Message::PlanJob(PlanJob { attempt, requeued, ..plan }),
            Message::RunTask(task) => Message::RunTask(RunTask { attempt, requeued, resent: true, ..task }),
        }
    }

    /// Whether the delivery is settled.
    pub(crate) fn is_settled(&self) -> bool {
        self.delivery.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Acknowledges the delivery.
    pub(crate) async fn ack(&self) {
        if let Some(delivery) = self.take()
            && !delivery.ack().await
        {
            tracing::debug!("the queue no longer knew the delivery, and redelivers it");
        }
    }

    /// Returns the message to the queue.
    pub(crate) async fn give_back(&self) {
        if let Some(delivery) = self.take() {
            delivery.give_back().await;
        }
    }

    fn take(&self) -> Option<Delivery> {
        self.delivery.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_follows_from_the_message_and_the_delivery() {
        let plan = |attempt, requeued| Message::PlanJob(PlanJob { attempt, requeued, ..PlanJob::default() });
        let task =
            |attempt, resent, requeued| Message::RunTask(RunTask { attempt, resent, requeued, ..RunTask::default() });
        for (message, is_redelivered, kind) in [
            (plan(1, false), false, DeliveryKind::First),
            (plan(0, false), true, DeliveryKind::Redelivered),
            (plan(2, false), false, DeliveryKind::Redelivered),
            (plan(2, true), true, DeliveryKind::Requeued),
            (task(1, false, false), false, DeliveryKind::First),
            (task(1, true, false), false, DeliveryKind::Resent),
            (task(1, true, false), true, DeliveryKind::Redelivered),
            (task(2, true, false), false, DeliveryKind::Redelivered),
            (task(1, true, true), false, DeliveryKind::Requeued),
        ] {
            assert_eq!(DeliveryKind::of(&message, is_redelivered), kind, "{message:?}");
            assert_eq!(kind.may_repeat(), kind != DeliveryKind::First);
        }
    }
}
