//! Fixtures of this crate's tests: a ledger on an embedded store, and a queue that records its messages.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;
use tempfile::TempDir;
use uuid::Uuid;
use waybill_journal::Options;
use waybill_queue::{Consumer, Lock, Message, Queue, QueueError, QueueName};
use waybill_source::{Catalog, Definition, Format, Item, Params};
use waybill_store::{Embedded, Store};

use crate::{
    Done, Failure, JobId, Lease, Ledger, MissingItem, Outcome, Plan, Request, RowTally, Sealed, Submission,
    SubmitError, Submitted, Upload, UploadId,
    changes::seal::Sealing,
    layout::{
        keys::{self, Name},
        objects::PLAN,
    },
};

/// 2024-05-01T08:00:00Z, in seconds.
pub(crate) const MORNING: i64 = 1_714_550_400;

/// The route of every submission.
pub(crate) const ROUTE: &str = "POST /v1/jobs";

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(MORNING + second).unwrap()
}

/// Jobs of that many tasks are sealed, and pieces have so many outcomes.
const SEALING: Sealing = Sealing { tasks: 25, piece: 10 };

/// An id of that second; the same two numbers are the same id.
pub(crate) fn id(second: i64, number: u64) -> JobId {
    let milliseconds = u64::try_from(at(second).as_millisecond()).unwrap();
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    JobId::new(uuid::Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid())
}

pub(crate) fn done(outcome: Outcome, second: i64) -> Done {
    Done {
        outcome,
        object: "data/buses/country=chile/date=2024-05-01/0-arica.20240501T080002.000000Z-0123456789ab.json".to_owned(),
        bytes: 1_000,
        records: 10,
        seconds: 0.25,
        attempts: 1,
        finished: at(second),
        missing: Vec::new(),
        rows: None,
        quarantine: None,
    }
}

/// A task that ended well, but for one item.
pub(crate) fn partial(second: i64) -> Done {
    let missing = MissingItem { item: "7".to_owned(), reason: "the upstream answered 404 Not Found".to_owned() };
    Done { missing: vec![missing], ..done(Outcome::Stored, second) }
}

/// What is known of an upload of that number.
pub(crate) fn upload(number: u64) -> Upload {
    let id = UploadId::new(id(0, number).into());
    let (source, format) = ("relay".to_owned(), Format::Csv);
    Upload { id, source, format, bytes: 9, rows: Some(1), sha256: "5".repeat(64), by: None }
}

pub(crate) fn failure(reason: &str, second: i64) -> Failure {
    Failure { reason: reason.to_owned(), quarantine: None, attempts: 3, finished: at(second) }
}

/// So many tasks stored so many bytes, and none was unchanged.
pub(crate) fn sealed(stored: u32, bytes: u64, second: i64) -> Sealed {
    let (unchanged, records, rows) = (0, 10 * u64::from(stored), RowTally::default());
    Sealed { stored, unchanged, bytes, records, rows, finished: at(second) }
}

/// The id of an attempt.
pub(crate) fn attempt(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// The id of an attempt that began at this second.
pub(crate) fn attempt_at(second: i64) -> Uuid {
    let seconds = u64::try_from(at(second).as_second()).unwrap();
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0))
}

/// The first word of a worker's lease, until this second.
pub(crate) fn lease(worker: &str, second: i64) -> Lease {
    let id = Uuid::from_u128(worker.bytes().fold(0, |id, byte| id * 256 + u128::from(byte)));
    Lease { id, renewal: 0, worker: worker.to_owned(), until: at(second), rows: None }
}

/// A plan of so many tasks of one city each.
pub(crate) fn plan(tasks: usize) -> Plan {
    let item = |n: usize| {
        let fields = [("id".to_owned(), n.into()), ("name".to_owned(), format!("City {n}").into())];
        Item { key: format!("{n}-city-{n}"), values: [("city".to_owned(), fields.into())].into(), problem: None }
    };
    Plan { planned: at(2), tasks: (0..tasks).map(|n| vec![item(n)]).collect() }
}

/// A bucket, a queue, and a ledger on both.
#[derive(Debug)]
pub(crate) struct Fixture {
    pub(crate) ledger: Ledger,
    pub(crate) store: Store,
    pub(crate) queue: Arc<Recording>,
    pub(crate) definition: Arc<Definition>,
    _embedded: Embedded,
    _folder: TempDir,
}

/// A ledger that looks at the journal at most so often when it is asked for a status.
fn looking_every(list_interval: Duration, store: &Store, queue: Arc<Recording>) -> Ledger {
    let options = Options { list_interval, ..Options::default() };
    Ledger::with(store.clone(), queue, options, SEALING)
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let embedded = Embedded::open(folder.path()).await.unwrap();
        let store = embedded.store("waybill").unwrap();
        let queue = Arc::new(Recording::default());
        let ledger = looking_every(Duration::ZERO, &store, queue.clone());
        let definition = Catalog::shipped().get("buses").unwrap().clone();
        Self { ledger, store, queue, definition, _embedded: embedded, _folder: folder }
    }

    /// The ledger of another process, which remembers nothing.
    pub(crate) fn another(&self) -> Ledger {
        self.looking_every(Duration::ZERO)
    }

    pub(crate) fn looking_every(&self, list_interval: Duration) -> Ledger {
        looking_every(list_interval, &self.store, self.queue.clone())
    }

    pub(crate) fn submission(&self, job: JobId, date: &str, key: Option<&str>) -> Submission<'_> {
        Submission {
            definition: &self.definition,
            upload: None,
            params: Params([("date".to_owned(), date.to_owned())].into()),
            idempotency_key: key.map(str::to_owned),
            route: ROUTE,
            by: None,
            id: Uuid::from(job),
            now: at(0),
        }
    }

    pub(crate) async fn submit(&self, job: JobId, date: &str, key: Option<&str>) -> Result<Submitted, SubmitError> {
        self.ledger.submit(self.submission(job, date, key)).await
    }

    /// A job that was accepted.
    pub(crate) async fn job(&self, job: JobId) -> Request {
        self.submit(job, "2024-05-01", None).await.unwrap().request
    }

    /// A job that was planned.
    pub(crate) async fn planned(&self, job: JobId, tasks: usize) -> Request {
        let request = self.job(job).await;
        self.ledger.record_start(job, at(1)).await.unwrap();
        self.ledger.record_plan(job, plan(tasks)).await.unwrap();
        request
    }

    /// A job that an earlier release has planned, which wrote every fact as an object.
    pub(crate) async fn planned_earlier(&self, job: JobId, tasks: usize) {
        self.job(job).await;
        self.object(job, Name::Started, &serde_json::json!({ "started": at(1) })).await;
        self.object(job, Name::Plan, &plan(tasks)).await;
    }

    /// An object of an earlier release.
    pub(crate) async fn object(&self, job: JobId, name: Name, fact: &impl Serialize) {
        self.ledger.create(&keys::of(job, name), fact, PLAN).await.unwrap();
    }

    /// An object as people see it in the bucket.
    pub(crate) async fn text(&self, key: &str) -> Option<String> {
        let body = self.store.get(key, 1 << 20).await.unwrap()?;
        Some(String::from_utf8(body.to_vec()).unwrap())
    }
}

/// A queue without consumers.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    sent: Mutex<Vec<Message>>,
    /// How many more messages it takes, if it is away after those.
    takes: Mutex<Option<usize>>,
    /// Whether a publisher waits for ever, as on a full queue.
    pub(crate) is_full: AtomicBool,
    /// What it says of every queue.
    pub(crate) waiting: AtomicU64,
}

impl Recording {
    pub(crate) fn take_only(&self, messages: usize) {
        *self.takes.lock().unwrap() = Some(messages);
    }

    pub(crate) fn take_all(&self) {
        *self.takes.lock().unwrap() = None;
    }

    /// What was sent since the last time, as `plan {job}`, `task {job} {task}` or `again {job} {task}`, in order of
    /// text.
    pub(crate) fn sent(&self) -> Vec<String> {
        let messages = std::mem::take(&mut *self.sent.lock().unwrap());
        let mut sent: Vec<_> = messages
            .iter()
            .map(|message| match message {
                Message::PlanJob(plan) => format!("plan {}", plan.job_id),
                Message::RunTask(task) => {
                    format!("{} {} {}", if task.resent { "again" } else { "task" }, task.job_id, task.task)
                }
            })
            .collect();
        sent.sort();
        sent
    }

    pub(crate) fn messages(&self) -> Vec<Message> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }
}

#[async_trait]
impl Queue for Recording {
    async fn publish(&self, _: &QueueName, message: &Message, _: Duration) -> Result<(), QueueError> {
        if self.is_full.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if let Some(takes) = &mut *self.takes.lock().unwrap() {
            *takes = takes.checked_sub(1).ok_or_else(|| QueueError::Unavailable("the broker is away".to_owned()))?;
        }
        self.sent.lock().unwrap().push(message.clone());
        Ok(())
    }

    async fn consume(&self, _: &QueueName, _: u16) -> Result<Box<dyn Consumer>, QueueError> {
        Err(QueueError::Closed)
    }

    async fn dead_letter(&self, _: &QueueName, _: &Message, _: &str) -> Result<(), QueueError> {
        Err(QueueError::Closed)
    }

    async fn try_lock(&self, _: &str) -> Result<Option<Lock>, QueueError> {
        Err(QueueError::Closed)
    }

    async fn waiting(&self, _: &QueueName) -> Result<u64, QueueError> {
        Ok(self.waiting.load(Ordering::Relaxed))
    }

    async fn check(&self) -> Result<(), QueueError> {
        Ok(())
    }

    fn is_durable(&self) -> bool {
        false
    }

    async fn close(&self) {}
}
