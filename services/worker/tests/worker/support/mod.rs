//! A worker, and all it needs, in one process.

mod reply;
mod server;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use waybill_ledger::{JobId, Ledger, State, Status, Submission, TaskStatus};
use waybill_queue::Embedded as EmbeddedQueue;
use waybill_source::{Catalog, Definition, Env};
use waybill_store::{Embedded, Head, Store};
use waybill_worker::{RetryPolicy, Worker};

pub(crate) use self::{
    reply::Reply,
    server::{Asked, Upstream},
};

/// The shipped definition.
pub(crate) const BUSES: &str = include_str!("../../../../source/sources/buses.toml");
pub(crate) const DATE: &str = "2024-05-01";

/// Waits that a test can afford.
pub(crate) const PATIENCE: RetryPolicy =
    RetryPolicy { initial: Duration::from_millis(2), max_wait: Duration::from_millis(20), tries: 3, attempts: 2 };

/// As long as any test may wait for anything.
const DEADLINE: Duration = Duration::from_secs(15);

pub(crate) struct System {
    pub(crate) store: Store,
    pub(crate) queue: EmbeddedQueue,
    pub(crate) ledger: Ledger,
    pub(crate) upstream: Upstream,
    pub(crate) worker: Worker,
    definition: Arc<Definition>,
    shutdown: CancellationToken,
    running: Option<JoinHandle<anyhow::Result<()>>>,
    _folder: tempfile::TempDir,
}

/// An object in the bucket.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) key: String,
    pub(crate) head: Head,
    pub(crate) body: Bytes,
}

impl System {
    /// With a worker that runs.
    pub(crate) async fn start(definition: &str, upstream: Upstream) -> Self {
        let mut system = Self::stopped(definition, upstream, PATIENCE).await;
        system.run();
        system
    }

    /// With a worker that does not run yet.
    pub(crate) async fn stopped(definition: &str, upstream: Upstream, retry: RetryPolicy) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path()).await.unwrap().store("bucket").unwrap();
        let queue = EmbeddedQueue::new(1_000);
        let ledger = Ledger::new(store.clone(), Arc::new(queue.clone()));
        let mut catalog = Catalog::default();
        catalog.insert_text("test.toml", definition).unwrap_or_else(|mistakes| panic!("{:?}", mistakes.0));
        let definition = catalog.iter().next().unwrap().clone();
        let worker = Worker {
            ledger: ledger.clone(),
            store: store.clone(),
            queue: Arc::new(queue.clone()),
            catalog: Arc::new(catalog),
            base_urls: HashMap::from([(definition.name().to_owned(), upstream.base_url())]),
            env: Env::new(),
            retry,
            housekeeping: Duration::from_secs(3_600),
            patience: waybill_ledger::PATIENCE,
            lease: Duration::from_secs(30),
            hand_on: Duration::from_secs(900),
        };
        let shutdown = CancellationToken::new();
        Self { store, queue, ledger, upstream, worker, definition, shutdown, running: None, _folder: folder }
    }

    /// The same bucket, and jobs of another definition from now on.
    pub(crate) fn with_definition(mut self, definition: &str) -> Self {
        let mut catalog = Catalog::default();
        catalog.insert_text("test.toml", definition).unwrap();
        self.definition = catalog.iter().next().unwrap().clone();
        self.worker.catalog = Arc::new(catalog);
        self.run();
        self
    }

    /// The same bucket, and nothing else left: as after a start of the process.
    pub(crate) fn with_empty_queue(mut self) -> Self {
        self.queue = EmbeddedQueue::new(1_000);
        self.ledger = Ledger::new(self.store.clone(), Arc::new(self.queue.clone()));
        self.worker.queue = Arc::new(self.queue.clone());
        self.worker.ledger = self.ledger.clone();
        self
    }

    pub(crate) fn run(&mut self) {
        self.shutdown = CancellationToken::new();
        let running = waybill_worker::run(self.worker.clone(), self.shutdown.clone(), Duration::from_millis(200));
        self.running = Some(tokio::spawn(running));
    }

    /// Asks the worker to stop, and waits until it has.
    pub(crate) async fn stop(&mut self) {
        self.shutdown.cancel();
        let running = self.running.take().unwrap();
        tokio::time::timeout(DEADLINE, running).await.expect("the worker stops").unwrap().unwrap();
    }

    pub(crate) async fn submit(&self) -> JobId {
        let given = BTreeMap::from([("date".to_owned(), DATE.to_owned())]);
        let submission = Submission {
            definition: &self.definition,
            params: self.definition.bind(&given).unwrap(),
            idempotency_key: None,
            id: Uuid::now_v7(),
            now: Timestamp::now(),
        };
        self.ledger.submit(submission).await.unwrap().request.job
    }

    pub(crate) async fn status(&self, job: JobId) -> Status {
        self.ledger.status(job).await.unwrap().unwrap()
    }

    /// Waits until a job has ended.
    pub(crate) async fn ended(&self, job: JobId) -> Status {
        let ended = async {
            loop {
                let status = self.status(job).await;
                if status.state.is_terminal() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        match tokio::time::timeout(DEADLINE, ended).await {
            Ok(status) => status,
            Err(_) => panic!("the job has not ended: {:?}", self.status(job).await),
        }
    }

    /// Runs a job to its end.
    pub(crate) async fn job(&self) -> Status {
        let job = self.submit().await;
        self.ended(job).await
    }

    /// Runs a job to its good end.
    pub(crate) async fn good_job(&self) -> Status {
        let status = self.job().await;
        assert_eq!(status.state, State::Succeeded, "{:?}", status.errors);
        status
    }

    pub(crate) async fn tasks(&self, status: &Status) -> Vec<TaskStatus> {
        self.ledger.tasks(status.request.job, None, 0, 1_000).await.unwrap().unwrap()
    }

    /// The only failure of a job that failed.
    pub(crate) fn reason(status: &Status) -> &str {
        assert_eq!(status.errors.len(), 1, "{status:?}");
        &status.errors[0].failure.reason
    }

    /// Everything under a prefix.
    pub(crate) async fn objects(&self, prefix: &str) -> Vec<Object> {
        let mut objects = Vec::new();
        for entry in self.store.list(prefix, None, 1_000).await.unwrap() {
            let head = self.store.head(&entry.key).await.unwrap().unwrap();
            let body = self.store.get(&entry.key, 1 << 30).await.unwrap().unwrap();
            objects.push(Object { key: entry.key, head, body });
        }
        objects
    }

    pub(crate) async fn data(&self) -> Vec<Object> {
        self.objects("data/").await
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// `GET /cities`: so many, one country.
pub(crate) fn cities(count: usize) -> Reply {
    let list: Vec<_> =
        (0..count).map(|id| serde_json::json!({"id": id, "name": format!("City {id}"), "country": "Peru"})).collect();
    Reply::json(&serde_json::Value::from(list))
}

/// A city file of so many buses.
pub(crate) fn buses(count: usize) -> String {
    let one = |i: usize| {
        format!(
            r#"{{"departure-time":"2024-05-01T08:44:00","bus-type":"BUS-{}","passengers":{},"delay":"PT{}S","accident":{}}}"#,
            i % 7,
            i % 90,
            i % 600,
            i % 50 == 49
        )
    };
    format!("[{}]", (0..count).map(one).collect::<Vec<_>>().join(","))
}

/// The path of a city's file.
pub(crate) fn file(city: usize) -> String {
    format!("/cities/{city}/stats")
}
