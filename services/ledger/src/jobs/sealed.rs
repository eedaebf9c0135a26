//! A job that is sealed: every task of it is done, and how each ended is no longer in the journal.

use jiff::Timestamp;
use serde::Serialize;

use crate::{RowTally, State, Status, TaskTally, jobs::Tallied};

/// What the outcomes of a sealed job add up to. Of two that are said of one job, as where a task was done twice, the greater
/// counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Sealed {
    /// Tasks that stored an object.
    pub stored: u32,
    /// Tasks whose upstream had what was stored already.
    pub unchanged: u32,
    /// Of all tasks.
    pub bytes: u64,
    /// Of all tasks.
    pub records: u64,
    /// Of a job with an upload: how its rows ended.
    pub rows: RowTally,
    /// When the last task ended.
    pub finished: Timestamp,
}

impl Sealed {
    /// What a status says of a job that succeeded; `None` of any other.
    pub(crate) fn of(status: &Status) -> Option<Self> {
        let TaskTally { total, stored, unchanged, .. } = status.tasks;
        if status.state != State::Succeeded || total != stored + unchanged {
            return None;
        }
        Some(Self {
            stored: stored.try_into().ok()?,
            unchanged: unchanged.try_into().ok()?,
            bytes: status.bytes,
            records: status.records,
            rows: status.rows.unwrap_or_default(),
            finished: status.finished?,
        })
    }

    /// All tasks.
    pub(crate) fn tasks(&self) -> u32 {
        self.stored.saturating_add(self.unchanged)
    }

    pub(super) fn tallied(&self) -> Tallied {
        let tasks = TaskTally {
            total: self.tasks().into(),
            stored: self.stored.into(),
            unchanged: self.unchanged.into(),
            ..TaskTally::default()
        };
        Tallied {
            tasks,
            bytes: self.bytes,
            records: self.records,
            rows: self.rows,
            finished: Some(self.finished),
            lacks_items: false,
            last_round: 0,
            errors: Vec::new(),
        }
    }
}
