//! A job's state, derived from the objects that are there.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Failure, Outcome, Request};

/// Where a job stands. It only moves forward, but for a retry of what had failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Accepted; nobody has begun.
    Queued,
    /// A worker asks the upstream for the items.
    Planning,
    /// Tasks are running or waiting.
    Running,
    /// Every task ended well.
    Succeeded,
    /// Some tasks ended well, the others failed.
    Partial,
    /// No task ended well, or the planning failed.
    Failed,
    /// Cancelled before all was done.
    Cancelled,
}

impl State {
    /// Whether nothing more will happen by itself.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Partial | Self::Failed | Self::Cancelled)
    }
}

/// Tasks by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// All of them; 0 until planned.
    pub total: u64,
    /// Waiting or running.
    pub pending: u64,
    /// A new object was stored.
    pub stored: u64,
    /// The upstream had what was stored already.
    pub unchanged: u64,
    /// Given up.
    pub failed: u64,
}

/// A task that failed, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskError {
    /// Its number; none where the planning failed.
    pub task: Option<u64>,
    /// Its items' keys.
    pub items: Vec<String>,
    /// Why.
    pub failure: Failure,
}

/// All that is known of a job at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// What was asked.
    pub request: Request,
    /// Where it stands.
    pub state: State,
    /// When a worker began to plan.
    pub started: Option<Timestamp>,
    /// When the last task ended; only in a terminal state.
    pub finished: Option<Timestamp>,
    /// Tasks by outcome.
    pub tasks: Tally,
    /// Bytes of tasks that ended well.
    pub bytes: u64,
    /// Records of tasks that ended well.
    pub records: u64,
    /// The first failures by task number, at most 10.
    pub errors: Vec<TaskError>,
}

/// How one task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Waiting or running.
    Pending,
    /// A new object was stored.
    Stored,
    /// The upstream had what was stored already.
    Unchanged,
    /// Given up.
    Failed,
}

impl From<Outcome> for TaskState {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Stored => Self::Stored,
            Outcome::Unchanged => Self::Unchanged,
        }
    }
}

/// One task, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskStatus {
    /// Its number.
    pub task: u64,
    /// Its items' keys.
    pub items: Vec<String>,
    /// How it stands.
    pub state: TaskState,
    /// How it ended well, if it did.
    pub done: Option<crate::Done>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
}
