//! What lies in the journal and cannot be read. It is reported and left alone; everything else goes on.

use waybill_store::StoreError;

use crate::InvalidSnapshot;

/// An object that is not in the view.
#[derive(Debug, thiserror::Error)]
#[error("{key} cannot be read: {reason}")]
pub struct Unreadable {
    /// The whole key.
    pub key: String,
    /// Why.
    #[source]
    pub reason: Reason,
}

impl Unreadable {
    /// Whether the same object may be readable later.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self.reason, Reason::Refused(_))
    }
}

/// Why an object cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// Somebody else wrote it, or a newer release.
    #[error("its name is none of a segment or snapshot")]
    ForeignName,
    /// It has no bytes.
    #[error("it is empty")]
    Empty,
    /// It was not read.
    #[error("it has {size} bytes, and at most {limit} are read")]
    TooLarge {
        /// Its bytes, as listed.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// It does not begin as segments and snapshots do.
    #[error("it is neither a segment nor a snapshot")]
    ForeignContent,
    /// A segment under a snapshot's name, or the like.
    #[error("what it holds is of another kind than its name says")]
    WrongKind,
    /// A newer release wrote it.
    #[error("it has format {found}, and this program knows {known}; run the newer release")]
    NewerFormat {
        /// Its format.
        found: u16,
        /// The newest that this program reads.
        known: u16,
    },
    /// A newer release wrote it.
    #[error("its entries have schema {found}, and this program knows {known}; run the newer release")]
    NewerSchema {
        /// Its schema.
        found: u16,
        /// The newest that this program reads.
        known: u16,
    },
    /// Some of it is missing, or something was appended.
    #[error("it should have {expected} bytes and has {found}")]
    Length {
        /// By its header.
        expected: u64,
        /// What was read.
        found: u64,
    },
    /// Some of it was changed.
    #[error("its checksum does not match")]
    Checksum,
    /// It is what its writer wrote, and no message of this view.
    #[error("it is not valid protobuf")]
    Decode(#[from] prost::DecodeError),
    /// A segment has from 1 entry to a bound.
    #[error("it has {found} entries; a segment has 1 to {limit}")]
    EntryCount {
        /// Its entries.
        found: usize,
        /// The most.
        limit: usize,
    },
    /// The view refuses the snapshot.
    #[error("its view is not valid: {0}")]
    View(#[source] InvalidSnapshot),
    /// The store shows the object and does not give it out. It is asked again with the next refresh.
    #[error(transparent)]
    Refused(StoreError),
}
