//! What templates see of a job, and of the process that runs it.
//!
//! Plain values: this crate reads no clock and no environment.

use std::collections::BTreeMap;

use crate::Params;

/// Values of environment variables, by name. They are secrets: nothing here shows one.
pub type Env = BTreeMap<String, String>;

/// A job as templates see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobContext {
    /// `{{ job.id }}`: its id.
    pub id: String,
    /// `{{ job.date }}`: the day it was made, in UTC: `2024-05-01`.
    pub date: String,
    /// `{{ params.… }}`: what it was given.
    pub params: Params,
}
