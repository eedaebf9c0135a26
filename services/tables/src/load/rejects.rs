//! Rows that were not loaded: how many, and the first of them with their place and reason.

/// So many rows are reported, and more are only counted: what is wrong with a file shows in the first.
const REPORTED: usize = 1_000;
/// Of a reason, in bytes: it may quote the record. With [`REPORTED`] a report has half a MiB at most.
const REASON: usize = 400;

/// A row that the table did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Where it begins: the line in CSV and NDJSON, the number of the record in JSON, from 1.
    pub place: u64,
    /// What was expected, and what was found.
    pub reason: String,
}

/// What was not loaded.
#[derive(Debug, Default)]
pub(super) struct Rejects {
    pub(super) count: u64,
    pub(super) report: Vec<Rejected>,
}

impl Rejects {
    pub(super) fn add(&mut self, place: u64, reason: &str) {
        if self.report.len() < REPORTED {
            let reason = reason[..reason.floor_char_boundary(REASON)].to_owned();
            self.report.push(Rejected { place, reason });
        }
        self.count += 1;
    }
}
