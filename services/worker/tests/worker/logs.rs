//! What is logged: one line for each event, so that whoever counts lines counts events.

use std::{
    collections::HashSet,
    fmt::Debug,
    sync::{Arc, Mutex},
    time::Duration,
};

use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    dispatcher::DefaultGuard,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use waybill_ledger::State;
use waybill_queue::{Message, Queue, QueueName, RunTask};

use crate::support::{BUSES, Reply, System, Upstream, cities, file, until};

/// The fields of each warning and error, in order.
#[derive(Debug, Clone, Default)]
struct Warnings(Arc<Mutex<Vec<Fields>>>);

impl Warnings {
    /// Those of this thread, until the guard is dropped.
    fn record() -> (Self, DefaultGuard) {
        let warnings = Self::default();
        let guard = tracing::dispatcher::set_default(&Dispatch::new(warnings.clone()));
        (warnings, guard)
    }

    fn messages(&self) -> Vec<String> {
        let all = self.0.lock().unwrap();
        let mut messages: Vec<_> = all
            .iter()
            .map(|Fields(fields)| {
                let names: HashSet<_> = fields.iter().map(|(name, _)| name).collect();
                assert_eq!(names.len(), fields.len(), "no field overwrites another: {fields:?}");
                fields.iter().find(|(name, _)| *name == "message").unwrap().1.clone()
            })
            .collect();
        messages.sort();
        messages
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(Vec::new());
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Debug)]
struct Fields(Vec<(&'static str, String)>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }
}

#[tokio::test]
async fn each_failure_is_one_line() {
    let (warnings, _guard) = Warnings::record();
    let upstream = Upstream::start().await;
    upstream.on("/cities", |_| cities(3));
    upstream.on(&file(0), |_| Reply::body("no JSON"));
    upstream.on(&file(1), |_| Reply::status(404));
    // With two deliveries of three tries each.
    upstream.on(&file(2), |_| Reply::status(503));
    let mut system = System::start(BUSES, upstream).await;
    let status = system.job().await;
    assert_eq!((status.state, status.tasks.failed), (State::Failed, 3));
    system.stop().await;
    assert_eq!(warnings.messages(), ["failed for good", "failed for good", "failed, to be retried", "file rejected"]);
}

#[tokio::test]
async fn a_message_that_names_no_job_is_one_line_with_its_own_message() {
    let (warnings, _guard) = Warnings::record();
    let system = System::start(BUSES, Upstream::with_cities(1).await).await;
    let message = Message::RunTask(RunTask { job_id: "none".to_owned(), ..RunTask::default() });
    system.queue.publish(&QueueName::Source("buses".to_owned()), &message, Duration::ZERO).await.unwrap();
    until("dead-lettered", || !system.queue.dead_letters().is_empty()).await;
    assert_eq!(warnings.messages(), ["the message names no job"]);
}
