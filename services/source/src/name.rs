//! The names of objects in data/: `data/{source}/{partition}/{item key}.{fetched at}-{hash}.{ext}`.
//!
//! A new fetch is a new name, and of two names of one item the greater is the newer fetch: the
//! timestamp has a fixed width, and equal timestamps are decided by the hash, the same way by
//! every reader.

use jiff::Timestamp;

use crate::Format;

/// One object's name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectName {
    /// `data/buses/country=singapore/date=2024-05-01`.
    pub folder: String,
    /// The item's key.
    pub item: String,
    /// When the fetch began, in microseconds.
    pub fetched_at: Timestamp,
    /// The first 12 hex digits of the SHA-256 of the bytes.
    pub hash: String,
    /// `json`, `ndjson` or `csv`.
    pub extension: String,
}

/// What all fetches of one item begin with: `data/{source}/{partition}/{item key}.`
pub fn item_prefix(source: &str, partition: &str, item: &str) -> String {
    format!("data/{source}/{partition}/{item}.")
}

impl ObjectName {
    /// Names a fetch.
    pub fn new(source: &str, partition: &str, item: &str, fetched_at: Timestamp, sha256: &str, format: Format) -> Self {
        todo!()
    }

    /// Takes a key apart; `None` where it is not one of ours.
    pub fn parse(key: &str) -> Option<Self> {
        todo!()
    }

    /// The key, whole.
    pub fn key(&self) -> String {
        todo!()
    }

    /// The value of a part of the partition: `date` → `2024-05-01`.
    pub fn part(&self, name: &str) -> Option<&str> {
        todo!()
    }
}
