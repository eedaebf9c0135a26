//! From the objects in data/ to totals per group and day.
//!
//! A group is what stands before the date in the partition: `country=singapore`. Its months are worked
//! through one after the other, so that memory holds one month's keys and not the range's.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroUsize,
    sync::{Arc, Mutex},
};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::civil::Date;
use lru::LruCache;
use sha2::{Digest, Sha256};
use waybill_source::{Definition, ObjectName, Totals};
use waybill_store::{Store, StoreError};

use crate::{Range, aggregate::Aggregate};

/// Groups worked on side by side.
const GROUPS_AT_ONCE: usize = 8;
/// HEADs side by side in one group: 256 in all, far below what one S3 prefix serves in a second.
const HEADS_AT_ONCE: usize = 32;
/// Groups of one source: countries, regions. Beyond it an answer would be unreadable.
const MAX_GROUPS: usize = 10_000;
/// How often a month is listed again because an object vanished between LIST and HEAD.
const TRIES: usize = 5;
/// Months remembered in memory: at most 31 days of totals each, about 6 KB.
const MONTHS_REMEMBERED: NonZeroUsize = NonZeroUsize::new(8_192).expect("not zero");

type Days = BTreeMap<Date, Totals>;
type Hash = [u8; 32];
type Remembered = LruCache<String, (Hash, Arc<Days>)>;

/// Adds up, and remembers what it added up.
#[derive(Debug, Clone)]
pub struct Collector {
    store: Store,
    /// Totals of a month in a group, with the hash of the keys they were made from.
    remembered: Arc<Mutex<Remembered>>,
}

/// Totals of a range.
#[derive(Debug)]
pub struct Report {
    /// By group (the partition's values before the date), then by day; days without data are left out.
    pub groups: BTreeMap<Vec<String>, Days>,
    /// Of the definition, the range, and all keys that went in: the same tag, the same numbers.
    pub etag: String,
}

/// Why totals cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Objects kept vanishing while they were read.
    #[error("{0} is being rewritten faster than it can be read")]
    ConcurrentChange(String),
    /// A sum left the range of the numbers kept.
    #[error("{0}")]
    Overflow(String),
}

impl Collector {
    /// Reads from `store`'s bucket.
    pub fn new(store: Store) -> Self {
        Self { store, remembered: Arc::new(Mutex::new(LruCache::new(MONTHS_REMEMBERED))) }
    }

    /// The totals of a range, by group and day.
    pub async fn collect(&self, definition: &Arc<Definition>, range: Range) -> Result<Report, CollectError> {
        let groups = self.groups(definition).await?;
        let reports: Vec<_> = stream::iter(groups)
            .map(move |group| async move {
                let (days, hash) = self.group(definition, &group, range).await?;
                Ok::<_, CollectError>((group, days, hash))
            })
            .buffered(GROUPS_AT_ONCE)
            .try_collect()
            .await?;
        let mut hash = Sha256::new();
        hash.update(format!("{} {} {}", definition.hash(), range.from(), range.to()));
        let mut by_group = BTreeMap::new();
        for (group, days, keys) in reports {
            hash.update(&group);
            hash.update(keys);
            let values = group.split('/').filter_map(|part| part.split_once('=')).map(|(_, value)| value.to_owned());
            by_group.insert(values.collect(), days);
        }
        Ok(Report { groups: by_group, etag: base16ct::lower::encode_string(&hash.finalize()) })
    }

    /// Every group that has ever had an object: `["country=singapore", …]`.
    async fn groups(&self, definition: &Definition) -> Result<Vec<String>, CollectError> {
        let mut groups = vec![String::new()];
        for _ in 1..definition.partition_names().len() {
            let mut below = Vec::new();
            for group in groups {
                let folder = format!("data/{}/{group}", definition.name());
                let found = self.store.folders(&folder, None, MAX_GROUPS).await?;
                below.extend(found.into_iter().map(|name| format!("{group}{name}/")));
            }
            groups = below;
        }
        Ok(groups.into_iter().map(|group| group.trim_end_matches('/').to_owned()).collect())
    }

    async fn group(
        &self,
        definition: &Arc<Definition>,
        group: &str,
        range: Range,
    ) -> Result<(Days, Hash), CollectError> {
        let mut days = Days::new();
        let mut hash = Sha256::new();
        let mut next = Some(range.from());
        while let Some(from) = next.filter(|day| *day <= range.to()) {
            let Some(month) = self.month(definition, group, from, range.to()).await? else { break };
            hash.update(month.hash);
            days.extend(month.days.iter().map(|(day, totals)| (*day, totals.clone())));
            next = month.last.tomorrow().ok();
        }
        Ok((days, hash.finalize().into()))
    }

    /// The next month at or after `from` that has objects, up to `to`; `None` where nothing follows.
    async fn month(
        &self,
        definition: &Arc<Definition>,
        group: &str,
        from: Date,
        to: Date,
    ) -> Result<Option<Month>, CollectError> {
        for _ in 0..TRIES {
            let Some(listing) = self.list_month(definition, group, from, to).await? else { return Ok(None) };
            let name = format!("{}/{group}/{}", definition.hash(), listing.last.strftime("%Y-%m"));
            let hash = listing.hash();
            if let Some((_, days)) = self.remembered().get(&name).filter(|(made_from, _)| *made_from == hash) {
                return Ok(Some(Month { days: Arc::clone(days), hash, last: listing.last }));
            }
            if let Some(days) = self.add_up(definition, group, &listing).await? {
                let days = Arc::new(days);
                self.remembered().put(name, (hash, Arc::clone(&days)));
                return Ok(Some(Month { days, hash, last: listing.last }));
            }
        }
        Err(CollectError::ConcurrentChange(format!("{}/{group}", definition.name())))
    }

    /// Lists the newest fetch of every item, from `from` to the end of the first month that has any.
    async fn list_month(
        &self,
        definition: &Definition,
        group: &str,
        from: Date,
        to: Date,
    ) -> Result<Option<Listing>, CollectError> {
        const PAGE: usize = 1_000;
        let slash = if group.is_empty() { "" } else { "/" };
        let folder = format!("data/{}/{group}{slash}", definition.name());
        // Every key of the day `from` is greater than its folder's name without the slash.
        let mut after = format!("{folder}date={from}");
        let mut end: Option<Date> = None;
        let mut newest: BTreeMap<Date, HashMap<String, String>> = BTreeMap::new();
        loop {
            let page = self.store.list(&folder, Some(&after), PAGE).await?;
            let full = page.len() == PAGE;
            for entry in page {
                after.clone_from(&entry.key);
                let Some(name) = ObjectName::parse(&entry.key) else { continue };
                let Some(day) = name.part("date").and_then(|day| day.parse::<Date>().ok()) else { continue };
                let end = *end.get_or_insert_with(|| day.last_of_month().min(to));
                if day > end {
                    return Ok(Listing::new(newest, end));
                }
                // ApiKeys come in order, so a later fetch of the same item comes later.
                newest.entry(day).or_default().insert(name.item, entry.key);
            }
            if !full {
                return Ok(end.and_then(|end| Listing::new(newest, end)));
            }
        }
    }

    /// Totals per day of what is listed; `None` where an object vanished meanwhile.
    async fn add_up(
        &self,
        definition: &Arc<Definition>,
        group: &str,
        listing: &Listing,
    ) -> Result<Option<Days>, CollectError> {
        let slash = if group.is_empty() { "" } else { "/" };
        let key = format!("stats/{}/{group}{slash}{}.json", definition.name(), listing.last.strftime("%Y-%m"));
        let mut aggregate = Aggregate::load(&self.store, &key, definition.hash()).await?;
        let unknown: Vec<String> =
            listing.keys().filter(|key| !aggregate.objects.contains_key(*key)).cloned().collect();
        let heads: Vec<_> = stream::iter(unknown)
            .map(async |key| {
                let head = self.store.head(&key).await?;
                Ok::<_, StoreError>((key, head))
            })
            .buffer_unordered(HEADS_AT_ONCE)
            .try_collect()
            .await?;
        let changed = !heads.is_empty();
        for (key, head) in heads {
            let Some(head) = head else { return Ok(None) };
            match definition.statistics().from_metadata(&head.metadata) {
                Some(totals) => drop(aggregate.objects.insert(key, totals)),
                // Stored under an earlier definition that kept other statistics.
                None => tracing::warn!(s3_key = key, "an object lacks statistics; run its job again"),
            }
        }
        let mut days = Days::new();
        for (day, items) in &listing.newest {
            let mut totals = definition.statistics().zero();
            for key in items.values() {
                if let Some(one) = aggregate.objects.get(key) {
                    definition.statistics().merge(&mut totals, one).map_err(CollectError::Overflow)?;
                }
            }
            days.insert(*day, totals);
        }
        if changed {
            // What was superseded goes; of days outside the listing nothing is known, so they stay.
            let listed: std::collections::HashSet<&String> = listing.keys().collect();
            aggregate.objects.retain(|key, _| listed.contains(key) || !listing.covers(key));
            aggregate.save(&self.store, &key).await;
        }
        Ok(Some(days))
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

struct Month {
    days: Arc<Days>,
    hash: Hash,
    last: Date,
}

/// The newest fetch of every item, by day: item key to object key.
struct Listing {
    newest: BTreeMap<Date, HashMap<String, String>>,
    /// The last day that was looked at.
    last: Date,
}

impl Listing {
    fn new(newest: BTreeMap<Date, HashMap<String, String>>, last: Date) -> Option<Self> {
        (!newest.is_empty()).then_some(Self { newest, last })
    }

    fn keys(&self) -> impl Iterator<Item = &String> {
        self.newest.values().flat_map(HashMap::values)
    }

    /// Whether the listing would have shown this key if it were still there.
    fn covers(&self, key: &str) -> bool {
        let day = ObjectName::parse(key).and_then(|name| name.part("date")?.parse::<Date>().ok());
        let first = self.newest.keys().next();
        day.zip(first).is_some_and(|(day, first)| (*first..=self.last).contains(&day))
    }

    fn hash(&self) -> Hash {
        let mut keys: Vec<_> = self.keys().collect();
        keys.sort_unstable();
        let mut hash = Sha256::new();
        for key in keys {
            hash.update(key);
            hash.update([0]);
        }
        hash.finalize().into()
    }
}
