//! The index of a process: what is committed to the journals of months, and what of them stays in memory.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use waybill_journal::{CommitError, Compacted, CompactionError, Follower, Options, ReadError, Unreadable};
use waybill_store::{Store, StoreError};

use crate::{
    JobId,
    cache::Cache,
    index::{
        entry::{month_of, object_keys},
        keys::built_key,
        proto::Entry,
        rows::{Outranked, Row, Rows},
    },
    journals::{AsOf, INDEX, Journals, Kept},
};

/// Months whose rows stay in memory, and how many rows together: of about 550 bytes each.
const MONTHS_KEPT: usize = 64;
const ROWS_KEPT: usize = 100_000;

/// The largest month that a worker keeps in memory, by the bytes of its journal: some 100,000 rows.
const KNOWN_BYTES: u64 = 48 << 20;
/// Sources of which it is remembered that they have an index.
const SOURCES: usize = 1_000;
/// Jobs of which it is remembered that they asked for a month; one more LIST for one that is forgotten.
const JOBS: usize = 10_000;
/// How long a month counts as too large before that is looked at again.
const LARGE_FOR: Duration = Duration::from_secs(600);

/// The index of every source in a bucket. Cheap to clone; clones share what is in memory.
#[derive(Debug, Clone)]
pub struct Index {
    pub(super) store: Store,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    journals: Journals<Rows>,
    /// Sources whose index was seen to be built.
    built: Cache<String, ()>,
    /// Jobs that asked for a month.
    jobs: Cache<(JobId, String), ()>,
    /// Months that are too large to be kept, and since when that is known.
    large: Cache<(String, String), Instant>,
}

/// What the index says of an item.
#[derive(Debug, Clone)]
pub enum Known {
    /// This, or something newer.
    Row(Row),
    /// Nothing that can be relied upon: the index is not built, or the month is too large to be kept in memory. The
    /// item's objects have to be listed.
    Unknown,
}

/// A month of a source, as it was when it was asked for, or later.
#[derive(Debug, Clone)]
pub struct Month {
    follower: Follower<Rows>,
}

impl Index {
    /// The index in `store`'s bucket. After `shutdown` nothing more is committed.
    pub fn new(store: Store, shutdown: CancellationToken) -> Self {
        let kept = Kept { journals: MONTHS_KEPT, weight: ROWS_KEPT, weigh: Rows::len, idle: Duration::MAX };
        let shared = Shared {
            journals: Journals::new(store.clone(), INDEX, kept, Options::default(), shutdown),
            built: Cache::new(SOURCES),
            jobs: Cache::new(JOBS),
            large: Cache::new(MONTHS_KEPT),
        };
        Self { store, shared: Arc::new(shared) }
    }

    /// Objects of the index's journals that this process could not read at its latest looks: at most 20.
    pub fn unreadable(&self) -> Vec<Arc<Unreadable>> {
        self.shared.journals.unreadable()
    }

    /// Returns when the entries are durable. Waits for as long as the store refuses, until the shutdown.
    ///
    /// # Errors
    /// After the shutdown.
    pub async fn commit(&self, source: &str, entries: Vec<Entry>) -> Result<(), CommitError> {
        let mut by_month: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for entry in entries {
            by_month.entry(month_of(&entry.partition)).or_default().push(entry);
        }
        for (month, entries) in by_month {
            self.shared.journals.commit((source.to_owned(), month), entries).await?;
        }
        Ok(())
    }

    /// A month with everything that was committed before this call.
    pub async fn month(&self, source: &str, month: &str) -> Result<Month, ReadError> {
        let follower = self.shared.journals.view((source.to_owned(), month.to_owned()), AsOf::Now).await?;
        Ok(Month { follower })
    }

    /// What is known of an item when a task of this job asks: everything that was committed before the job was first
    /// asked for in this process, or by this process, and what others committed until some seconds ago. One LIST a second
    /// for a month, however many ask, for which nobody waits; and one for each job.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn known(&self, job: JobId, source: &str, partition: &str, item: &str) -> Result<Known, ReadError> {
        let name = (source.to_owned(), month_of(partition));
        let first = (job, name.1.clone());
        if self.is_large(&name).await? || !self.is_built(source).await? {
            return Ok(Known::Unknown);
        }
        let follower = self.shared.journals.follower(&name);
        if self.shared.jobs.get(&first).is_some() {
            follower.refresh_in_background();
        } else {
            follower.fresh().await?;
            self.shared.jobs.insert(first, (), 1);
        }
        let (row, rows) = follower.read(|rows| {
            let row = rows.folder(partition).and_then(|folder| folder.row(item));
            (row.cloned().unwrap_or_default(), rows.len())
        });
        if rows > ROWS_KEPT {
            self.shared.large.insert(name.clone(), Instant::now(), 1);
        }
        self.shared.journals.keep(name, &follower);
        Ok(Known::Row(row))
    }

    /// Whether a month is too large to be kept in memory, by the bytes of its journal; it need not be looked at where it
    /// is kept.
    pub(super) async fn is_large(&self, name: &(String, String)) -> Result<bool, ReadError> {
        if self.shared.journals.kept(name).is_some() {
            return Ok(false);
        }
        if self.shared.large.get(name).is_some_and(|since| since.elapsed() < LARGE_FOR) {
            return Ok(true);
        }
        let is_large = self.bytes(&name.0, &name.1).await? > KNOWN_BYTES;
        if is_large {
            self.shared.large.insert(name.clone(), Instant::now(), 1);
        }
        Ok(is_large)
    }

    async fn is_built(&self, source: &str) -> Result<bool, ReadError> {
        let source = source.to_owned();
        if self.shared.built.get(&source).is_some() {
            return Ok(true);
        }
        let is_built = self.is_there(&built_key(&source)).await?;
        if is_built {
            self.shared.built.insert(source, (), 1);
        }
        Ok(is_built)
    }

    /// Does one compaction in a month's journal, and removes the objects of fetches that it found to count no more;
    /// returns whether another may be due.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn compact(&self, source: &str, month: &str) -> Result<bool, CompactionError> {
        let compactor = self.shared.journals.compactor(&(source.to_owned(), month.to_owned()));
        let Some(Compacted { view, .. }) = compactor.compact().await? else { return Ok(false) };
        let mut garbage = Vec::new();
        for outranked in view.outranked() {
            let Outranked { partition, item, .. } = outranked;
            let row = view.folder(partition).and_then(|folder| folder.row(item));
            let Some(newest) = row.and_then(Row::fetch) else { continue };
            let newest = object_keys(source, partition, item, &newest);
            let keys = object_keys(source, partition, item, &outranked.fetch())
                .into_iter()
                .filter(|key| !newest.contains(key));
            // Somebody may have taken it away by hand, to have the older one back.
            if let Some(first) = newest.first()
                && self.is_there(first).await?
            {
                garbage.extend(keys);
            }
        }
        if !garbage.is_empty() {
            self.store.delete(&garbage).await?;
        }
        Ok(true)
    }

    pub(super) async fn is_there(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.store.head(key).await?.is_some())
    }
}

impl Month {
    /// Looks at the rows. Nothing is added to them while `look` runs.
    pub fn read<T>(&self, look: impl FnOnce(&Rows) -> T) -> T {
        self.follower.read(look)
    }

    /// Objects of the month's journal that could not be read: rows may be missing.
    pub fn unreadable(&self) -> Vec<Arc<Unreadable>> {
        self.follower.unreadable()
    }
}
