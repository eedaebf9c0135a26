//! Limits the size and the read time of a request body.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use poem::{
    Body, Request,
    http::{Method, header},
};
use tokio::time::{Instant, timeout_at};

use crate::{Problem, server::connection_limit::Connection};

/// The largest body that a route reads, in bytes.
pub(crate) const BODY_LIMIT: usize = 1024 * 1024;

/// The longest that a body may take to come in.
pub(crate) const BODY_TIME: Duration = Duration::from_secs(10);

/// Bytes of an upload that must arrive within its [`Uploads::patience`], so that a client that trickles is cut off as one
/// that has stopped.
const PROGRESS: usize = 64 * 1024;

/// Routes whose bodies are files, and how large and slow those may be.
#[derive(Debug, Clone, Copy)]
pub struct Uploads {
    /// The paths that files are POSTed to.
    pub paths: &'static [&'static str],
    /// Those of them where a JSON body is a file, too. On the others it is limited as everywhere.
    pub json_paths: &'static [&'static str],
    /// The largest body, in bytes.
    pub max_bytes: u64,
    /// The longest that a body may take.
    pub time: Duration,
    /// The longest that the client is waited for until the next 64 KiB are there. Time that the store takes does not count.
    pub patience: Duration,
}

impl Default for Uploads {
    /// No routes.
    fn default() -> Self {
        Self {
            paths: &[],
            json_paths: &[],
            max_bytes: 10_000_000_000,
            time: Duration::from_secs(60 * 60),
            patience: Duration::from_secs(30),
        }
    }
}

impl Uploads {
    /// Whether a request's body may be a file. What is no JSON is, also where the route refuses its type: the refusal says
    /// more than one of the size would.
    fn includes(&self, request: &Request) -> bool {
        let path = request.uri().path();
        let is_json = request.content_type().is_some_and(|of| of.trim_start().starts_with("application/json"));
        let paths = if is_json { self.json_paths } else { self.paths };
        request.method() == Method::POST && paths.contains(&path.strip_suffix('/').unwrap_or(path))
    }
}

/// What the body of a request may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyRules {
    max_bytes: u64,
    time: Duration,
    /// Only of uploads.
    patience: Option<Duration>,
}

impl BodyRules {
    /// The rules for this request.
    pub(crate) fn of(request: &Request, uploads: &Uploads) -> Self {
        if uploads.includes(request) {
            return Self { max_bytes: uploads.max_bytes, time: uploads.time, patience: Some(uploads.patience) };
        }
        Self { max_bytes: BODY_LIMIT as u64, time: BODY_TIME, patience: None }
    }

    /// How long the request may take beyond what any may.
    pub(crate) fn extra_time(&self) -> Duration {
        self.patience.map_or(Duration::ZERO, |_| self.time)
    }
}

/// Why a body of no announced length ends early.
#[derive(Debug, thiserror::Error)]
#[error("the body is larger than {0} bytes")]
pub(crate) struct TooLarge(pub(crate) u64);

/// Why a body ends before its end.
#[derive(Debug, thiserror::Error)]
#[error("the body is not complete after {} seconds", .0.as_secs())]
pub(crate) struct TooSlow(pub(crate) Duration);

/// Why an upload ends before its end.
#[derive(Debug, thiserror::Error)]
#[error("fewer than {PROGRESS} bytes of the body came within {} seconds", .0.as_secs())]
pub(crate) struct Stalled(pub(crate) Duration);

struct Intake {
    body: BoxStream<'static, io::Result<Bytes>>,
    rules: BodyRules,
    left: u64,
    deadline: Instant,
    /// Since the last 64 KiB: bytes that came, and how long they were waited for.
    arrived: usize,
    waited: Duration,
    connection: Option<Arc<Connection>>,
}

/// Refuses a body whose announced length is too large; ends one that breaks the rules, there.
pub(crate) fn limited(mut request: Request, rules: BodyRules) -> Result<Request, Problem> {
    // A length that is no number never comes here: hyper refuses it.
    let announced = request.header(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    // A test has no connection.
    let mut connection = request.data::<Arc<Connection>>().cloned();
    if let Some(connection) = connection.as_ref().filter(|_| rules.patience.is_some()) {
        connection.take_file();
    }
    if announced.is_some_and(|length| length > rules.max_bytes) {
        return Err(Problem::payload_too_large(rules.max_bytes));
    }
    let body = request.take_body();
    if body.is_empty() || rules.patience.is_some() {
        // An upload takes long without being idle, and is cut off where it stalls: no other connection may evict it.
        complete(connection.take().as_ref());
    }
    if body.is_empty() {
        return Ok(request);
    }
    let body = body.into_bytes_stream().boxed();
    let (left, deadline) = (rules.max_bytes, Instant::now() + rules.time);
    let intake = Intake { body, rules, left, deadline, arrived: 0, waited: Duration::ZERO, connection };
    request.set_body(Body::from_bytes_stream(stream::unfold(intake, next)));
    Ok(request)
}

async fn next(mut intake: Intake) -> Option<(io::Result<Bytes>, Intake)> {
    let begun = Instant::now();
    let patience_ends = intake.rules.patience.map(|patience| begun + patience.saturating_sub(intake.waited));
    let until = patience_ends.map_or(intake.deadline, |ends| ends.min(intake.deadline));
    let chunk = match timeout_at(until, intake.body.next()).await {
        Ok(Some(Ok(chunk))) => match intake.left.checked_sub(chunk.len() as u64) {
            Some(left) => {
                intake.left = left;
                intake.arrived += chunk.len();
                intake.waited += begun.elapsed();
                if intake.arrived >= PROGRESS {
                    (intake.arrived, intake.waited) = (0, Duration::ZERO);
                }
                return Some((Ok(chunk), intake));
            }
            None => Err(io::Error::other(TooLarge(intake.rules.max_bytes))),
        },
        Ok(Some(Err(error))) => Err(error),
        Ok(None) => {
            complete(intake.connection.as_ref());
            return None;
        }
        Err(_elapsed) => Err(match intake.rules.patience.filter(|_| until < intake.deadline) {
            Some(patience) => io::Error::other(Stalled(patience)),
            None => io::Error::other(TooSlow(intake.rules.time)),
        }),
    };
    intake.body = stream::empty().boxed();
    intake.connection = None;
    Some((chunk, intake))
}

/// From here on the connection waits for us.
fn complete(connection: Option<&Arc<Connection>>) {
    if let Some(connection) = connection {
        connection.request_complete();
    }
}

#[cfg(test)]
mod tests {
    use futures::Stream;

    use super::*;

    const ORDINARY: BodyRules =
        BodyRules { max_bytes: BODY_LIMIT as u64, time: Duration::from_secs(60), patience: None };

    fn body(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Body {
        Body::from_bytes_stream(chunks.map(Ok::<_, io::Error>))
    }

    /// What a handler gets of a body.
    async fn read(body: Body, rules: BodyRules) -> Result<usize, String> {
        let request = limited(Request::builder().body(body), rules).map_err(|problem| problem.detail.clone())?;
        let read = request.into_body().into_bytes().await;
        read.map(|bytes| bytes.len()).map_err(|error| format!("{error:?}"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_ends() {
        let endless = body(stream::repeat_with(|| Bytes::from_static(&[0; 1000])));
        assert!(read(endless, ORDINARY).await.unwrap_err().contains("TooLarge"));
        let begun = body(stream::iter([Bytes::from_static(b"{")]).chain(stream::pending()));
        assert!(read(begun, ORDINARY).await.unwrap_err().contains("TooSlow"));
        let whole = body(stream::iter([Bytes::from_static(&[0; BODY_LIMIT])]));
        assert_eq!(read(whole, ORDINARY).await, Ok(BODY_LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_may_take_long_while_it_makes_progress() {
        let uploads = Uploads::default();
        let rules = BodyRules { max_bytes: 1 << 30, time: uploads.time, patience: Some(uploads.patience) };
        // So many bytes every ten seconds, so often.
        let trickle = |bytes: usize, times: usize| {
            body(stream::iter(0..times).then(move |_| async move {
                tokio::time::sleep(Duration::from_secs(10)).await;
                Bytes::from(vec![0; bytes])
            }))
        };
        assert_eq!(read(trickle(PROGRESS, 300), rules).await, Ok(300 * PROGRESS));
        assert!(read(trickle(1, 300), rules).await.unwrap_err().contains("Stalled"));
        assert!(read(trickle(PROGRESS, 400), rules).await.unwrap_err().contains("TooSlow"));
        assert!(read(body(stream::pending()), rules).await.unwrap_err().contains("Stalled"));
    }

    #[test]
    fn only_files_on_their_routes_are_uploads() {
        let paths = &["/v1/jobs", "/v1/uploads"];
        let uploads = Uploads { paths, json_paths: &["/v1/uploads"], ..Uploads::default() };
        let is_upload = |method: Method, path: &str, content_type: &str| {
            let request = Request::builder().method(method).uri_str(path).content_type(content_type).finish();
            BodyRules::of(&request, &uploads).patience.is_some()
        };
        assert!(is_upload(Method::POST, "/v1/jobs?source=relay", "text/csv"));
        assert!(is_upload(Method::POST, "/v1/jobs/", "image/png"));
        assert!(is_upload(Method::POST, "/v1/uploads?source=author", "application/json"));
        assert!(!is_upload(Method::POST, "/v1/jobs", "application/json; charset=utf-8"));
        assert!(!is_upload(Method::POST, "/v1/jobs/x", "text/csv"));
        assert!(!is_upload(Method::GET, "/v1/jobs", "text/csv"));
    }
}
