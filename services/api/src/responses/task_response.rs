//! A task in responses.

use poem_openapi::{Enum, Object};
use waybill_ledger::{TaskState as State, TaskStatus};

use crate::responses::timestamp::Moment;

/// How a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase", remote = "State")]
pub(crate) enum TaskState {
    /// Waiting or running.
    Pending,
    /// A new object was stored.
    Stored,
    /// The upstream had what was stored already.
    Unchanged,
    /// Given up.
    Failed,
}

/// What one worker does in one go.
#[derive(Debug, Object)]
pub(crate) struct Task {
    /// Its number, from 0, in the order of the plan.
    task: u64,
    /// Its items' keys.
    items: Vec<String>,
    state: TaskState,
    /// The key of its object in the bucket, new or as it was; of a load the table's folder.
    #[oai(nullable)]
    object: Option<String>,
    /// The object's size.
    #[oai(nullable)]
    bytes: Option<u64>,
    /// The object's records.
    #[oai(nullable)]
    records: Option<u64>,
    /// Why it failed, in words.
    #[oai(nullable)]
    reason: Option<String>,
    /// Where the refused file and its report are, in the bucket; or the report of rows that were left out of a table.
    #[oai(nullable)]
    quarantine: Option<String>,
    /// How many attempts were made.
    #[oai(nullable)]
    attempts: Option<u32>,
    /// How long the last attempt took; only of a task that ended well.
    #[oai(nullable)]
    seconds: Option<f64>,
    /// When it ended.
    #[oai(nullable)]
    finished: Option<Moment>,
}

impl From<TaskStatus> for Task {
    fn from(status: TaskStatus) -> Self {
        let TaskStatus { task, items, state, done, failure } = status;
        let attempts = done.as_ref().map(|done| done.attempts).or(failure.as_ref().map(|failure| failure.attempts));
        let finished = done.as_ref().map(|done| done.finished).or(failure.as_ref().map(|failure| failure.finished));
        let (reason, quarantine) = failure.map(|failure| (failure.reason, failure.quarantine)).unzip();
        let left_out = done.as_ref().and_then(|done| done.quarantine.as_deref()).map(str::to_owned);
        Self {
            task,
            items,
            state: state.into(),
            bytes: done.as_ref().map(|done| done.bytes),
            records: done.as_ref().map(|done| done.records),
            seconds: done.as_ref().map(|done| done.seconds),
            object: done.map(|done| done.object),
            reason,
            quarantine: quarantine.flatten().or(left_out),
            attempts,
            finished: finished.map(Moment),
        }
    }
}
