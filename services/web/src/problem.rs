//! The one shape of every HTTP error: RFC 9457 problem details.
//!
//! A problem is written for the client: what it did and what would have been right. What went wrong
//! inside goes to the log, never into a problem.

use std::{fmt::Display, ops::Deref};

use poem::{
    IntoResponse, Response,
    error::ResponseError,
    http::{HeaderValue, StatusCode, header},
};
use poem_openapi::{
    ApiResponse, Object,
    registry::{MetaMediaType, MetaResponse, MetaResponses, Registry},
    types::Type,
};
use serde::Serialize;
use waybill_telemetry::LogLimit;

use crate::openapi::error_mapping;

/// The media type of every problem.
pub(crate) const CONTENT_TYPE: &str = "application/problem+json";

/// A problem, as every fallible route returns it. Boxed, because a `Result` is as large as its error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", .0.title, .0.detail)]
pub struct Problem(Box<Details>);

/// What was wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Object)]
#[oai(rename = "Problem", skip_serializing_if_is_none)]
pub struct Details {
    /// A stable name for the kind of problem, as a relative reference: `/problems/invalid-parameter`.
    #[serde(rename = "type")]
    #[oai(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// This very case: what was found and what was expected.
    pub detail: String,
    /// The parameter or field at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// What would have been right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// Seconds after which to try again, also sent as `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// The methods of this path, for a 405; sent as `Allow`.
    #[serde(skip)]
    #[oai(skip)]
    pub allow: Option<String>,
}

impl Problem {
    /// A problem of a kind of its own. `kind` is its stable name: `unknown-source`.
    pub fn new(status: StatusCode, kind: &str, detail: impl Into<String>) -> Self {
        let words = kind.replace('-', " ");
        let title = words[..1].to_uppercase() + &words[1..];
        Self(Box::new(Details {
            kind: format!("/problems/{kind}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            parameter: None,
            expected: None,
            retry_after: None,
            allow: None,
        }))
    }

    /// The same problem, at this parameter or field.
    pub fn at(mut self, parameter: &str) -> Self {
        self.0.parameter = Some(cut(parameter));
        self
    }

    /// The same problem, saying what would have been right.
    pub fn expecting(mut self, expected: impl Into<String>) -> Self {
        self.0.expected = Some(expected.into());
        self
    }

    /// The same problem, which the same request may not have after so many seconds.
    pub fn after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// 400: a parameter is missing or wrong. `expected`: `a date such as 2024-05-01`; `found`: what came,
    /// as [`quoted`] spells it, or `nothing`.
    pub fn invalid_parameter(name: &str, expected: &str, found: impl Display) -> Self {
        let detail = format!("parameter {}: expected {expected}, found {found}", backticked(name));
        Self::new(StatusCode::BAD_REQUEST, "invalid-parameter", detail).at(name).expecting(expected)
    }

    /// 400: a query parameter that this route does not have.
    pub fn unknown_parameter(name: &str, known: &[&str]) -> Self {
        let expected = match known {
            [] => "no query parameters".to_owned(),
            known => format!("only {}", listed(known)),
        };
        let detail = format!("parameter {}: unknown; this route has {expected}", backticked(name));
        Self::new(StatusCode::BAD_REQUEST, "invalid-parameter", detail).at(name).expecting(expected)
    }

    /// 404: there is nothing at this address, or no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// 404: no source has this name.
    pub fn unknown_source(name: &str, known: &[&str]) -> Self {
        let expected = format!("one of {}", listed(known));
        let detail = format!("there is no source called {}; expected {expected}", quoted(name));
        Self::new(StatusCode::NOT_FOUND, "unknown-source", detail).at("source").expecting(expected)
    }

    /// 405: the path is there, the method is not. `allow` as in the header: `GET, HEAD`.
    pub fn method_not_allowed(method: &str, path: &str, allow: String) -> Self {
        let detail = format!("{} has no {}; expected {allow}", cut(path), cut(method));
        let mut problem =
            Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail).expecting(allow.clone());
        problem.0.allow = Some(allow);
        problem
    }

    /// 413: the body is larger than `limit` bytes.
    pub fn payload_too_large(limit: u64) -> Self {
        let expected = format!("at most {limit} bytes");
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "payload-too-large",
            format!("the body is too large; expected {expected}"),
        )
        .expecting(expected)
    }

    /// 415: the body is not of a media type that the route reads. `found`: the `Content-Type`, if any.
    pub fn unsupported_media_type(expected: &str, found: Option<&str>) -> Self {
        let found = found.map_or_else(|| "none".to_owned(), quoted);
        let detail = format!("header `Content-Type`: expected {expected}, found {found}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail)
            .at("Content-Type")
            .expecting(expected)
    }

    /// 422: the `Idempotency-Key` came before, with another body.
    pub fn idempotency_key_reused(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", detail)
            .at("Idempotency-Key")
            .expecting("a fresh key for a different request, or the same body as before")
    }

    /// 400: the body is not even JSON.
    pub fn malformed_body(detail: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-body", format!("the body is not JSON: {detail}")).expecting("JSON")
    }

    /// 422: the body is JSON, but not what the route wants.
    pub fn invalid_body(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-body", detail)
    }

    /// What was wrong with a request's body that could not be read to its end.
    pub fn unread_body(error: &std::io::Error) -> Self {
        error_mapping::unread(error)
    }

    /// 503: something that this process needs is away. `what` is for the client (`the object store`),
    /// `cause` for the log only.
    pub fn unavailable(what: &str, cause: impl Display) -> Self {
        static LIMIT: LogLimit = LogLimit::new();
        if let Some(suppressed) = LIMIT.pass() {
            tracing::warn!(error = %cause, suppressed, "{what} is unavailable");
        }
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            format!("{what} does not answer at the moment; the same request may succeed later"),
        )
        .after(2)
    }

    /// 408: the body took longer than any may.
    pub fn slow_body(limit: std::time::Duration) -> Self {
        let detail = format!("the body was not complete within {} seconds", limit.as_secs());
        Self::new(StatusCode::REQUEST_TIMEOUT, "slow-body", detail)
    }

    /// 408: the client stopped sending, or sends next to nothing.
    pub fn stalled_body(patience: std::time::Duration) -> Self {
        let detail = format!("the body made no progress for {} seconds", patience.as_secs());
        Self::new(StatusCode::REQUEST_TIMEOUT, "slow-body", detail)
    }

    /// 504: the request took longer than any may.
    pub fn timeout(limit: std::time::Duration) -> Self {
        let detail = format!("no answer was ready within {} seconds", limit.as_secs());
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", detail)
    }

    /// 500: our fault. `cause` is for the log only.
    pub fn internal(cause: impl Display) -> Self {
        tracing::error!(error = %cause, "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "this request failed here; the log says why")
    }
}

/// What came, in quotes and cut to a readable length.
pub fn quoted(found: &str) -> String {
    format!("{:?}", cut(found))
}

fn backticked(name: &str) -> String {
    format!("`{}`", cut(name))
}

/// At most 80 characters: a problem repeats what came, but not a megabyte of it.
fn cut(found: &str) -> String {
    match found.char_indices().nth(80) {
        Some((at, _)) => format!("{}…", &found[..at]),
        None => found.to_owned(),
    }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl Deref for Problem {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn as_response(&self) -> Response {
        let body = serde_json::to_vec(&**self).expect("strings and numbers are always JSON");
        let mut response =
            Response::builder().status(self.status()).content_type(CONTENT_TYPE).body(body).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(Ok(allow)) = self.allow.as_deref().map(HeaderValue::from_str) {
            headers.insert(header::ALLOW, allow);
        }
        response
    }
}

/// Documents a problem as what a route answers whenever it does not answer as it should.
impl ApiResponse for Problem {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "A problem: what was wrong, and what was expected",
                status: None,
                status_range: None,
                content: vec![MetaMediaType { content_type: CONTENT_TYPE, schema: Details::schema_ref() }],
                headers: Vec::new(),
            }],
        }
    }

    fn register(registry: &mut Registry) {
        Details::register(registry);
    }
}
