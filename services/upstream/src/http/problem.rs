//! Errors as problems (RFC 9457).

use poem::{
    Response,
    http::{StatusCode, header},
};
use serde_json::json;

/// An error with a sentence for people.
pub(crate) fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = json!({ "status": status.as_u16(), "title": title, "detail": detail });
    Response::builder().status(status).content_type("application/problem+json").body(body.to_string())
}

/// 404.
pub(crate) fn not_found(what: &str) -> Response {
    problem(StatusCode::NOT_FOUND, &format!("there is no {what}"))
}

/// 400 for a missing or impossible day.
pub(crate) fn no_day(parameter: &str) -> Response {
    problem(StatusCode::BAD_REQUEST, &format!("expected {parameter}=YYYY-MM-DD, a day of the calendar"))
}

/// A status that a fault asks for, 400 to 599; 429 comes with `Retry-After` in seconds.
pub(crate) fn refusal(status: u16, retry_after: u64) -> Response {
    let status =
        StatusCode::from_u16(status).ok().filter(|status| status.is_client_error() || status.is_server_error());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = problem(status, "a fault that was asked for");
    if status == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(header::RETRY_AFTER, retry_after.into());
    }
    response
}
