//! Merges the files of all processes of a day that is over into one, and deletes what it covers, later.
//!
//! Any number of these may run at once, and each may die at any step: which files count is decided by [`Sorted`], the same
//! way for everybody, and a file is deleted only where it has not counted for [`GRACE`].
//!
//! [`Sorted`]: crate::files::visible::Sorted

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use jiff::{Timestamp, ToSpan, civil::Date};
use tokio::time::{Instant, timeout};
use uuid::Uuid;
use waybill_store::Store;

use crate::{
    HitsError,
    files::{
        listing,
        merge::merge,
        name::{FileName, Kind, utc_day},
        visible::{Listed, Sorted},
    },
};

/// How long a file that is covered stays: longer than anybody reads or merges that has not seen what covers it.
pub(crate) const GRACE: Duration = Duration::from_secs(10 * 60);
/// How long the merge of a day may take, from its listing on. Well below [`GRACE`]: inputs that it has listed are still there.
const MERGE_LIMIT: Duration = Duration::from_secs(5 * 60);
/// How long after its end a day is merged: clocks may differ, and a store may have been away. What comes later counts, too.
const AFTER_END: i64 = 2 * 60 * 60;
/// Days before today that are looked at in every turn; earlier ones once after a start.
const RECENT: i32 = 7;

/// What a turn did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Merged {
    /// Days whose files were merged.
    pub days: u64,
    /// Covered files that were deleted.
    pub deleted: u64,
}

/// Merges days. One in the fleet is enough; more do no harm.
#[derive(Debug)]
pub struct DayMerger {
    store: Store,
    /// Days of which nothing more is expected.
    settled: HashSet<Date>,
    /// Since when files are seen not to count, by day.
    covered: HashMap<Date, HashMap<FileName, Instant>>,
}

impl DayMerger {
    /// Merges the days in `store`.
    pub fn new(store: Store) -> Self {
        Self { store, settled: HashSet::new(), covered: HashMap::new() }
    }

    /// Looks at all days that are over at `now`, and merges those with more than one file that counts.
    ///
    /// # Errors
    /// Where the store is away, or a file cannot be read; the next turn tries again.
    pub async fn turn(&mut self, now: Timestamp) -> Result<Merged, HitsError> {
        let ended = Timestamp::from_second(now.as_second() - AFTER_END).unwrap_or(now);
        let today = utc_day(ended);
        let recent = today.saturating_sub(RECENT.days());
        let mut merged = Merged::default();
        let mut failed = None;
        for day in listing::days(&self.store).await? {
            if day >= today || self.settled.contains(&day) {
                continue;
            }
            match self.tidy_day(day).await {
                Ok(done) if done == Merged::default() && day < recent && !self.covered.contains_key(&day) => {
                    self.settled.insert(day);
                }
                Ok(done) => {
                    merged.days += done.days;
                    merged.deleted += done.deleted;
                }
                // The other days do not depend on it.
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(merged), Err)
    }

    /// Merges a day's files if there are several, and deletes what has long been covered.
    async fn tidy_day(&mut self, day: Date) -> Result<Merged, HitsError> {
        let merging = timeout(MERGE_LIMIT, self.merge_day(day)).await;
        let (is_merged, covered) = merging.map_err(|_elapsed| HitsError::Slow(MERGE_LIMIT.as_secs()))??;
        Ok(Merged { days: is_merged.into(), deleted: self.delete(day, &covered).await? })
    }

    /// Whether there was something to merge, and what does not count.
    async fn merge_day(&self, day: Date) -> Result<(bool, Vec<Listed>), HitsError> {
        let Sorted { visible, covered } = listing::files(&self.store, day).await?;
        if visible.len() < 2 {
            return Ok((false, covered));
        }
        let generations = visible.iter().chain(&covered).map(|file| match file.name.kind {
            Kind::All { generation, .. } => generation,
            Kind::Process { .. } => 0,
        });
        // Greater than all there are, so that it counts in their place.
        let generation = generations.max().unwrap_or(0) + 1;
        let name = FileName { day, kind: Kind::All { generation, id: Uuid::now_v7() } };
        merge(&self.store, &visible, name).await?;
        Ok((true, covered))
    }

    /// Deletes those that have not counted for [`GRACE`].
    async fn delete(&mut self, day: Date, covered: &[Listed]) -> Result<u64, HitsError> {
        let now = Instant::now();
        let before = self.covered.remove(&day).unwrap_or_default();
        let since = |file: &Listed| (file.name, before.get(&file.name).copied().unwrap_or(now));
        let (old, young): (HashMap<_, _>, HashMap<_, _>) =
            covered.iter().map(since).partition(|(_, since)| now.duration_since(*since) >= GRACE);
        if !young.is_empty() {
            self.covered.insert(day, young);
        }
        let keys: Vec<_> = old.keys().map(FileName::to_string).collect();
        if !keys.is_empty() {
            self.store.delete(&keys).await?;
        }
        Ok(keys.len() as u64)
    }
}
