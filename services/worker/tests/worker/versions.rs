//! Several fetches of one item in data/: which of them counts, and what is removed.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use waybill_ledger::{
    State,
    index::{self, Index},
};
use waybill_source::{Fetch, ObjectName};
use waybill_store::{Upload, UploadBody};

use crate::support::{BUSES, KEY, PATIENCE, Reply, System, Upstream, buses, file, until, weather};

const GROUP: &str = "/data/2.5/group";
const PARTITION: &str = "country=peru/date=2024-05-01";

/// A fetch of city 0, as a worker leaves it; `job` is `None` for an object that lost its metadata.
pub(crate) async fn fetched(system: &System, at: Timestamp, records: usize, job: Option<Uuid>) -> String {
    let definition = system.worker.catalog.get("buses").unwrap();
    let body = buses(records);
    let sha256 = format!("{records:064}");
    let name = ObjectName::new("buses", PARTITION, "0-city-0", at, &sha256, definition.format());
    let mut scanner = definition.scanner();
    scanner.push(body.as_bytes()).unwrap();
    let totals = scanner.finish().unwrap().totals;
    let metadata = job.map(|job| {
        let mut metadata = definition.statistics().to_metadata(&totals);
        let more = [
            ("records", records.to_string()),
            ("sha256", sha256),
            ("definition", definition.hash().to_owned()),
            ("job", job.to_string()),
        ];
        metadata.extend(more.map(|(name, value)| (name.to_owned(), value)));
        metadata
    });
    let upload = Upload {
        content_type: "application/json",
        metadata: metadata.unwrap_or_default(),
        body: UploadBody::Bytes(body.into()),
    };
    system.store.upload(&name.key(), upload).await.unwrap();
    if job.is_some() {
        let head = system.store.head(&name.key()).await.unwrap().unwrap();
        let fetch = Fetch { fetched_at: name.fetched_at, keys: vec![name.key()] };
        let index = Index::new(system.store.clone(), CancellationToken::new());
        index.commit("buses", vec![index::stored(&fetch, &[head]).unwrap()]).await.unwrap();
    }
    name.key()
}

/// A UUIDv7 of that moment.
pub(crate) fn id(at: Timestamp) -> Uuid {
    let milliseconds = u64::try_from(at.as_millisecond()).unwrap();
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &[7; 10]).into_uuid()
}

async fn records(system: &System) -> Vec<String> {
    system.data().await.iter().map(|object| object.head.metadata["records"].clone()).collect()
}

/// Two workers fetch one item at once, and the clock of the other one is two hours off.
async fn two_at_once(others_job: SignedDuration, others_clock: SignedDuration) -> Vec<String> {
    let upstream = Upstream::with_cities(1).await;
    upstream.on(&file(0), |asked| match (asked.nth, asked.range()) {
        (_, Some(start)) => Reply::body(buses(500)).header("ETag", "\"mine\"").from(start),
        _ => Reply::body(buses(500)).header("ETag", "\"mine\"").cut(5_000),
    });
    let slow = waybill_worker::RetryPolicy {
        initial: Duration::from_millis(400),
        max_wait: Duration::from_secs(1),
        ..PATIENCE
    };
    let mut system = System::stopped(BUSES, upstream, slow).await;
    system.worker.housekeeping = Duration::from_millis(20);
    system.run();
    let job = system.submit().await;
    until("the download has begun", || system.upstream.asked(&file(0)).len() == 1).await;
    let now = Timestamp::now();
    fetched(&system, now + others_clock, 600, Some(id(now + others_job))).await;
    assert_eq!(system.ended(job).await.state, State::Succeeded);
    // Whichever of the two did not see the other, the sweep sees both.
    let swept = async {
        while system.data().await.len() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), swept).await.expect("what is superseded is removed");
    records(&system).await
}

#[tokio::test]
async fn the_later_job_wins_though_its_worker_s_clock_is_two_hours_behind() {
    let (later, behind) = (SignedDuration::from_secs(1), -SignedDuration::from_hours(2));
    assert_eq!(two_at_once(later, behind).await, ["600"]);
}

#[tokio::test]
async fn the_earlier_job_loses_though_its_worker_s_clock_is_two_hours_ahead() {
    let (earlier, ahead) = (-SignedDuration::from_mins(1), SignedDuration::from_hours(2));
    assert_eq!(two_at_once(earlier, ahead).await, ["500"]);
}

#[tokio::test]
async fn a_fetch_that_begins_after_another_was_stored_wins_though_its_job_is_older() {
    let mut system = System::stopped(BUSES, Upstream::with_cities(1).await, PATIENCE).await;
    let job = system.submit().await;
    let now = Timestamp::now();
    fetched(&system, now + SignedDuration::from_hours(2), 600, Some(id(now + SignedDuration::from_hours(1)))).await;
    system.run();
    assert_eq!(system.ended(job).await.state, State::Succeeded);
    assert_eq!(records(&system).await, ["10"]);
}

#[tokio::test]
async fn an_object_without_metadata_supersedes_nothing_and_is_not_removed() {
    let mut system = System::stopped(BUSES, Upstream::with_cities(1).await, PATIENCE).await;
    system.worker.housekeeping = Duration::from_millis(20);
    let now = Timestamp::now();
    let good = fetched(&system, now, 600, Some(id(now))).await;
    let bare = fetched(&system, now + SignedDuration::from_secs(1), 600, None).await;
    let old = fetched(&system, now - SignedDuration::from_secs(1), 500, Some(id(now))).await;
    system.run();
    let gone = async {
        while system.store.head(&old).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), gone).await.expect("what is superseded is removed");
    // A fetch that follows looks past it too, and leaves it where it is.
    system.good_job().await;
    let keys: Vec<_> = system.data().await.into_iter().map(|object| object.key).collect();
    assert!(keys.contains(&bare) && !keys.contains(&good), "{keys:?}");
    assert_eq!(keys.len(), 2);
}

#[tokio::test]
async fn the_newest_fetch_is_found_beside_a_thousand_items_that_begin_alike() {
    let upstream = Upstream::start().await;
    upstream.on("/cities", |_| Reply::body(r#"[{"id":1,"name":"x","country":"Peru"}]"#));
    upstream.on(&file(1), |_| Reply::body(buses(10)));
    let definition = BUSES.replace("{{ city.id }}-{{ city.name | slug }}", "{{ city.id }}");
    let system = System::start(&definition, upstream).await;
    for n in 0..1_001 {
        let key = format!("data/buses/{PARTITION}/1.0.{n:04}.20240501T080000.000000Z-0123456789ab.json");
        system.store.put(&key, "application/json", "[]".into()).await.unwrap();
    }
    system.good_job().await;
    assert_eq!(system.good_job().await.tasks.unchanged, 1);
}

#[tokio::test]
async fn a_batch_of_which_one_half_fails_leaves_the_complete_fetch_alone() {
    let upstream = Upstream::start().await;
    upstream.on(GROUP, |_| Reply::body(r#"{"list":[{"id":0},{"id":1},{"id":2},{"id":3}]}"#));
    let mut system = System::stopped(&weather(4, 4, 600), upstream, PATIENCE).await;
    system.worker.env.insert("OPENWEATHER_API_KEY".to_owned(), KEY.to_owned());
    system.run();
    system.good_job().await;
    let before: Vec<_> = system.data().await.into_iter().map(|object| object.key).collect();
    // One half arrives, the other does not.
    system.upstream.on(GROUP, |asked| match asked.query.replace("%2C", ",") {
        query if query.contains("0,1,2,3") => Reply::status(404),
        query if query.contains("0,1") => Reply::body(r#"{"list":[{"id":0},{"id":1}]}"#),
        _ => Reply::status(500),
    });
    assert_eq!(system.job().await.state, State::Failed);
    let after: Vec<_> = system.data().await.into_iter().map(|object| object.key).collect();
    assert_eq!(after, before);
}
