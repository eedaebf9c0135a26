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
use waybill_ledger::{JobId, Ledger, State, Status, Submission, TaskStatus, Upload};
use waybill_queue::Embedded as EmbeddedQueue;
use waybill_source::{Catalog, DefaultsFrom, Definition, Env};
use waybill_store::{Embedded, Head, Store};
use waybill_worker::{RetryPolicy, Worker};

pub(crate) use self::{
    reply::Reply,
    server::{Asked, Upstream},
};

/// The shipped definitions.
pub(crate) const BUSES: &str = include_str!("../../../../source/sources/buses.toml");
const WEATHER: &str = include_str!("../../../../source/sources/weather.toml");
/// The secret of a test.
pub(crate) const KEY: &str = "s3cret-appid";
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
    pub(crate) definition: Arc<Definition>,
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
            loader: None,
            retry,
            housekeeping: Duration::from_secs(3_600),
            lost_after: waybill_ledger::LOST_AFTER,
            lease: Duration::from_secs(30),
            requeue_after: Duration::from_secs(900),
            metrics: waybill_worker::Metrics::default(),
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

    /// Another worker on the same bucket and queue, until it is dropped: then it is gone in the middle of
    /// whatever it does.
    pub(crate) fn another(&self) -> Another {
        let ledger = Ledger::new(self.store.clone(), self.worker.queue.clone());
        let worker = Worker { ledger, ..self.worker.clone() };
        let running = waybill_worker::run(worker, CancellationToken::new(), Duration::from_millis(200));
        Another(tokio::spawn(running))
    }

    /// One more source, at the same upstream or another.
    pub(crate) fn add(&mut self, definition: &str, base_url: &str) {
        let mut catalog = (*self.worker.catalog).clone();
        catalog.insert_text("added.toml", definition).unwrap_or_else(|mistakes| panic!("{:?}", mistakes.0));
        for source in catalog.iter() {
            let base_url = base_url.to_owned();
            self.worker.base_urls.entry(source.name().to_owned()).or_insert(base_url);
        }
        self.worker.catalog = Arc::new(catalog);
    }

    /// Asks the worker to stop, and waits until it has.
    pub(crate) async fn stop(&mut self) {
        self.shutdown.cancel();
        let running = self.running.take().unwrap();
        tokio::time::timeout(DEADLINE, running).await.expect("the worker stops").unwrap().unwrap();
    }

    pub(crate) async fn submit(&self) -> JobId {
        self.submit_to(self.definition.name()).await
    }

    /// A job of one of the sources.
    pub(crate) async fn submit_to(&self, source: &str) -> JobId {
        self.submit_with(source, None).await
    }

    /// A job of one of the sources, and the upload that it names.
    pub(crate) async fn submit_with(&self, source: &str, upload: Option<Upload>) -> JobId {
        let definition = self.worker.catalog.get(source).unwrap();
        let value = |kind| if kind == "date" { DATE.to_owned() } else { "mine".to_owned() };
        let given = definition.params().map(|(name, kind, _)| (name.to_owned(), value(kind))).collect();
        self.submit_given(source, &given, upload).await
    }

    /// A job of one of the sources that is given this.
    pub(crate) async fn submit_given(
        &self,
        source: &str,
        given: &BTreeMap<String, String>,
        upload: Option<Upload>,
    ) -> JobId {
        let definition = self.worker.catalog.get(source).unwrap();
        let from = DefaultsFrom { day: jiff::civil::date(2024, 5, 1), previous: None };
        let submission = Submission {
            definition,
            params: definition.bind(given, from).unwrap(),
            upload,
            idempotency_key: None,
            route: "POST /v1/jobs",
            by: None,
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
            // One that was deleted since is not there.
            let Some(head) = self.store.head(&entry.key).await.unwrap() else { continue };
            let Some(body) = self.store.get(&entry.key, 1 << 30).await.unwrap() else { continue };
            objects.push(Object { key: entry.key, head, body });
        }
        objects
    }

    /// Everything in the bucket, as one text.
    pub(crate) async fn whole_bucket(&self) -> String {
        let objects = self.objects("").await;
        let texts = objects.iter().map(|it| format!("{} {:?} {:?}", it.key, it.head.metadata, it.body));
        texts.collect::<Vec<_>>().join("\n")
    }

    pub(crate) async fn data(&self) -> Vec<Object> {
        self.objects("data/").await
    }
}

/// A worker that ends where it stands when it is dropped.
pub(crate) struct Another(JoinHandle<anyhow::Result<()>>);

impl Drop for Another {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The weather of so many cities, with ids from 0: a batch of `batch` at once, `rate` cities in two seconds.
pub(crate) fn weather(cities: usize, batch: usize, rate: usize) -> String {
    let (before, rest) = WEATHER.split_once("list   = [").unwrap();
    let (_, after) = rest.split_once("]\n").unwrap();
    let list: Vec<_> = (0..cities).map(|id| id.to_string()).collect();
    let definition = format!("{before}list = [{}]\n{after}", list.join(","));
    let rate = format!("rate = {{ items = {rate}, per = \"PT2S\" }}");
    let definition = definition.replace("rate      = { items = 60, per = \"PT1M\" }", &rate);
    definition.replace("batch     = 20 ", &format!("batch = {batch} "))
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    eventually(what, async || so()).await;
}

/// Waits until the answer to a question is yes.
pub(crate) async fn eventually(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// `GET /cities`: so many, one country.
pub(crate) fn cities(count: usize) -> Reply {
    Reply::body(cities_json(count))
}

pub(crate) fn cities_json(count: usize) -> String {
    let list: Vec<_> =
        (0..count).map(|id| serde_json::json!({"id": id, "name": format!("City {id}"), "country": "Peru"})).collect();
    serde_json::Value::from(list).to_string()
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
