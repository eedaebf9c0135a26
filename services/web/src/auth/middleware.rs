//! The middleware of every route: authentication, limits on size and time, errors as problems, the access log.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures::FutureExt;
use poem::{
    Endpoint, Request, Response,
    error::ResponseError,
    http::{HeaderValue, header},
};
use tracing::{Instrument, Span, field::Empty};

use crate::{
    ApiKeys, HitCounter, Pages, Problem,
    auth::{self, browsers},
    metrics::{self, Metrics, Pattern},
    openapi::error_mapping::{self, Asked, Choices},
    request::{
        body_limit::{BodyRules, Uploads, limited},
        preference::preferred_wait,
    },
    response_headers::{self, RequestId},
};

/// The longest that a request may take.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(30);

/// What stands before the routes of a process.
pub(crate) struct Guard {
    pub(crate) choices: Choices,
    pub(crate) keys: ApiKeys,
    pub(crate) metrics: Metrics,
    pub(crate) uploads: Uploads,
    pub(crate) reads: &'static [&'static str],
    pub(crate) pages: Pages,
    pub(crate) hits: HitCounter,
    /// The longest that a request may take.
    pub(crate) limit: Duration,
}

impl Guard {
    /// Calls `inner`, unless the caller may not; whatever happens there, the answer is a response, and in time.
    pub(crate) async fn answer(&self, inner: impl Endpoint<Output = Response>, mut request: Request) -> Response {
        let begun = Instant::now();
        let id = RequestId::of(&request);
        let is_page = self.pages.is_page(&request);
        let asked = Asked { method: request.method().clone(), uri: request.uri().clone(), choices: &self.choices };
        let span = tracing::info_span!(
            "request",
            request_id = %id.0,
            key = Empty,
            method = metrics::known(&asked.method),
            route = Empty,
            status = Empty,
            trace_id = Empty,
        );
        waybill_telemetry::begin(&span, response_headers::trace(&request).as_ref());
        async {
            let verdict = auth::admit(&request, &self.keys, self.reads, &self.metrics);
            let admitted = browsers::check(&request, &self.keys).and(verdict.caller);
            // Before the answer: whoever has it may rely on the count.
            self.hits.count(asked.uri.path(), &admitted);
            let mut response = match admitted {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    self.call(inner, request, &asked).await
                }
                Err(problem) => refusal(problem),
            };
            if is_page {
                self.show_problem(&mut response, &asked);
            }
            auth::tell(verdict.quota, &mut response);
            response_headers::secure(&id, &mut response);
            self.metrics.answered(&asked.method, &response, begun.elapsed());
            if let Some(Pattern(route)) = response.data() {
                Span::current().record("route", &**route);
            }
            Span::current().record("status", response.status().as_u16());
            tracing::debug!(
                method = %asked.method,
                path = asked.uri.path(),
                status = response.status().as_u16(),
                duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
                "answered"
            );
            response
        }
        .instrument(span)
        .await
    }

    /// Makes a problem a page, for a client that asked for one.
    fn show_problem(&self, response: &mut Response, asked: &Asked<'_>) {
        let html = response.data::<Problem>().map(|problem| self.pages.problem(problem, asked.uri.path()));
        if let Some(Ok(html)) = html {
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            response.set_body(html);
        }
    }

    async fn call(&self, inner: impl Endpoint<Output = Response>, request: Request, asked: &Asked<'_>) -> Response {
        // poem takes several slashes for one.
        if asked.uri.path().contains("//") {
            return refusal(Problem::not_found(format!("there is nothing at {}", asked.uri.path())));
        }
        let rules = BodyRules::of(&request, &self.uploads);
        let request = match limited(request, rules) {
            Ok(request) => request,
            Err(problem) => return refusal(problem),
        };
        // A client that would wait is answered in time all the same, but so much later.
        let limit = self.limit + rules.extra_time() + preferred_wait(&request).unwrap_or_default();
        // A panic is a mistake of ours in one request; the others go on. The hook has logged it.
        let called = AssertUnwindSafe(inner.call(request)).catch_unwind();
        let mut pattern = None;
        let problem = match tokio::time::timeout(limit, called).await {
            Ok(Ok(Ok(response))) => return response,
            Ok(Ok(Err(error))) => {
                pattern = error.data::<Pattern>().cloned();
                error_mapping::problem(error, asked)
            }
            Ok(Err(_panic)) => Problem::internal("a handler panicked"),
            Err(_elapsed) => Problem::timeout(limit),
        };
        let mut response = refusal(problem);
        if let Some(pattern) = pattern {
            response.extensions_mut().insert(pattern);
        }
        response
    }
}

/// The response to a request that has a problem, which goes with it.
fn refusal(problem: Problem) -> Response {
    let mut response = problem.as_response();
    response.extensions_mut().insert(problem);
    response
}

#[cfg(test)]
mod tests {
    use poem::endpoint::make;

    use super::*;

    #[tokio::test]
    async fn a_request_does_not_wait_for_ever() {
        let never = make(|_| std::future::pending::<Response>());
        let (choices, limit) = (Choices::of::<()>(), Duration::from_millis(1));
        let (keys, metrics, uploads, pages, hits) = Default::default();
        let guard = Guard { choices, keys, metrics, uploads, reads: &[], pages, hits, limit };
        let response = guard.answer(never, Request::default()).await;
        insta::assert_snapshot!(response.into_body().into_string().await.expect("a body"), @r#"{"type":"/problems/timeout","title":"Timeout","status":504,"detail":"no answer was ready within 0 seconds"}"#);
    }
}
