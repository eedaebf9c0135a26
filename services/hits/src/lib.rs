//! Hits: every HTTP request counted by its path, in memory and in the bucket.
//!
//! A process counts in a sharded map and writes each second's counts as one immutable Parquet file. It merges its own
//! files into wider ones; when a day is over, the housekeeper merges those of all processes into one. A reader adds up
//! the files that no wider file covers.
//!
//! No conditional write and no lock is needed: names are unique, files are immutable, a wider file says what it covers,
//! and what it covers is deleted only once no reader and no merge that began before it can still be under way. Nothing
//! here knows a service, or drops a count while the store takes writes.

mod compactor;
mod counter;
mod days;
mod error;
mod files;
mod hits;
mod metrics;
mod query;
#[cfg(test)]
mod tests;
mod totals;

pub use self::{
    days::{DayMerger, Merged},
    error::HitsError,
    hits::{Flusher, Hits},
    metrics::Metrics,
    query::Query,
    totals::{PathCount, Ranking},
};
