//! Whether a request has the credentials that are expected.

use std::collections::HashMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use poem::http::{HeaderMap, header};

/// The key of everything that wants one, and the user of basic authentication. It is no secret.
pub(crate) const KEY: &str = "test";
/// The password of basic authentication, and the secret of the client.
pub(crate) const SECRET: &str = "secret";

/// The token of `Authorization: Bearer`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    credentials(headers, "bearer")
}

pub(crate) fn has_bearer(headers: &HeaderMap) -> bool {
    bearer(headers) == Some(KEY)
}

pub(crate) fn has_basic(headers: &HeaderMap) -> bool {
    let decoded = credentials(headers, "basic").and_then(|encoded| BASE64_STANDARD.decode(encoded).ok());
    decoded.is_some_and(|decoded| decoded == format!("{KEY}:{SECRET}").as_bytes())
}

pub(crate) fn has_header(headers: &HeaderMap) -> bool {
    headers.get("x-api-key").is_some_and(|key| key == KEY)
}

pub(crate) fn has_query(query: &HashMap<String, String>) -> bool {
    query.get("key").is_some_and(|key| key == KEY)
}

/// Whether there are credentials of any kind, right or not.
pub(crate) fn has_any(headers: &HeaderMap, query: &HashMap<String, String>) -> bool {
    headers.contains_key(header::AUTHORIZATION) || headers.contains_key("x-api-key") || query.contains_key("key")
}

fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (found, credentials) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then_some(credentials.trim())
}
