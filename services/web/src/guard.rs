//! What stands before every route: limits on size and time, errors as problems, a line in the log.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt};
use poem::{Body, Endpoint, Request, Response, http::header};

use crate::{
    Problem,
    convert::{self, Asked, Choices},
    metrics::{Metrics, Pattern},
};

/// The largest body that a route reads, in bytes.
pub(crate) const BODY_LIMIT: usize = 1024 * 1024;

/// The longest that a request may take.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Why a body of no announced length ends early.
#[derive(Debug, thiserror::Error)]
#[error("the body is larger than {BODY_LIMIT} bytes")]
pub(crate) struct TooLarge;

/// Calls `inner`; whatever happens there, the answer is a response, and it comes within `limit`.
pub(crate) async fn guard(
    inner: impl Endpoint<Output = Response>,
    request: Request,
    choices: &Choices,
    metrics: &Metrics,
    limit: Duration,
) -> Response {
    let begun = Instant::now();
    let asked = Asked { method: request.method().clone(), uri: request.uri().clone(), choices };
    let response = answer(inner, request, limit, &asked).await;
    metrics.answered(&asked.method, &response, begun.elapsed());
    tracing::debug!(
        method = %asked.method,
        path = asked.uri.path(),
        status = response.status().as_u16(),
        duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        "answered"
    );
    response
}

async fn answer(
    inner: impl Endpoint<Output = Response>,
    request: Request,
    limit: Duration,
    asked: &Asked<'_>,
) -> Response {
    let request = match limited(request) {
        Ok(request) => request,
        Err(problem) => return poem::Error::from(problem).into_response(),
    };
    // A panic is a mistake of ours in one request; the others go on. The hook has logged it.
    let called = AssertUnwindSafe(inner.call(request)).catch_unwind();
    let mut pattern = None;
    let problem = match tokio::time::timeout(limit, called).await {
        Ok(Ok(Ok(response))) => return response,
        Ok(Ok(Err(error))) => {
            pattern = error.data::<Pattern>().cloned();
            convert::problem(error, asked)
        }
        Ok(Err(_panic)) => Problem::internal("a handler panicked"),
        Err(_elapsed) => Problem::timeout(limit),
    };
    let mut response = poem::Error::from(problem).into_response();
    if let Some(pattern) = pattern {
        response.extensions_mut().insert(pattern);
    }
    response
}

/// Refuses a body whose announced length is too large, and ends one of no announced length there.
fn limited(mut request: Request) -> Result<Request, Problem> {
    if let Some(length) = request.header(header::CONTENT_LENGTH) {
        // A length that is no number never comes here: hyper refuses it.
        if length.parse::<u64>().is_ok_and(|length| length > BODY_LIMIT as u64) {
            return Err(Problem::payload_too_large(BODY_LIMIT));
        }
        return Ok(request);
    }
    let body = request.take_body();
    if body.is_empty() {
        return Ok(request);
    }
    let mut left = BODY_LIMIT;
    let chunks = body.into_bytes_stream().map(move |chunk| {
        let chunk = chunk?;
        left = left.checked_sub(chunk.len()).ok_or_else(|| std::io::Error::other(TooLarge))?;
        Ok::<_, std::io::Error>(chunk)
    });
    request.set_body(Body::from_bytes_stream(chunks));
    Ok(request)
}

#[cfg(test)]
mod tests {
    use poem::endpoint::make;

    use super::*;

    #[tokio::test]
    async fn a_request_does_not_wait_for_ever() {
        let never = make(|_| std::future::pending::<Response>());
        let response =
            guard(never, Request::default(), &Choices::of::<()>(), &Metrics::default(), Duration::from_millis(1)).await;
        insta::assert_snapshot!(response.into_body().into_string().await.expect("a body"), @r#"{"type":"/problems/timeout","title":"Timeout","status":504,"detail":"no answer was ready within 0 seconds"}"#);
    }
}
