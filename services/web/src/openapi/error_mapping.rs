//! Maps every error of poem and poem-openapi to a problem.

use std::collections::BTreeMap;

use poem::{
    Error,
    error::{MethodNotAllowedError, NotFoundError, ParseJsonError, ReadBodyError},
    http::{Method, StatusCode, Uri},
};
use poem_openapi::{
    OpenApi,
    error::{ContentTypeError, ParseParamError, ParsePathError, ParseRequestPayloadError},
    registry::Registry,
};

use crate::{
    Problem, quoted,
    request::body_limit::{BODY_LIMIT, Stalled, TooLarge, TooSlow},
};

/// What the request was, for those errors that do not say.
pub(crate) struct Asked<'a> {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) choices: &'a Choices,
}

/// The values of every enumeration in the documented parameters, in words, by the type's name.
pub(crate) struct Choices(BTreeMap<String, String>);

impl Choices {
    pub(crate) fn of<A: OpenApi>() -> Self {
        let mut registry = Registry::new();
        A::register(&mut registry);
        let choices = registry.schemas.into_iter().filter(|(_, schema)| !schema.enum_items.is_empty());
        Self(choices.map(|(name, schema)| (name, one_of(&schema.enum_items))).collect())
    }
}

/// ``one of `queued`, `running` ``
fn one_of(values: &[serde_json::Value]) -> String {
    let names: Vec<String> = values
        .iter()
        .map(|value| value.as_str().map_or_else(|| format!("`{value}`"), |name| format!("`{name}`")))
        .collect();
    format!("one of {}", names.join(", "))
}

/// Turns any error of a route into a problem.
pub(crate) fn problem(error: Error, asked: &Asked<'_>) -> Problem {
    if let Some(problem) = error.downcast_ref::<Problem>() {
        return problem.clone();
    }
    if error.is::<NotFoundError>() {
        return Problem::not_found(format!("there is nothing at {}", quoted(asked.uri.path())));
    }
    if error.is::<MethodNotAllowedError>() {
        // Only methods that HTTP does not name come here, those it names are answered by their path.
        let detail = format!("there is no method {} here, on any path", quoted(asked.method.as_str()));
        return Problem::new(StatusCode::NOT_IMPLEMENTED, "unknown-method", detail);
    }
    if let Some(error) = error.downcast_ref::<ParseParamError>() {
        return parameter(error, asked);
    }
    if let Some(error) = error.downcast_ref::<ParsePathError>() {
        let expected = kind(error.reason.split('"').nth(1).unwrap_or_default(), asked.choices);
        let detail = format!("in the path {}: expected {expected}", quoted(asked.uri.path()));
        return Problem::new(StatusCode::BAD_REQUEST, "invalid-parameter", detail).expecting(expected);
    }
    if let Some(error) = error.downcast_ref::<ContentTypeError>() {
        let found = match error {
            ContentTypeError::NotSupported { content_type } => Some(content_type.as_str()),
            ContentTypeError::ExpectContentType => None,
        };
        return Problem::unsupported_media_type("application/json", found);
    }
    if let Some(error) = error.downcast_ref::<ReadBodyError>() {
        return body(error);
    }
    if let Some(ParseJsonError::Parse(error)) = error.downcast_ref::<ParseJsonError>() {
        return Problem::malformed_body(error);
    }
    if let Some(error) = error.downcast_ref::<ParseRequestPayloadError>() {
        return Problem::new(StatusCode::BAD_REQUEST, "invalid-body", &*error.reason);
    }
    other(&error)
}

/// poem-openapi says what was expected in a sentence of its own; here it is taken apart.
fn parameter(error: &ParseParamError, asked: &Asked<'_>) -> Problem {
    let given: Vec<(String, String)> =
        poem::Request::builder().uri(asked.uri.clone()).finish().params().unwrap_or_default();
    let found = given
        .iter()
        .find(|(name, _)| name == error.name)
        .map_or_else(|| "nothing".to_owned(), |(_, value)| quoted(value));
    let expected = match error.reason.split_once("verification failed. ") {
        Some((_, rule)) => bound(rule),
        None => kind(error.reason.split('"').nth(1).unwrap_or_default(), asked.choices),
    };
    Problem::invalid_parameter(error.name, &expected, found)
}

/// What a type is called: `integer_uint16` → `an integer`.
fn kind(name: &str, choices: &Choices) -> String {
    if let Some(choice) = choices.0.get(name) {
        return choice.clone();
    }
    let name = name.strip_prefix("optional_").unwrap_or(name);
    let words = match name.split(['_', '(']).next().unwrap_or_default() {
        "date" => "a date such as 2024-05-01",
        "uuid" => "a UUID",
        "integer" => "an integer",
        "number" => "a number",
        "boolean" => "true or false",
        _ => "a value",
    };
    words.to_owned()
}

/// A validator's rule: `maximum(1000, exclusive: false)` → `at most 1000`.
fn bound(rule: &str) -> String {
    let number = rule.split(['(', ',', ')']).nth(1).unwrap_or_default();
    match rule.split('(').next() {
        Some("minimum") => format!("at least {number}"),
        Some("maximum") => format!("at most {number}"),
        _ => rule.to_owned(),
    }
}

fn body(error: &ReadBodyError) -> Problem {
    match error {
        ReadBodyError::PayloadTooLarge => Problem::payload_too_large(BODY_LIMIT as u64),
        ReadBodyError::Io(error) => unread(error),
        ReadBodyError::Utf8(error) => {
            Problem::new(StatusCode::BAD_REQUEST, "invalid-body", format!("the body is not UTF-8: {error}"))
        }
        ReadBodyError::BodyHasBeenTaken => Problem::internal(error),
    }
}

/// A body that ended before its end.
pub(crate) fn unread(error: &std::io::Error) -> Problem {
    if let Some(TooLarge(limit)) = cause(error) {
        Problem::payload_too_large(*limit)
    } else if let Some(TooSlow(time)) = cause(error) {
        Problem::slow_body(*time)
    } else if let Some(Stalled(patience)) = cause(error) {
        Problem::stalled_body(*patience)
    } else {
        Problem::new(StatusCode::BAD_REQUEST, "invalid-body", "the body ended before it was complete")
    }
}

/// A body passes an error of its stream on inside further I/O errors.
fn cause<E: std::error::Error + 'static>(error: &std::io::Error) -> Option<&E> {
    let inner = error.get_ref()?;
    inner.downcast_ref::<E>().or_else(|| cause(inner.downcast_ref::<std::io::Error>()?))
}

/// An error of which only the status is known. Its text may be about our insides, so a 5xx keeps it.
fn other(error: &Error) -> Problem {
    let status = error.status();
    if status.is_server_error() {
        return Problem::internal(error);
    }
    let kind = status.canonical_reason().unwrap_or("bad request").to_ascii_lowercase().replace(' ', "-");
    Problem::new(status, &kind, error.to_string())
}
