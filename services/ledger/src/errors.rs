//! The ledger's errors.

use waybill_journal::{CommitError, CompactionError, ReadError};
use waybill_queue::QueueError;
use waybill_store::StoreError;

/// The longest reason that is told, in characters.
const REASON_LIMIT: usize = 200;

/// A fact that could not be read or written, or a message that could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A journal could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An entry was not committed, or perhaps not.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A journal was not compacted. Nothing is lost.
    #[error(transparent)]
    Compact(#[from] CompactionError),
    /// The queue did not take a message. What the bucket says is not affected.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// An object in the ledger is not what this version writes. Trying again does not help.
    #[error("{key} is damaged: {reason}")]
    Damaged {
        /// Which object.
        key: String,
        /// Why.
        reason: String,
    },
}

impl LedgerError {
    /// The reason may repeat what is in the object, so that it is cut.
    pub(crate) fn damaged(key: impl Into<String>, reason: impl ToString) -> Self {
        let reason = reason.to_string();
        let end = reason.char_indices().nth(REASON_LIMIT).map_or(reason.len(), |(end, _)| end);
        Self::Damaged { key: key.into(), reason: reason[..end].to_owned() }
    }
}
