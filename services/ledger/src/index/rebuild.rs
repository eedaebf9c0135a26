//! Makes the index again from the objects in data/: the way back after a lost journal, the way up from a release that
//! had none, and a check that both agree.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    pin::pin,
};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use waybill_journal::{CommitError, ReadError};
use waybill_source::{ObjectName, ObjectVersions, item_prefix};
use waybill_store::StoreError;

use crate::{
    LedgerError, data,
    index::{
        entry::{self, month_of},
        listing::Built,
        object_index::{Index, Month},
        proto::Entry,
        rows::{Folder, Row},
    },
};

/// Items looked into at once.
const AT_ONCE: usize = 32;
/// Entries that are committed together.
const GROUP: usize = 1_000;

/// What a rebuild saw, and what it put right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Objects in data/.
    pub objects: u64,
    /// Fetches that count, and that the index did not have.
    pub added: u64,
    /// Fetches that the index had, and whose objects are gone.
    pub removed: u64,
    /// Objects whose metadata no worker wrote: in no statistic.
    pub unreadable: u64,
    /// Pieces of fetches that are not complete: in no statistic.
    pub incomplete: u64,
    /// Objects of journals that could not be read. They stay; what they held is in the index again.
    pub unreadable_journal: BTreeSet<String>,
}

/// Why a rebuild ended early. It can be begun again; what it wrote is right.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The journal could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The process goes down.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// What [`Index::reconcile`] did, and what may be removed now.
#[derive(Debug, Default)]
pub struct Reconciled {
    /// Fetches that were entered.
    pub entered: u64,
    /// Keys of objects that are superseded, by what is in the index now.
    pub superseded: Vec<String>,
}

/// Items of a partition, and their objects.
type Items = BTreeMap<String, ObjectVersions>;

impl Index {
    /// Looks at every object of a source in data/, and commits what the index lacks. `progress` hears of it about once
    /// for each folder. Workers may run meanwhile.
    ///
    /// # Errors
    /// Where the store fails, or the process goes down.
    pub async fn rebuild(
        &self,
        source: &str,
        now: Timestamp,
        mut progress: impl FnMut(&Rebuilt),
    ) -> Result<Rebuilt, RebuildError> {
        let mut all = Comparison { index: self, source, now, rebuilt: Rebuilt::default() };
        let prefix = format!("data/{source}/");
        let mut seen = HashSet::new();
        // Folders that follow each other are mostly of one month.
        let mut last = None;
        let mut names: Vec<ObjectName> = Vec::new();
        let mut pages = pin!(self.store.pages(&prefix));
        while let Some(page) = pages.try_next().await? {
            all.rebuilt.objects += page.len() as u64;
            for name in page.iter().filter_map(|entry| ObjectName::parse(&entry.key)) {
                if names.first().is_some_and(|first| first.folder != name.folder) {
                    seen.extend(all.check_folder(std::mem::take(&mut names), &mut last).await?);
                    progress(&all.rebuilt);
                }
                names.push(name);
            }
        }
        seen.extend(all.check_folder(names, &mut last).await?);
        for month in self.months(source).await?.hashes.into_keys() {
            let month = self.month(source, &month).await?;
            all.rebuilt.unreadable_journal.extend(month.unreadable().iter().map(|object| object.key.clone()));
            let gone: Vec<String> = month.read(|rows| {
                let partitions = rows.folders().map(|(partition, _)| partition);
                partitions.filter(|partition| !seen.contains(*partition)).map(str::to_owned).collect()
            });
            for partition in gone {
                all.check(Some(&month), &partition, Items::new(), Looked::AtAll).await?;
            }
            progress(&all.rebuilt);
        }
        self.set_built(source, &Built { built: now, objects: all.rebuilt.objects }).await?;
        Ok(all.rebuilt)
    }

    /// Enters what counts of these objects and is not in the index, as a worker left it that died after it had stored
    /// them. They may be a part of all. Of months that are too large to be kept in memory only items with several fetches
    /// are looked at, and what counts of those is entered once more.
    ///
    /// # Errors
    /// Where the store fails, or the process goes down.
    pub async fn reconcile(&self, names: Vec<ObjectName>, now: Timestamp) -> Result<Reconciled, RebuildError> {
        let mut months: BTreeMap<(String, String), BTreeMap<String, Items>> = BTreeMap::new();
        for ((folder, item), versions) in ObjectVersions::by_item(names) {
            let Some((source, partition)) = folder.strip_prefix("data/").and_then(|rest| rest.split_once('/')) else {
                continue;
            };
            let month = months.entry((source.to_owned(), month_of(partition))).or_default();
            month.entry(partition.to_owned()).or_default().insert(item, versions);
        }
        let mut reconciled = Reconciled::default();
        for (name, partitions) in months {
            let is_large = self.is_large(&name).await?;
            let month = if is_large { None } else { Some(self.month(&name.0, &name.1).await?) };
            let mut some = Comparison { index: self, source: &name.0, now, rebuilt: Rebuilt::default() };
            for (partition, mut items) in partitions {
                items.retain(|_, versions| !is_large || versions.only().is_none());
                let superseded = some.check(month.as_ref(), &partition, items, Looked::AtSome).await?;
                reconciled.superseded.extend(superseded);
            }
            // Of a large month nobody knows what was not in the index.
            reconciled.entered += if is_large { 0 } else { some.rebuilt.added };
        }
        Ok(reconciled)
    }
}

/// A source's objects beside its index.
struct Comparison<'a> {
    index: &'a Index,
    source: &'a str,
    now: Timestamp,
    rebuilt: Rebuilt,
}

impl Comparison<'_> {
    /// Returns the folder's partition, if there is any object in it. `last` is the month of the folder before.
    async fn check_folder(
        &mut self,
        names: Vec<ObjectName>,
        last: &mut Option<(String, Month)>,
    ) -> Result<Option<String>, RebuildError> {
        let prefix = format!("data/{}/", self.source);
        let Some(partition) = names.first().and_then(|name| name.folder.strip_prefix(&prefix)).map(str::to_owned)
        else {
            return Ok(None);
        };
        let name = month_of(&partition);
        let month = match last.take().filter(|(known, _)| *known == name) {
            Some((_, month)) => month,
            None => self.index.month(self.source, &name).await?,
        };
        let items = ObjectVersions::by_item(names).into_iter().map(|((_, item), versions)| (item, versions)).collect();
        self.check(Some(&month), &partition, items, Looked::AtAll).await?;
        *last = Some((name, month));
        Ok(Some(partition))
    }

    /// Compares a partition's rows with its objects, and commits what is not so. Returns the objects that are superseded:
    /// by what is in the index from here on.
    async fn check(
        &mut self,
        month: Option<&Month>,
        partition: &str,
        mut items: Items,
        looked: Looked,
    ) -> Result<Vec<String>, RebuildError> {
        let rows = month.map(|month| {
            month.read(|rows| {
                let rows = rows.folder(partition).into_iter().flat_map(Folder::rows);
                rows.map(|(item, row)| (item.to_owned(), row.clone())).collect()
            })
        });
        let mut rows: BTreeMap<String, Row> = rows.unwrap_or_default();
        if looked == Looked::AtAll {
            for item in rows.keys() {
                items.entry(item.clone()).or_default();
            }
        }
        let (index, source, now) = (self.index, self.source, self.now);
        let items = items.into_iter().map(|(item, versions)| {
            let row = rows.remove(&item).unwrap_or_default();
            index.check_item(source, partition, item, versions, row, now)
        });
        let mut checks = stream::iter(items).buffer_unordered(AT_ONCE);
        let (mut entries, mut superseded) = (Vec::new(), Vec::new());
        while let Some(check) = checks.try_next().await? {
            self.rebuilt.added += check.added;
            self.rebuilt.removed += check.removed;
            self.rebuilt.unreadable += check.unreadable;
            self.rebuilt.incomplete += check.incomplete;
            superseded.extend(check.superseded);
            entries.extend(check.entries);
            if entries.len() >= GROUP {
                index.commit(source, std::mem::take(&mut entries)).await?;
            }
        }
        index.commit(source, entries).await?;
        Ok(superseded)
    }
}

impl Index {
    async fn check_item(
        &self,
        source: &str,
        partition: &str,
        item: String,
        versions: ObjectVersions,
        row: Row,
        now: Timestamp,
    ) -> Result<Check, StoreError> {
        let prefix = item_prefix(source, partition, &item);
        let mut check = Check::default();
        let mut found = HashSet::new();
        let indexed = row.fetch().map(|fetch| entry::object_keys(source, partition, &item, &fetch)).unwrap_or_default();
        if indexed.is_empty() || versions.only().is_none_or(|only| only.keys != indexed) {
            let survey = match data::survey(&self.store, &versions).await? {
                Some(survey) => survey,
                None => data::survey_item(&self.store, &prefix, &item).await?,
            };
            for key in &survey.verdict.unreadable {
                let file = key.rsplit('/').next().unwrap_or(key).to_owned();
                check.unreadable += 1;
                if !row.unreadable().any(|known| known == file) {
                    check.entries.push(entry::unreadable(partition, &item, &file, now, true));
                }
                found.insert(file);
            }
            check.incomplete = survey.verdict.incomplete.len() as u64;
            check.superseded.clone_from(&survey.verdict.superseded);
            let counts = survey.newest().filter(|(fetch, _)| fetch.keys != indexed);
            if let Some(entry) = counts.and_then(|(fetch, heads)| entry::stored(&fetch, &heads)) {
                check.added = 1;
                check.entries.push(entry);
            }
            // A worker may have stored it since the folder was listed.
            if let (Some(first), Some(fetch)) = (indexed.first(), row.fetch())
                && !self.is_there(first).await?
            {
                check.removed = u64::from(check.added == 0);
                check.entries.push(entry::removed(partition, &item, &fetch));
            }
        }
        let vanished = row.unreadable().filter(|file| !found.contains(*file));
        check.entries.extend(vanished.map(|file| entry::unreadable(partition, &item, file, now, false)));
        Ok(check)
    }
}

/// How many objects of a partition were listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looked {
    AtAll,
    AtSome,
}

/// Of one item.
#[derive(Debug, Default)]
struct Check {
    entries: Vec<Entry>,
    superseded: Vec<String>,
    added: u64,
    removed: u64,
    unreadable: u64,
    incomplete: u64,
}
