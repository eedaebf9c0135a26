//! What lies in the dead-letter queue, against the ledger: a message may be there only where its task was given up.

use std::collections::{BTreeMap, BTreeSet};

use lapin::{
    Connection, ConnectionProperties,
    options::{BasicGetOptions, QueueDeclareOptions},
    types::FieldTable,
};
use serde_json::Value;
use waybill_queue::Message;

use crate::chaos::{Report, fleet::Fleet};

/// Where messages lie that were given up.
const QUEUE: &str = "waybill.dead";

/// Reads the whole queue, and compares it with the keys of all jobs as they are now.
pub(super) async fn check(fleet: &Fleet, report: &mut Report) {
    let facts = fleet.journaled().await;
    let job = |it: &Value| it["job"].as_str().unwrap_or_default().to_owned();
    let ended = facts.iter().filter(|it| it["done"].is_object() || it["failure"].is_object());
    let outcomes: BTreeMap<_, _> = ended.map(|it| ((job(it), it["task"].as_u64()), it)).collect();
    let is_planned = |it: &&Value| it["planned"].is_string() || it["plan_failed"].is_object();
    let planned: BTreeSet<_> = facts.iter().filter(is_planned).map(job).collect();
    let (mut tasks, mut plans, mut stray) = (0, 0, Vec::new());
    for bytes in read(&fleet.amqp).await {
        let message = Message::decode(&bytes);
        let is_explained = match &message {
            Ok(Message::RunTask(task)) => {
                tasks += 1;
                // In its round or, after a retry, in a later one.
                outcomes
                    .get(&(task.job_id.clone(), Some(task.task.into())))
                    .is_some_and(|outcome| outcome["round"].as_u64().is_none_or(|round| round >= task.round.into()))
            }
            Ok(Message::PlanJob(plan)) => {
                plans += 1;
                planned.contains(&plan.job_id)
            }
            Err(_) => false,
        };
        if !is_explained {
            stray.push(format!("{message:?}"));
        }
    }
    let promise = format!("the ledger explains all {tasks} tasks and {plans} plans in the dead-letter queue");
    report.expect(stray.is_empty(), &promise, || stray.join(", "));
}

/// Every message of the queue, which keeps them.
async fn read(url: &str) -> Vec<Vec<u8>> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.expect("the broker is there");
    let channel = connection.create_channel().await.expect("a channel can be opened");
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare(QUEUE.into(), passive, FieldTable::default()).await;
    let count = queue.expect("the dead-letter queue is there").message_count();
    let mut messages = Vec::new();
    while let Some(message) =
        channel.basic_get(QUEUE.into(), BasicGetOptions::default()).await.expect("the queue can be read")
    {
        messages.push(message.delivery.data);
    }
    assert!(messages.len() >= count as usize, "{} of {count} messages were read", messages.len());
    messages
}
