//! Maps errors of the SDK to transient and permanent ones.
//!
//! Reasons are a store's code and message or the innermost cause; requests, headers and credentials never.

use std::error::Error;

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use crate::StoreError;

/// Codes that come with a 4xx status, and yet the same call may succeed later.
const PASSING: &[&str] = &[
    "BadDigest",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "OperationAborted",
    "RequestTimeout",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
];

/// Maps an error of the SDK.
pub(super) fn failed<E>(operation: &'static str, key: &str, error: &SdkError<E, HttpResponse>) -> StoreError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let status = status(error);
    let reason = match (error, error.code(), status) {
        (SdkError::TimeoutError(_), ..) => "no answer in time".to_owned(),
        (SdkError::ServiceError(_), Some(code), _) => match error.message().filter(|message| !message.is_empty()) {
            Some(message) => format!("{code}: {message}"),
            None => code.to_owned(),
        },
        (SdkError::ServiceError(_), None, Some(403)) => "access denied".to_owned(),
        (SdkError::ServiceError(_), None, Some(status)) => format!("HTTP status {status}"),
        _ => innermost(error),
    };
    let passing = match (error, status) {
        (SdkError::ConstructionFailure(_), _) => false,
        (_, Some(501)) => false,
        (_, Some(408 | 429 | 500..)) => true,
        (SdkError::ServiceError(_), _) => error.code().is_some_and(|code| PASSING.contains(&code)),
        _ => true,
    };
    let key = key.to_owned();
    if passing {
        StoreError::Unavailable { operation, key, reason }
    } else {
        StoreError::Refused { operation, key, reason }
    }
}

/// The HTTP status of an answer that is an error.
pub(super) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// The cause at the bottom, which says most: `connection refused`, not `dispatch failure`.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}
