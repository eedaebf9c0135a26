//! The bounds of a journal, and why they are where they are.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MIB: usize = 1 << 20;

/// Bounds. The defaults are for production; tests set smaller ones.
#[derive(Debug, Clone)]
pub struct Options {
    /// Entries in a segment. More are no cheaper: a PUT of 10,000 costs 0.0001 of one each.
    pub segment_entries: usize,
    /// Bytes of a segment's entries: one PUT that needs no parts, and takes a second on a slow line.
    pub segment_bytes: usize,
    /// Bytes of entries that wait for their commit, over all callers. Further callers wait before they hand theirs in.
    pub queue_bytes: usize,
    /// What a prompt commit waits for company, where the commit before had some. The callers that the last PUT woke
    /// get their next entries into one segment so, not into two.
    pub linger: Duration,
    /// What a relaxed commit waits for company: ten entries a segment from 100 tasks a second.
    pub relaxed_linger: Duration,
    /// The longest wait between two attempts to write a segment.
    pub retry_wait: Duration,
    /// How long what was handed in before a shutdown may still be written.
    pub shutdown_grace: Duration,
    /// [`Follower::recent`](crate::Follower::recent) lists at most once in this time.
    pub list_interval: Duration,
    /// Names in a page of a listing: S3's most.
    pub page: usize,
    /// Objects under 1 MiB that are read at once; larger ones are read one by one.
    pub parallel_reads: usize,
    /// Bytes of the largest object that is read or written, and of the inputs of a compaction: what a process has to
    /// have in memory, some times over.
    pub object_bytes: usize,
    /// As many segments are compacted at once, or earlier by their age. A reader that starts reads no more than about
    /// as many one by one.
    pub compact_segments: usize,
    /// Two segments or more are compacted when the oldest has this age.
    pub compact_age: Duration,
    /// Inputs of one compaction: a page of a listing, and one call that deletes them.
    pub compact_inputs: usize,
    /// As many snapshots of one tier are merged. Sizes grow fourfold from tier to tier, so a fact is rewritten about
    /// once for each tier, and all snapshots together are some four times the view.
    pub compact_fan_in: usize,
    /// [`Compactor::collapse`](crate::Compactor::collapse) writes a view anew that is so many times smaller than the objects
    /// which it replaces: tiers bring them to about four times the view without it.
    pub collapse_factor: u64,
    /// Snapshots below this size are all of tier 0.
    pub tier_bytes: usize,
    /// Milliseconds since 1970. Nothing rests on it but when segments are compacted, and what people see in names.
    pub clock: fn() -> u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_entries: 10_000,
            segment_bytes: 4 * MIB,
            queue_bytes: 16 * MIB,
            linger: Duration::from_millis(10),
            relaxed_linger: Duration::from_millis(100),
            retry_wait: Duration::from_secs(5),
            shutdown_grace: Duration::from_secs(5),
            list_interval: Duration::from_secs(1),
            page: 1_000,
            parallel_reads: 16,
            object_bytes: 64 * MIB,
            compact_segments: 32,
            compact_age: Duration::from_mins(10),
            compact_inputs: 1_000,
            compact_fan_in: 4,
            collapse_factor: 4,
            tier_bytes: MIB / 16,
            clock: || {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            },
        }
    }
}
