//! Bounds the lines of an event that every request causes while something is broken.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// How long one line stands for all that follow it, in milliseconds.
const INTERVAL: u64 = 1_000;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Lets one line of an event through per second; one static for each event.
///
/// ```
/// static LIMIT: waybill_telemetry::LogLimit = waybill_telemetry::LogLimit::new();
/// if let Some(suppressed) = LIMIT.pass() {
///     tracing::warn!(suppressed, "the object store is unavailable");
/// }
/// ```
#[derive(Debug)]
pub struct LogLimit {
    /// When the next line may go out, in milliseconds since the start of the process.
    next: AtomicU64,
    suppressed: AtomicU64,
}

impl Default for LogLimit {
    fn default() -> Self {
        Self::new()
    }
}

impl LogLimit {
    /// The first line goes through.
    pub const fn new() -> Self {
        Self { next: AtomicU64::new(0), suppressed: AtomicU64::new(0) }
    }

    /// How many lines were suppressed since the last one that went through; `None` where this one is suppressed too.
    pub fn pass(&self) -> Option<u64> {
        self.pass_at(u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn pass_at(&self, now: u64) -> Option<u64> {
        let next = self.next.load(Ordering::Relaxed);
        let is_first = now >= next
            && self.next.compare_exchange(next, now + INTERVAL, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !is_first {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.suppressed.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_says_how_many_it_stands_for() {
        let limit = LogLimit::new();
        assert_eq!(limit.pass_at(5), Some(0));
        assert_eq!([limit.pass_at(5), limit.pass_at(1_004)], [None, None]);
        assert_eq!(limit.pass_at(1_005), Some(2));
        assert_eq!(limit.pass_at(9_000), Some(0));
    }
}
