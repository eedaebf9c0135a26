//! The fleet: two APIs, three workers, statistics; RabbitMQ and S3 behind proxies; the upstream in this process.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use serde_json::Value;
use waybill_upstream::{Options, Running, Upstream};

use crate::{Bucket, Process, Proxy, rabbitmqctl, required, weather_definition};

/// What each process runs. The last worker and the last API are never killed: a leak would show there.
const TARGETS: [&str; 6] = ["api", "api", "worker", "worker", "worker", "stats"];

/// The places of those that are killed, and of those that never are.
pub(super) const KILLABLE: [usize; 4] = [0, 2, 3, 5];
const SURVIVORS: [usize; 2] = [1, 4];

/// Memory and files of one process at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) mebibytes: u64,
    pub(super) files: u64,
}

/// A POST to an API.
#[derive(Debug, Clone, Copy)]
pub(super) struct Post<'a> {
    pub(super) path: &'a str,
    /// The body and the idempotency key of a submit.
    pub(super) submit: Option<(Body<'a>, &'a str)>,
    /// Statuses that are allowed, beside 503 with `Retry-After`.
    pub(super) allowed: &'static [u16],
}

impl Post<'_> {
    /// The longest that it may take.
    fn limit(&self) -> Duration {
        match self.submit {
            Some((Body::Json(_), _)) => SUBMIT_LIMIT,
            Some((Body::Csv(_), _)) => FILE_LIMIT,
            None => OTHER_LIMIT,
        }
    }
}

/// What is submitted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body<'a> {
    /// A source and its parameters.
    Json(&'a Value),
    /// The rows of an upload.
    Csv(&'a str),
}

/// What came of a POST.
#[derive(Debug)]
pub(super) struct Posted {
    pub(super) path: String,
    pub(super) allowed: &'static [u16],
    /// The longest that it might take.
    pub(super) limit: Duration,
    pub(super) elapsed: Duration,
    pub(super) answer: Answered,
}

/// How a POST was answered.
#[derive(Debug)]
pub(super) enum Answered {
    Status {
        status: u16,
        has_retry_after: bool,
        text: String,
    },
    TimedOut,
    /// The connection broke: its process was killed.
    Disconnected,
}

/// The 2 seconds that a submit may take, and what a busy machine adds to it.
const SUBMIT_LIMIT: Duration = Duration::from_secs(5);

/// The same of a submit with a file: 12 seconds that the store may take for each of the file and what is known of it,
/// and the 30 of the submit.
const FILE_LIMIT: Duration = Duration::from_secs(57);

/// The 30 seconds that any other request may take, and the same.
const OTHER_LIMIT: Duration = Duration::from_secs(33);

pub(super) struct Fleet {
    pub(super) upstream: Running,
    pub(super) broker: Proxy,
    pub(super) s3: Proxy,
    pub(super) bucket: Bucket,
    pub(super) vhost: String,
    /// The broker without the proxy.
    pub(super) amqp: String,
    _sources: tempfile::TempDir,
    processes: Mutex<Vec<(&'static str, Option<Process>)>>,
    environment: Vec<(String, String)>,
    pub(super) http: reqwest::Client,
    posts: Mutex<Vec<Posted>>,
}

impl Fleet {
    /// Runs a command of the binary in the same environment; its exit status, and all that it said.
    pub(super) async fn command(&self, arguments: &'static [&'static str]) -> (Option<i32>, String) {
        let environment = self.environment.clone();
        let running = tokio::task::spawn_blocking(move || crate::run(arguments, &environment));
        let output = running.await.expect("the command can be run");
        let [out, error] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        (output.status.code(), out + &error)
    }

    /// What happened to all jobs and their tasks, as the journals in the bucket say.
    pub(super) async fn journaled(&self) -> Vec<Value> {
        let mut facts = Vec::new();
        for arguments in
            [&["journal", "buses", "--jobs"], &["journal", "weather", "--jobs"], &["journal", "relay", "--jobs"]]
        {
            let (code, text) = self.command(arguments).await;
            assert_eq!(code, Some(0), "{text}");
            let lines = text.lines().filter(|line| line.starts_with('{') && line.contains("\"job\":"));
            facts.extend(lines.map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON")));
        }
        facts
    }

    pub(super) async fn start(seed: u64) -> Self {
        let weather_window = Duration::from_secs(5);
        let options = Options { seed, cities: 8, countries: 3, records: 3_000, weather_window, ..Options::default() };
        let sources = tempfile::tempdir().expect("a folder can be made");
        std::fs::write(sources.path().join("weather.toml"), weather_definition(30, "PT5S")).expect("a file");
        let upstream = Upstream::new(options).start().await.expect("the upstream can be started");
        let name = format!("chaos-{}", uuid::Uuid::now_v7());
        rabbitmqctl(&["add_vhost", &name]);
        rabbitmqctl(&["set_permissions", "-p", &name, "guest", ".*", ".*", ".*"]);
        let amqp = required("WAYBILL_TEST_AMQP_URL");
        let amqp = amqp.trim_end_matches('/');
        let server = amqp.rsplit('@').next().unwrap_or_default();
        let broker = Proxy::start(server, seed).await;
        let endpoint = required("WAYBILL_TEST_S3_ENDPOINT");
        let bucket = Bucket::new(&endpoint, &name, "test");
        bucket.create().await;
        let s3 = Proxy::start(endpoint.trim_start_matches("http://").trim_end_matches('/'), seed).await;
        let environment = [
            ("WAYBILL_LISTEN", "127.0.0.1:0".to_owned()),
            ("WAYBILL_AMQP_URL", format!("{}/{name}", amqp.replace(server, &broker.address().to_string()))),
            ("WAYBILL_S3_BUCKET", name.clone()),
            ("AWS_ENDPOINT_URL_S3", format!("http://{}", s3.address())),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("WAYBILL_BASE_URL", format!("buses={0},weather={0},relay={0}", upstream.base_url())),
            ("WAYBILL_SOURCES", sources.path().display().to_string()),
            ("OPENWEATHER_API_KEY", "test".to_owned()),
        ];
        let environment: Vec<_> = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let processes = TARGETS.map(|target| (target, Some(Process::start(&[target.to_owned()], &environment))));
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().expect("a client can be made");
        Self {
            upstream,
            broker,
            s3,
            bucket,
            amqp: format!("{amqp}/{name}"),
            vhost: name,
            _sources: sources,
            processes: Mutex::new(processes.into()),
            environment,
            http,
            posts: Mutex::default(),
        }
    }

    /// Where a process that runs `target` serves now; the `n`th of those that are up.
    pub(super) fn url(&self, target: &str, n: usize) -> Option<String> {
        let processes = self.processes.lock().expect("no holder panics");
        let urls: Vec<_> =
            processes.iter().filter(|(name, _)| *name == target).filter_map(|(_, p)| p.as_ref()).collect();
        (!urls.is_empty()).then(|| urls[n % urls.len()].url.clone())
    }

    /// Takes a process out of the fleet; `None` where its place is empty just now.
    pub(super) fn take(&self, slot: usize) -> Option<Process> {
        self.processes.lock().expect("no holder panics")[slot].1.take()
    }

    /// Fills an empty place again.
    pub(super) async fn respawn(&self, slot: usize) {
        let (target, environment) = (TARGETS[slot], self.environment.clone());
        let process = tokio::task::spawn_blocking(move || Process::start(&[target.to_owned()], &environment)).await;
        self.processes.lock().expect("no holder panics")[slot].1 = Some(process.expect("a process can be started"));
    }

    /// Resident memory and open files of the processes that are never killed.
    pub(super) fn survivors(&self) -> Vec<(&'static str, Sample)> {
        let processes = self.processes.lock().expect("no holder panics");
        SURVIVORS
            .iter()
            .filter_map(|slot| {
                let (target, process) = &processes[*slot];
                let pid = process.as_ref()?.pid();
                let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
                let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
                let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
                let files = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
                Some((*target, Sample { mebibytes: kib / 1024, files }))
            })
            .collect()
    }

    /// A GET of JSON that may fail.
    pub(super) async fn get(&self, target: &str, path: &str) -> Option<Value> {
        let url = self.url(target, fastrand::usize(..8))?;
        let response = self.http.get(format!("{url}{path}")).send().await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        response.json().await.ok()
    }

    /// Posts to the `n`th API that is up. `None` where the connection broke, or nobody is there.
    pub(super) async fn post(&self, n: usize, post: Post<'_>) -> Option<(u16, Value)> {
        let limit = post.limit();
        let url = self.url("api", n)?;
        let mut request = self.http.post(format!("{url}{}", post.path)).timeout(limit);
        if let Some((body, key)) = post.submit {
            request = request.header("Idempotency-Key", key);
            request = match body {
                Body::Json(body) => request.json(body),
                Body::Csv(csv) => request.header("Content-Type", "text/csv").body(csv.to_owned()),
            };
        }
        let start = Instant::now();
        let answer = async {
            let response = request.send().await?;
            let (status, has_retry_after) =
                (response.status().as_u16(), response.headers().contains_key("Retry-After"));
            Ok::<_, reqwest::Error>(Answered::Status { status, has_retry_after, text: response.text().await? })
        };
        let answer = match answer.await {
            Ok(answer) => answer,
            Err(error) if error.is_timeout() => Answered::TimedOut,
            Err(_) => Answered::Disconnected,
        };
        let answered = match &answer {
            Answered::Status { status, text, .. } => Some((*status, serde_json::from_str(text).unwrap_or_default())),
            Answered::TimedOut | Answered::Disconnected => None,
        };
        self.posts.lock().expect("no holder panics").push(Posted {
            path: post.path.to_owned(),
            allowed: post.allowed,
            limit,
            elapsed: start.elapsed(),
            answer,
        });
        answered
    }

    /// Every POST so far.
    pub(super) fn posts(&self) -> Vec<Posted> {
        std::mem::take(&mut self.posts.lock().expect("no holder panics"))
    }

    /// Ends every process with SIGTERM.
    pub(super) async fn stop(&self) {
        let processes = std::mem::take(&mut *self.processes.lock().expect("no holder panics"));
        for (_, process) in processes {
            if let Some(process) = process {
                process.terminate().await;
            }
        }
        rabbitmqctl(&["delete_vhost", &self.vhost]);
    }
}
