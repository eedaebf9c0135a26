//! The view of one month: of every item the newest fetch, in the journal's algebra.
//!
//! Of two facts about an item the one counts that is said of the later fetch: of the same fetch, that it was removed
//! outranks that it is stored, since no name is written twice.

use std::{
    collections::{BTreeMap, btree_map::Entry as Slot},
    sync::atomic::{AtomicU64, Ordering},
};

use prost::Message;
use waybill_journal::{InvalidSnapshot, View};

use crate::index::proto::{self, Entry, Fetch, entry::Fact};

/// As many as one request deletes; the sweep finds others.
const OUTRANKED: usize = 1_000;

/// Counts changes of folders in this process.
static REVISIONS: AtomicU64 = AtomicU64::new(0);

/// Every item of a month, by partition.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    folders: BTreeMap<String, Folder>,
    /// Of all folders.
    items: usize,
    /// Fetches that were found to count no more, the first [`OUTRANKED`] of them: garbage. No part of what the view says.
    outranked: Vec<Outranked>,
}

/// A fetch that counts no more.
#[derive(Debug, Clone)]
pub(super) struct Outranked {
    pub(super) partition: String,
    pub(super) item: String,
    pub(super) fetch: Fetch,
}

/// Every item of a partition.
#[derive(Debug, Clone, Default)]
pub struct Folder {
    items: BTreeMap<String, Row>,
    revision: u64,
}

/// What is known of an item or batch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// The newest fetch that was ever stored.
    fetch: Option<Fetch>,
    /// Whether it is gone.
    is_removed: bool,
    /// By file: when somebody last looked at one whose metadata no worker wrote, and whether it was there.
    unreadable: BTreeMap<String, (i64, bool)>,
}

impl Rows {
    /// The folders, by partition.
    pub fn folders(&self) -> impl Iterator<Item = (&str, &Folder)> {
        self.folders.iter().map(|(partition, folder)| (partition.as_str(), folder))
    }

    /// A partition's folder.
    pub fn folder(&self, partition: &str) -> Option<&Folder> {
        self.folders.get(partition)
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.items
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.folders.is_empty()
    }

    /// Fetches that count no more, of those that this view was merged from.
    pub(super) fn outranked(&self) -> &[Outranked] {
        &self.outranked
    }

    fn change(&mut self, partition: &str, item: &str, change: impl FnOnce(&mut Row) -> Change) {
        if !self.folders.contains_key(partition) {
            self.folders.insert(partition.to_owned(), Folder::default());
        }
        let Some(folder) = self.folders.get_mut(partition) else { return };
        let changed = match folder.items.get_mut(item) {
            Some(row) => change(row),
            None => {
                self.items += 1;
                change(folder.items.entry(item.to_owned()).or_default())
            }
        };
        if changed.is_changed {
            folder.revision = REVISIONS.fetch_add(1, Ordering::Relaxed) + 1;
        }
        if let Some(fetch) = changed.outranked
            && self.outranked.len() < OUTRANKED
        {
            self.outranked.push(Outranked { partition: partition.to_owned(), item: item.to_owned(), fetch });
        }
    }
}

impl Folder {
    /// The items, by key.
    pub fn rows(&self) -> impl Iterator<Item = (&str, &Row)> {
        self.items.iter().map(|(item, row)| (item.as_str(), row))
    }

    /// An item.
    pub fn row(&self, item: &str) -> Option<&Row> {
        self.items.get(item)
    }

    /// Another number after every change; of no two folders in this process the same.
    pub fn revision(&self) -> u64 {
        self.revision
    }
}

impl PartialEq for Rows {
    fn eq(&self, other: &Self) -> bool {
        self.folders == other.folders
    }
}

/// What became of a row.
#[derive(Debug, Default)]
struct Change {
    is_changed: bool,
    outranked: Option<Fetch>,
}

impl PartialEq for Folder {
    fn eq(&self, other: &Self) -> bool {
        self.items == other.items
    }
}

impl Row {
    /// The fetch that counts.
    pub fn fetch(&self) -> Option<&Fetch> {
        self.fetch.as_ref().filter(|_| !self.is_removed)
    }

    /// The newest fetch that was ever stored, though its objects may be gone.
    pub fn last(&self) -> Option<&Fetch> {
        self.fetch.as_ref()
    }

    /// Files that were there when somebody last looked, and whose metadata no worker wrote.
    pub fn unreadable(&self) -> impl Iterator<Item = &str> {
        self.unreadable.iter().filter(|(_, (_, is_there))| *is_there).map(|(file, _)| file.as_str())
    }

    /// Adds a fetch that is about to be committed; returns whether it is the one that counts.
    pub fn add_stored(&mut self, fetch: &Fetch) -> bool {
        self.add_fetch(fetch, false);
        self.fetch() == Some(fetch)
    }

    fn add_fetch(&mut self, fetch: &Fetch, is_removed: bool) -> Change {
        let standing = self.fetch.as_ref().map(|known| rank(fetch, known));
        match standing {
            Some(std::cmp::Ordering::Less) => {
                Change { is_changed: false, outranked: (!is_removed).then(|| fetch.clone()) }
            }
            Some(std::cmp::Ordering::Equal) => {
                let is_changed = is_removed && !self.is_removed;
                self.is_removed |= is_removed;
                Change { is_changed, outranked: None }
            }
            None | Some(std::cmp::Ordering::Greater) => {
                let outranked = self.fetch.replace(fetch.clone()).filter(|_| !self.is_removed);
                self.is_removed = is_removed;
                Change { is_changed: true, outranked }
            }
        }
    }

    fn add_unreadable(&mut self, file: &str, seen: (i64, bool)) -> bool {
        match self.unreadable.entry(file.to_owned()) {
            Slot::Vacant(slot) => {
                slot.insert(seen);
                true
            }
            Slot::Occupied(mut slot) => {
                let is_later = seen > *slot.get();
                if is_later {
                    slot.insert(seen);
                }
                is_later
            }
        }
    }

    fn merge(&mut self, other: &Self) -> Change {
        let fetch = other.fetch.as_ref();
        let mut change = fetch.map(|fetch| self.add_fetch(fetch, other.is_removed)).unwrap_or_default();
        for (file, seen) in &other.unreadable {
            change.is_changed |= self.add_unreadable(file, *seen);
        }
        change
    }
}

/// Which of two fetches of an item is newer. What is said differently of the same objects is told apart too, so that
/// all agree.
fn rank(left: &Fetch, right: &Fetch) -> std::cmp::Ordering {
    (left.as_of, left.fetched_at).cmp(&(right.as_of, right.fetched_at)).then_with(|| {
        if left == right {
            return std::cmp::Ordering::Equal;
        }
        let [lefts, rights] = [left, right].map(|fetch| fetch.objects.iter().map(|object| &object.name));
        lefts.cmp(rights).then_with(|| left.encode_to_vec().cmp(&right.encode_to_vec()))
    })
}

impl View for Rows {
    type Entry = Entry;
    type Snapshot = proto::Snapshot;

    const SCHEMA: u16 = 1;

    fn apply(&mut self, entry: &Entry) {
        let Some(fact) = &entry.fact else { return };
        self.change(&entry.partition, &entry.item, |row| match fact {
            Fact::Stored(fetch) => row.add_fetch(fetch, false),
            Fact::Removed(fetch) => row.add_fetch(fetch, true),
            Fact::Unreadable(unreadable) => {
                let seen = (unreadable.seen_at, unreadable.is_there);
                Change { is_changed: row.add_unreadable(&unreadable.file, seen), outranked: None }
            }
        });
    }

    fn merge(&mut self, other: &Self) {
        for (partition, folder) in &other.folders {
            for (item, row) in &folder.items {
                self.change(partition, item, |mine| mine.merge(row));
            }
        }
        let room = OUTRANKED.saturating_sub(self.outranked.len());
        self.outranked.extend(other.outranked.iter().take(room).cloned());
    }

    fn to_snapshot(&self) -> proto::Snapshot {
        let unreadable = |(file, (seen_at, is_there)): (&String, &(i64, bool))| proto::Unreadable {
            file: file.clone(),
            seen_at: *seen_at,
            is_there: *is_there,
        };
        let item = |(item, row): (&String, &Row)| proto::Item {
            item: item.clone(),
            fetch: row.fetch.clone(),
            is_removed: row.is_removed,
            unreadable: row.unreadable.iter().map(unreadable).collect(),
        };
        let folder = |(partition, folder): (&String, &Folder)| proto::Folder {
            partition: partition.clone(),
            items: folder.items.iter().map(item).collect(),
        };
        proto::Snapshot { folders: self.folders.iter().map(folder).collect() }
    }

    fn from_snapshot(snapshot: proto::Snapshot) -> Result<Self, InvalidSnapshot> {
        let mut rows = Self::default();
        for folder in snapshot.folders {
            let revision = REVISIONS.fetch_add(1, Ordering::Relaxed) + 1;
            let mut items = BTreeMap::new();
            for item in folder.items {
                let unreadable = item.unreadable.into_iter().map(|it| (it.file, (it.seen_at, it.is_there))).collect();
                let row = Row { fetch: item.fetch, is_removed: item.is_removed, unreadable };
                if items.insert(item.item, row).is_some() {
                    return Err(format!("an item of {} comes twice", folder.partition).into());
                }
            }
            rows.items += items.len();
            if rows.folders.insert(folder.partition, Folder { items, revision }).is_some() {
                return Err("a partition comes twice".into());
            }
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::index::proto::{Object, Unreadable};

    /// Few values, so that facts meet.
    fn entry() -> impl Strategy<Value = Entry> {
        let fetch =
            (0i64..3, 0i64..3, prop::collection::vec((0u8..2, 0u64..2), 1..3)).prop_map(|(as_of, at, objects)| {
                let object =
                    |(name, records): (u8, u64)| Object { name: name.to_string(), records, ..Object::default() };
                Fetch { as_of, fetched_at: at, objects: objects.into_iter().map(object).collect() }
            });
        let fact = prop_oneof![
            fetch.clone().prop_map(Fact::Stored),
            fetch.prop_map(Fact::Removed),
            (0u8..2, 0i64..3, any::<bool>()).prop_map(|(file, seen_at, is_there)| {
                Fact::Unreadable(Unreadable { file: file.to_string(), seen_at, is_there })
            }),
        ];
        (0u8..2, 0u8..2, fact).prop_map(|(partition, item, fact)| Entry {
            partition: partition.to_string(),
            item: item.to_string(),
            fact: Some(fact),
        })
    }

    fn rows(entries: &[Entry]) -> Rows {
        let mut rows = Rows::default();
        entries.iter().for_each(|entry| rows.apply(entry));
        rows
    }

    fn merged(left: &Rows, right: &Rows) -> Rows {
        let mut merged = left.clone();
        merged.merge(right);
        merged
    }

    fn some() -> impl Strategy<Value = Vec<Entry>> {
        prop::collection::vec(entry(), 0..12)
    }

    proptest! {
        #[test]
        fn the_laws_of_a_view(a in some(), b in some(), c in some()) {
            let [x, y, z] = [&a, &b, &c].map(|entries| rows(entries));
            prop_assert_eq!(&merged(&x, &x), &x);
            prop_assert_eq!(merged(&x, &y), merged(&y, &x));
            prop_assert_eq!(merged(&merged(&x, &y), &z), merged(&x, &merged(&y, &z)));
            prop_assert_eq!(&merged(&x, &Rows::default()), &x);
            prop_assert_eq!(merged(&x, &y), rows(&[a, b].concat()));
            prop_assert_eq!(Rows::from_snapshot(x.to_snapshot()).unwrap(), x);
        }

        /// Whoever remembers what a folder's rows came to may go by its revision.
        #[test]
        fn a_folder_that_changes_has_another_revision(a in some(), b in some()) {
            let before = rows(&a);
            let after = merged(&before, &rows(&b));
            for (partition, folder) in after.folders() {
                let old = before.folder(partition);
                let is_same = old.is_some_and(|old| old.revision() == folder.revision());
                prop_assert_eq!(is_same, old == Some(folder));
            }
        }
    }
}
