//! Whose job it is: the key that submitted it, and what other keys may do with it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::Arc;

use jiff::Timestamp;
use poem::{
    Endpoint, Response,
    test::{TestClient, TestRequestBuilder},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use waybill_api::{JobsApi, WeatherApi};
use waybill_ledger::Ledger;
use waybill_source::{Catalog, Env};
use waybill_store::{Embedded, Store};
use waybill_web::{ApiKeys, AppConfig, KeySettings, NewKey, Probes, app};

struct Fixture<E> {
    client: TestClient<E>,
    keys: Vec<NewKey>,
    store: Store,
    _embedded: Embedded,
    _folder: TempDir,
}

/// ApiKeys of these scopes, named `key-0`, `key-1`, …
async fn fixture(scopes: &[&[&str]]) -> Fixture<impl Endpoint<Output = Response>> {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(folder.path()).await.unwrap();
    let store = embedded.store("waybill").unwrap();
    let ledger = Ledger::new(store.clone(), Arc::new(waybill_queue::Embedded::new(1000)));
    let keys: Vec<_> = scopes.iter().map(|_| NewKey::random().unwrap()).collect();
    let settings: Vec<_> = scopes
        .iter()
        .zip(&keys)
        .enumerate()
        .map(|(n, (scopes, key))| KeySettings {
            name: format!("key-{n}"),
            scopes: scopes.iter().map(ToString::to_string).collect(),
            hash: key.hash.clone(),
            rate: None,
        })
        .collect();
    let (catalog, env) =
        (Arc::new(Catalog::shipped()), Env::from([("OPENWEATHER_API_KEY".to_owned(), "k".to_owned())]));
    let jobs = JobsApi::new(ledger.clone(), catalog.clone(), &env, Timestamp::now);
    let weather = WeatherApi::new(ledger, catalog, store.clone(), &env, Timestamp::now);
    let probes = Probes { checks: Vec::new(), warnings: Vec::new(), shutdown: CancellationToken::new() };
    let front = AppConfig { keys: ApiKeys::new(&settings).unwrap(), ..AppConfig::default() };
    Fixture {
        client: TestClient::new(app((jobs, weather), probes, front)),
        keys,
        store,
        _embedded: embedded,
        _folder: folder,
    }
}

impl<E: Endpoint<Output = Response>> Fixture<E> {
    async fn post(&self, key: usize, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self.request(key, self.client.post(path));
        if let Some(body) = body {
            request = request.content_type("application/json").body(body.to_string());
        }
        answer(request).await
    }

    async fn get(&self, key: usize, path: &str) -> (u16, Value) {
        answer(self.request(key, self.client.get(path))).await
    }

    /// A job with an idempotency key, by one of the API keys if there are any.
    async fn submit(&self, key: usize, idempotency_key: &str, source: &str, params: Value) -> (u16, Value) {
        let body = json!({ "source": source, "params": params }).to_string();
        let request = self.client.post("/v1/jobs").content_type("application/json").body(body);
        answer(self.request(key, request.header("Idempotency-Key", idempotency_key))).await
    }

    fn request<'a>(&self, key: usize, request: TestRequestBuilder<'a, E>) -> TestRequestBuilder<'a, E> {
        match self.keys.get(key) {
            Some(key) => request.header("authorization", format!("Bearer {}", key.key)),
            None => request,
        }
    }
}

async fn answer(request: TestRequestBuilder<'_, impl Endpoint<Output = Response>>) -> (u16, Value) {
    let response = request.send().await.0;
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.into_body().into_string().await.unwrap()).unwrap())
}

#[tokio::test]
async fn a_job_belongs_to_the_key_that_submitted_it() {
    let fixture = fixture(&[&["submit", "read"], &["submit"], &["admin"]]).await;
    let body = json!({ "source": "buses", "params": { "date": "2024-05-01" } });
    let (status, job) = fixture.post(0, "/v1/jobs", Some(body)).await;
    assert_eq!((status, &job["by"]), (202, &json!("key-0")));
    let id = job["id"].as_str().unwrap();

    let mine =
        fixture.client.get(format!("/v1/jobs/{id}")).header("authorization", format!("Bearer {}", fixture.keys[0].key));
    let mine: Value = serde_json::from_str(&mine.send().await.0.into_body().into_string().await.unwrap()).unwrap();
    assert_eq!(mine["by"], "key-0");
    for action in ["retry", "cancel"] {
        let (status, problem) = fixture.post(1, &format!("/v1/jobs/{id}/{action}"), None).await;
        assert_eq!((status, &problem["type"]), (403, &json!("/problems/forbidden")), "{action}");
    }
    let (status, problem) = fixture.post(0, &format!("/v1/jobs/{id}/retry"), None).await;
    assert_eq!((status, &problem["type"]), (409, &json!("/problems/job-not-finished")));
    assert_eq!(fixture.post(2, &format!("/v1/jobs/{id}/cancel"), None).await.0, 200);
    let unknown = "018f3253-7a40-7c21-9d5e-6b1f0a2c4e88";
    assert_eq!(fixture.post(1, &format!("/v1/jobs/{unknown}/cancel"), None).await.0, 404);

    // In the bucket there is the key's name; the key itself, or its hash, is nowhere.
    let objects = fixture.store.list("", None, 100).await.unwrap();
    let mut is_named = false;
    for object in &objects {
        let text = fixture.store.get(&object.key, 1 << 20).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&text);
        is_named |= object.key.ends_with("request.json") && text.contains("\"by\":\"key-0\"");
        assert!(!text.contains(&fixture.keys[0].key) && !text.contains(&fixture.keys[0].hash[7..]), "{}", object.key);
    }
    assert!(is_named);
}

#[tokio::test]
async fn a_job_has_no_owner_where_no_api_keys_are_set() {
    let fixture = fixture(&[]).await;
    let response = fixture.client.post("/process-request?date=2024-05-01").send().await.0;
    let job: Value = serde_json::from_str(&response.into_body().into_string().await.unwrap()).unwrap();
    assert!(job.get("by").is_none());
}

#[tokio::test]
async fn idempotency_keys_are_scoped_by_api_key() {
    let fixture = fixture(&[&["submit", "read"], &["submit"]]).await;
    let date = json!({ "date": "2024-05-01" });
    let (status, first) = fixture.submit(0, "may-1", "buses", date.clone()).await;
    assert_eq!(status, 202);
    let (status, second) = fixture.submit(1, "may-1", "buses", date.clone()).await;
    assert_eq!((status, &second["by"]), (202, &json!("key-1")));
    assert_ne!(first["id"], second["id"]);
    // Another body is no conflict with a job that the caller must not see.
    let (status, third) = fixture.submit(1, "may-2", "buses", date.clone()).await;
    assert_eq!((status, &third["state"]), (202, &json!("queued")));
    let (status, fourth) = fixture.submit(0, "may-2", "buses", json!({ "date": "2024-05-02" })).await;
    assert_eq!(status, 202, "{fourth}");
    for (key, job) in [(0, &first), (1, &second)] {
        let (status, again) = fixture.submit(key, "may-1", "buses", date.clone()).await;
        assert_eq!((status, &again["id"]), (202, &job["id"]));
        let path = format!("/v1/jobs/{}/cancel", job["id"].as_str().unwrap());
        assert_eq!(fixture.post(key, &path, None).await.0, 200);
    }
}

#[tokio::test]
async fn idempotency_keys_are_scoped_by_route() {
    for scopes in [&[][..], &[&["submit", "read"][..]]] {
        let fixture = fixture(scopes).await;
        let (status, job) = fixture.submit(0, "collect/x", "weather", json!({ "id": "other" })).await;
        assert_eq!(status, 202, "{job}");
        let (status, collection) = fixture.post(0, "/collect/", Some(json!({ "id": "x" }))).await;
        assert_eq!((status, &collection["id"]), (202, &json!("x")), "{collection}");
        assert_eq!(fixture.get(0, "/get/?id=x").await.0, 200);
        for _ in 0..2 {
            assert_eq!(fixture.post(0, "/collect/", Some(json!({ "id": "x" }))).await.0, 202);
        }
        let jobs = fixture.get(0, "/v1/jobs?source=weather").await.1;
        assert_eq!(jobs["jobs"].as_array().unwrap().len(), 2, "{jobs}");
    }
}

#[tokio::test]
async fn a_collection_is_that_of_the_api_key() {
    let fixture = fixture(&[&["submit", "read"], &["submit", "read"]]).await;
    assert_eq!(fixture.post(0, "/collect/", Some(json!({ "id": "x" }))).await.0, 202);
    assert_eq!((fixture.get(0, "/get/?id=x").await.0, fixture.get(1, "/get/?id=x").await.0), (200, 404));
    assert_eq!(fixture.post(1, "/collect/", Some(json!({ "id": "x" }))).await.0, 202);
    assert_eq!(fixture.get(0, "/v1/jobs").await.1["jobs"].as_array().unwrap().len(), 2);
}
