//! What a job is given: named values, checked against the definition.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Checked parameters in canonical spelling, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Params(pub BTreeMap<String, String>);

/// A parameter that is missing, unknown or wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parameter `{name}`: expected {expected}, found {found}")]
pub struct ParamError {
    /// The parameter's name.
    pub name: String,
    /// What would be right: `a date such as 2024-05-01`.
    pub expected: String,
    /// What was given, cut to a readable length: `"01.05.2024"`, or `nothing`.
    pub found: String,
}
