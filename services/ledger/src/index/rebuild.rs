//! Makes the index again from the objects in data/: the way back after a lost journal, the way up from a release that
//! had none, and a check that both agree.

use std::collections::{BTreeMap, BTreeSet, HashSet};

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
        object_index::Index,
        proto::Entry,
        rows::Row,
    },
};

/// Keys that a LIST answers at a time.
const PAGE: usize = 1_000;
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
        let mut rebuilt = Rebuilt::default();
        let prefix = format!("data/{source}/");
        let mut seen = HashSet::new();
        let (mut names, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = self.store.list(&prefix, after.as_deref(), PAGE).await?;
            rebuilt.objects += page.len() as u64;
            for name in page.iter().filter_map(|entry| ObjectName::parse(&entry.key)) {
                if names.first().is_some_and(|first: &ObjectName| first.folder != name.folder) {
                    let partition = self.check_folder(source, std::mem::take(&mut names), now, &mut rebuilt).await?;
                    seen.extend(partition);
                    progress(&rebuilt);
                }
                names.push(name);
            }
            match page.into_iter().nth(PAGE - 1) {
                Some(last) => after = Some(last.key),
                None => break,
            }
        }
        seen.extend(self.check_folder(source, names, now, &mut rebuilt).await?);
        for month in self.months(source).await?.hashes.into_keys() {
            let month = self.month(source, &month).await?;
            rebuilt.unreadable_journal.extend(month.unreadable().iter().map(|object| object.key.clone()));
            let gone: Vec<String> = month.read(|rows| {
                let partitions = rows.folders().map(|(partition, _)| partition);
                partitions.filter(|partition| !seen.contains(*partition)).map(str::to_owned).collect()
            });
            for partition in gone {
                self.check(source, &partition, BTreeMap::new(), Looked::AtAll, now, &mut rebuilt).await?;
            }
            progress(&rebuilt);
        }
        self.set_built(source, &Built { built: now, objects: rebuilt.objects }).await?;
        Ok(rebuilt)
    }

    /// Enters what counts of these objects and is not in the index, as a worker left it that died after it had stored
    /// them; returns how many fetches that were. They may be a part of all. Months that are too large to be kept in memory
    /// are left out.
    ///
    /// # Errors
    /// Where the store fails, or the process goes down.
    pub async fn reconcile(&self, names: Vec<ObjectName>, now: Timestamp) -> Result<u64, RebuildError> {
        let mut folders: BTreeMap<(String, String), BTreeMap<String, ObjectVersions>> = BTreeMap::new();
        for ((folder, item), versions) in ObjectVersions::by_item(names) {
            let Some((source, partition)) = folder.strip_prefix("data/").and_then(|rest| rest.split_once('/')) else {
                continue;
            };
            folders.entry((source.to_owned(), partition.to_owned())).or_default().insert(item, versions);
        }
        let mut rebuilt = Rebuilt::default();
        for ((source, partition), items) in folders {
            // Too much for what is done every half minute: a rebuild looks at them.
            if self.is_large(&(source.clone(), month_of(&partition))).await? {
                continue;
            }
            self.check(&source, &partition, items, Looked::AtSome, now, &mut rebuilt).await?;
        }
        Ok(rebuilt.added)
    }

    /// Returns the folder's partition, if there is any object in it.
    async fn check_folder(
        &self,
        source: &str,
        names: Vec<ObjectName>,
        now: Timestamp,
        rebuilt: &mut Rebuilt,
    ) -> Result<Option<String>, RebuildError> {
        let prefix = format!("data/{source}/");
        let Some(partition) = names.first().and_then(|name| name.folder.strip_prefix(&prefix)).map(str::to_owned)
        else {
            return Ok(None);
        };
        let items = ObjectVersions::by_item(names).into_iter().map(|((_, item), versions)| (item, versions)).collect();
        self.check(source, &partition, items, Looked::AtAll, now, rebuilt).await?;
        Ok(Some(partition))
    }

    /// Compares a partition's rows with its objects, and commits what is not so.
    async fn check(
        &self,
        source: &str,
        partition: &str,
        mut items: BTreeMap<String, ObjectVersions>,
        looked: Looked,
        now: Timestamp,
        rebuilt: &mut Rebuilt,
    ) -> Result<(), RebuildError> {
        let month = self.month(source, &month_of(partition)).await?;
        let mut rows: BTreeMap<String, Row> = month.read(|rows| {
            let folder = rows.folder(partition);
            folder.into_iter().flat_map(|it| it.rows()).map(|(item, row)| (item.to_owned(), row.clone())).collect()
        });
        if looked == Looked::AtAll {
            for item in rows.keys() {
                items.entry(item.clone()).or_default();
            }
        }
        let items = items.into_iter().map(|(item, versions)| {
            let row = rows.remove(&item).unwrap_or_default();
            self.check_item(source, partition, item, versions, row, now)
        });
        let mut checks = stream::iter(items).buffer_unordered(AT_ONCE);
        let mut entries = Vec::new();
        while let Some(check) = checks.try_next().await? {
            rebuilt.added += check.added;
            rebuilt.removed += check.removed;
            rebuilt.unreadable += check.unreadable;
            rebuilt.incomplete += check.incomplete;
            entries.extend(check.entries);
            if entries.len() >= GROUP {
                self.commit(source, std::mem::take(&mut entries)).await?;
            }
        }
        Ok(self.commit(source, entries).await?)
    }

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
        let indexed = row.fetch().map(|fetch| entry::object_keys(source, partition, &item, fetch)).unwrap_or_default();
        if indexed.is_empty() || versions.only().is_none_or(|only| only.keys != indexed) {
            let survey = match data::survey(&self.store, &versions).await? {
                Some(survey) => survey,
                None => data::survey_item(&self.store, &prefix, &item).await?,
            };
            for key in &survey.verdict.unreadable {
                let file = key.rsplit('/').next().unwrap_or(key).to_owned();
                check.unreadable += 1;
                check.entries.push(entry::unreadable(partition, &item, &file, now, true));
                found.insert(file);
            }
            check.incomplete = survey.verdict.incomplete.len() as u64;
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
                check.entries.push(entry::removed(partition, &item, fetch));
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
    added: u64,
    removed: u64,
    unreadable: u64,
    incomplete: u64,
}
