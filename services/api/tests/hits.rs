//! Simulated endpoints, and tests that a process sends to itself, over a port.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::{Arc, Mutex};

use reqwest::Client;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use waybill_api::HitsApi;
use waybill_web::{ApiKeys, AppConfig, HitCounter, KeySettings, NewKey, Probes, Serving, app, serve};

struct Port {
    url: String,
    hits: Arc<Mutex<Vec<String>>>,
    key: Option<String>,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
    http: Client,
}

impl Port {
    async fn open(with_key: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let hits = Arc::new(Mutex::new(Vec::new()));
        let counter = Arc::clone(&hits);
        let key = with_key.then(|| NewKey::random().unwrap());
        let settings = key.iter().map(|key| KeySettings {
            name: "tester".to_owned(),
            scopes: vec!["read".to_owned(), "submit".to_owned()],
            hash: key.hash.clone(),
            rate: None,
        });
        let config = AppConfig {
            keys: ApiKeys::new(&settings.collect::<Vec<_>>()).unwrap(),
            hits: HitCounter::new(move |path| counter.lock().unwrap().push(path.to_owned())),
            ..AppConfig::default()
        };
        let probes = Probes { checks: Vec::new(), warnings: Vec::new(), shutdown: stop.clone() };
        let app = app(HitsApi::new(&url, stop.clone()).unwrap(), probes, config);
        let serving = tokio::spawn(serve(listener, app, Serving::default(), stop.clone()));
        Self { url, hits, key: key.map(|key| key.key), stop, serving, http: Client::new() }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let request = match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let response = request.send().await.unwrap();
        (response.status().as_u16(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
    }

    async fn test(&self, n: &str) -> (u16, Value) {
        self.send(self.http.post(format!("{}/test/{n}/", self.url))).await
    }

    fn simulated(&self) -> usize {
        self.hits.lock().unwrap().iter().filter(|path| path.starts_with("/api/")).count()
    }
}

#[tokio::test]
async fn a_test_sends_exactly_so_many_requests_with_the_key_of_whoever_asked() {
    for with_key in [false, true] {
        let port = Port::open(with_key).await;
        let (status, run) = port.test("500").await;
        assert_eq!(status, 200, "{run}");
        assert_eq!(run, serde_json::json!({"requested": 500, "answered": 500, "succeeded": 500, "failed": 0}));
        assert_eq!(port.simulated(), 500);
        assert_eq!(port.hits.lock().unwrap().len(), 501);
    }
}

#[tokio::test]
async fn a_number_that_cannot_be_sent_is_refused() {
    let port = Port::open(false).await;
    let mut problems = Vec::new();
    for n in ["0", "-1", "1000001", "1000000000000", "99999999999999999999999", "abc", "+5", "1.5", "%20"] {
        let (status, problem) = port.test(n).await;
        problems.push(format!("{status} {}", problem["detail"].as_str().unwrap()));
    }
    insta::assert_snapshot!(problems.join("\n"), @r#"
    400 parameter `n`: expected a number from 1 to 1000000, found "0"
    400 parameter `n`: expected a number from 1 to 1000000, found "-1"
    400 parameter `n`: expected a number from 1 to 1000000, found "1000001"
    400 parameter `n`: expected a number from 1 to 1000000, found "1000000000000"
    400 parameter `n`: expected a number from 1 to 1000000, found "99999999999999999999999"
    400 parameter `n`: expected a number from 1 to 1000000, found "abc"
    400 parameter `n`: expected a number from 1 to 1000000, found "+5"
    400 parameter `n`: expected a number from 1 to 1000000, found "1.5"
    400 parameter `n`: expected a number from 1 to 1000000, found " "
    "#);
    assert_eq!(port.simulated(), 0);
}

#[tokio::test]
async fn one_test_runs_at_a_time_and_ends_with_the_process() {
    let port = Port::open(false).await;
    let long = tokio::spawn(port.http.post(format!("{}/test/1000000/", port.url)).send());
    let begun = std::time::Instant::now();
    while port.simulated() == 0 {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "the test begins");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let (status, problem) = port.test("1").await;
    assert_eq!((status, problem["type"].as_str().unwrap()), (409, "/problems/test-running"));
    port.stop.cancel();
    tokio::time::timeout(std::time::Duration::from_secs(20), port.serving).await.unwrap().unwrap().unwrap();
    let run: Value = serde_json::from_str(&long.await.unwrap().unwrap().text().await.unwrap()).unwrap();
    assert!(run["answered"].as_u64().unwrap() < 1_000_000, "{run}");
}

#[tokio::test]
async fn every_path_below_api_answers() {
    let port = Port::open(false).await;
    for path in ["/api/a", "/api/a/b/c/d/e/f/", "/api/v1/file", "/api/a%2Fb", "/api/a?x=y&x=z"] {
        let (status, answer) = port.send(port.http.get(format!("{}{path}", port.url))).await;
        assert_eq!((status, answer), (200, serde_json::json!({"ok": true})), "{path}");
    }
    for (path, status) in [("/api", 404), ("/api//a", 404), ("/api/%ff", 400), ("/other", 404)] {
        assert_eq!(port.send(port.http.get(format!("{}{path}", port.url))).await.0, status, "{path}");
    }
    assert_eq!(port.send(port.http.post(format!("{}/api/a", port.url))).await.0, 405);
    let hits = port.hits.lock().unwrap();
    assert!(hits.iter().any(|path| path == "/api/%ff") && hits.iter().any(|path| path == "/api//a"), "{hits:?}");
}
