//! Why counts cannot be read or merged.

use std::io;

use parquet::errors::ParquetError;
use waybill_store::StoreError;

/// Why counts cannot be read or merged. Counts that cannot be written are kept, and written later.
#[derive(Debug, thiserror::Error)]
pub enum HitsError {
    /// The store is away, or refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file is not what this crate writes.
    #[error("{key}: {reason}")]
    Unreadable {
        /// The file's key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file was merged away while it was read; the reader begins anew.
    #[error("{key} was merged into another file and deleted meanwhile")]
    Gone {
        /// The file's key.
        key: String,
    },
    /// Parquet cannot be written.
    #[error("failed to write Parquet: {0}")]
    Parquet(#[from] ParquetError),
    /// Temporary files cannot be written or read.
    #[error("failed to use a temporary file: {0}")]
    Io(#[from] io::Error),
    /// It took longer than files that are covered are kept.
    #[error("it took longer than {0} seconds")]
    Slow(u64),
    /// As many as may are reading.
    #[error("too many read counts at once")]
    Busy,
    /// A mistake of ours.
    #[error("a step panicked")]
    Panic,
}
