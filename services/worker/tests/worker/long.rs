//! Tasks that run long, and tasks that end their worker every time.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use waybill_ledger::{Ledger, State};
use waybill_queue::{Message, PlanJob, Queue, QueueName};
use waybill_upstream::{Options, Running, Upstream as StandIn};

use crate::support::{BUSES, PATIENCE, Reply, System, Upstream, eventually, file, until};

/// Answers that take much longer than anything a worker waits for by itself.
async fn slow() -> (System, StandIn, Running) {
    let stand_in = StandIn::new(Options { cities: 1, delay: Duration::from_millis(700), ..Options::default() });
    let running = stand_in.start().await.unwrap();
    let mut system = System::stopped(BUSES, Upstream::start().await, PATIENCE).await;
    system.worker.base_urls = HashMap::from([("buses".to_owned(), running.base_url().to_owned())]);
    system.worker.lease = Duration::from_millis(100);
    system.worker.requeue_after = Duration::from_millis(100);
    (system, stand_in, running)
}

async fn until_leased(system: &System, job: waybill_ledger::JobId, task: Option<u32>) {
    let is_leased = async || {
        // One that remembers nothing: a lease is shorter here than a view may be old.
        let leases = Ledger::read_only(system.worker.store.clone()).leases(job, task).await.unwrap();
        leases.iter().any(|lease| lease.is_fresh(Timestamp::now()))
    };
    eventually("it is leased", is_leased).await;
}

#[tokio::test]
async fn the_message_of_a_long_task_is_requeued_and_the_task_runs_once() {
    let (system, stand_in, _running) = slow().await;
    let _workers = [system.another(), system.another()];
    let job = system.submit().await;
    until_leased(&system, job, Some(0)).await;
    let status = system.ended(job).await;
    assert_eq!((status.state, stand_in.requests().data), (State::Succeeded, 1));
    assert_eq!(system.queue.dead_letters().len(), 0);
}

#[tokio::test]
async fn the_message_of_a_long_planning_is_requeued_and_it_runs_once() {
    let (system, stand_in, _running) = slow().await;
    let _workers = [system.another(), system.another()];
    let job = system.submit().await;
    until_leased(&system, job, None).await;
    // As the housekeeper of another worker might, who does not know yet.
    let message = PlanJob { job_id: job.to_string(), source: "buses".into(), attempt: 1, requeued: false };
    for _ in 0..4 {
        let plan = Message::PlanJob(message.clone());
        system.queue.publish(&QueueName::Plans, &plan, Duration::ZERO).await.unwrap();
    }
    let status = system.ended(job).await;
    assert_eq!((status.state, stand_in.requests().list), (State::Succeeded, 1));
    assert_eq!(system.queue.dead_letters().len(), 0);
}

#[tokio::test]
async fn a_long_planning_whose_worker_dies_is_done_by_another() {
    let (system, stand_in, _running) = slow().await;
    let first = system.another();
    let job = system.submit().await;
    until("the cities are asked for", || stand_in.requests().list == 1).await;
    until_leased(&system, job, None).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(first);
    let _second = system.another();
    assert_eq!(system.ended(job).await.state, State::Succeeded);
    assert_eq!(stand_in.requests().list, 2);
}

#[tokio::test]
async fn a_long_task_whose_worker_dies_is_done_by_another() {
    let (system, stand_in, _running) = slow().await;
    let first = system.another();
    let job = system.submit().await;
    until("the file is asked for", || stand_in.requests().data == 1).await;
    until_leased(&system, job, Some(0)).await;
    // Long enough for its message to be requeued: the delivery is acknowledged by then.
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(first);
    let _second = system.another();
    let status = system.ended(job).await;
    assert_eq!((status.state, status.tasks.stored), (State::Succeeded, 1));
    assert_eq!(system.data().await.len(), 1);
}

#[tokio::test]
async fn a_planning_that_ends_its_worker_every_time_is_given_up() {
    let upstream = Upstream::start().await;
    upstream.on("/cities", |_| Reply::silent());
    let system = System::stopped(BUSES, upstream, PATIENCE).await;
    let job = system.submit().await;
    for times in 1..=PATIENCE.attempts as usize + 1 {
        let worker = system.another();
        until("the cities are asked for", || system.upstream.asked("/cities").len() == times).await;
        drop(worker);
    }
    let _worker = system.another();
    let status = system.ended(job).await;
    assert_eq!(status.state, State::Failed);
    let reason = System::reason(&status);
    assert_eq!(reason, "given up after 2 attempts, none of which ended: they crashed or lost their workers");
    assert_eq!(system.queue.dead_letters()[0].reason, reason);
    assert_eq!(system.upstream.asked("/cities").len(), 3);
}

#[tokio::test]
async fn a_task_that_ends_its_worker_every_time_is_given_up() {
    let upstream = Upstream::with_cities(1).await;
    upstream.on(&file(0), |_| Reply::silent());
    let system = System::stopped(BUSES, upstream, PATIENCE).await;
    let job = system.submit().await;
    for times in 1..=PATIENCE.attempts as usize + 1 {
        let worker = system.another();
        until("the file is asked for", || system.upstream.asked(&file(0)).len() == times).await;
        drop(worker);
        // What it had in hand goes back a moment later.
    }
    let _worker = system.another();
    let status = system.ended(job).await;
    assert_eq!(status.state, State::Failed);
    let reason = System::reason(&status);
    assert_eq!(reason, "given up after 2 attempts, none of which ended: they crashed or lost their workers");
    assert_eq!(system.queue.dead_letters()[0].reason, reason);
    assert_eq!(system.upstream.asked(&file(0)).len(), 3);
}
