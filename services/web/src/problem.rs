//! The one shape of every HTTP error: RFC 9457 problem details.

use serde::Serialize;

/// A problem: what was wrong, where, and what to do.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    /// A stable name for the kind of problem, as a relative reference: `/problems/invalid-parameter`.
    #[serde(rename = "type")]
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
}
