//! How many rows are written down before they are sent, over all tasks of a source in this process: after a crash nobody
//! knows whether they were.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use waybill_source::Limit;

/// A record has the rows of so long a time.
const TIME: Duration = Duration::from_secs(1);
/// Rows of a record, at least where there is no rate, and at most.
const LEAST: u64 = 8;
const MOST: u64 = 256;

/// The rows that may be written down ahead.
#[derive(Debug)]
pub(crate) struct Ahead {
    /// Rows of a record.
    rows: usize,
    /// One for each row that is written down and not sent.
    permits: Arc<Semaphore>,
}

impl Ahead {
    pub(crate) fn of(limit: Limit) -> Self {
        let rows = match limit {
            Limit::Rate { items, per } => {
                let rows = TIME.as_nanos() * u128::from(items) / per.as_nanos().max(1);
                u64::try_from(rows).unwrap_or(MOST).clamp(1, MOST)
            }
            Limit::Concurrency(requests) => (4 * u64::from(requests)).clamp(LEAST, MOST),
        } as usize;
        // The next record is written while the rows of the one before are sent.
        Self { rows, permits: Arc::new(Semaphore::new(rows + rows.div_ceil(2))) }
    }

    /// How many rows a record has.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Waits until so many rows, at most [`Self::rows`], may be written down. Tasks get their turn in the order in which they
    /// asked.
    pub(crate) async fn reserve(&self, rows: usize) -> OwnedSemaphorePermit {
        let rows = u32::try_from(rows.min(self.rows)).expect("it is at most 256");
        self.permits.clone().acquire_many_owned(rows).await.expect("the semaphore is never closed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_ahead_follows_from_the_limit() {
        let rate = |items, seconds| Ahead::of(Limit::Rate { items, per: Duration::from_secs(seconds) });
        for (ahead, rows, permits) in [
            (rate(7, 1), 7, 11),
            (rate(60, 60), 1, 2),
            (rate(100_000, 1), 256, 384),
            (Ahead::of(Limit::Concurrency(1)), 8, 12),
            (Ahead::of(Limit::Concurrency(16)), 64, 96),
        ] {
            assert_eq!((ahead.rows(), ahead.permits.available_permits()), (rows, permits));
        }
    }
}
