//! Headers of every response: the request's id, and the browser security headers.

use poem::{
    Request, Response,
    http::{HeaderMap, HeaderName, HeaderValue, header},
};
use uuid::Uuid;
use waybill_telemetry::TraceContext;

use crate::pages;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken over from a client or a proxy.
const ID_LENGTH: usize = 64;

/// Answers are data; no browser is to run, frame or guess at them.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// A name for a request, by which it is found in the logs of everything that it went through.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

impl RequestId {
    /// The id that came with the request, or a fresh one where none came that can be logged.
    pub(crate) fn of(request: &Request) -> Self {
        let given = request.header(REQUEST_ID).filter(|id| (1..=ID_LENGTH).contains(&id.len()));
        let given = given.filter(|id| id.bytes().all(|byte| byte.is_ascii_graphic()));
        Self(given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned))
    }
}

/// The trace that the client is in, if it says so.
pub(crate) fn trace(request: &Request) -> Option<TraceContext> {
    TraceContext::new(request.header("traceparent")?, request.header("tracestate"))
}

/// Adds what a route did not say otherwise.
///
/// `Strict-Transport-Security` is left to whatever owns the host's name: it holds for every port of it.
pub(crate) fn secure(id: &RequestId, response: &mut Response) {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID, id);
    }
    // What has a tag may be kept by the client that asked, who has to ask again whether it still holds.
    let caching = if headers.contains_key(header::ETAG) { "private, no-cache" } else { "no-store" };
    absent(headers, header::CACHE_CONTROL, caching);
    let is_page = headers.get(header::CONTENT_TYPE).is_some_and(|of| of.as_bytes().starts_with(b"text/html"));
    absent(headers, header::CONTENT_SECURITY_POLICY, if is_page { pages::POLICY } else { NOTHING });
    absent(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    absent(headers, header::X_FRAME_OPTIONS, "DENY");
    // With `no-referrer` a form says that its origin is `null`, which is what a page of another site might say.
    absent(headers, header::REFERRER_POLICY, if is_page { "same-origin" } else { "no-referrer" });
    absent(headers, HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
}

fn absent(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.entry(name).or_insert(HeaderValue::from_static(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(given: &[u8]) -> String {
        RequestId::of(&Request::builder().header(REQUEST_ID, HeaderValue::from_bytes(given).unwrap()).finish()).0
    }

    #[test]
    fn an_id_is_taken_over_where_it_can_be_logged() {
        assert_eq!(id(b"abc-1/2"), "abc-1/2");
        assert_eq!(id(&[b'x'; 64]), "x".repeat(64));
        for replaced in [&b""[..], b"a b", b"\xc3\xa9", &[b'x'; 65]] {
            assert_eq!(id(replaced).parse::<Uuid>().unwrap().get_version_num(), 7);
        }
    }
}
