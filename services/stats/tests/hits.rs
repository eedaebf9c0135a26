//! Counts of requests over HTTP, on an embedded store.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use jiff::Timestamp;
use poem::{EndpointExt, Response, endpoint::BoxEndpoint, test::TestClient};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use waybill_hits::{Hits, Metrics};
use waybill_stats::HitStatsApi;
use waybill_store::{Embedded, Store};
use waybill_web::{AppConfig, HitCounter, Probes, app};

/// A process, at a time of its own.
struct Process {
    client: TestClient<BoxEndpoint<'static, Response>>,
    hits: Hits,
    stop: CancellationToken,
    flushing: JoinHandle<()>,
}

impl Process {
    fn start(store: &Store, now: fn() -> Timestamp) -> Self {
        let (hits, flusher) = Hits::new(store.clone(), Metrics::default(), now);
        let stop = CancellationToken::new();
        let flushing = tokio::spawn(flusher.run(stop.clone()));
        let counter = hits.clone();
        let config = AppConfig { hits: HitCounter::new(move |path| counter.count(path)), ..AppConfig::default() };
        let probes = Probes { checks: Vec::new(), warnings: Vec::new(), shutdown: CancellationToken::new() };
        let client = TestClient::new(app(HitStatsApi::new(hits.clone()), probes, config).boxed());
        Self { client, hits, stop, flushing }
    }

    async fn get(&self, path: &str) -> String {
        let response = self.client.get(path).send().await.0;
        let status = response.status().as_u16();
        let text = response.into_body().into_string().await.unwrap();
        if status == 200 { text } else { format!("{status} {text}") }
    }

    async fn end(self) {
        self.stop.cancel();
        self.flushing.await.unwrap();
    }
}

fn first_day() -> Timestamp {
    "2024-05-01T23:59:59Z".parse().unwrap()
}

fn second_day() -> Timestamp {
    "2024-05-02T00:00:00Z".parse().unwrap()
}

async fn bucket() -> (TempDir, Store) {
    let folder = TempDir::new().unwrap();
    let store = Embedded::open(folder.path()).await.unwrap().store("test").unwrap();
    (folder, store)
}

#[tokio::test]
async fn counts_are_told_by_day_prefix_and_limit_and_outlive_their_processes() {
    let (_folder, store) = bucket().await;
    let process = Process::start(&store, first_day);
    for path in ["/api/b", "/api/a/", "/api/b?x=y", "/api/a/", "/quote\"%22/é", "/live"] {
        process.get(path).await;
    }
    insta::assert_snapshot!(process.get("/stats/").await.trim_end(), @r#"{"/api/a/": 2, "/api/b": 2, "/live": 1, "/quote\"%22/é": 1, "/stats/": 1}"#);
    process.end().await;

    let process = Process::start(&store, second_day);
    process.hits.count("/api/b");
    let range = process.get("/stats/?from=2024-05-01&to=2024-05-02&prefix=/api/").await;
    insta::assert_snapshot!(range.trim_end(), @r#"{"/api/b": 3, "/api/a/": 2}"#);
    insta::assert_snapshot!(process.get("/stats?day=2024-05-02&limit=2").await.trim_end(), @r#"{"/api/b": 1, "/stats": 1}"#);
    assert_eq!(process.get("/stats?day=2024-04-30").await, "{}\n");
    assert_eq!(process.get("/stats?limit=1&to=2024-05-01").await, "{\"/api/a/\": 2}\n");
    process.end().await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_said() {
    let (_folder, store) = bucket().await;
    let process = Process::start(&store, first_day);
    let mut problems = Vec::new();
    for query in [
        "day=2024-02-30",
        "day=2024-05-01&from=2024-05-01",
        "day=2024-05-01&to=2024-05-01",
        "from=2024-05-02&to=2024-05-01",
        "to=yesterday",
        "limit=-1",
        "limit=x",
        "days=2024-05-01",
    ] {
        let text = process.get(&format!("/stats/?{query}")).await;
        let (status, problem) = text.split_once(' ').unwrap();
        let problem: serde_json::Value = serde_json::from_str(problem).unwrap();
        problems.push(format!("{status} {}", problem["detail"].as_str().unwrap()));
    }
    insta::assert_snapshot!(problems.join("\n"), @r#"
    400 parameter `day`: expected a date such as 2024-05-01, found "2024-02-30"
    400 parameter `from`: expected `day`, or `from` and `to`, not both, found "2024-05-01"
    400 parameter `to`: expected `day`, or `from` and `to`, not both, found "2024-05-01"
    400 parameter `to`: expected a day not before `from` (2024-05-02), found 2024-05-01
    400 parameter `to`: expected a date such as 2024-05-01, found "yesterday"
    400 parameter `limit`: expected an integer, found "-1"
    400 parameter `limit`: expected an integer, found "x"
    400 parameter `days`: unknown; this route has only `day`, `from`, `to`, `prefix`, `limit`
    "#);
    process.end().await;
}

#[tokio::test]
async fn a_long_answer_is_whole() {
    let (_folder, store) = bucket().await;
    let process = Process::start(&store, first_day);
    (0..20_000).for_each(|n| process.hits.count(&format!("/api/{n}/{}", "x".repeat(40))));
    let counts: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&process.get("/stats/?prefix=/api/").await).unwrap();
    assert_eq!(counts.len(), 20_000);
    assert!(counts.values().all(|count| count == 1));
    process.end().await;
}
