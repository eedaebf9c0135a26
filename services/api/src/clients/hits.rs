//! The routes of the hits system, which existing clients rely on: a simulated endpoint, and a test that sends requests to
//! this process itself. Whoever counts them stands before every route.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use poem::{
    Request,
    http::{HeaderValue, StatusCode, header},
};
use poem_openapi::{ApiResponse, Object, OpenApi, param::Path, payload::Json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use waybill_web::{Problem, known_query, preferred_wait, quoted};

/// The most requests of a test: minutes of this process's time.
const MOST: u64 = 1_000_000;
/// Requests of a test that are open at once: few of the connections that a process takes.
const AT_ONCE: usize = 32;
/// How long the answer waits for the end of a test: less than any request may take.
const ANSWER_AFTER: Duration = Duration::from_secs(25);
/// How long one request of a test may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Random strings that the paths of a test are drawn from, and segments of a path.
const STRINGS: usize = 3;
const SEGMENTS: usize = 6;

/// Requests to be counted, over HTTP.
#[derive(Debug, Clone)]
pub struct HitsApi {
    /// Where this process listens: the only address that a test sends to.
    own_url: Arc<str>,
    http: reqwest::Client,
    /// One test at a time.
    turn: Arc<Semaphore>,
    shutdown: CancellationToken,
}

/// A simulated endpoint's answer.
#[derive(Debug, Object)]
struct Simulated {
    /// Always true.
    ok: bool,
}

/// How far a test is.
#[derive(Debug, Object)]
struct TestRun {
    /// Requests asked for.
    requested: u64,
    /// Requests that were answered, and so counted.
    answered: u64,
    /// Answers with status 200.
    succeeded: u64,
    /// Requests without an answer; whether they were counted is not known.
    failed: u64,
}

#[derive(Debug, ApiResponse)]
enum TestAnswer {
    /// All were sent.
    #[oai(status = 200)]
    Done(Json<TestRun>),
    /// It takes longer, and goes on.
    #[oai(status = 202)]
    GoesOn(Json<TestRun>),
}

#[derive(Debug, Default)]
struct Progress {
    answered: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl HitsApi {
    /// Tests go to `own_url`, where this process listens, until `shutdown`.
    ///
    /// # Errors
    /// Where no HTTP client can be made.
    pub fn new(own_url: &str, shutdown: CancellationToken) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(REQUEST_TIMEOUT)
            // The certificate of this port is for the name that clients use, not for its address.
            .tls_danger_accept_invalid_certs(true)
            .build()?;
        Ok(Self { own_url: own_url.into(), http, turn: Arc::new(Semaphore::new(1)), shutdown })
    }

    /// Sends the requests of a test until all are answered, or until shutdown.
    async fn send_all(
        self,
        requested: u64,
        key: Option<HeaderValue>,
        progress: Arc<Progress>,
        _turn: OwnedSemaphorePermit,
    ) {
        let strings: [String; STRINGS] = std::array::from_fn(|_| random_string());
        let sending = stream::iter(0..requested)
            .map(|_| self.send(random_path(&strings), key.as_ref()))
            .buffer_unordered(AT_ONCE)
            .for_each(async |status| progress.count(status));
        tokio::select! {
            () = sending => {}
            () = self.shutdown.cancelled() => {}
        }
    }

    /// Sends a request; `None` where it has no answer.
    async fn send(&self, path: String, key: Option<&HeaderValue>) -> Option<StatusCode> {
        let mut request = self.http.get(format!("{}{path}", self.own_url));
        if let Some(key) = key {
            request = request.header(header::AUTHORIZATION, key);
        }
        let response = request.send().await.ok()?;
        let status = response.status();
        // Read to its end, so that the connection can be used again.
        response.bytes().await.ok()?;
        Some(status)
    }
}

impl Progress {
    fn count(&self, status: Option<StatusCode>) {
        let counter = if status.is_some() { &self.answered } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        if status == Some(StatusCode::OK) {
            self.succeeded.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn of(&self, requested: u64) -> Json<TestRun> {
        let [answered, succeeded, failed] =
            [&self.answered, &self.succeeded, &self.failed].map(|counter| counter.load(Ordering::Relaxed));
        Json(TestRun { requested, answered, succeeded, failed })
    }
}

#[OpenApi]
impl HitsApi {
    /// A simulated endpoint
    ///
    /// Every path below `/api/` that is no other route answers so. Requests are counted by path: see `/stats`.
    #[oai(path = "/api/*path", method = "get", operation_id = "simulated")]
    async fn simulated(&self) -> Json<Simulated> {
        Json(Simulated { ok: true })
    }

    /// Send test requests
    ///
    /// This process sends so many GET requests to itself, at most 1,000,000, at paths below `/api/` of 1 to 6 segments that
    /// are drawn from 3 random strings. They carry the API key of this request. The answer comes when all are answered, or
    /// after 25 seconds, with 202: the test goes on then. `Prefer: wait=60` waits longer. One test runs at a time; it ends
    /// when the process does.
    #[oai(path = "/test/:n/", method = "post", operation_id = "testHits")]
    async fn test(
        &self,
        request: &Request,
        /// How many.
        n: Path<String>,
    ) -> Result<TestAnswer, Problem> {
        known_query(request, &[])?;
        let requested = number(&n)?;
        let turn = Arc::clone(&self.turn).try_acquire_owned().map_err(|_| running())?;
        let progress = Arc::<Progress>::default();
        let key = request.headers().get(header::AUTHORIZATION).cloned();
        let test = tokio::spawn(self.clone().send_all(requested, key, Arc::clone(&progress), turn));
        let wait = ANSWER_AFTER + preferred_wait(request).unwrap_or_default();
        match tokio::time::timeout(wait, test).await {
            Ok(Ok(())) => Ok(TestAnswer::Done(progress.of(requested))),
            Ok(Err(error)) => Err(Problem::internal(error)),
            Err(_elapsed) => Ok(TestAnswer::GoesOn(progress.of(requested))),
        }
    }
}

fn number(n: &str) -> Result<u64, Problem> {
    let is_digits = n.bytes().all(|byte| byte.is_ascii_digit());
    let number = n.parse().ok().filter(|number| is_digits && (1..=MOST).contains(number));
    number.ok_or_else(|| Problem::invalid_parameter("n", &format!("a number from 1 to {MOST}"), quoted(n)))
}

fn running() -> Problem {
    let detail = "a test is running in this process; expected one at a time";
    Problem::new(StatusCode::CONFLICT, "test-running", detail).after(ANSWER_AFTER.as_secs())
}

fn random_string() -> String {
    std::iter::repeat_with(fastrand::lowercase).take(8).collect()
}

fn random_path(strings: &[String; STRINGS]) -> String {
    let segments = std::iter::repeat_with(|| strings[fastrand::usize(..STRINGS)].as_str());
    segments.take(fastrand::usize(1..=SEGMENTS)).fold("/api".to_owned(), |path, segment| path + "/" + segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_to_six_segments_of_three_strings() {
        let strings: [String; STRINGS] = std::array::from_fn(|_| random_string());
        let paths: std::collections::BTreeSet<_> = (0..50_000).map(|_| random_path(&strings)).collect();
        assert!(paths.len() > 700 && paths.len() <= 3 + 9 + 27 + 81 + 243 + 729, "{}", paths.len());
        for path in paths {
            let segments: Vec<_> = path.strip_prefix("/api/").unwrap().split('/').collect();
            assert!((1..=6).contains(&segments.len()), "{path}");
            assert!(segments.iter().all(|segment| strings.iter().any(|string| string == segment)), "{path}");
        }
    }
}
