//! Rows that were not loaded: how many, and the first of them with their place and reason.

use serde_json::json;

/// So many rows are reported, and more are only counted: what is wrong with a file shows in the first.
const REPORTED: usize = 1_000;
/// Of a reason, in bytes: it may quote the record. With [`REPORTED`] a report has half a MiB at most.
const REASON: usize = 400;

/// What was not loaded.
#[derive(Debug, Default)]
pub(super) struct Rejects {
    pub(super) count: u64,
    /// A line of JSON for each row.
    pub(super) report: String,
}

impl Rejects {
    pub(super) fn add(&mut self, place: u64, reason: &str) {
        if self.count < REPORTED as u64 {
            let reason = &reason[..reason.floor_char_boundary(REASON)];
            self.report.push_str(&json!({ "place": place, "reason": reason }).to_string());
            self.report.push('\n');
        }
        self.count += 1;
    }
}
