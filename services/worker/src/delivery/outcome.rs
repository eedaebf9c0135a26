//! How a planning or a task ends.

use std::time::Duration;

use uuid::Uuid;
use waybill_journal::{CommitError, ReadError};
use waybill_ledger::{JobId, LedgerError, MissingItem, RowTally};
use waybill_queue::Message;
use waybill_source::ItemError;
use waybill_store::StoreError;

use crate::retry::GaveUp;

/// The work that a message asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    pub(crate) job: JobId,
    /// None for a planning.
    pub(crate) task: Option<u32>,
    /// A message to plan a job names none: 0.
    pub(crate) round: u32,
    /// From 1.
    pub(crate) attempt: u32,
    /// Tells this delivery of the work from others.
    pub(crate) id: Uuid,
}

impl Work {
    /// `None` where the message names no job.
    pub(crate) fn of(message: &Message) -> Option<Self> {
        let (id, task, round, attempt) = match message {
            Message::PlanJob(plan) => (&plan.job_id, None, 0, plan.attempt),
            Message::RunTask(task) => (&task.job_id, Some(task.task), task.round, task.attempt),
        };
        Some(Self { job: id.parse().ok()?, task, round, attempt: attempt.max(1), id: Uuid::now_v7() })
    }
}

/// An item's object in data/, or the folder of the table that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) key: String,
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    /// Items that the upstream does not have.
    pub(crate) missing: Vec<MissingItem>,
    /// How the rows ended, where the items are those of an upload, or of a file that was loaded.
    pub(crate) rows: Option<EndedRows>,
    /// The report of the rows that a load left out.
    pub(crate) quarantine: Option<String>,
}

/// How the rows of a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndedRows {
    pub(crate) tally: RowTally,
    /// Records of the log, which the outcome makes superfluous; a load has none.
    pub(crate) records: u32,
}

impl Object {
    /// The same, with how its rows ended.
    pub(crate) fn with_rows(self, rows: EndedRows) -> Self {
        Self { rows: Some(rows), ..self }
    }
}

/// Work that ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Success {
    /// The job is planned, and its tasks are published.
    Planned { tasks: usize },
    /// A new object was stored.
    Stored(Object),
    /// The upstream has what is stored already.
    Unchanged(Object),
    /// The work had ended before.
    AlreadyEnded,
}

impl Success {
    /// As it is counted.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Planned { .. } => "planned",
            Self::Stored(_) => "stored",
            Self::Unchanged(_) => "unchanged",
            Self::AlreadyEnded => "repeated",
        }
    }
}

/// Work that did not end well, or not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TaskError {
    /// Its job is cancelled.
    Cancelled,
    /// This worker runs the same work already.
    AlreadyRunning,
    /// Another worker has a lease of the work, for so long at least.
    LeasedElsewhere { remaining: Duration },
    /// Another worker keeps the limit of this source.
    ThrottledElsewhere,
    /// Another worker loads the table, or this one is loading another.
    TableBusy,
    /// Not now, though a part of it was done: this attempt does not count.
    PartlyDone { after: Option<Duration>, reason: String },
    /// Not now; after `after` at least, where the upstream said so.
    Retry { after: Option<Duration>, reason: String },
    /// The file failed its checks and is in quarantine.
    Rejected { reason: String, quarantine: String },
    /// Trying again does not help.
    Failed { reason: String },
    /// There is no job that this message belongs to.
    JobNotFound,
    /// The process goes down.
    Interrupted,
}

impl TaskError {
    /// What went wrong, if anything did.
    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::PartlyDone { reason, .. }
            | Self::Retry { reason, .. }
            | Self::Rejected { reason, .. }
            | Self::Failed { reason } => Some(reason),
            Self::JobNotFound => Some("there is no such job"),
            Self::Cancelled
            | Self::AlreadyRunning
            | Self::LeasedElsewhere { .. }
            | Self::ThrottledElsewhere
            | Self::TableBusy
            | Self::Interrupted => None,
        }
    }

    /// As it is counted.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::AlreadyRunning | Self::LeasedElsewhere { .. } | Self::ThrottledElsewhere | Self::TableBusy => {
                "elsewhere"
            }
            Self::PartlyDone { .. } | Self::Retry { .. } => "retried",
            Self::Rejected { .. } => "rejected",
            Self::Failed { .. } => "failed",
            Self::JobNotFound => "orphaned",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<StoreError> for TaskError {
    /// Even a refusal is tried again: an operator may correct the settings meanwhile.
    fn from(error: StoreError) -> Self {
        Self::Retry { after: None, reason: error.to_string() }
    }
}

impl From<LedgerError> for TaskError {
    fn from(error: LedgerError) -> Self {
        Self::Retry { after: None, reason: error.to_string() }
    }
}

impl From<CommitError> for TaskError {
    /// A commit waits for its store, so it ends early only where the process goes down.
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::NotCommitted | CommitError::Unknown(_) => Self::Interrupted,
            CommitError::TooLarge { .. } => Self::Failed { reason: error.to_string() },
        }
    }
}

impl From<ReadError> for TaskError {
    fn from(error: ReadError) -> Self {
        Self::Retry { after: None, reason: error.to_string() }
    }
}

impl From<ItemError> for TaskError {
    fn from(error: ItemError) -> Self {
        Self::Failed { reason: error.to_string() }
    }
}

impl From<GaveUp> for TaskError {
    fn from(gave_up: GaveUp) -> Self {
        match gave_up {
            GaveUp::Later { after, reason } => Self::Retry { after, reason },
            GaveUp::Never { reason } => Self::Failed { reason },
            GaveUp::Elsewhere => Self::ThrottledElsewhere,
            GaveUp::Cancelled => Self::Cancelled,
            GaveUp::Interrupted => Self::Interrupted,
        }
    }
}
