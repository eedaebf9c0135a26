//! A worker that stops gives back what it has not finished, and the next one finishes it.

use std::time::{Duration, Instant};

use waybill_ledger::State;
use waybill_queue::{Message, Queue, QueueName, RunTask};

use crate::support::{BUSES, PATIENCE, Reply, System, Upstream, buses, file, until};

#[tokio::test]
async fn what_runs_at_the_deadline_is_given_back() {
    let upstream = Upstream::with_cities(3).await;
    upstream.on(&file(1), |_| Reply::silent());
    let mut system = System::start(BUSES, upstream).await;
    let job = system.submit().await;
    until("the file is asked for", || !system.upstream.asked(&file(1)).is_empty()).await;
    system.stop().await;
    assert!(!system.status(job).await.state.is_terminal());
    system.upstream.on(&file(1), |_| Reply::body(buses(10)));
    system.run();
    let status = system.ended(job).await;
    assert_eq!((status.state, status.tasks.stored), (State::Succeeded, 3));
    assert_eq!(system.data().await.len(), 3);
}

#[tokio::test]
async fn a_task_is_not_given_up_because_workers_are_replaced() {
    let upstream = Upstream::with_cities(1).await;
    upstream.on(&file(0), |_| Reply::silent());
    let mut system = System::start(BUSES, upstream).await;
    let job = system.submit().await;
    for times in 1..=PATIENCE.attempts as usize + 3 {
        until("the file is asked for", || system.upstream.asked(&file(0)).len() == times).await;
        system.stop().await;
        system.run();
    }
    system.upstream.on(&file(0), |_| Reply::body(buses(10)));
    system.stop().await;
    system.run();
    assert_eq!(system.ended(job).await.state, State::Succeeded);
}

#[tokio::test]
async fn a_wait_does_not_hold_up_the_stop() {
    let upstream = Upstream::with_cities(1).await;
    upstream.on(&file(0), |asked| if asked.nth == 0 { Reply::status(503) } else { Reply::body(buses(10)) });
    let hour = Duration::from_secs(3_600);
    let patient = waybill_worker::RetryPolicy { initial: hour, max_wait: hour, ..PATIENCE };
    let mut system = System::stopped(BUSES, upstream, patient).await;
    system.run();
    let job = system.submit().await;
    until("the file is asked for", || !system.upstream.asked(&file(0)).is_empty()).await;
    let began = Instant::now();
    system.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5));
    system.run();
    let status = system.ended(job).await;
    assert_eq!(status.state, State::Succeeded);
    assert_eq!(system.tasks(&status).await[0].done.as_ref().unwrap().attempts, 1, "a stop is no attempt");
}

#[tokio::test]
async fn an_empty_queue_is_filled_from_the_bucket() {
    let upstream = Upstream::with_cities(3).await;
    upstream.on(&file(2), |_| Reply::silent());
    let mut system = System::start(BUSES, upstream).await;
    let job = system.submit().await;
    until("the file is asked for", || !system.upstream.asked(&file(2)).is_empty()).await;
    system.stop().await;
    system.upstream.on(&file(2), |_| Reply::body(buses(10)));
    let mut system = system.with_empty_queue();
    system.run();
    assert_eq!(system.ended(job).await.tasks.stored, 3);
}

#[tokio::test]
async fn a_task_that_comes_twice_is_done_once() {
    let upstream = Upstream::with_cities(1).await;
    let system = System::start(BUSES, upstream).await;
    let status = system.good_job().await;
    let before = system.data().await.remove(0).key;
    let plan = system.ledger.plan(status.request.job).await.unwrap().unwrap();
    let task = RunTask {
        job_id: status.request.job.to_string(),
        source: "buses".into(),
        task: 0,
        round: 0,
        attempt: 1,
        resent: false,
        items: waybill_ledger::task_items::to_message(&plan.tasks[0]),
        requeued: false,
    };
    let queue_name = QueueName::Source("buses".into());
    // Not marked as sent before: it is done again, and changes nothing.
    system.queue.publish(&queue_name, &Message::RunTask(task.clone()), Duration::ZERO).await.unwrap();
    until("it was done again", || system.upstream.asked(&file(0)).len() == 2).await;
    let marked = Message::RunTask(RunTask { resent: true, ..task });
    system.queue.publish(&queue_name, &marked, Duration::ZERO).await.unwrap();
    system.good_job().await;
    assert_eq!(system.upstream.asked(&file(0)).len(), 3, "once marked, it was not even asked for");
    let data = system.data().await;
    assert_eq!((data.len(), &data[0].key), (1, &before));
}
