//! The fleet: two APIs, three workers, statistics; RabbitMQ and S3 behind proxies; the upstream in this process.

use std::{sync::Mutex, time::Duration};

use serde_json::Value;
use waybill_upstream::{Options, Running, Upstream};

use crate::{
    Bucket, Process, Proxy,
    chaos::{health::Sample, http_log::HttpLog},
    rabbitmqctl, required, weather_definition,
};

/// What each process runs. The last worker and the last API are never killed: a leak would show there.
const TARGETS: [&str; 6] = ["api", "api", "worker", "worker", "worker", "stats"];

/// The places of those that are killed, and of those that never are.
pub(super) const KILLABLE: [usize; 4] = [0, 2, 3, 5];
const SURVIVORS: [usize; 2] = [1, 4];

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
    pub(super) http_log: Mutex<HttpLog>,
}

impl Fleet {
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
            ("WAYBILL_BASE_URL", format!("buses={0},weather={0}", upstream.base_url())),
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
            http_log: Mutex::new(HttpLog::default()),
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
