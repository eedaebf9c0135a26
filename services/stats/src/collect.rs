//! From the object index to totals per group and day.
//!
//! A group is the partition without the date: `country=singapore`. A month whose journal has not changed is not read
//! again, and of one that has changed only the partitions that did are added up again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::civil::Date;
use sha2::{Digest, Sha256};
use waybill_journal::ReadError;
use waybill_ledger::{
    Cache, Ledger, LedgerError,
    index::{Folder, Index, IndexedFetch, IndexedObject, Month},
};
use waybill_source::{Definition, Totals};
use waybill_store::{Store, StoreError};

use crate::{
    Range,
    report::{NotAdded, Reason, Report},
};

/// Months read at once: each may be some ten megabytes.
const MONTHS_AT_ONCE: usize = 4;
/// Groups of one source: countries, regions. Beyond it an answer would be unreadable.
const MAX_GROUPS: usize = 10_000;
/// Partitions that are remembered, of about 400 bytes each: ten years of 20 countries, twice.
const PARTITIONS_REMEMBERED: usize = 150_000;

type Hash = [u8; 32];
type Remembered = Cache<(String, String), (Hash, Arc<Sums>)>;

/// Adds up objects' statistics, and remembers the sums of months.
#[derive(Debug, Clone)]
pub struct Collector {
    store: Store,
    index: Index,
    /// For definitions that objects were stored under.
    ledger: Ledger,
    max_groups: usize,
    /// By the definition's hash and the month, with the hash of the journal that they were made from.
    remembered: Arc<Remembered>,
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
    /// The index could not be read.
    #[error(transparent)]
    Index(#[from] ReadError),
    /// There are objects, and nobody has built the index of them.
    #[error("the index of `{0}` is not built yet: a worker is at it, or `waybill rebuild {0}` does it")]
    NotBuilt(String),
    /// A sum left the range of the numbers kept.
    #[error("{0}")]
    Overflow(String),
    /// There are more groups than one answer holds.
    #[error("there are more than {0} groups")]
    TooManyGroups(usize),
}

impl Collector {
    /// Reads from `store`'s bucket, which is `index`'s and `ledger`'s too.
    pub fn new(ledger: Ledger, index: Index, store: Store) -> Self {
        let remembered = Arc::new(Cache::weighted(usize::MAX, PARTITIONS_REMEMBERED));
        Self { store, index, ledger, max_groups: MAX_GROUPS, remembered }
    }

    /// The totals of a range, by group and day. Everything that was entered into the index before this call is in them.
    pub async fn collect(&self, definition: &Arc<Definition>, range: Range) -> Result<Report, CollectError> {
        let source = definition.name();
        let groups = self.groups(definition).await?;
        let months = self.index.months(source).await?;
        if !months.is_built && !self.store.list(&format!("data/{source}/"), None, 1).await?.is_empty() {
            return Err(CollectError::NotBuilt(source.to_owned()));
        }
        let wanted = month(range.from())..=month(range.to());
        let in_range = months.hashes.into_iter().filter(|(month, _)| wanted.contains(month));
        let sums: Vec<_> = stream::iter(in_range)
            .map(async |(month, hash)| self.month(definition, month, hash).await)
            .buffered(MONTHS_AT_ONCE)
            .try_collect()
            .await?;
        let mut report = Report::default();
        report.groups.extend(groups.into_iter().map(|group| (values(&group), BTreeMap::new())));
        let mut hash = Sha256::new();
        hash.update(format!("{} {} {}", definition.hash(), range.from(), range.to()));
        report.groups.keys().for_each(|group| hash.update(group.join("/")));
        for sums in sums {
            sums.unreadable.iter().for_each(|key| report.not_added.add(Reason::Index, key));
            for (partition, sum) in &sums.partitions {
                let Some((group, day)) = group_and_day(partition).filter(|(_, day)| range.contains(*day)) else {
                    continue;
                };
                hash.update(partition);
                hash.update(sum.hash);
                report.not_added.merge(&sum.not_added);
                if sum.objects > 0 {
                    report.groups.entry(values(group)).or_default().insert(day, sum.totals.clone());
                }
            }
        }
        if report.groups.len() > self.max_groups {
            return Err(CollectError::TooManyGroups(self.max_groups));
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

    /// The sums of a month whose journal had this hash before it is read.
    async fn month(&self, definition: &Arc<Definition>, month: String, hash: Hash) -> Result<Arc<Sums>, CollectError> {
        let name = (definition.hash().to_owned(), month);
        let known = self.remembered.get(&name);
        if let Some((_, sums)) = known.as_ref().filter(|(made_from, _)| *made_from == hash) {
            return Ok(Arc::clone(sums));
        }
        let month = self.index.month(definition.name(), &name.1).await?;
        // By definition, whether its statistics mean the same.
        let mut meanings = HashMap::from([(definition.hash().to_owned(), true)]);
        let before = known.map(|(_, sums)| sums);
        let sums = loop {
            match add_up(definition, &month, before.clone(), meanings).await? {
                Ok(sums) => break Arc::new(sums),
                Err((known, unknown)) => {
                    meanings = known;
                    for hash in unknown {
                        let is_same = self.adds_up_with(definition, &hash).await?;
                        meanings.insert(hash, is_same);
                    }
                }
            }
        };
        self.remembered.insert(name, (hash, Arc::clone(&sums)), sums.partitions.len());
        Ok(sums)
    }

    /// Whether statistics of objects that were stored under another definition mean the same.
    async fn adds_up_with(&self, definition: &Definition, stored_under: &str) -> Result<bool, CollectError> {
        match self.ledger.definition(definition.name(), stored_under).await {
            Ok(other) => Ok(definition.adds_up_with(&other)),
            // What it meant cannot be known where its definition is not there.
            Err(LedgerError::Damaged { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The name of a day's month, as the index has it.
fn month(day: Date) -> String {
    day.strftime("%Y-%m").to_string()
}

/// `country=singapore/date=2024-05-01` → `country=singapore` and the day.
fn group_and_day(partition: &str) -> Option<(&str, Date)> {
    let (group, date) = partition.rsplit_once('/').unwrap_or(("", partition));
    Some((group, date.strip_prefix("date=")?.parse().ok()?))
}

/// `country=singapore` → `singapore`.
fn values(group: &str) -> Vec<String> {
    group.split('/').filter_map(|part| part.split_once('=')).map(|(_, value)| value.to_owned()).collect()
}

/// A month's sums.
#[derive(Debug, Default)]
struct Sums {
    partitions: HashMap<String, Sum>,
    /// Objects of the journal that could not be read.
    unreadable: Vec<String>,
}

/// A partition's sum.
#[derive(Debug, Clone)]
struct Sum {
    totals: Totals,
    /// Items that are in it.
    objects: u64,
    not_added: NotAdded,
    /// Of the names of its objects.
    hash: Hash,
    /// Of the folder that it was made of.
    revision: u64,
}

type Meanings = HashMap<String, bool>;

/// Adds a month up, on a thread of its own; or returns what it knew, and the definitions that it has to know.
async fn add_up(
    definition: &Arc<Definition>,
    month: &Month,
    before: Option<Arc<Sums>>,
    meanings: Meanings,
) -> Result<Result<Sums, (Meanings, Vec<String>)>, CollectError> {
    let (definition, month) = (Arc::clone(definition), month.clone());
    let adding = tokio::task::spawn_blocking(move || {
        let mut sums = Sums::default();
        sums.unreadable.extend(month.unreadable().iter().map(|object| object.key.clone()));
        let mut unknown = Vec::new();
        let result = month.read(|rows| {
            for (partition, folder) in rows.folders() {
                let known = before.as_ref().and_then(|before| before.partitions.get(partition));
                let sum = match known.filter(|sum| sum.revision == folder.revision()) {
                    Some(sum) => sum.clone(),
                    None => add_up_folder(&definition, partition, folder, &meanings, &mut unknown)?,
                };
                sums.partitions.insert(partition.to_owned(), sum);
            }
            Ok(())
        });
        result.map_err(CollectError::Overflow)?;
        Ok(if unknown.is_empty() { Ok(sums) } else { Err((meanings, unknown)) })
    });
    adding.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn add_up_folder(
    definition: &Definition,
    partition: &str,
    folder: &Folder,
    meanings: &Meanings,
    unknown: &mut Vec<String>,
) -> Result<Sum, String> {
    let key = |file: std::fmt::Arguments<'_>| format!("data/{}/{partition}/{file}", definition.name());
    let mut hash = Sha256::new();
    let mut sum = Sum {
        totals: definition.statistics().zero(),
        objects: 0,
        not_added: NotAdded::default(),
        hash: Hash::default(),
        revision: folder.revision(),
    };
    for (item, row) in folder.rows() {
        for file in row.unreadable() {
            hash.update(file);
            sum.not_added.add(Reason::Unreadable, &key(format_args!("{file}")));
        }
        let Some(IndexedFetch { objects, .. }) = row.fetch() else { continue };
        for object in objects {
            hash.update(item);
            hash.update(&object.name);
            match meanings.get(&object.definition) {
                None => {
                    if !unknown.contains(&object.definition) {
                        unknown.push(object.definition.clone());
                    }
                }
                Some(is_same) => match totals(definition, &object).filter(|_| *is_same) {
                    Some(totals) => {
                        sum.objects += 1;
                        definition.statistics().merge(&mut sum.totals, &totals)?;
                    }
                    None => sum.not_added.add(Reason::OtherStatistics, &key(format_args!("{item}.{}", object.name))),
                },
            }
        }
    }
    sum.hash = hash.finalize().into();
    Ok(sum)
}

fn totals(definition: &Definition, object: &IndexedObject) -> Option<Totals> {
    let lines: Vec<_> = object.statistics.split('\n').filter_map(|line| line.split_once('=')).collect();
    definition.statistics().from_values(|name| lines.iter().find(|(known, _)| *known == name).map(|(_, value)| *value))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tokio_util::sync::CancellationToken;
    use waybill_source::Catalog;
    use waybill_store::Embedded;

    use super::*;

    #[tokio::test]
    async fn more_groups_than_an_answer_holds_are_an_error_and_not_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path()).await.unwrap().store("test").unwrap();
        let index = Index::new(store.clone(), CancellationToken::new());
        for country in ["chad", "mali", "peru"] {
            let key =
                format!("data/buses/country={country}/date=2024-05-01/0.20240501T080000.000000Z-0123456789ab.json");
            store.put(&key, "application/json", "[]".into()).await.unwrap();
        }
        index.rebuild("buses", Timestamp::UNIX_EPOCH, |_| {}).await.unwrap();
        let mut collector = Collector::new(Ledger::read_only(store.clone()), index, store);
        let range = Range::parse(Some("2024-05-01"), Some("2024-05-01")).unwrap();
        let definition = Arc::clone(Catalog::shipped().get("buses").unwrap());
        collector.max_groups = 3;
        assert_eq!(collector.collect(&definition, range).await.unwrap().groups.len(), 3);
        collector.max_groups = 2;
        let error = collector.collect(&definition, range).await.unwrap_err();
        assert!(matches!(error, CollectError::TooManyGroups(2)), "{error}");
    }
}
