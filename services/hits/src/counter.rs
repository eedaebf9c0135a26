//! The counts of a process that are not yet written: a map by day and path, in shards.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    mem,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use jiff::{Timestamp, civil::Date};
use tokio::sync::Notify;

use crate::{Metrics, files::name::utc_day};

/// Locks that requests on different cores take side by side.
const SHARDS: usize = 16;
/// The longest path that is counted as it is, in bytes. Longer ones are attacks or mistakes, and each would take memory.
pub(crate) const LONGEST_PATH: usize = 2_048;
/// Ends a path that was cut. No URL has this character unencoded.
const CUT: char = '…';
/// The line of paths that there was no memory for. No path begins so.
pub(crate) const OTHER: &str = "(other)";
/// What an entry takes beside its path: a pointer, a length, a count, an allocation's header, a map's free places.
pub(crate) const ENTRY: usize = 64;
/// Bytes of paths from which counts are written early: some 150,000 paths, and a file of a few MB.
const FULL: usize = 16 << 20;
/// Bytes of paths from which a new path counts as [`OTHER`]: only a store that takes nothing for long lets a map grow so.
const LIMIT: usize = 64 << 20;

/// Days since 1970, in UTC.
type Day = i64;
/// Counts by path.
pub(crate) type Counts = HashMap<Box<str>, u64>;

/// Counts hits until they are taken.
#[derive(Debug)]
pub(crate) struct Counter {
    shards: [Mutex<BTreeMap<Day, Counts>>; SHARDS],
    hasher: RandomState,
    bytes: AtomicUsize,
    full: usize,
    limit: usize,
    has_hits: AtomicBool,
    /// Told of the first hit since counts were last taken.
    pub(crate) first: Notify,
    /// Told when counts should be taken early.
    pub(crate) filled: Notify,
    metrics: Metrics,
}

impl Counter {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self::with_limits(metrics, FULL, LIMIT)
    }

    /// The same with other bounds, in bytes.
    pub(crate) fn with_limits(metrics: Metrics, full: usize, limit: usize) -> Self {
        Self {
            shards: Default::default(),
            hasher: RandomState::new(),
            bytes: AtomicUsize::new(0),
            full,
            limit,
            has_hits: AtomicBool::new(false),
            first: Notify::new(),
            filled: Notify::new(),
            metrics,
        }
    }

    /// Counts a hit. Takes no longer than a map's entry does.
    pub(crate) fn count(&self, now: Timestamp, path: &str) {
        let (day, path) = (now.as_second().div_euclid(24 * 60 * 60), cut(path));
        let at = self.hasher.hash_one(&*path) as usize % SHARDS;
        {
            let mut shard = self.shards[at].lock().unwrap_or_else(PoisonError::into_inner);
            let counts = shard.entry(day).or_default();
            match counts.get_mut(&*path) {
                Some(count) => *count += 1,
                None => self.insert(counts, &path),
            }
        }
        // After the count: whoever takes counts lowers the flag before that.
        if !self.has_hits.load(Ordering::Acquire) && !self.has_hits.swap(true, Ordering::AcqRel) {
            self.first.notify_one();
        }
    }

    fn insert(&self, counts: &mut Counts, path: &str) {
        let cost = path.len() + ENTRY;
        let before = self.bytes.fetch_add(cost, Ordering::Relaxed);
        if before >= self.limit {
            self.bytes.fetch_sub(cost, Ordering::Relaxed);
            if self.metrics.overflow.inc() == 0 {
                tracing::warn!(
                    "too many paths wait to be written, new ones count as {OTHER} until the store takes them"
                );
            }
            *counts.entry(OTHER.into()).or_default() += 1;
            return;
        }
        counts.insert(path.into(), 1);
        if before < self.full && before + cost >= self.full {
            self.filled.notify_one();
        }
    }

    /// Takes all counts, by day. What is counted meanwhile is either in them or in the next.
    pub(crate) fn take(&self) -> BTreeMap<Date, Counts> {
        self.has_hits.store(false, Ordering::Release);
        let mut days: BTreeMap<Date, Counts> = BTreeMap::new();
        let mut taken = 0;
        for shard in &self.shards {
            let shard = mem::take(&mut *shard.lock().unwrap_or_else(PoisonError::into_inner));
            for (day, counts) in shard {
                let all = days.entry(date(day)).or_default();
                for (path, count) in counts {
                    taken += if &*path == OTHER { 0 } else { path.len() + ENTRY };
                    *all.entry(path).or_default() += count;
                }
            }
        }
        self.bytes.fetch_sub(taken, Ordering::Relaxed);
        days
    }
}

fn date(day: Day) -> Date {
    utc_day(Timestamp::from_second(day * 24 * 60 * 60).unwrap_or_default())
}

/// A path that is not too long.
fn cut(path: &str) -> Cow<'_, str> {
    if path.len() <= LONGEST_PATH {
        return Cow::Borrowed(path);
    }
    Cow::Owned(format!("{}{CUT}", &path[..path.floor_char_boundary(LONGEST_PATH)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn hits_are_counted_by_day_and_path() {
        let counter = Counter::new(Metrics::default());
        for (now, path) in [
            ("2024-05-01T23:59:59.999Z", "/a"),
            ("2024-05-02T00:00:00Z", "/a"),
            ("2024-05-02T00:00:01Z", "/a"),
            // The clock was set back.
            ("2024-05-01T12:00:00Z", "/b%20c"),
            ("1969-12-31T23:59:59Z", ""),
        ] {
            counter.count(at(now), path);
        }
        let taken = counter.take();
        let taken: Vec<_> = taken.iter().map(|(day, counts)| (day.to_string(), counts.len())).collect();
        assert_eq!(taken, [("1969-12-31".to_owned(), 1), ("2024-05-01".to_owned(), 2), ("2024-05-02".to_owned(), 1)]);
        assert!(counter.take().is_empty());
        assert_eq!(counter.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_long_path_is_cut_at_a_character_and_marked() {
        assert_eq!(cut(&"a".repeat(LONGEST_PATH)), "a".repeat(LONGEST_PATH));
        assert_eq!(cut(&"a".repeat(1 << 20)), "a".repeat(LONGEST_PATH) + "…");
        assert_eq!(cut(&format!("x{}", "é".repeat(LONGEST_PATH))), format!("x{}…", "é".repeat(LONGEST_PATH / 2 - 1)));
    }

    #[tokio::test]
    async fn a_full_map_asks_to_be_taken_and_beyond_its_limit_new_paths_are_one_line() {
        let metrics = Metrics::default();
        let counter = Counter::with_limits(metrics.clone(), 10 * (ENTRY + 4), 100 * (ENTRY + 4));
        let now = at("2024-05-01T00:00:00Z");
        for n in 0..100_000 {
            counter.count(now, &format!("/{n:03}"));
        }
        // Known paths are still counted by name.
        counter.count(now, "/007");
        counter.filled.notified().await;
        counter.first.notified().await;
        let taken = counter.take().into_values().next().unwrap();
        assert_eq!(taken.values().sum::<u64>(), 100_001, "nothing is dropped");
        assert_eq!((taken["/007"], taken.len()), (2, 101));
        assert_eq!(taken[OTHER], metrics.overflow.get());
        assert_eq!(counter.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn counts_taken_while_others_count_are_exact() {
        let counter = Counter::new(Metrics::default());
        let now = at("2024-05-01T00:00:00Z");
        let mut total = 0;
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..25_000).for_each(|n| counter.count(now, &format!("/{}", n % 97)))))
                .collect();
            while !threads.iter().all(|thread| thread.is_finished()) {
                total += counter.take().values().flat_map(Counts::values).sum::<u64>();
            }
        });
        total += counter.take().values().flat_map(Counts::values).sum::<u64>();
        assert_eq!(total, 100_000);
    }
}
