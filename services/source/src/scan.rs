//! The scanner: a stream of bytes to records, each checked and added up, and no document built.

use crate::{Format, RecordPath, Schema, Statistics, Totals};

/// Why a file is not accepted, and where.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error)]
#[error("record {record}, byte {offset}{}: expected {expected}, found {found}", field.as_ref().map(|f| format!(", field `{f}`")).unwrap_or_default())]
pub struct Rejection {
    /// Which record, from 0; the number of whole records before the mistake.
    pub record: u64,
    /// Which byte of the file, from 0.
    pub offset: u64,
    /// Which field, where one is at fault.
    pub field: Option<String>,
    /// What would be right.
    pub expected: String,
    /// What was there, cut to a readable length.
    pub found: String,
}

/// What is known of a file once its last byte was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// Whole records.
    pub records: u64,
    /// Their statistics.
    pub totals: Totals,
}

/// Splits a byte stream into records, checks each and adds up. Memory: one record that spans two
/// chunks, at most 1 MiB; never the file.
#[derive(Debug)]
pub struct Scanner {}

impl Scanner {
    /// A scanner for one file.
    pub fn new(format: Format, path: &RecordPath, schema: &Schema, statistics: &Statistics) -> Self {
        todo!()
    }

    /// Takes the next bytes of the file, cut anywhere. After an error the scanner is spent.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Rejection> {
        todo!()
    }

    /// Says that the last byte was seen.
    pub fn finish(self) -> Result<Scanned, Rejection> {
        todo!()
    }
}
