//! Statistics against a naive fold over what was put, on an embedded store.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::{collections::BTreeMap, sync::Arc};

use jiff::{Timestamp, ToSpan, civil::Date};
use poem::{EndpointExt, Response, endpoint::BoxEndpoint, test::TestClient};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use waybill_ledger::{
    Ledger, Submission,
    index::{self, Index, Rebuilt},
};
use waybill_source::{Catalog, DefaultsFrom, Definition, Fetch, ObjectName, Piece};
use waybill_stats::{Collector, Range, Reason, Report, StatsApi};
use waybill_store::{Embedded, Store, Upload, UploadBody};
use waybill_web::{AppConfig, Probes, app};

/// Passengers of the one bus in a file: enough to tell files apart.
type Files = BTreeMap<(&'static str, Date, u32), u64>;

const JOB: &str = "018cc251-f400-7000-8000-000000000001";

struct Bucket {
    _folder: tempfile::TempDir,
    store: Store,
    index: Index,
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
        let index = Index::new(store.clone(), CancellationToken::new());
        index.rebuild("buses", Timestamp::UNIX_EPOCH, |_| {}).await.unwrap();
        Self { _folder: folder, store, index, definition, newest: Files::new(), fetches: 0, keys: BTreeMap::new() }
    }

    /// A collector that remembers nothing.
    fn collector(&self) -> Collector {
        let index = Index::new(self.store.clone(), CancellationToken::new());
        Collector::new(Ledger::read_only(self.store.clone()), index, self.store.clone())
    }

    async fn collect(&self) -> Report {
        let range = Range::parse(Some("2024-01-20"), Some("2024-01-20")).unwrap();
        self.collector().collect(&self.definition, range).await.unwrap()
    }

    /// The statistics of one country's first day.
    async fn first_day(&self) -> serde_json::Value {
        let report = self.collect().await;
        let days = &report.groups[&vec!["chad".to_owned()]];
        self.definition.statistics().to_json(&days[&day(0)]).into()
    }

    /// Another definition from now on; the bucket knows both.
    async fn change(&mut self, text: &str) {
        let mut catalog = Catalog::default();
        for text in [self.definition.text(), text] {
            catalog = Catalog::default();
            catalog.insert_text("buses.toml", text).unwrap_or_else(|mistakes| panic!("{:?}", mistakes.0));
            let definition = catalog.get("buses").unwrap();
            let key = format!("sources/buses/{}.toml", definition.hash());
            self.store.put(&key, "application/toml", text.to_owned().into()).await.unwrap();
        }
        self.definition = Arc::clone(catalog.get("buses").unwrap());
    }

    /// A fetch as a worker leaves it: the object, and the older one removed or (a worker that died) not.
    async fn fetch(&mut self, country: &'static str, day: Date, city: u32, passengers: u64, clean: bool) {
        let body = format!(
            r#"[{{"departure-time":"{day}T08:00:00","bus-type":"A","passengers":{passengers},"delay":"PT{city}S","accident":false}}]"#
        );
        let mut scanner = self.definition.scanner();
        scanner.push(body.as_bytes()).unwrap();
        let mut metadata = self.definition.statistics().to_metadata(&scanner.finish().unwrap().totals);
        let provenance = [("job", JOB), ("sha256", "ab"), ("definition", self.definition.hash())];
        metadata.extend(provenance.map(|(name, value)| (name.to_owned(), value.to_owned())));
        self.fetches += 1;
        let at = Timestamp::from_microsecond(1_700_000_000_000_000 + self.fetches).unwrap();
        let hash: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
        let partition = format!("country={country}/date={day}");
        let name = ObjectName::new("buses", &partition, &format!("{city}-x"), at, &hash, self.definition.format());
        let upload = Upload { content_type: "application/json", metadata, body: UploadBody::Bytes(body.into()) };
        self.store.upload(&name.key(), upload).await.unwrap();
        let head = self.store.head(&name.key()).await.unwrap().unwrap();
        let fetch = Fetch { fetched_at: at, keys: vec![name.key()] };
        self.index.commit("buses", vec![index::stored(&fetch, &[head]).unwrap()]).await.unwrap();
        self.newest.insert((country, day, city), passengers);
        if let Some(older) = self.keys.insert((country, day, city), name.key())
            && clean
        {
            self.store.delete(&[older]).await.unwrap();
        }
    }

    /// Enters into the index what was put into data/ by other hands than a worker's.
    async fn rebuild(&self) -> Rebuilt {
        self.index.rebuild("buses", Timestamp::now(), |_| {}).await.unwrap()
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
    let report = bucket.collector().collect(&bucket.definition, range).await.unwrap();
    assert_eq!(report.groups.into_iter().collect::<Vec<_>>(), [(vec!["chad".to_owned()], BTreeMap::new())]);
}

#[tokio::test]
async fn an_index_that_is_lost_is_built_again() {
    let mut bucket = Bucket::new().await;
    for city in 0..4 {
        bucket.fetch("chad", day(0), city, 10, true).await;
    }
    let remembering = bucket.collector();
    bucket.check(&remembering, day(0), day(0)).await;
    let objects = bucket.store.list("journal/", None, 100).await.unwrap();
    bucket.store.delete(&objects.into_iter().map(|entry| entry.key).collect::<Vec<_>>()).await.unwrap();
    for collector in [&remembering, &bucket.collector()] {
        let range = Range::parse(Some("2024-01-20"), Some("2024-01-20")).unwrap();
        let error = collector.collect(&bucket.definition, range).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the index of `buses` is not built yet: a worker is at it, or `waybill rebuild buses` does it"
        );
    }
    let index = Index::new(bucket.store.clone(), CancellationToken::new());
    assert_eq!(index.rebuild("buses", Timestamp::now(), |_| {}).await.unwrap().added, 4);
    bucket.check(&bucket.collector(), day(0), day(0)).await;
}

#[tokio::test]
async fn what_the_index_lost_is_told() {
    let mut bucket = Bucket::new().await;
    bucket.fetch("chad", day(0), 1, 5, true).await;
    let segment = "journal/buses/index/2024-01/segments/018cc251-f400-7000-8000-000000000001";
    bucket.store.put(segment, "text/plain", "garbage".into()).await.unwrap();
    assert_eq!(bucket.collect().await.not_added.example(Reason::Index), Some(segment));
    assert_eq!(bucket.first_day().await["passenger_count"], 5);
}

/// A newer object of the same item, with the metadata of the older one or none.
async fn put_newer(bucket: &Bucket, piece: Option<Piece>, with_metadata: bool) -> String {
    let older = &bucket.keys[&("chad", day(0), 1)];
    let mut name = ObjectName::parse(older).unwrap();
    name.fetched_at += 1.second();
    name.piece = piece;
    let metadata = bucket.store.head(older).await.unwrap().unwrap().metadata;
    let metadata = metadata.into_iter().filter(|_| with_metadata).collect();
    let upload = Upload { content_type: "application/json", metadata, body: UploadBody::Bytes("[]".into()) };
    bucket.store.upload(&name.key(), upload).await.unwrap();
    name.key()
}

#[tokio::test]
async fn an_object_without_metadata_supersedes_nothing_and_is_told() {
    let mut bucket = Bucket::new().await;
    bucket.fetch("chad", day(0), 1, 5, true).await;
    let collector = bucket.collector();
    bucket.check(&collector, day(0), day(0)).await;
    let bare = put_newer(&bucket, None, false).await;
    assert_eq!(bucket.rebuild().await.unreadable, 1);
    bucket.check(&collector, day(0), day(0)).await;
    assert_eq!(bucket.first_day().await["passenger_count"], 5);
    let not_added = bucket.collect().await.not_added;
    assert_eq!((not_added.objects(), not_added.example(Reason::Unreadable)), (1, Some(bare.as_str())));
}

#[tokio::test]
async fn a_piece_counts_once_the_others_are_there() {
    let mut bucket = Bucket::new().await;
    bucket.fetch("chad", day(0), 1, 5, true).await;
    put_newer(&bucket, Some(Piece { number: 1, of: 2 }), true).await;
    assert_eq!((bucket.rebuild().await.incomplete, bucket.rebuild().await.added), (1, 0));
    assert_eq!(bucket.first_day().await["passenger_count"], 5);
    put_newer(&bucket, Some(Piece { number: 2, of: 2 }), true).await;
    assert_eq!(bucket.rebuild().await, Rebuilt { objects: 3, added: 1, ..Rebuilt::default() });
    assert_eq!(bucket.first_day().await["passenger_count"], 10);
    assert_eq!(bucket.collect().await.not_added.objects(), 0);
}

#[tokio::test]
async fn a_statistic_over_another_field_is_not_added_to_the_old_one() {
    let mut bucket = Bucket::new().await;
    bucket.fetch("chad", day(0), 1, 5, true).await;
    bucket.fetch("chad", day(0), 2, 7, true).await;
    let old = bucket.keys[&("chad", day(0), 2)].clone();
    let text = bucket.definition.text().replace(r#"{ sum = "passengers" }"#, r#"{ sum = "delay" }"#);
    assert_ne!(text, bucket.definition.text());
    bucket.change(&text).await;
    bucket.fetch("chad", day(0), 1, 5, true).await;
    // City 1 has a delay of a second; city 2 is still of the old definition.
    let first_day = bucket.first_day().await;
    assert_eq!((&first_day["passenger_count"], &first_day["bus_count"]), (&1.into(), &1.into()));
    let not_added = bucket.collect().await.not_added;
    assert_eq!((not_added.objects(), not_added.example(Reason::OtherStatistics)), (1, Some(old.as_str())));
}

#[tokio::test]
async fn a_new_statistic_says_which_objects_lack_it() {
    let mut bucket = Bucket::new().await;
    bucket.fetch("chad", day(0), 1, 5, true).await;
    bucket.change(&bucket.definition.text().replace("[stats]\n", "[stats]\nmost = { max = \"passengers\" }\n")).await;
    assert_eq!(bucket.collect().await.not_added.objects(), 1);
    bucket.fetch("chad", day(0), 1, 5, true).await;
    assert_eq!(bucket.collect().await.not_added.objects(), 0);
    assert_eq!(bucket.first_day().await["most"], 5);
}

#[tokio::test]
async fn a_definition_that_keeps_the_same_statistics_adds_up_with_the_old_one() {
    let mut bucket = Bucket::new().await;
    bucket.fetch("chad", day(0), 1, 5, true).await;
    bucket.change(&bucket.definition.text().replace("Bus departures of every city", "Departures")).await;
    bucket.fetch("chad", day(0), 2, 7, true).await;
    assert_eq!(bucket.first_day().await["passenger_count"], 12);
    assert_eq!(bucket.collect().await.not_added.objects(), 0);
}

/// The routes.
struct Served {
    bucket: Bucket,
    ledger: Ledger,
    client: TestClient<BoxEndpoint<'static, Response>>,
}

impl Served {
    async fn new() -> Self {
        let bucket = Bucket::new().await;
        let ledger = Ledger::read_only(bucket.store.clone());
        let now = || "2024-01-21T08:00:00Z".parse().unwrap();
        let (catalog, index) = (Arc::new(Catalog::shipped()), bucket.index.clone());
        let api = StatsApi::new(catalog, ledger.clone(), index, bucket.store.clone(), now);
        let probes = Probes { checks: Vec::new(), warnings: Vec::new(), shutdown: CancellationToken::new() };
        let client = TestClient::new(app(api, probes, AppConfig::default()).boxed());
        Self { bucket, ledger, client }
    }

    /// The headers that say what is missing, the tag, and the body.
    async fn get(&self, path: &str) -> (Option<String>, Option<String>, String, serde_json::Value) {
        let answer = self.client.get(format!("{path}?from=2024-01-20&to=2024-01-20")).send().await;
        answer.assert_status_is_ok();
        let header = |name: &str| answer.0.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (pending, not_added) = (header("Waybill-Pending-Jobs"), header("Waybill-Not-Added"));
        let etag = header("ETag").unwrap();
        let body = serde_json::from_str(&answer.0.into_body().into_string().await.unwrap()).unwrap();
        (pending, not_added, etag, body)
    }

    async fn submit(&self, date: &str) -> String {
        let submission = Submission {
            definition: &self.bucket.definition,
            params: self
                .bucket
                .definition
                .bind(
                    &[("date".to_owned(), date.to_owned())].into(),
                    DefaultsFrom { day: jiff::civil::date(2024, 5, 1), previous: None },
                )
                .unwrap(),
            upload: None,
            idempotency_key: None,
            by: None,
            route: "POST /v1/jobs",
            id: uuid::Builder::from_unix_timestamp_millis(1_705_824_000_000, &[7; 10]).into_uuid(),
            now: "2024-01-21T08:00:00Z".parse().unwrap(),
        };
        self.ledger.submit(submission).await.unwrap().request.job.to_string()
    }
}

#[tokio::test]
async fn an_answer_says_which_jobs_of_its_range_still_run() {
    let served = Served::new().await;
    let (pending, not_added, before, body) = served.get("/country-stats").await;
    assert_eq!((pending, not_added, body), (None, None, serde_json::json!({})));
    let (.., body) = served.get("/v1/stats/buses").await;
    assert_eq!((&body["complete"], &body["pending_jobs"]), (&true.into(), &serde_json::json!([])));

    let job = served.submit("2024-01-20").await;
    let (pending, _, after, _) = served.get("/country-stats").await;
    assert_eq!(pending.as_ref(), Some(&job));
    assert_ne!(before, after, "a client that has the numbers must hear that they lack a job");
    let (.., body) = served.get("/v1/stats/buses").await;
    assert_eq!((&body["complete"], &body["pending_jobs"]), (&false.into(), &serde_json::json!([job])));

    served.ledger.cancel(job.parse().unwrap(), "2024-01-21T08:00:01Z".parse().unwrap()).await.unwrap();
    let (pending, ..) = served.get("/country-stats").await;
    assert_eq!(pending, None);
}

#[tokio::test]
async fn numbers_come_as_lines_too() {
    let mut served = Served::new().await;
    for (country, passengers) in [("chad", 5), ("mali, north", 7)] {
        served.bucket.fetch(country, day(0), 1, passengers, true).await;
    }
    served.bucket.fetch("chad", day(1), 1, 9, true).await;
    let get = async |format: &str| {
        let path = format!("/v1/stats/buses?from=2024-01-20&to=2024-01-21&format={format}");
        let answer = served.client.get(path).send().await;
        let header = |name: &str| answer.0.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (kind, etag) = (header("Content-Type").unwrap(), header("ETag"));
        (answer.0.status(), kind, etag, answer.0.into_body().into_string().await.unwrap())
    };
    let (_, kind, etag, csv) = get("csv").await;
    assert_eq!(kind, "text/csv; charset=utf-8");
    insta::assert_snapshot!(csv, @r#"
    country,date,bus_count,passenger_count,exist_accident,average_delay_s
    chad,2024-01-20,1,5,false,1
    chad,2024-01-21,1,9,false,1
    "mali, north",2024-01-20,1,7,false,1
    "#);
    let (_, kind, other_etag, ndjson) = get("ndjson").await;
    assert_eq!(kind, "application/x-ndjson");
    assert_ne!(etag, other_etag, "other bytes are another tag");
    insta::assert_snapshot!(ndjson, @r#"
    {"country":"chad","date":"2024-01-20","statistics":{"average_delay_s":1,"bus_count":1,"exist_accident":false,"passenger_count":5}}
    {"country":"chad","date":"2024-01-21","statistics":{"average_delay_s":1,"bus_count":1,"exist_accident":false,"passenger_count":9}}
    {"country":"mali, north","date":"2024-01-20","statistics":{"average_delay_s":1,"bus_count":1,"exist_accident":false,"passenger_count":7}}
    "#);
    let (status, .., problem) = get("xml").await;
    assert_eq!(status, 400);
    assert!(problem.contains("`json`, `csv` or `ndjson`"), "{problem}");
}

#[tokio::test]
async fn a_job_of_another_day_is_not_waited_for() {
    let served = Served::new().await;
    served.submit("2024-01-19").await;
    assert_eq!(served.get("/country-stats").await.0, None);
}

#[tokio::test]
async fn what_is_not_added_is_said_where_the_body_is_fixed_too() {
    let mut served = Served::new().await;
    served.bucket.fetch("chad", day(0), 1, 5, true).await;
    let bare = put_newer(&served.bucket, None, false).await;
    served.bucket.rebuild().await;
    let (_, not_added, _, body) = served.get("/country-stats").await;
    assert_eq!((not_added.as_deref(), &body["chad"]["2024-01-20"]["passenger_count"]), (Some("1"), &5.into()));
    let (.., body) = served.get("/v1/stats/buses").await;
    assert_eq!(body["complete"], false);
    insta::assert_snapshot!(body["not_added"].to_string().replace(&bare, "{key}"), @r#"[{"example":"{key}","objects":1,"reason":"the object lacks the metadata that a worker gives it; store it again with its metadata, or delete it"}]"#);
}

#[tokio::test]
async fn the_tag_changes_with_the_numbers_only() {
    let mut bucket = Bucket::new().await;
    bucket.fetch("chad", day(0), 1, 5, true).await;
    let tag = async |bucket: &Bucket| {
        let range = Range::parse(Some("2024-01-01"), Some("2024-02-28")).unwrap();
        bucket.collector().collect(&bucket.definition, range).await.unwrap().etag
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
            let collector = bucket.collector();
            for (what, country, one, other, city, passengers, clean) in steps {
                if what == 0 {
                    bucket.check(&collector, day(one.min(other)), day(one.max(other))).await;
                } else {
                    bucket.fetch(["chad", "peru"][country], day(one), city, passengers, clean).await;
                }
            }
            bucket.check(&collector, day(0), day(24)).await;
            bucket.check(&bucket.collector(), day(0), day(24)).await;
        });
    }
}
