//! A whole Waybill in one of the two modes, with a stand-in upstream of its own.

use std::path::{Path, PathBuf};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use waybill_upstream::{Options, Running, Upstream};

use crate::{Bucket, Process, Proxy, rabbitmqctl, required, wait_until};

/// How the services run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `waybill up`, on embedded parts.
    OneProcess,
    /// `waybill api`, two `waybill worker` and `waybill stats`, on RabbitMQ and moto, both behind a proxy.
    Apart,
}

/// What the services reach their servers through.
#[derive(Debug)]
pub struct Proxies {
    /// Before moto.
    pub s3: Proxy,
    /// Before RabbitMQ.
    pub broker: Proxy,
}

/// A running Waybill.
#[derive(Debug)]
pub struct System {
    /// The stand-in upstream, in this process, so that a scenario can change what it serves.
    pub upstream: Running,
    /// Where jobs are submitted.
    pub api: String,
    /// Where statistics are asked for.
    pub stats: String,
    /// The bucket.
    pub bucket: Bucket,
    /// All processes by what they run; `up`, or `api`, `worker`, `worker`, `stats`.
    pub processes: Vec<(&'static str, Process)>,
    /// What stands before RabbitMQ and moto, where the services run apart.
    pub proxies: Option<Proxies>,
    mode: Mode,
    environment: Vec<(String, String)>,
    folder: TempDir,
    vhost: Option<String>,
    http: reqwest::Client,
}

impl System {
    /// Starts everything for a scenario.
    pub async fn start(mode: Mode, options: Options) -> Self {
        Self::start_with_sources(mode, options, None).await
    }

    /// The same with the operator's own definitions.
    pub async fn start_with_sources(mode: Mode, options: Options, sources: Option<&Path>) -> Self {
        Self::start_with(mode, options, sources, &[]).await
    }

    /// The same with more variables.
    pub async fn start_with(
        mode: Mode,
        options: Options,
        sources: Option<&Path>,
        variables: &[(&str, String)],
    ) -> Self {
        let upstream = Upstream::new(options).start().await.expect("the upstream can be started");
        let folder = TempDir::new().expect("a folder can be made");
        let mut environment = vec![("WAYBILL_LISTEN".to_owned(), "127.0.0.1:0".to_owned())];
        let mut set = |name: &str, value: String| environment.push((name.to_owned(), value));
        if let Some(sources) = sources {
            set("WAYBILL_SOURCES", sources.display().to_string());
        }
        let stations =
            if sources.is_some_and(|folder| folder.join("stations.toml").exists()) { ",stations={0}" } else { "" };
        let base_urls = format!("buses={{0}},weather={{0}},relay={{0}}{stations}").replace("{0}", upstream.base_url());
        set("WAYBILL_BASE_URL", base_urls);
        set("OPENWEATHER_API_KEY", "test".to_owned());
        let mut vhost = None;
        let (mut bucket, mut proxies) = (None, None);
        match mode {
            Mode::OneProcess => {
                set("WAYBILL_DATA", folder.path().join("data").display().to_string());
                set("WAYBILL_S3_LISTEN", "127.0.0.1:0".to_owned());
            }
            Mode::Apart => {
                let name = format!("test-{}", uuid::Uuid::now_v7());
                rabbitmqctl(&["add_vhost", &name]);
                rabbitmqctl(&["set_permissions", "-p", &name, "guest", ".*", ".*", ".*"]);
                let amqp = required("WAYBILL_TEST_AMQP_URL");
                let amqp = amqp.trim_end_matches('/');
                let server = amqp.rsplit('@').next().unwrap_or_default();
                let broker = Proxy::start(server, 0).await;
                set("WAYBILL_AMQP_URL", format!("{}/{name}", amqp.replace(server, &broker.address().to_string())));
                let endpoint = required("WAYBILL_TEST_S3_ENDPOINT");
                let made = Bucket::new(&endpoint, &name, "test");
                made.create().await;
                set("WAYBILL_S3_BUCKET", name.clone());
                let s3 = Proxy::start(endpoint.trim_start_matches("http://").trim_end_matches('/'), 0).await;
                set("AWS_ENDPOINT_URL_S3", format!("http://{}", s3.address()));
                proxies = Some(Proxies { s3, broker });
                set("AWS_REGION", "us-east-1".to_owned());
                set("AWS_ACCESS_KEY_ID", "test".to_owned());
                set("AWS_SECRET_ACCESS_KEY", "test".to_owned());
                bucket = Some(made);
                vhost = Some(name);
            }
        }
        environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let targets: &[&str] = if mode == Mode::OneProcess { &["up"] } else { &["api", "worker", "worker", "stats"] };
        let processes: Vec<_> =
            targets.iter().map(|target| (*target, Process::start(&[(*target).to_owned()], &environment))).collect();
        let mut system = Self {
            upstream,
            api: processes[0].1.url.clone(),
            stats: processes[processes.len() - 1].1.url.clone(),
            bucket: bucket.unwrap_or_else(|| Bucket::new("http://127.0.0.1:9", "waybill", "waybill")),
            processes,
            proxies,
            mode,
            environment,
            folder,
            vhost,
            http: reqwest::Client::new(),
        };
        system.find_bucket();
        system.ready().await;
        system
    }

    /// Where the scenario may put files.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// The variables its processes run with, and WAYBILL_URL for commands.
    pub fn environment(&self) -> Vec<(String, String)> {
        let url = ("WAYBILL_URL".to_owned(), self.api.clone());
        self.environment.iter().cloned().chain([url]).collect()
    }

    /// Kills one process that runs `target`, as a crash does.
    pub fn kill(&mut self, target: &str) {
        let at = self.processes.iter().position(|(name, _)| *name == target).expect("such a process runs");
        self.processes.remove(at).1.kill();
    }

    /// Starts one more process that runs `target`.
    pub async fn spawn(&mut self, target: &'static str) {
        let process = Process::start(&[target.to_owned()], &self.environment);
        match target {
            "up" => (self.api, self.stats) = (process.url.clone(), process.url.clone()),
            "api" => self.api = process.url.clone(),
            "stats" => self.stats = process.url.clone(),
            _ => {}
        }
        self.processes.push((target, process));
        self.find_bucket();
        self.ready().await;
    }

    /// What dies in a crash of a worker: the whole process in one mode, one of two in the other.
    pub fn worker(&self) -> &'static str {
        if self.mode == Mode::OneProcess { "up" } else { "worker" }
    }

    /// Submits a job and returns its id.
    pub async fn submit(&self, source: &str, params: Value) -> String {
        let (status, body) =
            self.send(Method::POST, &self.api, "/v1/jobs", Some(json!({ "source": source, "params": params }))).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{body}");
        body["id"].as_str().expect("a job has an id").to_owned()
    }

    /// Submits the rows of a CSV, and returns the job's id.
    pub async fn submit_rows(&self, source: &str, csv: &str) -> String {
        let request = self.http.post(format!("{}/v1/jobs?source={source}", self.api));
        let response = request.header("Content-Type", "text/csv").body(csv.to_owned()).send().await;
        let response = response.expect("waybill answers");
        let (status, text) = (response.status(), response.text().await.expect("waybill answers whole"));
        assert_eq!(status, StatusCode::ACCEPTED, "{text}");
        let job: Value = serde_json::from_str(&text).expect("a job is JSON");
        job["id"].as_str().expect("a job has an id").to_owned()
    }

    /// Waits until a job has ended, and returns it.
    pub async fn finish(&self, id: &str) -> Value {
        wait_until(&format!("job {id} to end"), async || {
            let job = self.get(&self.api, &format!("/v1/jobs/{id}")).await;
            let ended = ["succeeded", "partial", "failed", "cancelled"].contains(&job["state"].as_str()?);
            ended.then_some(job)
        })
        .await
    }

    /// Submits a day of buses and waits until it has ended.
    pub async fn fetch_buses(&self, date: &str) -> Value {
        let id = self.submit("buses", json!({ "date": date })).await;
        self.finish(&id).await
    }

    /// `/country-stats` of a range.
    pub async fn country_stats(&self, from: &str, to: &str) -> Value {
        self.get(&self.stats, &format!("/country-stats?from={from}&to={to}")).await
    }

    /// A GET that must succeed.
    pub async fn get(&self, base: &str, path: &str) -> Value {
        let (status, body) = self.send(Method::GET, base, path, None).await;
        assert!(status.is_success(), "GET {path}: {status}: {body}");
        body
    }

    /// A request, and what was answered; null where the body is no JSON.
    pub async fn send(&self, method: Method, base: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.http.request(method, format!("{base}{path}"));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("waybill answers");
        let status = response.status();
        let text = response.text().await.expect("waybill answers whole");
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    fn find_bucket(&mut self) {
        if let Some(url) = self.processes.iter().find_map(|(_, process)| process.s3_url.as_ref()) {
            self.bucket = Bucket::new(url, "waybill", "waybill");
        }
    }

    async fn ready(&self) {
        for (target, process) in &self.processes {
            wait_until(&format!("{target} to be ready"), async || {
                let (status, _) = self.send(Method::GET, &process.url, "/ready", None).await;
                (status == StatusCode::OK).then_some(())
            })
            .await;
        }
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.processes.clear();
        if let Some(vhost) = &self.vhost
            && !std::thread::panicking()
        {
            rabbitmqctl(&["delete_vhost", vhost]);
        }
    }
}
