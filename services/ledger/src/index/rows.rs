//! The view of one month: of every item the newest fetch, in the journal's algebra.
//!
//! Of two facts about an item the one counts that is said of the later fetch: of the same fetch, that it was removed
//! outranks that it is stored, since no name is written twice.
//!
//! Fetches stay encoded. A process holds many and looks at few, and a decoded one is nine allocations.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, btree_map::Entry as Slot},
    ops::Bound,
    sync::atomic::{self, AtomicU64},
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
    fetch: Encoded,
}

/// A [`Fetch`] as it is in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Encoded(Box<[u8]>);

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
    fetch: Option<Encoded>,
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

    /// The items behind this one, by partition and key; all of them if none is named.
    pub fn after<'a>(&'a self, place: Option<(&'a str, &'a str)>) -> impl Iterator<Item = (&'a str, &'a str, &'a Row)> {
        let (first, item) = place.unzip();
        let folders = self.folders.range::<str, _>((first.map_or(Bound::Unbounded, Bound::Included), Bound::Unbounded));
        folders.flat_map(move |(partition, folder)| {
            let from = item.filter(|_| first == Some(partition.as_str())).map_or(Bound::Unbounded, Bound::Excluded);
            let items = folder.items.range::<str, _>((from, Bound::Unbounded));
            items.map(move |(item, row)| (partition.as_str(), item.as_str(), row))
        })
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
            folder.revision = REVISIONS.fetch_add(1, atomic::Ordering::Relaxed) + 1;
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
    outranked: Option<Encoded>,
}

impl PartialEq for Folder {
    fn eq(&self, other: &Self) -> bool {
        self.items == other.items
    }
}

impl Outranked {
    pub(super) fn fetch(&self) -> Fetch {
        self.fetch.decode()
    }
}

impl Encoded {
    fn new(fetch: &Fetch) -> Self {
        Self(fetch.encode_to_vec().into())
    }

    /// What a snapshot says; `None` where it is no fetch.
    fn read(bytes: Vec<u8>) -> Option<Self> {
        Fetch::decode(&*bytes).is_ok().then(|| Self(bytes.into()))
    }

    fn decode(&self) -> Fetch {
        // It was encoded here, or checked as it was read.
        Fetch::decode(&*self.0).unwrap_or_default()
    }
}

impl Row {
    /// The fetch that counts.
    pub fn fetch(&self) -> Option<Fetch> {
        if self.is_removed { None } else { self.last() }
    }

    /// The newest fetch that was ever stored, though its objects may be gone.
    pub fn last(&self) -> Option<Fetch> {
        self.fetch.as_ref().map(Encoded::decode)
    }

    /// Files that were there when somebody last looked, and whose metadata no worker wrote.
    pub fn unreadable(&self) -> impl Iterator<Item = &str> {
        self.unreadable.iter().filter(|(_, (_, is_there))| *is_there).map(|(file, _)| file.as_str())
    }

    /// Adds a fetch that is about to be committed; returns whether it is the one that counts.
    pub fn add_stored(&mut self, fetch: &Fetch) -> bool {
        let fetch = Encoded::new(fetch);
        self.add_fetch(fetch.clone(), false);
        self.fetch.as_ref() == Some(&fetch) && !self.is_removed
    }

    fn add_fetch(&mut self, fetch: Encoded, is_removed: bool) -> Change {
        let standing = self.fetch.as_ref().map(|known| rank(&fetch, known));
        match standing {
            Some(Ordering::Less) => Change { is_changed: false, outranked: (!is_removed).then_some(fetch) },
            Some(Ordering::Equal) => {
                let is_changed = is_removed && !self.is_removed;
                self.is_removed |= is_removed;
                Change { is_changed, outranked: None }
            }
            None | Some(Ordering::Greater) => {
                let outranked = self.fetch.replace(fetch).filter(|_| !self.is_removed);
                self.is_removed = is_removed;
                Change { is_changed: true, outranked }
            }
        }
    }

    fn add_unreadable(&mut self, file: String, seen: (i64, bool)) -> bool {
        match self.unreadable.entry(file) {
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

    fn merge(&mut self, other: Self) -> Change {
        let Self { fetch, is_removed, unreadable } = other;
        let mut change = fetch.map(|fetch| self.add_fetch(fetch, is_removed)).unwrap_or_default();
        for (file, seen) in unreadable {
            change.is_changed |= self.add_unreadable(file, seen);
        }
        change
    }
}

/// Which of two fetches of an item is newer. What is said differently of the same objects is told apart too, so that
/// all agree.
fn rank(left: &Encoded, right: &Encoded) -> Ordering {
    if left == right {
        return Ordering::Equal;
    }
    let standing = |fetch: &Encoded| {
        let Fetch { as_of, fetched_at, objects } = fetch.decode();
        (as_of, fetched_at, objects.into_iter().map(|object| object.name).collect::<Vec<_>>())
    };
    standing(left).cmp(&standing(right)).then_with(|| left.0.cmp(&right.0))
}

impl View for Rows {
    type Entry = Entry;
    type Snapshot = proto::Snapshot;

    const SCHEMA: u16 = 1;

    fn apply(&mut self, entry: &Entry) {
        let Some(fact) = &entry.fact else { return };
        self.change(&entry.partition, &entry.item, |row| match fact {
            Fact::Stored(fetch) => row.add_fetch(Encoded::new(fetch), false),
            Fact::Removed(fetch) => row.add_fetch(Encoded::new(fetch), true),
            Fact::Unreadable(unreadable) => {
                let seen = (unreadable.seen_at, unreadable.is_there);
                Change { is_changed: row.add_unreadable(unreadable.file.clone(), seen), outranked: None }
            }
        });
    }

    fn merge(&mut self, other: Self) {
        for (partition, folder) in other.folders {
            match self.folders.entry(partition) {
                Slot::Vacant(slot) => {
                    self.items += folder.items.len();
                    slot.insert(folder);
                }
                Slot::Occupied(slot) => {
                    let partition = slot.key().clone();
                    for (item, row) in folder.items {
                        self.change(&partition, &item, |mine| mine.merge(row));
                    }
                }
            }
        }
        let room = OUTRANKED.saturating_sub(self.outranked.len());
        self.outranked.extend(other.outranked.into_iter().take(room));
    }

    fn to_snapshot(&self) -> proto::Snapshot {
        let unreadable = |(file, (seen_at, is_there)): (&String, &(i64, bool))| proto::Unreadable {
            file: file.clone(),
            seen_at: *seen_at,
            is_there: *is_there,
        };
        let item = |(item, row): (&String, &Row)| proto::Item {
            item: item.clone(),
            fetch: row.fetch.as_ref().map(|fetch| fetch.0.to_vec()),
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
            let revision = REVISIONS.fetch_add(1, atomic::Ordering::Relaxed) + 1;
            let count = folder.items.len();
            let mut items = Vec::with_capacity(count);
            for item in folder.items {
                let unreadable = item.unreadable.into_iter().map(|it| (it.file, (it.seen_at, it.is_there))).collect();
                let encoded =
                    |bytes| Encoded::read(bytes).ok_or_else(|| format!("the fetch of {} cannot be decoded", item.item));
                let fetch = item.fetch.map(encoded).transpose()?;
                let row = Row { fetch, is_removed: item.is_removed, unreadable };
                items.push((item.item, row));
            }
            // In order of their keys, it is made in one go.
            let items = BTreeMap::from_iter(items);
            if items.len() < count {
                return Err(format!("an item of {} comes twice", folder.partition).into());
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
        merged.merge(right.clone());
        merged
    }

    fn some() -> impl Strategy<Value = Vec<Entry>> {
        prop::collection::vec(entry(), 0..12)
    }

    #[test]
    fn a_snapshot_with_what_is_no_fetch_is_refused() {
        let mut snapshot = rows(&[Entry {
            partition: "p".to_owned(),
            item: "i".to_owned(),
            fact: Some(Fact::Stored(Fetch { as_of: 1, ..Fetch::default() })),
        }])
        .to_snapshot();
        assert_eq!(Rows::from_snapshot(snapshot.clone()).unwrap().len(), 1);
        snapshot.folders[0].items[0].fetch = Some(b"no fetch".to_vec());
        assert_eq!(Rows::from_snapshot(snapshot).unwrap_err().to_string(), "the fetch of i cannot be decoded");
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
