//! Uploads that are loaded, by a loader that does as it is told: a table of one column, as a file has its lines.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use uuid::Uuid;
use waybill_ledger::{JobId, State, Status, Upload, UploadId};
use waybill_queue::{Message, Queue, QueueName, RunTask};
use waybill_source::Format;
use waybill_store::StoreError;
use waybill_worker::{Load, LoadError, Loaded, Loader, Metrics, RejectedRow};

use crate::support::{PATIENCE, System, Upstream, eventually, until};

const MOVIE: &str = include_str!("../../../source/sources/movie.toml");
const FILE: &str = "title\na\nb\nc\n";

/// Loads rows as a table does: those of one id once.
#[derive(Debug, Default)]
struct Fake {
    /// What to say next, in order; then loads are done.
    faults: Mutex<Vec<LoadError>>,
    /// Loads wait here, with the file read; `None`: they do not.
    gate: Option<Semaphore>,
    /// By id.
    tables: Mutex<BTreeMap<String, Vec<String>>>,
    begun: AtomicUsize,
    running: AtomicUsize,
    most_running: AtomicUsize,
    dropped: AtomicUsize,
    /// Tables, as often as they were.
    maintained: Mutex<Vec<String>>,
}

/// Counts a load that runs.
struct Running<'a>(&'a Fake, bool);

impl<'a> Running<'a> {
    fn new(fake: &'a Fake) -> Self {
        fake.begun.fetch_add(1, Ordering::SeqCst);
        let running = fake.running.fetch_add(1, Ordering::SeqCst) + 1;
        fake.most_running.fetch_max(running, Ordering::SeqCst);
        Self(fake, false)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
        self.0.dropped.fetch_add(usize::from(!self.1), Ordering::SeqCst);
    }
}

#[async_trait]
impl Loader for Fake {
    async fn load(&self, mut load: Load) -> Result<Loaded, LoadError> {
        let mut running = Running::new(self);
        let mut file = String::new();
        while let Some(part) = load.bytes.next().await {
            file += std::str::from_utf8(&part?).unwrap();
        }
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        running.1 = true;
        let fault = self.faults.lock().unwrap().pop();
        if let Some(fault) = fault {
            return Err(fault);
        }
        let lines = (2..).zip(file.lines().skip(1));
        let (good, bad): (Vec<_>, Vec<_>) = lines.partition(|(_, line)| !line.starts_with('!'));
        let rows = good.iter().map(|(_, line)| (*line).to_owned()).collect();
        self.tables.lock().unwrap().entry(load.id).or_insert(rows);
        let reason = |line: &str| format!("column `title`: expected no `!`, found \"{line}\"");
        let report = bad.iter().map(|(place, line)| RejectedRow { place: *place, reason: reason(line) });
        Ok(Loaded { rows: good.len() as u64, rejected: bad.len() as u64, report: report.take(1_000).collect() })
    }

    async fn maintain(&self, table: &str) -> Result<u64, LoadError> {
        self.maintained.lock().unwrap().push(table.to_owned());
        Ok(0)
    }
}

impl Fake {
    fn gated() -> Self {
        Self { gate: Some(Semaphore::new(0)), ..Self::default() }
    }

    fn faulty(faults: impl IntoIterator<Item = LoadError>) -> Self {
        Self { faults: Mutex::new(faults.into_iter().collect()), ..Self::default() }
    }

    fn open(&self, loads: usize) {
        self.gate.as_ref().unwrap().add_permits(loads);
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    fn rows(&self, job: JobId) -> Option<Vec<String>> {
        self.tables.lock().unwrap().get(&job.to_string()).cloned()
    }
}

async fn stopped(fake: Fake) -> (System, Arc<Fake>) {
    let fake = Arc::new(fake);
    let mut system = System::stopped(MOVIE, Upstream::start().await, PATIENCE).await;
    system.worker.loader = Some(fake.clone());
    (system, fake)
}

async fn started(fake: Fake) -> (System, Arc<Fake>) {
    let (mut system, fake) = stopped(fake).await;
    system.run();
    (system, fake)
}

async fn upload(system: &System, source: &str, file: &str) -> Upload {
    let id = UploadId::new(Uuid::now_v7());
    let chunks = stream::iter([Ok::<_, StoreError>(file.to_owned().into())]);
    let bytes = system.ledger.write_upload(id, Format::Csv, chunks).await.unwrap();
    let sha256 = base16ct::lower::encode_string(&Sha256::digest(file));
    let (source, format) = (source.to_owned(), Format::Csv);
    let upload = Upload { id, source, format, bytes, rows: None, sha256, by: None };
    system.ledger.record_upload(&upload).await.unwrap();
    upload
}

async fn submit(system: &System, file: &str) -> JobId {
    let upload = upload(system, "movie", file).await;
    system.submit_with("movie", Some(upload)).await
}

fn tally(status: &Status) -> (State, u64, u64, u64) {
    let rows = status.rows.unwrap();
    (status.state, status.records, rows.done, rows.errors)
}

fn task(job: JobId) -> RunTask {
    RunTask { job_id: job.to_string(), source: "movie".to_owned(), attempt: 1, ..RunTask::default() }
}

async fn send(system: &System, task: RunTask) {
    let queue_name = QueueName::Source("movie".to_owned());
    system.queue.publish(&queue_name, &Message::RunTask(task), Duration::ZERO).await.unwrap();
}

async fn nothing_waits(system: &System) {
    let queue_name = QueueName::Source("movie".to_owned());
    eventually("all is taken", async || system.queue.waiting(&queue_name).await.unwrap() == 0).await;
}

#[tokio::test]
async fn a_file_is_loaded_by_the_only_task_of_its_job() {
    let (system, fake) = started(Fake::default()).await;
    let job = submit(&system, FILE).await;
    let status = system.ended(job).await;
    assert_eq!(tally(&status), (State::Succeeded, 3, 3, 0));
    assert_eq!(status.bytes, FILE.len() as u64);
    assert_eq!(fake.rows(job).unwrap(), ["a", "b", "c"]);
    let tasks = system.tasks(&status).await;
    assert_eq!((tasks.len(), tasks[0].items.len()), (1, 0));
    assert_eq!(tasks[0].done.as_ref().unwrap().object, "tables/movie/");
    assert_eq!(system.objects("quarantine/").await.len() + system.data().await.len(), 0);
    assert_eq!(system.upstream.asked("/").len(), 0);
}

#[tokio::test]
async fn a_large_file_comes_in_parts() {
    let (system, fake) = started(Fake::default()).await;
    let file = (0..700_000).fold("title\n".to_owned(), |file, n| file + &format!("movie {n}\n"));
    assert!(file.len() > 8 << 20, "three parts");
    let job = submit(&system, &file).await;
    assert_eq!(tally(&system.ended(job).await), (State::Succeeded, 700_000, 700_000, 0));
    assert_eq!(fake.rows(job).unwrap().last().unwrap(), "movie 699999");
}

#[tokio::test]
async fn rows_that_are_left_out_make_the_job_partial_and_are_reported() {
    let (system, fake) = started(Fake::default()).await;
    let job = submit(&system, "title\na\n!1\n!2\nb\n!3\n!4\n!5\n").await;
    for round in 0..2 {
        let status = system.ended(job).await;
        assert_eq!(tally(&status), (State::Partial, 2, 2, 5), "round {round}");
        let failure = &status.errors[0].failure;
        let reasons = [
            r#"line 3: column `title`: expected no `!`, found "!1""#,
            r#"line 4: column `title`: expected no `!`, found "!2""#,
            r#"line 6: column `title`: expected no `!`, found "!3""#,
            "and 2 more: the report in quarantine/ names the first 1,000",
        ];
        assert_eq!(failure.reason, reasons.join("; "));
        // Of both rounds the same.
        let reports = system.objects("quarantine/").await;
        assert_eq!(reports.len(), 1);
        assert_eq!(failure.quarantine.as_ref(), Some(&reports[0].key));
        let done = system.tasks(&status).await.remove(0).done.unwrap();
        assert_eq!(done.quarantine.as_deref(), Some(reports[0].key.as_str()));
        assert!(reports[0].key.starts_with(&format!("quarantine/movie/job={job}/rows.")), "{}", reports[0].key);
        let lines: Vec<Value> =
            reports[0].body.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        assert_eq!(lines.len(), 5);
        assert_eq!(lines[4].to_string(), r#"{"place":8,"reason":"column `title`: expected no `!`, found \"!5\""}"#);
        if round == 0 {
            system.ledger.retry(job, Timestamp::now()).await.unwrap();
        }
    }
    assert_eq!((fake.begun(), fake.rows(job).unwrap().len()), (2, 2));
}

#[tokio::test]
async fn what_is_transient_is_tried_again() {
    let (system, fake) = started(Fake::faulty([LoadError::Transient("the store is away".to_owned())])).await;
    let job = submit(&system, FILE).await;
    let status = system.ended(job).await;
    assert_eq!(tally(&status), (State::Succeeded, 3, 3, 0));
    assert_eq!((fake.begun(), system.tasks(&status).await[0].done.as_ref().unwrap().attempts), (2, 2));
}

#[tokio::test]
async fn what_stays_transient_is_given_up_and_a_retry_loads_it() {
    let away = || LoadError::Transient("the store is away".to_owned());
    let (system, fake) = started(Fake::faulty([away(), away()])).await;
    let job = submit(&system, FILE).await;
    let status = system.ended(job).await;
    assert_eq!((status.state, System::reason(&status)), (State::Failed, "the store is away"));
    assert_eq!(system.queue.dead_letters().len(), 1);
    system.ledger.retry(job, Timestamp::now()).await.unwrap();
    assert_eq!(tally(&system.ended(job).await), (State::Succeeded, 3, 3, 0));
    assert_eq!(fake.begun(), 3);
}

#[tokio::test]
async fn a_refused_load_fails_with_its_reason() {
    let reason = "column `title` is an integer in the table, and a string in the definition";
    let (system, fake) = started(Fake::faulty([LoadError::Refused(reason.to_owned())])).await;
    let job = submit(&system, FILE).await;
    let status = system.ended(job).await;
    assert_eq!((status.state, System::reason(&status)), (State::Failed, reason));
    assert_eq!((fake.begun(), system.queue.dead_letters()[0].reason.as_str()), (1, reason));
}

#[tokio::test]
async fn a_file_that_is_gone_fails_the_load() {
    let (mut system, fake) = stopped(Fake::default()).await;
    let gone = upload(&system, "movie", FILE).await;
    let job = system.submit_with("movie", Some(gone.clone())).await;
    system.ledger.delete_upload(&gone).await.unwrap();
    system.run();
    let status = system.ended(job).await;
    assert_eq!((status.state, System::reason(&status)), (State::Failed, "the upload is not there any more"));
    assert_eq!((fake.begun(), fake.rows(job)), (1, None));
}

#[tokio::test]
async fn a_load_whose_worker_dies_is_done_by_another() {
    let (system, fake) = stopped(Fake::gated()).await;
    let first = system.another();
    let job = submit(&system, FILE).await;
    until("it loads", || fake.begun() == 1).await;
    drop(first);
    let _second = system.another();
    fake.open(1);
    assert_eq!(tally(&system.ended(job).await), (State::Succeeded, 3, 3, 0));
    assert_eq!(fake.begun(), 2);
}

#[tokio::test]
async fn a_load_that_ends_its_worker_every_time_is_given_up() {
    let (system, fake) = stopped(Fake::gated()).await;
    let job = submit(&system, FILE).await;
    for times in 1..=PATIENCE.attempts as usize + 1 {
        let worker = system.another();
        until("it loads", || fake.begun() == times).await;
        drop(worker);
    }
    let _worker = system.another();
    let status = system.ended(job).await;
    let reason = "given up after 2 attempts, none of which ended: they crashed or lost their workers";
    assert_eq!((status.state, System::reason(&status)), (State::Failed, reason));
    assert_eq!(fake.begun(), 3);
}

#[tokio::test]
async fn a_long_load_is_leased_its_message_is_requeued_and_it_runs_once() {
    let (mut system, fake) = stopped(Fake::gated()).await;
    system.worker.lease = Duration::from_millis(100);
    system.worker.requeue_after = Duration::from_millis(100);
    let _workers = [system.another(), system.another()];
    let job = submit(&system, FILE).await;
    until("it loads", || fake.begun() == 1).await;
    eventually("it is leased", async || {
        let leases = waybill_ledger::Ledger::read_only(system.store.clone()).leases(job, Some(0)).await.unwrap();
        leases.iter().any(|lease| lease.renewal > 3)
    })
    .await;
    fake.open(1);
    assert_eq!(tally(&system.ended(job).await), (State::Succeeded, 3, 3, 0));
    nothing_waits(&system).await;
    assert_eq!((fake.begun(), system.queue.dead_letters().len()), (1, 0));
}

#[tokio::test]
async fn a_message_that_comes_twice_loads_once() {
    let (mut system, fake) = started(Fake::default()).await;
    let job = submit(&system, FILE).await;
    system.ended(job).await;
    send(&system, task(job)).await;
    send(&system, RunTask { resent: true, ..task(job) }).await;
    nothing_waits(&system).await;
    system.stop().await;
    assert_eq!((fake.begun(), system.queue.dead_letters().len()), (1, 0));
}

#[tokio::test]
async fn a_load_is_made_again_from_the_bucket_when_the_queue_is_lost() {
    let (mut system, fake) = started(Fake::gated()).await;
    let job = submit(&system, FILE).await;
    until("it loads", || fake.begun() == 1).await;
    system.stop().await;
    let mut system = system.with_empty_queue();
    fake.open(1);
    system.run();
    assert_eq!(tally(&system.ended(job).await), (State::Succeeded, 3, 3, 0));
}

#[tokio::test]
async fn a_cancelled_load_commits_nothing() {
    let (mut system, fake) = started(Fake::gated()).await;
    let job = submit(&system, FILE).await;
    until("it loads", || fake.begun() == 1).await;
    assert_eq!(system.ledger.cancel(job, Timestamp::now()).await.unwrap().state, State::Cancelled);
    until("it is dropped", || fake.dropped.load(Ordering::SeqCst) == 1).await;
    fake.open(1);
    let next = submit(&system, FILE).await;
    system.ended(next).await;
    system.stop().await;
    assert_eq!((fake.rows(job), system.status(job).await.state), (None, State::Cancelled));
    assert_eq!(system.queue.dead_letters().len(), 0);
}

#[tokio::test]
async fn a_load_that_runs_at_the_deadline_is_given_back() {
    let (mut system, fake) = started(Fake::gated()).await;
    let job = submit(&system, FILE).await;
    for times in 1..=PATIENCE.attempts as usize + 2 {
        until("it loads", || fake.begun() == times).await;
        system.stop().await;
        assert!(!system.status(job).await.state.is_terminal());
        system.run();
    }
    fake.open(1);
    assert_eq!(tally(&system.ended(job).await), (State::Succeeded, 3, 3, 0));
}

#[tokio::test]
async fn a_process_does_one_load_at_a_time() {
    let (mut system, fake) = stopped(Fake::gated()).await;
    let base_url = system.upstream.base_url();
    system.add(&MOVIE.replace("\"movie\"", "\"film\""), &base_url);
    system.run();
    let mut jobs = Vec::new();
    for source in ["movie", "film", "movie"] {
        let upload = upload(&system, source, FILE).await;
        jobs.push(system.submit_with(source, Some(upload)).await);
    }
    until("one loads", || fake.begun() == 1).await;
    fake.open(3);
    for job in jobs {
        assert_eq!(system.ended(job).await.state, State::Succeeded);
    }
    assert_eq!((fake.begun(), fake.most_running.load(Ordering::SeqCst)), (3, 1));
}

#[tokio::test]
async fn a_load_waits_while_another_has_the_table_and_that_is_no_attempt() {
    let (system, fake) = started(Fake::default()).await;
    let lock = system.queue.try_lock("table.movie").await.unwrap().unwrap();
    let job = submit(&system, FILE).await;
    eventually("it is planned", async || system.status(job).await.state == State::Running).await;
    nothing_waits(&system).await;
    assert_eq!(fake.begun(), 0);
    drop(lock);
    let status = system.ended(job).await;
    assert_eq!(system.tasks(&status).await[0].done.as_ref().unwrap().attempts, 1);
}

#[tokio::test]
async fn a_load_that_has_waited_long_goes_back_and_that_is_no_attempt() {
    let (mut system, fake) = stopped(Fake::default()).await;
    let metrics = &mut Registry::default();
    system.worker.metrics = Metrics::register(metrics);
    system.run();
    let lock = system.queue.try_lock("table.movie").await.unwrap().unwrap();
    let job = submit(&system, FILE).await;
    let went_back = || {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, metrics).unwrap();
        text.lines().any(|line| line.contains("\"elsewhere\"") && line.contains("\"movie\"") && !line.ends_with(" 0"))
    };
    let deadline = Instant::now() + Duration::from_secs(15);
    while !went_back() {
        assert!(Instant::now() < deadline, "never: it goes back");
        tokio::time::sleep(Duration::from_millis(5)).await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(5)).await;
        tokio::time::resume();
    }
    drop(lock);
    let status = system.ended(job).await;
    assert_eq!((fake.begun(), system.tasks(&status).await[0].done.as_ref().unwrap().attempts), (1, 1));
}

#[tokio::test]
async fn a_worker_without_a_loader_leaves_loads_to_others() {
    let (mut system, fake) = stopped(Fake::default()).await;
    system.worker.loader = None;
    system.run();
    let job = submit(&system, FILE).await;
    eventually("it is planned", async || system.status(job).await.state == State::Running).await;
    let queue_name = QueueName::Source("movie".to_owned());
    eventually("its load waits", async || system.queue.waiting(&queue_name).await.unwrap() == 1).await;
    system.worker.loader = Some(fake.clone());
    let _other = system.another();
    assert_eq!(tally(&system.ended(job).await), (State::Succeeded, 3, 3, 0));
    assert_eq!(fake.begun(), 1);
}

#[tokio::test]
async fn tables_are_maintained_while_nobody_loads_them() {
    let (mut system, fake) = stopped(Fake::default()).await;
    let lock = system.queue.try_lock("table.movie").await.unwrap().unwrap();
    system.run();
    let job = submit(&system, FILE).await;
    nothing_waits(&system).await;
    assert!(fake.maintained.lock().unwrap().is_empty());
    assert_eq!(fake.begun(), 0);
    drop(lock);
    eventually("both are done", async || fake.maintained.lock().unwrap().first().is_some_and(|it| it == "movie")).await;
    assert_eq!(system.ended(job).await.state, State::Succeeded);
}
