//! The routes of the weather system, on an embedded store.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use poem::{Endpoint, test::TestClient};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use waybill_api::WeatherApi;
use waybill_ledger::{JobFilter, Ledger, Plan};
use waybill_source::{Catalog, Env, Item, ObjectName, Piece};
use waybill_store::{Embedded, Store, Upload, UploadBody};
use waybill_web::{AppConfig, Probes, app};

fn now() -> Timestamp {
    "2024-05-01T08:00:00Z".parse().unwrap()
}

async fn asked<E: Endpoint>(client: &TestClient<E>) -> Value {
    let answer = client.get("/get/?id=mine").send().await;
    answer.assert_status_is_ok();
    serde_json::from_str(&answer.0.into_body().into_string().await.unwrap()).unwrap()
}

/// An object of the one batch, with cities of these ids, fetched so many seconds after the job was submitted.
async fn fetched(store: &Store, job: Option<&str>, seconds: i64, piece: Option<Piece>, ids: &[u64]) {
    let list: Vec<_> = ids.iter().map(|id| json!({"id": id, "main": {"temp": seconds, "humidity": 50}})).collect();
    let body = json!({ "list": list }).to_string();
    let at = now() + SignedDuration::from_secs(seconds);
    let definition = Catalog::shipped().get("weather").unwrap().clone();
    let name = ObjectName::new(
        "weather",
        "request=mine/date=2024-05-01",
        "1-and-1-more",
        at,
        &"a".repeat(64),
        definition.format(),
    );
    let name = ObjectName { piece, ..name };
    let pairs = job.map(|job| [("job", job), ("sha256", "a"), ("definition", definition.hash())]);
    let metadata = pairs.into_iter().flatten().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let upload = Upload { content_type: "application/json", metadata, body: UploadBody::Bytes(body.into()) };
    store.upload(&name.key(), upload).await.unwrap();
}

#[tokio::test]
async fn a_city_is_there_once_and_as_of_the_newest_complete_fetch() {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open(folder.path()).await.unwrap().store("waybill").unwrap();
    let ledger = Ledger::new(store.clone(), Arc::new(waybill_queue::Embedded::new(1_000)));
    let catalog = Arc::new(Catalog::shipped());
    let weather = WeatherApi::new(
        ledger.clone(),
        catalog,
        store.clone(),
        &Env::from([("OPENWEATHER_API_KEY".to_owned(), "k".to_owned())]),
        now,
    );
    let probes = Probes { checks: Vec::new(), warnings: Vec::new(), shutdown: CancellationToken::new() };
    let client = TestClient::new(app(weather, probes, AppConfig::default()));
    client
        .post("/collect/")
        .body_json(&json!({"id": "mine"}))
        .send()
        .await
        .assert_status(poem::http::StatusCode::ACCEPTED);
    let page = ledger.jobs(&JobFilter::default(), None, 1).await.unwrap();
    let job = page.jobs[0].request.job;
    let item = |id: u64| Item {
        key: id.to_string(),
        values: [("city".to_owned(), [("id".to_owned(), id.into())].into())].into(),
        ..Item::default()
    };
    ledger.record_plan(job, Plan { planned: now(), tasks: vec![vec![item(1), item(2)]] }).await.unwrap();
    let job = job.to_string();

    fetched(&store, Some(&job), 1, None, &[1, 2]).await;
    fetched(&store, Some(&job), 2, None, &[1, 2]).await;
    let temperatures = |answer: &Value| -> Vec<(u64, f64)> {
        let data = answer["data"].as_array().unwrap().iter();
        data.map(|city| (city["city_id"].as_u64().unwrap(), city["temperature"].as_f64().unwrap())).collect()
    };
    assert_eq!(temperatures(&asked(&client).await), [(1, 2.0), (2, 2.0)]);
    // Half of a newer fetch, and an object that lost its metadata, supersede nothing.
    fetched(&store, Some(&job), 3, Some(Piece { number: 1, of: 2 }), &[1]).await;
    fetched(&store, None, 5, None, &[1, 2]).await;
    assert_eq!(temperatures(&asked(&client).await), [(1, 2.0), (2, 2.0)]);
    fetched(&store, Some(&job), 3, Some(Piece { number: 2, of: 2 }), &[2]).await;
    assert_eq!(temperatures(&asked(&client).await), [(1, 3.0), (2, 3.0)]);
}
