//! The index against the objects in data/, on an embedded store.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use proptest::{collection::vec, prelude::*};
use tokio_util::sync::CancellationToken;
use waybill_journal::View;
use waybill_source::{Fetch, Format, ObjectName, ObjectVersions, Piece};
use waybill_store::{Embedded, Head, Store, Upload, UploadBody};

use crate::{
    data,
    index::{Entry, Index, Rebuilt, Rows, month_of, object_keys, stored},
    journals::{INDEX, crowded},
};

const JOB: &str = "018f3253-7a40-7c21-9d5e-6b1f0a2c4e88";
const MAY: &str = "country=chile/date=2024-05-01";
const JUNE: &str = "country=chile/date=2024-06-30";

struct Fixture {
    store: Store,
    index: Index,
    _embedded: Embedded,
    _folder: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let embedded = Embedded::open(folder.path()).await.unwrap();
        let store = embedded.store("waybill").unwrap();
        Self { index: Self::another(&store), store, _embedded: embedded, _folder: folder }
    }

    /// The index of another process.
    fn another(store: &Store) -> Index {
        Index::new(store.clone(), CancellationToken::new())
    }

    /// Stores an object as a worker does, but for the index, and returns its entry.
    async fn store(&self, partition: &str, item: &str, second: i64, records: u64) -> Entry {
        let at = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
        let sha256 = format!("{records:064x}");
        let name = ObjectName::new("buses", partition, item, at, &sha256, Format::Json);
        let pairs = [
            ("job", JOB.to_owned()),
            ("sha256", sha256),
            ("definition", "d".to_owned()),
            ("records", records.to_string()),
            ("bus-count", records.to_string()),
            ("item", item.to_owned()),
        ];
        let metadata = pairs.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let upload = Upload { content_type: "application/json", metadata, body: UploadBody::Bytes("[]".into()) };
        self.store.upload(&name.key(), upload).await.unwrap();
        let head = self.store.head(&name.key()).await.unwrap().unwrap();
        stored(&Fetch { fetched_at: at, keys: vec![name.key()] }, &[head]).unwrap()
    }

    async fn rebuild(&self) -> Rebuilt {
        Self::another(&self.store).rebuild("buses", Timestamp::now(), |_| {}).await.unwrap()
    }

    async fn delete(&self, prefix: &str) {
        let keys = self.store.list(prefix, None, 1_000).await.unwrap().into_iter().map(|entry| entry.key);
        self.store.delete(&keys.collect::<Vec<_>>()).await.unwrap();
    }

    /// What another process sees: item, records of its fetch, and what is unreadable.
    async fn rows(&self) -> Vec<(String, Option<u64>, usize)> {
        let index = Self::another(&self.store);
        let mut all = Vec::new();
        for month in index.months("buses").await.unwrap().hashes.keys() {
            let month = index.month("buses", month).await.unwrap();
            assert!(month.unreadable().is_empty());
            month.read(|rows| {
                for (partition, folder) in rows.folders() {
                    for (item, row) in folder.rows() {
                        let records = row.fetch().map(|fetch| fetch.objects.iter().map(|it| it.records).sum());
                        all.push((format!("{partition} {item}"), records, row.unreadable().count()));
                    }
                }
            });
        }
        all
    }
}

fn row(partition: &str, item: &str, records: Option<u64>) -> (String, Option<u64>, usize) {
    (format!("{partition} {item}"), records, 0)
}

#[test]
fn a_partition_has_a_month_or_none() {
    assert_eq!(month_of(MAY), "2024-05");
    assert_eq!(month_of("date=2024-12-31"), "2024-12");
    assert_eq!(month_of("region=eu/job=7"), "all");
}

#[tokio::test]
async fn the_newest_fetch_counts_in_whichever_order_fetches_are_committed() {
    let fixture = Fixture::new().await;
    let old = fixture.store(MAY, "0-arica", 1, 10).await;
    let new = fixture.store(MAY, "0-arica", 2, 20).await;
    let other = fixture.store(JUNE, "0-arica", 1, 30).await;
    fixture.index.commit("buses", vec![new, other]).await.unwrap();
    fixture.index.commit("buses", vec![old]).await.unwrap();
    assert_eq!(fixture.rows().await, [row(MAY, "0-arica", Some(20)), row(JUNE, "0-arica", Some(30))]);
    let month = fixture.index.month("buses", "2024-05").await.unwrap();
    let statistics = month.read(|rows| {
        let row = rows.folder(MAY).and_then(|folder| folder.row("0-arica")).unwrap();
        row.fetch().unwrap().objects[0].statistics.clone()
    });
    assert_eq!(statistics, "bus-count=20", "provenance is not among them");
}

#[tokio::test]
async fn a_months_hash_changes_with_its_journal_only() {
    let fixture = Fixture::new().await;
    let (may, june) = (fixture.store(MAY, "a", 1, 10).await, fixture.store(JUNE, "a", 1, 10).await);
    fixture.index.commit("buses", vec![may, june]).await.unwrap();
    let before = fixture.index.months("buses").await.unwrap();
    assert!(!before.is_built);
    let another = fixture.store(JUNE, "b", 1, 10).await;
    fixture.index.commit("buses", vec![another]).await.unwrap();
    let after = fixture.index.months("buses").await.unwrap();
    assert_eq!(before.hashes["2024-05"], after.hashes["2024-05"]);
    assert_ne!(before.hashes["2024-06"], after.hashes["2024-06"]);
}

#[tokio::test]
async fn a_lost_journal_is_made_again_and_then_they_agree() {
    let fixture = Fixture::new().await;
    let mut entries = Vec::new();
    for n in 0..40 {
        entries.push(fixture.store([MAY, JUNE][n % 2], &format!("{n}-city"), 1, n as u64).await);
    }
    fixture.index.commit("buses", entries).await.unwrap();
    let before = fixture.rows().await;
    assert_eq!(fixture.rebuild().await, Rebuilt { objects: 40, ..Rebuilt::default() }, "they agree");
    assert!(fixture.index.months("buses").await.unwrap().is_built);
    fixture.delete("journal/").await;
    assert_eq!(fixture.rebuild().await, Rebuilt { objects: 40, added: 40, ..Rebuilt::default() });
    assert_eq!(fixture.rows().await, before);
    assert_eq!(fixture.rebuild().await, Rebuilt { objects: 40, ..Rebuilt::default() });
}

#[tokio::test]
async fn a_rebuild_finds_what_is_gone_and_what_is_not_a_workers() {
    let fixture = Fixture::new().await;
    let gone = [fixture.store(MAY, "a", 1, 10).await, fixture.store(JUNE, "a", 1, 10).await];
    let stays = fixture.store(MAY, "b", 1, 11).await;
    fixture.index.commit("buses", [&gone[..], &[stays]].concat()).await.unwrap();
    fixture.delete(&format!("data/buses/{MAY}/a.")).await;
    fixture.delete(&format!("data/buses/{JUNE}/")).await;
    let bare = format!("data/buses/{MAY}/b.20240501T080000.000000Z-0123456789ab.json");
    fixture.store.put(&bare, "application/json", "[]".into()).await.unwrap();
    let expected = Rebuilt { objects: 2, removed: 2, unreadable: 1, ..Rebuilt::default() };
    assert_eq!(fixture.rebuild().await, expected);
    let told = (format!("{MAY} b"), Some(11), 1);
    assert_eq!(fixture.rows().await, [row(MAY, "a", None), told, row(JUNE, "a", None)]);
    // It is not put back by a segment that comes late, and the strange object can be put right.
    fixture.index.commit("buses", gone.to_vec()).await.unwrap();
    fixture.delete(&bare).await;
    fixture.rebuild().await;
    assert_eq!(fixture.rows().await, [row(MAY, "a", None), row(MAY, "b", Some(11)), row(JUNE, "a", None)]);
}

#[tokio::test]
async fn what_a_worker_left_behind_is_entered_and_nothing_else_is_touched() {
    let fixture = Fixture::new().await;
    let known = fixture.store(MAY, "a", 1, 10).await;
    fixture.index.commit("buses", vec![known]).await.unwrap();
    fixture.store(MAY, "a", 2, 20).await;
    fixture.store(JUNE, "b", 1, 30).await;
    let names = async |prefix: &str| {
        let entries = fixture.store.list(prefix, None, 100).await.unwrap();
        entries.iter().filter_map(|entry| ObjectName::parse(&entry.key)).collect::<Vec<_>>()
    };
    let reconcile = async |names| fixture.index.reconcile(names, Timestamp::now()).await.unwrap();
    assert_eq!(reconcile(names(&format!("data/buses/{JUNE}/")).await).await.entered, 1);
    assert_eq!(fixture.rows().await, [row(MAY, "a", Some(10)), row(JUNE, "b", Some(30))]);
    let reconciled = reconcile(names("data/").await).await;
    assert_eq!(reconciled.entered, 1);
    assert!(matches!(&*reconciled.superseded, [key] if key.contains("/a.19700101T000001.")), "{reconciled:?}");
    assert_eq!(fixture.rows().await, [row(MAY, "a", Some(20)), row(JUNE, "b", Some(30))]);
    let journal = fixture.store.list("journal/", None, 100).await.unwrap();
    assert_eq!(reconcile(names("data/").await).await.entered, 0);
    assert_eq!(fixture.store.list("journal/", None, 100).await.unwrap(), journal, "nothing is entered twice");
}

#[tokio::test]
async fn an_unreadable_object_is_entered_once() {
    let fixture = Fixture::new().await;
    let bare = format!("data/buses/{MAY}/b.20240501T080000.000000Z-0123456789ab.json");
    fixture.store.put(&bare, "application/json", "[]".into()).await.unwrap();
    let journal = async || fixture.store.list("journal/buses/index/2024-05/", None, 100).await.unwrap();
    assert_eq!(fixture.rebuild().await.unreadable, 1);
    let before = journal().await;
    assert_eq!((fixture.rebuild().await.unreadable, before.len()), (1, 1));
    assert_eq!(journal().await, before);
}

#[tokio::test]
async fn what_a_journal_lost_is_named_and_made_again() {
    let fixture = Fixture::new().await;
    let entry = fixture.store(MAY, "a", 1, 10).await;
    fixture.index.commit("buses", vec![entry]).await.unwrap();
    let segment = fixture.store.list("journal/buses/index/2024-05/", None, 10).await.unwrap().remove(0).key;
    fixture.store.put(&segment, "text/plain", "garbage".into()).await.unwrap();
    let rebuilt = fixture.rebuild().await;
    assert_eq!((rebuilt.added, rebuilt.unreadable_journal.into_iter().collect::<Vec<_>>()), (1, vec![segment.clone()]));
    fixture.store.delete(&[segment]).await.unwrap();
    assert_eq!(fixture.rows().await, [row(MAY, "a", Some(10))]);
}

#[tokio::test]
async fn a_compaction_removes_what_two_workers_stored_without_seeing_each_other() {
    let fixture = Fixture::new().await;
    let mut entries = Vec::new();
    for n in 0..40 {
        entries.push(fixture.store(MAY, &format!("{}", n % 20), 1 + n as i64 / 20, n).await);
    }
    // Of one item the newer object was taken away by hand.
    fixture.delete(&format!("data/buses/{MAY}/7.19700101T000002")).await;
    for entry in entries {
        Fixture::another(&fixture.store).commit("buses", vec![entry]).await.unwrap();
    }
    assert!(fixture.index.compact("buses", "2024-05").await.unwrap());
    let left = fixture.store.list(&format!("data/buses/{MAY}/"), None, 100).await.unwrap();
    let old: Vec<_> = left.iter().filter(|entry| entry.key.contains("T000001")).map(|entry| &*entry.key).collect();
    assert_eq!((left.len(), old.len()), (20, 1), "{old:?}");
    assert!(old[0].starts_with(&format!("data/buses/{MAY}/7.")), "{old:?}");
}

#[tokio::test]
async fn crowded_months_are_found_and_compacted() {
    let fixture = Fixture::new().await;
    for n in 0..40 {
        let entry = fixture.store(MAY, &format!("{n}"), 1, n).await;
        Fixture::another(&fixture.store).commit("buses", vec![entry]).await.unwrap();
    }
    let lone = fixture.store(JUNE, "a", 1, 1).await;
    fixture.index.commit("buses", vec![lone]).await.unwrap();
    fixture.rebuild().await;
    let before = fixture.rows().await;
    let found = crowded(&fixture.store, None, 1_000).await.unwrap();
    let month = ("buses".to_owned(), INDEX.to_owned(), "2024-05".to_owned());
    assert_eq!((found.journals, found.next), ([(month, (40, 0))].into(), None));
    while fixture.index.compact("buses", "2024-05").await.unwrap() {}
    assert_eq!(fixture.store.list("journal/buses/index/2024-05/", None, 100).await.unwrap().len(), 1);
    assert_eq!(fixture.rows().await, before);
    assert!(crowded(&fixture.store, None, 1_000).await.unwrap().journals.is_empty());
}

/// The names of a fetch's objects: one, or two pieces.
fn names(second: i64, hash: u8, is_batch: bool) -> Vec<ObjectName> {
    let at = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
    let name = ObjectName::new("buses", MAY, "a", at, &hash.to_string().repeat(64), Format::Json);
    let piece = |number| ObjectName { piece: Some(Piece { number, of: 2 }), ..name.clone() };
    if is_batch { vec![piece(1), piece(2)] } else { vec![name] }
}

proptest! {
    /// Workers that list and workers that ask the index must not disagree on what to delete.
    #[test]
    fn the_index_decides_as_a_listing_does(
        fetches in vec((0..3_i64, 0..3_i64, 0..3_u8, any::<bool>()), 1..8),
    ) {
        let (mut rows, mut versions, mut times) = (Rows::default(), ObjectVersions::default(), HashMap::new());
        let mut seen = HashSet::new();
        for (as_of, second, hash, is_batch) in fetches {
            // Of pieces, a name says no more than when and of how many; no worker writes two such batches.
            if !seen.insert((second, (!is_batch).then_some(hash))) {
                continue;
            }
            let as_of = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(as_of);
            let pairs = [("job", JOB.to_owned()), ("sha256", "x".to_owned()), ("definition", "d".to_owned())];
            let metadata = pairs.into_iter().chain([(data::AS_OF, as_of.to_string())]);
            let metadata: HashMap<_, _> = metadata.map(|(name, value)| (name.to_owned(), value)).collect();
            let names = names(second, hash, is_batch);
            let keys: Vec<_> = names.iter().map(ObjectName::key).collect();
            let heads: Vec<_> =
                keys.iter().map(|_| Head { size: 1, etag: String::new(), metadata: metadata.clone() }).collect();
            times.extend(keys.iter().map(|key| (key.clone(), as_of)));
            rows.apply(&stored(&Fetch { fetched_at: names[0].fetched_at, keys }, &heads).unwrap());
            names.into_iter().for_each(|name| versions.add(name));
        }
        let newest = versions.judge(|key| times.get(key).copied()).newest.unwrap();
        let row = rows.folder(MAY).and_then(|folder| folder.row("a")).unwrap();
        prop_assert_eq!(object_keys("buses", MAY, "a", &row.fetch().unwrap()), newest.keys);
    }
}
