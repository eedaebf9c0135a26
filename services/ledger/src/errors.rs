//! What can go wrong with the ledger.

use waybill_store::StoreError;

/// A fact that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An object in the ledger is not what this version writes.
    #[error("{key} cannot be read: {reason}")]
    Damaged {
        /// Which object.
        key: String,
        /// Why.
        reason: String,
    },
}
