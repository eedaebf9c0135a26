//! From the objects in data/ to totals per group and day.
//!
//! A group is the partition without the date: `country=singapore`. A group's months are added up one after the other,
//! so that memory holds the keys of one month and not of the range.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    num::NonZeroUsize,
    sync::{Arc, Mutex},
};

use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use jiff::civil::Date;
use lru::LruCache;
use sha2::{Digest, Sha256};
use waybill_ledger::{Ledger, LedgerError, data};
use waybill_source::{Definition, ObjectName, ObjectVersions, Totals};
use waybill_store::{Head, Store, StoreError};

use crate::{
    Range,
    aggregate::Aggregate,
    report::{Days, NotAdded, Reason, Report},
};

/// Groups added up at once.
const GROUPS_AT_ONCE: usize = 8;
/// HEADs at once in one group: 256 in all, far below what one S3 prefix serves in a second.
const HEADS_AT_ONCE: usize = 32;
/// Groups of one source: countries, regions. Beyond it an answer would be unreadable.
const MAX_GROUPS: usize = 10_000;
/// How often a month is listed again because an object vanished between LIST and HEAD.
const TRIES: usize = 5;
/// Months remembered in memory: at most 31 days of totals each, about 6 KB.
const MONTHS_REMEMBERED: NonZeroUsize = NonZeroUsize::new(8_192).expect("not zero");

type Hash = [u8; 32];
type Remembered = LruCache<String, (Hash, Arc<Sums>)>;

/// Adds up objects' statistics, and caches the sums of months.
#[derive(Debug, Clone)]
pub struct Collector {
    store: Store,
    /// For definitions that objects were stored under.
    ledger: Ledger,
    max_groups: usize,
    /// Sums of a month in a group, with the hash of the keys they were made from.
    remembered: Arc<Mutex<Remembered>>,
}

/// Why totals cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Objects kept vanishing while they were read.
    #[error("{0} is being rewritten faster than it can be read")]
    ConcurrentChange(String),
    /// A sum left the range of the numbers kept.
    #[error("{0}")]
    Overflow(String),
    /// There are more groups than one answer holds.
    #[error("there are more than {0} groups")]
    TooManyGroups(usize),
}

impl Collector {
    /// Reads from `store`'s bucket, which is `ledger`'s too.
    pub fn new(ledger: Ledger, store: Store) -> Self {
        let remembered = Arc::new(Mutex::new(LruCache::new(MONTHS_REMEMBERED)));
        Self { store, ledger, max_groups: MAX_GROUPS, remembered }
    }

    /// The totals of a range, by group and day.
    pub async fn collect(&self, definition: &Arc<Definition>, range: Range) -> Result<Report, CollectError> {
        let groups = self.groups(definition).await?;
        let reports: Vec<_> = stream::iter(groups)
            .map(move |group| async move {
                let (sums, hash) = self.group(definition, &group, range).await?;
                Ok::<_, CollectError>((group, sums, hash))
            })
            .buffered(GROUPS_AT_ONCE)
            .try_collect()
            .await?;
        let mut hash = Sha256::new();
        hash.update(format!("{} {} {}", definition.hash(), range.from(), range.to()));
        let mut report = Report::default();
        for (group, sums, keys) in reports {
            hash.update(&group);
            hash.update(keys);
            let values = group.split('/').filter_map(|part| part.split_once('=')).map(|(_, value)| value.to_owned());
            report.groups.insert(values.collect(), sums.days);
            report.not_added.merge(&sums.not_added);
        }
        report.etag = base16ct::lower::encode_string(&hash.finalize());
        Ok(report)
    }

    /// Every group that has ever had an object: `["country=singapore", …]`.
    async fn groups(&self, definition: &Definition) -> Result<Vec<String>, CollectError> {
        let mut groups = vec![String::new()];
        for _ in 1..definition.partition_names().len() {
            let mut below = Vec::new();
            for group in groups {
                let folder = format!("data/{}/{group}", definition.name());
                let found = self.store.folders(&folder, None, self.max_groups + 1).await?;
                below.extend(found.into_iter().map(|name| format!("{group}{name}/")));
                if below.len() > self.max_groups {
                    return Err(CollectError::TooManyGroups(self.max_groups));
                }
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
    ) -> Result<(Sums, Hash), CollectError> {
        let mut sums = Sums::default();
        let mut hash = Sha256::new();
        let mut next = Some(range.from());
        while let Some(from) = next.filter(|day| *day <= range.to()) {
            let Some(month) = self.month(definition, group, from, range.to()).await? else { break };
            hash.update(month.hash);
            sums.days.extend(month.sums.days.iter().map(|(day, totals)| (*day, totals.clone())));
            sums.not_added.merge(&month.sums.not_added);
            next = month.last.tomorrow().ok();
        }
        Ok((sums, hash.finalize().into()))
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
            if let Some((_, sums)) = self.remembered().get(&name).filter(|(made_from, _)| *made_from == hash) {
                return Ok(Some(Month { sums: Arc::clone(sums), hash, last: listing.last }));
            }
            if let Some(sums) = self.add_up(definition, group, &listing).await? {
                let sums = Arc::new(sums);
                // Metadata that cannot be read may be put right, and the keys do not show it.
                if sums.not_added.example(Reason::Unreadable).is_none() {
                    self.remembered().put(name, (hash, Arc::clone(&sums)));
                }
                return Ok(Some(Month { sums, hash, last: listing.last }));
            }
        }
        Err(CollectError::ConcurrentChange(format!("{}/{group}", definition.name())))
    }

    /// Lists the objects of every item, from `from` to the end of the first month that has any.
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
        let mut items: Items = BTreeMap::new();
        loop {
            let page = self.store.list(&folder, Some(&after), PAGE).await?;
            let full = page.len() == PAGE;
            for entry in page {
                after.clone_from(&entry.key);
                let Some(name) = ObjectName::parse(&entry.key) else { continue };
                let Some(day) = name.part("date").and_then(|day| day.parse::<Date>().ok()) else { continue };
                let end = *end.get_or_insert_with(|| day.last_of_month().min(to));
                if day > end {
                    return Ok(Listing::new(items, end));
                }
                items.entry(day).or_default().entry(name.item.clone()).or_default().add(name);
            }
            if !full {
                return Ok(end.and_then(|end| Listing::new(items, end)));
            }
        }
    }

    /// Sums of what is listed; `None` where an object vanished meanwhile.
    async fn add_up(
        &self,
        definition: &Arc<Definition>,
        group: &str,
        listing: &Listing,
    ) -> Result<Option<Sums>, CollectError> {
        let slash = if group.is_empty() { "" } else { "/" };
        let key = format!("stats/{}/{group}{slash}{}.json", definition.name(), listing.last.strftime("%Y-%m"));
        let mut aggregate = Aggregate::load(&self.store, &key, definition.hash()).await?;
        let is_known = |versions: &ObjectVersions| {
            versions.only().is_some_and(|only| only.keys.iter().all(|key| aggregate.objects.contains_key(key)))
        };
        let unknown: Vec<_> = listing.items.values().flat_map(HashMap::values).filter(|it| !is_known(it)).collect();
        let mut surveys = Vec::with_capacity(unknown.len());
        for some in unknown.chunks(HEADS_AT_ONCE) {
            surveys.extend(try_join_all(some.iter().map(|versions| data::survey(&self.store, versions))).await?);
        }
        let changed = !surveys.is_empty();
        let mut sums = Sums::default();
        // By item, what counts of those that were looked into.
        let mut counted = HashSet::new();
        // By definition, whether its statistics mean the same.
        let mut meanings = HashMap::from([(definition.hash().to_owned(), true)]);
        for survey in surveys {
            let Some(survey) = survey else { return Ok(None) };
            survey.verdict.unreadable.iter().for_each(|key| sums.not_added.add(Reason::Unreadable, key));
            survey.verdict.incomplete.iter().for_each(|key| sums.not_added.add(Reason::Incomplete, key));
            let Some((fetch, heads)) = survey.newest() else { continue };
            for (key, head) in fetch.keys.into_iter().zip(heads) {
                match self.totals(definition, &head, &mut meanings).await? {
                    Some(totals) => drop(aggregate.objects.insert(key.clone(), totals)),
                    None => sums.not_added.add(Reason::OtherStatistics, &key),
                }
                counted.insert(key);
            }
        }
        for (day, items) in &listing.items {
            let mut totals = definition.statistics().zero();
            for versions in items.values() {
                let only = versions.only().map(|only| only.keys);
                let keys = only.unwrap_or_else(|| versions.keys().filter(|key| counted.contains(key)).collect());
                for one in keys.iter().filter_map(|key| aggregate.objects.get(key)) {
                    definition.statistics().merge(&mut totals, one).map_err(CollectError::Overflow)?;
                }
            }
            sums.days.insert(*day, totals);
        }
        if changed {
            // What was superseded goes; of days outside the listing nothing is known, so they stay.
            let listed: HashSet<String> = listing.keys().collect();
            aggregate.objects.retain(|key, _| listed.contains(key) || !listing.covers(key));
            aggregate.save(&self.store, &key).await;
        }
        Ok(Some(sums))
    }

    /// An object's statistics, if they mean what the definition's mean.
    async fn totals(
        &self,
        definition: &Definition,
        head: &Head,
        meanings: &mut HashMap<String, bool>,
    ) -> Result<Option<Totals>, CollectError> {
        let Some(stored_under) = head.metadata.get("definition") else { return Ok(None) };
        let is_same = match meanings.get(stored_under) {
            Some(known) => *known,
            None => {
                let is_same = match self.ledger.definition(definition.name(), stored_under).await {
                    Ok(other) => definition.adds_up_with(&other),
                    // What it meant cannot be known where its definition is not there.
                    Err(LedgerError::Damaged { .. }) => false,
                    Err(error) => return Err(error.into()),
                };
                meanings.insert(stored_under.clone(), is_same);
                is_same
            }
        };
        Ok(is_same.then(|| definition.statistics().from_metadata(&head.metadata)).flatten())
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What was added up, and what was not.
#[derive(Debug, Default)]
struct Sums {
    days: Days,
    not_added: NotAdded,
}

struct Month {
    sums: Arc<Sums>,
    hash: Hash,
    last: Date,
}

/// By day and item.
type Items = BTreeMap<Date, HashMap<String, ObjectVersions>>;

/// The objects of some days.
struct Listing {
    items: Items,
    /// The last day that was looked at.
    last: Date,
}

impl Listing {
    fn new(items: Items, last: Date) -> Option<Self> {
        (!items.is_empty()).then_some(Self { items, last })
    }

    fn keys(&self) -> impl Iterator<Item = String> {
        self.items.values().flat_map(HashMap::values).flat_map(ObjectVersions::keys)
    }

    /// Whether the listing would have shown this key if it were still there.
    fn covers(&self, key: &str) -> bool {
        let day = ObjectName::parse(key).and_then(|name| name.part("date")?.parse::<Date>().ok());
        let first = self.items.keys().next();
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

#[cfg(test)]
mod tests {
    use waybill_source::Catalog;
    use waybill_store::Embedded;

    use super::*;

    #[tokio::test]
    async fn more_groups_than_an_answer_holds_are_an_error_and_not_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path()).await.unwrap().store("test").unwrap();
        for country in ["chad", "mali", "peru"] {
            let key =
                format!("data/buses/country={country}/date=2024-05-01/0.20240501T080000.000000Z-0123456789ab.json");
            store.put(&key, "application/json", "[]".into()).await.unwrap();
        }
        let mut collector = Collector::new(Ledger::read_only(store.clone()), store);
        let range = Range::parse(Some("2024-05-01"), Some("2024-05-01")).unwrap();
        let definition = Arc::clone(Catalog::shipped().get("buses").unwrap());
        collector.max_groups = 3;
        assert_eq!(collector.collect(&definition, range).await.unwrap().groups.len(), 3);
        collector.max_groups = 2;
        let error = collector.collect(&definition, range).await.unwrap_err();
        assert!(matches!(error, CollectError::TooManyGroups(2)), "{error}");
    }
}
