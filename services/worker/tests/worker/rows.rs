//! Rows of an upload, each sent by a request of its own, to the stand-in upstream: it counts how often each came.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use futures::stream;
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use waybill_ledger::{JobId, RowTally, State, Status, Upload, UploadId};
use waybill_queue::{Message, Queue, QueueName, RunTask};
use waybill_source::{Format, UploadCheck};
use waybill_store::StoreError;
use waybill_upstream::{Faults, Options, Running, Upstream as StandIn};
use waybill_worker::RetryPolicy;

use crate::support::{PATIENCE, System, Upstream, eventually, until};

const RELAY: &str = include_str!("../../../source/sources/relay.toml");

/// As fast as the machine is, in tasks of 20 rows.
fn fast() -> String {
    at_a_rate(5_000, 20)
}

fn at_a_rate(requests: u32, batch: u32) -> String {
    let relay = RELAY.replace("rate       = { requests = 7,", &format!("rate = {{ requests = {requests},"));
    relay.replace("batch      = 200", &format!("batch = {batch}"))
}

/// A system that does not run yet, and its upstream without a limit.
async fn stopped(definition: &str, options: Options) -> (System, StandIn, Running) {
    let stand_in = StandIn::new(Options { posts_per_window: 0, control: true, ..options });
    let running = stand_in.start().await.unwrap();
    // Workers that are killed are no reason to give a task up.
    let retry = RetryPolicy { attempts: 1_000, ..PATIENCE };
    let mut system = System::stopped(definition, Upstream::start().await, retry).await;
    system.worker.base_urls = HashMap::from([("relay".to_owned(), running.base_url().to_owned())]);
    (system, stand_in, running)
}

async fn started(definition: &str, options: Options) -> (System, StandIn, Running) {
    let (mut system, stand_in, running) = stopped(definition, options).await;
    system.run();
    (system, stand_in, running)
}

/// So many good rows, each with a title of its own.
fn rows(count: usize) -> String {
    (0..count).fold("userId,title,body\n".to_owned(), |csv, n| csv + &format!("{},row {n},text\n", n % 10))
}

async fn submit(system: &System, csv: &str) -> JobId {
    let definition = system.worker.catalog.get("relay").unwrap();
    let mut check = UploadCheck::new(definition);
    check.push(csv.as_bytes()).unwrap();
    let summary = check.finish().unwrap();
    let id = UploadId::new(Uuid::now_v7());
    let chunks = stream::iter([Ok::<_, StoreError>(csv.to_owned().into())]);
    system.ledger.write_upload(id, Format::Csv, chunks).await.unwrap();
    let sha256 = base16ct::lower::encode_string(&Sha256::digest(csv));
    let (source, format, rows) = ("relay".to_owned(), Format::Csv, Some(summary.rows));
    let upload = Upload { id, source, format, bytes: summary.bytes, rows, sha256, by: None };
    system.ledger.record_upload(&upload).await.unwrap();
    system.submit_with("relay", Some(upload)).await
}

/// The outcomes of all tasks, in the order of the file.
async fn outcomes(system: &System, job: JobId) -> Vec<Value> {
    let tasks = system.ledger.tasks(job, None, 0, 1_000).await.unwrap().unwrap();
    let mut all = Vec::new();
    for key in tasks.iter().filter_map(|task| task.done.as_ref()).map(|done| &done.object) {
        let body = system.store.get(key, 1 << 30).await.unwrap().unwrap();
        let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        all.extend(lines.map(|line| serde_json::from_slice::<Value>(line).unwrap()));
    }
    all
}

fn tally(status: &Status) -> (u64, u64, u64) {
    let RowTally { done, errors, unknown } = status.rows.unwrap();
    (done, errors, unknown)
}

/// The log of the only task has its first record and its last.
async fn logs_are_trimmed(system: &System) {
    eventually("the logs are trimmed", async || system.store.list("rows/", None, 10).await.unwrap().len() == 2).await;
}

#[tokio::test]
async fn every_row_ends_in_the_order_of_the_file() {
    let (system, stand_in, _running) = started(&fast(), Options::default()).await;
    let csv = "userId,title,body\r\n1,abc,123\r\n,abc,123\r\nx,abc,123\r\n2,\"a\nb\",\"1,2\"\r\n3,fault:409,x\r\n4,last,x\r\n";
    let job = submit(&system, csv).await;
    let status = system.ended(job).await;
    assert_eq!((status.state, tally(&status)), (State::Partial, (3, 3, 0)), "{:?}", status.errors);
    let lines: Vec<_> = outcomes(&system, job).await.iter().map(Value::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    {"line":2,"postId":101,"result":"done","userId":1}
    {"line":3,"postId":null,"reason":"column `userId`: expected an integer, found nothing","result":"error","userId":null}
    {"line":4,"postId":null,"reason":"column `userId`: expected an integer, found \"x\"","result":"error","userId":null}
    {"line":5,"postId":101,"result":"done","userId":2}
    {"line":7,"postId":null,"reason":"the upstream answered with status 409: a fault that was asked for","result":"error","userId":3}
    {"line":8,"postId":101,"result":"done","userId":4}
    "#);
    insta::assert_snapshot!(status.errors[0].failure.reason, @r#"line 3: column `userId`: expected an integer, found nothing; line 4: column `userId`: expected an integer, found "x"; line 7: the upstream answered with status 409: a fault that was asked for"#);
    let data = system.data().await;
    let metadata = &data[0].head.metadata;
    let shown = ["rows", "done", "errors", "unknown", "records"].map(|name| metadata[name].as_str());
    assert_eq!(shown, ["6", "3", "3", "0", "6"]);
    assert_eq!(stand_in.received().total, 4);
    assert_eq!(stand_in.received_with_title("a\nb"), 1);
    logs_are_trimmed(&system).await;
}

#[tokio::test]
async fn each_answer_means_what_it_says() {
    let (system, stand_in, _running) = started(&fast(), Options::default()).await;
    for (fault, result, sent, said) in [
        ("fault:400", "error", 1, "status 400: "),
        ("fault:409", "error", 1, "status 409: "),
        ("fault:422", "error", 1, "status 422: "),
        ("fault:500", "unknown", 1, "status 500"),
        ("fault:503", "done", 1, ""),
        ("fault:hang-up", "unknown", 1, "gave no answer for /posts"),
        ("fault:301", "error", 1, "status 301"),
        ("fault:307", "done", 2, ""),
        ("fault:elsewhere", "error", 1, "it leads to another server"),
        ("fault:html", "done", 1, ""),
        ("fault:empty", "done", 1, ""),
    ] {
        let job = submit(&system, &format!("userId,title,body\n1,{fault},x\n")).await;
        system.ended(job).await;
        let all = outcomes(&system, job).await;
        assert_eq!((all.len(), all[0]["result"].as_str().unwrap()), (1, result), "{fault}: {all:?}");
        let reason = all[0]["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(said) && reason.is_empty() == said.is_empty(), "{fault}: {reason}");
        assert_eq!(stand_in.received_with_title(fault), sent, "{fault}");
        assert_eq!(all[0]["postId"].is_i64(), ["fault:503", "fault:307"].contains(&fault), "{fault}: {all:?}");
    }
}

#[tokio::test]
async fn a_retry_sends_what_is_unknown_or_was_refused_and_nothing_else() {
    let (system, stand_in, _running) = started(&fast(), Options::default()).await;
    let csv = "userId,title,body\n1,good,x\n2,fault:hang-up,x\n3,fault:400,x\n,none,x\n";
    let job = submit(&system, csv).await;
    for round in 1..=3 {
        let status = system.ended(job).await;
        assert_eq!((status.state, tally(&status)), (State::Partial, (1, 2, 1)));
        let received = ["good", "fault:hang-up", "fault:400", "none"].map(|title| stand_in.received_with_title(title));
        assert_eq!(received, [1, round, round, 0]);
        system.ledger.retry(job, Timestamp::now()).await.unwrap();
    }
}

#[tokio::test]
async fn where_it_is_not_known_what_was_sent_a_retry_sends_nothing() {
    let (system, stand_in, _running) = started(&fast(), Options::default()).await;
    let job = submit(&system, "userId,title,body\n1,good,x\n2,fault:400,x\n").await;
    assert_eq!(system.ended(job).await.state, State::Partial);
    logs_are_trimmed(&system).await;
    let keys: Vec<_> = system.data().await.into_iter().map(|object| object.key).collect();
    system.store.delete(&keys).await.unwrap();
    system.ledger.retry(job, Timestamp::now()).await.unwrap();
    let status = system.ended(job).await;
    assert_eq!(status.state, State::Failed);
    insta::assert_snapshot!(System::reason(&status), @"how its rows ended was in an object that is not there any more: nothing is sent again");
    assert_eq!(stand_in.received().total, 2);
}

#[tokio::test]
async fn what_was_sent_before_a_job_was_cancelled_is_told_by_a_later_run() {
    let options = Options { delay: Duration::from_millis(5), ..Options::default() };
    let (mut system, stand_in, _running) = started(&at_a_rate(100, 200), options).await;
    let job = submit(&system, &rows(150)).await;
    until("rows are sent", || stand_in.received().total >= 20).await;
    system.stop().await;
    let sent = stand_in.received().total;
    system.ledger.cancel(job, Timestamp::now()).await.unwrap();
    system.run();
    eventually("the outcome is told", async || outcomes(&system, job).await.len() == 150).await;
    let done = outcomes(&system, job).await.iter().filter(|line| line["result"] == "done").count();
    assert_eq!((done as u64, stand_in.received().total), (sent, sent));
}

#[tokio::test]
async fn an_api_that_may_be_asked_twice_gets_lost_rows_again() {
    let definition = fast().replace("on_unknown = \"report\"", "on_unknown = \"resend\"");
    let (system, stand_in, _running) = started(&definition, Options::default()).await;
    stand_in.set_faults(serde_json::from_str::<Faults>(r#"{"hang_up": 0.2}"#).unwrap());
    let job = submit(&system, &rows(200)).await;
    let status = system.ended(job).await;
    assert_eq!((status.state, tally(&status)), (State::Succeeded, (200, 0, 0)), "{:?}", status.errors);
    let received = stand_in.received();
    assert!(received.distinct == 200 && received.total > 200, "{received:?}");
}

#[tokio::test]
async fn what_was_sent_is_told_where_the_upstream_stays_away() {
    let (mut system, stand_in, _running) = stopped(&fast(), Options::default()).await;
    system.worker.retry = PATIENCE;
    system.run();
    let job = submit(&system, "userId,title,body\n1,good,x\n2,fault:503 for ever,x\n3,good too,x\n").await;
    let down = r#"{"cities": {}, "server_error": 1.0}"#;
    until("the first row is sent", || stand_in.received_with_title("good") == 1).await;
    stand_in.set_faults(serde_json::from_str::<Faults>(down).unwrap());
    let status = system.ended(job).await;
    let (done, errors, unknown) = tally(&status);
    assert_eq!((status.state, done + errors, unknown), (State::Partial, 3, 0), "{:?}", status.errors);
    let all = outcomes(&system, job).await;
    assert_eq!((all.len(), all[0]["result"].as_str()), (3, Some("done")), "{all:?}");
    assert_eq!(all[1]["reason"], "not done: the upstream answered with status 503: a fault that was asked for");
    stand_in.set_faults(Faults::default());
    system.ledger.retry(job, Timestamp::now()).await.unwrap();
    let status = system.ended(job).await;
    assert_eq!((status.state, tally(&status)), (State::Succeeded, (3, 0, 0)), "{:?}", status.errors);
    assert_eq!(stand_in.received_with_title("good"), 1);
}

/// Workers end in the middle of whatever they do, again and again.
#[tokio::test]
async fn whenever_a_worker_dies_no_row_is_sent_twice_or_lost() {
    let options = Options { delay: Duration::from_millis(3), ..Options::default() };
    let (system, stand_in, _running) = stopped(&at_a_rate(60, 20), options).await;
    let job = submit(&system, &rows(300)).await;
    let mut kills = 0;
    while !system.status(job).await.state.is_terminal() {
        let worker = system.another();
        // A new worker has to assume that the one before it used the rate until a moment ago.
        let before = stand_in.received().total;
        eventually("rows are sent, or none are left", async || {
            stand_in.received().total > before || system.status(job).await.state.is_terminal()
        })
        .await;
        tokio::time::sleep(Duration::from_millis(40 * (kills % 17))).await;
        drop(worker);
        kills += 1;
        assert!(kills < 100, "{:?}", system.status(job).await);
    }
    let status = system.status(job).await;
    let (done, errors, unknown) = tally(&status);
    assert!(kills > 2 && (done + unknown, errors) == (300, 0), "{kills} kills: {:?}", status.rows);
    let received = stand_in.received();
    assert_eq!((received.repeated_distinct, received.total == received.distinct), (0, true), "{received:?}");
    assert!(received.total >= done, "{received:?}, {done} done");
    // What is unknown is sent once the user says so.
    let mut system = system;
    system.run();
    if unknown > 0 {
        system.ledger.retry(job, Timestamp::now()).await.unwrap();
    }
    let status = system.ended(job).await;
    assert_eq!((status.state, tally(&status)), (State::Succeeded, (300, 0, 0)));
    let received = stand_in.received();
    assert!(received.distinct == 300 && received.total <= 300 + unknown, "{received:?}, {unknown} were unknown");
    assert_eq!(outcomes(&system, job).await.len(), 300);
}

#[tokio::test]
async fn a_worker_that_stops_leaves_no_row_unknown() {
    let options = Options { delay: Duration::from_millis(5), ..Options::default() };
    let (mut system, stand_in, _running) = started(&at_a_rate(200, 50), options).await;
    let job = submit(&system, &rows(150)).await;
    for sent in [20, 70, 110] {
        until("rows are sent", || stand_in.received().total >= sent).await;
        system.stop().await;
        system.run();
    }
    let status = system.ended(job).await;
    assert_eq!((status.state, tally(&status)), (State::Succeeded, (150, 0, 0)), "{:?}", status.errors);
    let received = stand_in.received();
    assert_eq!((received.total, received.distinct), (150, 150));
}

#[tokio::test]
async fn a_message_that_comes_twice_for_the_first_time_sends_nothing_again() {
    let (system, stand_in, _running) = started(&fast(), Options::default()).await;
    let job = submit(&system, &rows(5)).await;
    system.ended(job).await;
    let plan = system.ledger.plan(job).await.unwrap().unwrap();
    let task = RunTask {
        job_id: job.to_string(),
        source: "relay".into(),
        attempt: 1,
        items: waybill_ledger::task_items::to_message(&plan.tasks[0]),
        ..RunTask::default()
    };
    let queue_name = QueueName::Source("relay".into());
    system.queue.publish(&queue_name, &Message::RunTask(task), Duration::ZERO).await.unwrap();
    let next = submit(&system, &rows(1)).await;
    system.ended(next).await;
    assert_eq!(stand_in.received().total, 6);
}

#[tokio::test]
async fn what_was_sent_of_a_cancelled_job_is_told() {
    let (system, stand_in, _running) = started(&at_a_rate(100, 1_000), Options::default()).await;
    let job = submit(&system, &rows(900)).await;
    until("rows are sent", || stand_in.received().total >= 30).await;
    system.ledger.cancel(job, Timestamp::now()).await.unwrap();
    eventually("the object is stored", async || !system.data().await.is_empty()).await;
    let sent = stand_in.received().total;
    assert!(sent < 500, "{sent}");
    let done = |line: &&Value| line["result"] == "done";
    eventually("the outcome is told", async || outcomes(&system, job).await.len() == 900).await;
    let all = outcomes(&system, job).await;
    assert_eq!(all.iter().filter(done).count() as u64, sent);
    assert_eq!(all[899]["reason"], "not sent: the job was cancelled");
    assert_eq!(stand_in.received().total, sent);
}

#[tokio::test]
async fn rows_too_large_are_errors_and_others_go_on() {
    let (system, stand_in, _running) = started(&fast(), Options::default()).await;
    let csv = format!("userId,title,body\n1,a,x\n2,b,{}\n3,c,x\n4,d,\"never closed\n5,e,x\n", "y".repeat(10 << 20));
    let job = submit(&system, &csv).await;
    let status = system.ended(job).await;
    assert_eq!(tally(&status), (2, 2, 0), "{:?}", status.errors);
    let all = outcomes(&system, job).await;
    let lines: Vec<_> = all.iter().map(|line| (line["line"].as_u64().unwrap(), line["result"].clone())).collect();
    assert_eq!(lines, [(2, "done".into()), (3, "error".into()), (4, "done".into()), (5, "error".into())]);
    assert!(all[1]["reason"].as_str().unwrap().contains("1 MiB"), "{}", all[1]);
    assert_eq!(stand_in.received().total, 2);
}

#[tokio::test]
async fn rows_are_sent_at_the_rate_also_from_one_task_to_the_next() {
    let stand_in = StandIn::new(Options { posts_per_window: 100, ..Options::default() });
    let running = stand_in.start().await.unwrap();
    let mut system = System::stopped(&at_a_rate(100, 60), Upstream::start().await, PATIENCE).await;
    system.worker.base_urls = HashMap::from([("relay".to_owned(), running.base_url().to_owned())]);
    system.run();
    let _others = [system.another(), system.another()];
    let job = submit(&system, &rows(400)).await;
    until("rows are sent", || stand_in.received().total > 0).await;
    let began = Instant::now();
    let status = system.ended(job).await;
    assert_eq!((status.state, tally(&status)), (State::Succeeded, (400, 0, 0)));
    // The first second may bring a burst of the whole rate.
    let seconds = began.elapsed().as_secs_f64();
    assert!(seconds < 4.0 / 0.95, "{seconds} s for 400 rows at 100 a second");
    assert_eq!(stand_in.requests().posts.violations, 0);
}
