//! Requests to a running Waybill; a problem it answers becomes the error that people read.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use anyhow::{Context, anyhow};
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{
    ClientBuilder, RequestBuilder, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    cli,
    client::upload::Upload,
    server::{listen_address::local_url, settings::Settings},
};

/// How long a command waits where Waybill says so.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long an upload may take: a little longer than Waybill lets it.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(61 * 60);

/// A running Waybill.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    base: String,
    /// The proxy that requests go through.
    proxy: Option<String>,
    http: reqwest::Client,
}

/// A job, as far as the command line shows it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) source: String,
    pub(crate) params: BTreeMap<String, Value>,
    pub(crate) state: String,
    pub(crate) created: String,
    pub(crate) finished: Option<String>,
    pub(crate) tasks: Tasks,
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    /// Rows of the job's upload, if it has one.
    #[serde(default)]
    pub(crate) rows: Option<Rows>,
    #[serde(default)]
    pub(crate) eta_seconds: Option<f64>,
    #[serde(default)]
    pub(crate) links: Links,
    /// The first failures.
    #[serde(default)]
    pub(crate) errors: Vec<TaskError>,
    /// What waits for its next attempt, the first to go on first.
    #[serde(default)]
    pub(crate) waits: Vec<Wait>,
}

/// What else there is of a job.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Links {
    /// How its rows ended, one by one; none of a job whose rows were loaded into a table.
    #[serde(default)]
    pub(crate) result: Option<String>,
}

/// What waits for its next attempt.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Wait {
    pub(crate) until: String,
    /// Why the last attempt failed.
    pub(crate) reason: String,
}

/// Tasks by outcome.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Tasks {
    pub(crate) total: u64,
    pub(crate) stored: u64,
    pub(crate) unchanged: u64,
    pub(crate) failed: u64,
}

/// Rows of an upload by outcome.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Rows {
    pub(crate) total: u64,
    pub(crate) done: u64,
    pub(crate) errors: u64,
    pub(crate) unknown: u64,
}

impl Rows {
    /// Those that have ended.
    pub(crate) fn ended(self) -> u64 {
        self.done + self.errors + self.unknown
    }
}

impl Tasks {
    /// Those that have ended.
    pub(crate) fn ended(self) -> u64 {
        self.stored + self.unchanged + self.failed
    }
}

/// Why a task failed.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TaskError {
    #[serde(default)]
    pub(crate) items: Vec<String>,
    pub(crate) reason: String,
    /// The key of the refused file, if there is one.
    #[serde(default)]
    pub(crate) quarantine: Option<String>,
}

impl Job {
    /// How many of its rows have ended, or of its tasks where it has no rows.
    pub(crate) fn ended(&self) -> u64 {
        self.rows.map_or(self.tasks.ended(), Rows::ended)
    }

    /// Whether it loads a file into a table.
    pub(crate) fn is_load(&self) -> bool {
        self.rows.is_some() && self.links.result.is_none()
    }

    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self.state.as_str(), "succeeded" | "partial" | "failed" | "cancelled" | "damaged")
    }

    /// `buses date=2024-05-01`
    pub(crate) fn title(&self) -> String {
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let params: Vec<_> = self.params.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect();
        format!("{} {}", self.source, params.join(" ")).trim_end().to_owned()
    }
}

impl Client {
    /// The Waybill at WAYBILL_URL, by default http://127.0.0.1:8080.
    pub(crate) fn from_env() -> anyhow::Result<Self> {
        let base = std::env::var("WAYBILL_URL").unwrap_or_else(|_| "http://127.0.0.1:8080".to_owned());
        let key = std::env::var("WAYBILL_API_KEY").ok().filter(|key| !key.is_empty());
        let Some(key) = key else { return Self::new(&base) };
        let header = HeaderValue::from_str(&format!("Bearer {}", key.trim()));
        let mut header =
            header.map_err(|_| anyhow!("WAYBILL_API_KEY: expected a key as `waybill key new` prints it"))?;
        header.set_sensitive(true);
        Self::with(&base, |http| http.default_headers([(AUTHORIZATION, header)].into_iter().collect()))
    }

    /// The Waybill at an address, without a key.
    pub(crate) fn new(base: &str) -> anyhow::Result<Self> {
        Self::with(base, |http| http)
    }

    fn with(base: &str, options: impl FnOnce(ClientBuilder) -> ClientBuilder) -> anyhow::Result<Self> {
        let url = Url::parse(base).ok().filter(Url::has_host);
        let url = url.ok_or_else(|| anyhow!("WAYBILL_URL: expected an address, found {base:?}"))?;
        let mut http = options(reqwest::Client::builder().timeout(Duration::from_secs(60)));
        let proxy = if is_this_machine(&url) {
            // What a proxy calls 127.0.0.1 is the proxy's machine.
            http = http.no_proxy();
            None
        } else {
            proxy(&url)
        };
        Ok(Self { base: url.as_str().trim_end_matches('/').to_owned(), proxy, http: http.build()? })
    }

    /// Where requests go.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) async fn submit(
        &self,
        source: &str,
        params: BTreeMap<String, String>,
        key: Option<&str>,
    ) -> anyhow::Result<Job> {
        let mut request =
            self.http.post(format!("{}/v1/jobs", self.base)).json(&json!({ "source": source, "params": params }));
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        self.json(request).await
    }

    /// Submits a job whose items are the rows of a file. It is sent once: what was read of it is gone.
    pub(crate) async fn submit_file(
        &self,
        source: &str,
        params: &BTreeMap<String, String>,
        key: Option<&str>,
        upload: Upload,
    ) -> anyhow::Result<Job> {
        let mut request = self.http.post(format!("{}/v1/jobs", self.base)).query(params);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        self.send_file(request, source, "text/csv", upload).await
    }

    /// Submits a job that loads a file. It is sent once: what was read of it is gone.
    #[cfg(feature = "tables")]
    pub(crate) async fn load(&self, source: &str, content_type: &'static str, upload: Upload) -> anyhow::Result<Job> {
        #[derive(Deserialize)]
        struct Received {
            id: String,
        }
        let received: Received =
            self.send_file(self.http.post(format!("{}/v1/uploads", self.base)), source, content_type, upload).await?;
        let job = json!({ "source": source, "upload": received.id });
        self.json(self.http.post(format!("{}/v1/jobs", self.base)).json(&job)).await
    }

    async fn send_file<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        source: &str,
        content_type: &'static str,
        upload: Upload,
    ) -> anyhow::Result<T> {
        let size = upload.size();
        let (body, bar) = upload.body();
        let mut request =
            request.query(&[("source", source)]).header(CONTENT_TYPE, content_type).timeout(UPLOAD_TIMEOUT).body(body);
        if let Some(size) = size {
            request = request.header(CONTENT_LENGTH, size);
        }
        let response = self.send(request).await;
        bar.finish_and_clear();
        self.read(response?).await
    }

    pub(crate) async fn job(&self, id: &str) -> anyhow::Result<Job> {
        let mut url = Url::parse(&self.base)?;
        url.path_segments_mut().map_err(|()| anyhow!("WAYBILL_URL has no path"))?.extend(["v1", "jobs", id]);
        self.json(self.http.get(url)).await
    }

    /// Asks for something to be done with a job: `retry`, `cancel`.
    pub(crate) async fn act(&self, id: &str, action: &str) -> anyhow::Result<Job> {
        let mut url = Url::parse(&self.base)?;
        url.path_segments_mut().map_err(|()| anyhow!("WAYBILL_URL has no path"))?.extend(["v1", "jobs", id, action]);
        self.json(self.http.post(url)).await
    }

    /// At most `flags.limit` jobs, newest first, over as many pages as it takes.
    pub(crate) async fn jobs(&self, flags: &cli::Jobs) -> anyhow::Result<Vec<Job>> {
        #[derive(Deserialize)]
        struct Page {
            jobs: Vec<Job>,
            next_page_token: Option<String>,
        }
        let mut jobs = Vec::new();
        let mut token = None;
        loop {
            let limit = (flags.limit - jobs.len()).min(100).to_string();
            let filters = [("source", &flags.source), ("state", &flags.state), ("page_token", &token)];
            let filters = filters.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
            let query: Vec<_> = filters.chain([("limit", &limit)]).collect();
            let page: Page = self.json(self.http.get(format!("{}/v1/jobs", self.base)).query(&query)).await?;
            jobs.extend(page.jobs);
            token = page.next_page_token;
            if token.is_none() || jobs.len() >= flags.limit {
                return Ok(jobs);
            }
        }
    }

    /// The failed tasks of a job, in the order of the plan, at most 1,000.
    pub(crate) async fn failed_tasks(&self, id: &str) -> anyhow::Result<Vec<TaskError>> {
        #[derive(Deserialize)]
        struct Page {
            tasks: Vec<TaskError>,
        }
        let mut url = Url::parse(&self.base)?;
        url.path_segments_mut().map_err(|()| anyhow!("WAYBILL_URL has no path"))?.extend(["v1", "jobs", id, "tasks"]);
        let page: Page = self.json(self.http.get(url).query(&[("state", "failed"), ("limit", "1000")])).await?;
        Ok(page.tasks)
    }

    pub(crate) async fn stats(&self, source: &str, from: &str, to: &str) -> anyhow::Result<Value> {
        let mut url = Url::parse(&self.base)?;
        url.path_segments_mut().map_err(|()| anyhow!("WAYBILL_URL has no path"))?.extend(["v1", "stats", source]);
        self.json(self.http.get(url).query(&[("from", from), ("to", to)])).await
    }

    /// The answer to a question in SQL, as it comes.
    #[cfg(feature = "tables")]
    pub(crate) async fn query(&self, sql: String, media_type: &'static str) -> anyhow::Result<Response> {
        let request = self.http.post(format!("{}/v1/query", self.base)).header(reqwest::header::ACCEPT, media_type);
        let response = self.send(request.json(&json!({ "sql": sql }))).await?;
        match response.status() {
            status if status.is_success() => Ok(response),
            status => Err(self.refusal(status, response).await),
        }
    }

    /// The process on this machine that was started with these settings. Its certificate names the host that
    /// clients know, not the loopback address; nothing is told to it, and who answers there is this machine itself.
    pub(crate) fn local(settings: &Settings) -> anyhow::Result<Self> {
        let scheme = if settings.tls_cert.is_some() { "https" } else { "http" };
        let url = local_url(scheme, settings.listen.address);
        Self::with(&url, |http| http.tls_danger_accept_invalid_certs(true))
    }

    /// Whether it is ready, and what it says of itself.
    pub(crate) async fn ready(&self) -> anyhow::Result<(bool, String)> {
        let response = self.send(self.http.get(format!("{}/ready", self.base))).await?;
        Ok((response.status() == StatusCode::OK, response.text().await?))
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> anyhow::Result<T> {
        let response = loop {
            let response = self.send(request.try_clone().context("a body that can be sent once")?).await?;
            match too_early(&response) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => break response,
            }
        };
        self.read(response).await
    }

    /// What a response holds, or why the request was refused.
    async fn read<T: DeserializeOwned>(&self, response: Response) -> anyhow::Result<T> {
        let status = response.status();
        if !status.is_success() {
            return Err(self.refusal(status, response).await);
        }
        response.json().await.with_context(|| format!("{} does not answer as Waybill does", self.place()))
    }

    /// Where requests go: `http://waybill:8080 through the proxy http://proxy:3128`
    fn place(&self) -> String {
        let through = self.proxy.as_ref().map(|proxy| format!(" through the proxy {proxy} (HTTP_PROXY, NO_PROXY)"));
        format!("{}{}", self.base, through.unwrap_or_default())
    }

    /// `400 Bad Request: parameter `date`: …`
    async fn refusal(&self, status: StatusCode, response: Response) -> anyhow::Error {
        let text = response.text().await.unwrap_or_default();
        let problem: Option<Value> = serde_json::from_str(&text).ok();
        let Some(detail) = problem.as_ref().and_then(|problem| problem["detail"].as_str()) else {
            let start: String = text.chars().take(200).collect();
            return anyhow!("{status} from {}: {}", self.place(), start.trim());
        };
        let is_upload_required = problem.as_ref().is_some_and(|problem| problem["type"] == "/problems/upload-required");
        let hint = match status {
            _ if is_upload_required => " (`--file rows.csv` sends one)",
            StatusCode::UNAUTHORIZED if std::env::var_os("WAYBILL_API_KEY").is_some() => {
                " (the key in WAYBILL_API_KEY is not valid there)"
            }
            StatusCode::UNAUTHORIZED => {
                " (put a key into WAYBILL_API_KEY; its operator makes one with `waybill key new`)"
            }
            StatusCode::FORBIDDEN => " (WAYBILL_API_KEY holds a key that may not do this)",
            _ => "",
        };
        anyhow!("{status}: {detail}{hint}")
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        request.send().await.map_err(|error| {
            let cause = innermost(&error);
            let hint = if self.base.starts_with("https:") && cause.contains("certificate") {
                "where its certificate is of a private authority, SSL_CERT_FILE names that authority's certificate"
            } else {
                "is it running? `waybill up` starts it, WAYBILL_URL says where it is"
            };
            anyhow!("cannot reach Waybill at {}: {cause} ({hint})", self.place())
        })
    }
}

/// How long to wait where the rate of the key is spent.
fn too_early(response: &Response) -> Option<Duration> {
    let after = response.headers().get(RETRY_AFTER).filter(|_| response.status() == StatusCode::TOO_MANY_REQUESTS)?;
    let after = Duration::from_secs(after.to_str().ok()?.parse().ok()?);
    (after <= LONGEST_WAIT).then_some(after)
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// The proxy that the environment names for an address, without its credentials.
fn proxy(url: &Url) -> Option<String> {
    let proxy = Matcher::from_system().intercept(&url.as_str().parse().ok()?)?;
    let (uri, port) = (proxy.uri(), proxy.uri().port().map(|port| format!(":{port}")).unwrap_or_default());
    Some(format!("{}://{}{port}", uri.scheme_str().unwrap_or("http"), uri.host()?))
}

fn innermost(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use poem::{Server, endpoint::make_sync, listener::TcpAcceptor};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers the first requests with 429.
    async fn busy(requests: u64, retry_after: &'static str) -> (Client, Arc<AtomicU64>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let asked = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&asked);
        let answer = make_sync(move |_| {
            let response = poem::Response::builder();
            if count.fetch_add(1, Ordering::Relaxed) < requests {
                return response.status(StatusCode::TOO_MANY_REQUESTS).header(RETRY_AFTER, retry_after).finish();
            }
            response.body("{}")
        });
        let acceptor = TcpAcceptor::from_tokio(listener).unwrap();
        tokio::spawn(Server::new_with_acceptor(acceptor).run(answer));
        (client, asked)
    }

    #[tokio::test]
    async fn a_request_beyond_the_rate_of_its_key_is_sent_again() {
        let (client, asked) = busy(2, "0").await;
        client.stats("buses", "2024-05-01", "2024-05-02").await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 3);

        let (client, asked) = busy(1, "3600").await;
        let refusal = client.stats("buses", "2024-05-01", "2024-05-02").await.unwrap_err().to_string();
        assert!(refusal.starts_with("429 Too Many Requests"), "{refusal}");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }
}
