//! Statistics against a naive fold over what was put, on an embedded store.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::{collections::BTreeMap, sync::Arc};

use jiff::{Timestamp, ToSpan, civil::Date};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use waybill_source::{Catalog, Definition, ObjectName};
use waybill_stats::{Collector, Range};
use waybill_store::{Embedded, Store, Upload, UploadBody};

/// Passengers of the one bus in a file: enough to tell files apart.
type Files = BTreeMap<(&'static str, Date, u32), u64>;

struct Bucket {
    _folder: tempfile::TempDir,
    store: Store,
    definition: Arc<Definition>,
    newest: Files,
    fetches: i64,
    keys: BTreeMap<(&'static str, Date, u32), String>,
}

impl Bucket {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path()).await.unwrap().store("test").unwrap();
        let definition = Arc::clone(Catalog::shipped().get("buses").unwrap());
        Self { _folder: folder, store, definition, newest: Files::new(), fetches: 0, keys: BTreeMap::new() }
    }

    /// A fetch as a worker leaves it: the object, and the older one removed or (a worker that died) not.
    async fn fetch(&mut self, country: &'static str, day: Date, city: u32, passengers: u64, clean: bool) {
        let body = format!(
            r#"[{{"departure-time":"{day}T08:00:00","bus-type":"A","passengers":{passengers},"delay":"PT{city}S","accident":false}}]"#
        );
        let mut scanner = self.definition.scanner();
        scanner.push(body.as_bytes()).unwrap();
        let metadata = self.definition.statistics().to_metadata(&scanner.finish().unwrap().totals);
        self.fetches += 1;
        let at = Timestamp::from_microsecond(1_700_000_000_000_000 + self.fetches).unwrap();
        let hash: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
        let partition = format!("country={country}/date={day}");
        let name = ObjectName::new("buses", &partition, &format!("{city}-x"), at, &hash, self.definition.format());
        let upload = Upload { content_type: "application/json", metadata, body: UploadBody::Bytes(body.into()) };
        self.store.upload(&name.key(), upload).await.unwrap();
        self.newest.insert((country, day, city), passengers);
        if let Some(older) = self.keys.insert((country, day, city), name.key())
            && clean
        {
            self.store.delete(&[older]).await.unwrap();
        }
    }

    async fn check(&self, collector: &Collector, from: Date, to: Date) {
        let range = Range::parse(Some(&from.to_string()), Some(&to.to_string())).unwrap();
        let report = collector.collect(&self.definition, range).await.unwrap();
        let mut found = BTreeMap::new();
        for (group, days) in &report.groups {
            for (day, totals) in days {
                let json = self.definition.statistics().to_json(totals);
                let (buses, passengers) =
                    (json["bus_count"].as_u64().unwrap(), json["passenger_count"].as_u64().unwrap());
                found.insert((group[0].clone(), *day), (buses, passengers));
            }
        }
        let mut expected = BTreeMap::new();
        for ((country, day, _), passengers) in self.newest.iter().filter(|((_, day, _), _)| (from..=to).contains(day)) {
            let sum = expected.entry(((*country).to_owned(), *day)).or_insert((0, 0));
            *sum = (sum.0 + 1, sum.1 + passengers);
        }
        assert_eq!(found, expected);
    }
}

fn day(n: u8) -> Date {
    Date::constant(2024, 1, 20) + i64::from(n).days()
}

#[tokio::test]
async fn a_country_is_known_once_it_has_had_a_file() {
    let mut bucket = Bucket::new().await;
    bucket.fetch("chad", day(0), 1, 5, true).await;
    let range = Range::parse(Some("2030-01-01"), Some("2030-01-02")).unwrap();
    let report = Collector::new(bucket.store.clone()).collect(&bucket.definition, range).await.unwrap();
    assert_eq!(report.groups.into_iter().collect::<Vec<_>>(), [(vec!["chad".to_owned()], BTreeMap::new())]);
}

#[tokio::test]
async fn an_aggregate_is_reused_and_one_that_is_damaged_does_no_harm() {
    let mut bucket = Bucket::new().await;
    for city in 0..4 {
        bucket.fetch("chad", day(0), city, 10, true).await;
    }
    bucket.check(&Collector::new(bucket.store.clone()), day(0), day(0)).await;
    let key = "stats/buses/country=chad/2024-01.json";
    let aggregate = bucket.store.get(key, 1 << 20).await.unwrap().expect("the aggregate was stored");
    let aggregate: serde_json::Value = serde_json::from_slice(&aggregate).unwrap();
    assert_eq!(aggregate["objects"].as_object().unwrap().len(), 4);

    bucket.fetch("chad", day(0), 2, 99, true).await;
    bucket.check(&Collector::new(bucket.store.clone()), day(0), day(0)).await;
    bucket.store.put(key, "application/json", "{\"half".into()).await.unwrap();
    bucket.check(&Collector::new(bucket.store.clone()), day(0), day(0)).await;
    bucket.store.delete(&[key.to_owned()]).await.unwrap();
    bucket.check(&Collector::new(bucket.store.clone()), day(0), day(0)).await;
}

#[tokio::test]
async fn the_tag_changes_with_the_numbers_only() {
    let mut bucket = Bucket::new().await;
    bucket.fetch("chad", day(0), 1, 5, true).await;
    let tag = async |bucket: &Bucket| {
        let range = Range::parse(Some("2024-01-01"), Some("2024-02-28")).unwrap();
        Collector::new(bucket.store.clone()).collect(&bucket.definition, range).await.unwrap().etag
    };
    let first = tag(&bucket).await;
    assert_eq!(tag(&bucket).await, first);
    bucket.fetch("chad", day(0), 1, 6, true).await;
    assert_ne!(tag(&bucket).await, first);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Fetches and questions in any order, over a month's end, with and without the leftovers of workers
    /// that died: every answer is what a fold over the newest fetches says.
    #[test]
    fn answers_equal_a_naive_fold(steps in prop::collection::vec(
        (0..3_u8, 0..2_usize, 0..24_u8, 0..24_u8, 0..3_u32, 0..100_u64, any::<bool>()), 1..40,
    )) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut bucket = Bucket::new().await;
            let collector = Collector::new(bucket.store.clone());
            for (what, country, one, other, city, passengers, clean) in steps {
                if what == 0 {
                    bucket.check(&collector, day(one.min(other)), day(one.max(other))).await;
                } else {
                    bucket.fetch(["chad", "peru"][country], day(one), city, passengers, clean).await;
                }
            }
            bucket.check(&collector, day(0), day(24)).await;
            bucket.check(&Collector::new(bucket.store.clone()), day(0), day(24)).await;
        });
    }
}
