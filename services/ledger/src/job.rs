//! A job's facts, one object each. Their JSON is for people who look into the bucket.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use waybill_source::{Item, Params};

/// A job's name: a UUIDv7, so that its day is in it and ids sort by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

impl std::fmt::Display for JobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// `jobs/{day}/{job}/request.json`: from here on the job exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The job.
    pub job: JobId,
    /// The source's name.
    pub source: String,
    /// What it was given.
    pub params: Params,
    /// The definition's hash; its text is in `sources/{name}/{hash}.toml`.
    pub definition: String,
    /// The client's own name for the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// When it was accepted.
    pub created: Timestamp,
}

/// `plan.json`: the tasks, each with its items. A task's number is its place in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// When the planning was done.
    pub planned: Timestamp,
    /// The items of each task.
    pub tasks: Vec<Vec<Item>>,
}

/// How a task ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// A new object was stored.
    Stored,
    /// The upstream has what is stored already.
    Unchanged,
}

/// `tasks/{task}.done`: a task that ended well; it outranks every failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// How.
    pub outcome: Outcome,
    /// The item's object in data/, new or as it was.
    pub object: String,
    /// Its size.
    pub bytes: u64,
    /// Its records.
    pub records: u64,
    /// How long the last attempt took.
    pub seconds: f64,
    /// How many attempts it took.
    pub attempts: u32,
    /// When it ended.
    pub finished: Timestamp,
}

/// `tasks/{task}.failed.{round}` (and `plan.failed.{round}`): given up in this round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Why, in words.
    pub reason: String,
    /// Where the file and its report are, if it was one that failed its checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<String>,
    /// How many attempts were made.
    pub attempts: u32,
    /// When it was given up.
    pub finished: Timestamp,
}
