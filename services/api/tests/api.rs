//! Jobs over HTTP, on a ledger in an embedded store: what a client sees.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use poem::{
    Endpoint, Response,
    endpoint::BoxEndpoint,
    http::StatusCode,
    test::{TestClient, TestRequestBuilder},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use waybill_api::JobsApi;
use waybill_ledger::{Done, Failure, JobId, Ledger, MissingItem, Outcome, Plan};
use waybill_queue::{Consumer, Lock, Message, Queue, QueueError, QueueName};
use waybill_source::{Catalog, Env, Item};
use waybill_store::{Embedded, Store};
use waybill_web::{AppConfig, Probes, app};

/// 2024-05-01T08:00:00Z, in seconds.
const MORNING: i64 = 1_714_550_400;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(MORNING + second).unwrap()
}

/// The clock of every test: ten seconds past eight.
fn now() -> Timestamp {
    at(10)
}

/// A second source, of another shape.
const HARBOURS: &str = r#"
name     = "harbours"
title    = "Ships by harbour"
base_url = "http://127.0.0.1:8000"
params   = [{ name = "harbour", type = "string" }, { name = "year", type = "integer" }]

[[items]]
name    = "pier"
path    = "/piers"
records = "$[*]"
key     = "{{ pier.id }}"
fields  = [{ name = "id", type = "integer" }]

[fetch]
path        = "/piers/{{ pier.id }}"
format      = "ndjson"
concurrency = 2
timeout     = "PT1M"
max_bytes   = "1 GB"

[record]
fields = [{ name = "ship", type = "string", constraints = { required = true } }]

[stats]
ships = "count"

[store]
partition = ["harbour={{ params.harbour }}"]
"#;

struct Fixture {
    client: TestClient<BoxEndpoint<'static, Response>>,
    ledger: Ledger,
    store: Store,
    folder: TempDir,
    _embedded: Embedded,
}

fn serving(store: &Store, queue: Arc<dyn Queue>) -> (TestClient<BoxEndpoint<'static, Response>>, Ledger) {
    serving_also(store, queue, HARBOURS)
}

/// With a definition beside the shipped ones.
fn serving_also(
    store: &Store,
    queue: Arc<dyn Queue>,
    definition: &str,
) -> (TestClient<BoxEndpoint<'static, Response>>, Ledger) {
    let ledger = Ledger::new(store.clone(), queue);
    let mut catalog = Catalog::shipped();
    catalog.insert_text("other.toml", definition).unwrap();
    let jobs = JobsApi::new(ledger.clone(), Arc::new(catalog), &Env::new(), now);
    let probes = Probes { checks: Vec::new(), warnings: Vec::new(), shutdown: CancellationToken::new() };
    (TestClient::new(poem::EndpointExt::boxed(app(jobs, probes, AppConfig::default()))), ledger)
}

impl Fixture {
    async fn new() -> Self {
        Self::on(Arc::new(waybill_queue::Embedded::new(1000))).await
    }

    async fn on(queue: Arc<dyn Queue>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let embedded = Embedded::open(&folder.path().join("s3")).await.unwrap();
        let store = embedded.store("waybill").unwrap();
        let (client, ledger) = serving(&store, queue);
        Self { client, ledger, store, folder, _embedded: embedded }
    }

    /// The same bucket, served by a process that remembers nothing.
    fn restarted(self) -> Self {
        let (client, ledger) = serving(&self.store, Arc::new(waybill_queue::Embedded::new(1000)));
        Self { client, ledger, ..self }
    }

    async fn get(&self, path: &str) -> Answer {
        Answer::of(self.client.get(path)).await
    }

    async fn post(&self, path: &str) -> Answer {
        Answer::of(self.client.post(path)).await
    }

    async fn submit(&self, body: impl ToString) -> Answer {
        Answer::of(self.client.post("/v1/jobs").content_type("application/json").body(body.to_string())).await
    }

    async fn submit_as(&self, key: &[u8], date: &str) -> Answer {
        let body = json!({ "source": "buses", "params": { "date": date } }).to_string();
        let request = self.client.post("/v1/jobs").content_type("application/json").body(body);
        Answer::of(request.header("Idempotency-Key", key)).await
    }

    /// A job of the source `buses` that was accepted.
    async fn job(&self) -> JobId {
        self.post("/process-request?date=2024-05-01").await.id()
    }

    /// A job with this many tasks, of which none has begun.
    async fn planned(&self, tasks: usize) -> JobId {
        let job = self.job().await;
        self.ledger.record_start(job, at(0)).await.unwrap();
        let item = |n| Item { key: format!("{n}-city-{n}"), ..Item::default() };
        let plan = Plan { planned: at(1), tasks: (0..tasks).map(|n| vec![item(n)]).collect() };
        self.ledger.record_plan(job, plan).await.unwrap();
        job
    }

    fn done_with(task: u32, outcome: Outcome) -> Done {
        let object = format!("data/buses/country=chile/date=2024-05-01/{task}-city-{task}.json");
        let (finished, missing) = (at(5), Vec::new());
        Done {
            outcome,
            object,
            bytes: 1_000,
            records: 10,
            seconds: 0.25,
            attempts: 1,
            finished,
            missing,
            rows: None,
            quarantine: None,
        }
    }

    async fn done(&self, job: JobId, task: u32, outcome: Outcome) {
        self.ledger.record_done(job, task, 0, &Self::done_with(task, outcome)).await.unwrap();
    }

    /// A task that ended well in a round, but for its item, which the upstream does not have.
    async fn incomplete(&self, job: JobId, task: u32, round: u32) {
        let reason = "the upstream answered 404 Not Found".to_owned();
        let missing = vec![MissingItem { item: format!("{task}-city-{task}"), reason }];
        let done = Done { missing, ..Self::done_with(task, Outcome::Stored) };
        self.ledger.record_done(job, task, round, &done).await.unwrap();
    }

    async fn failed(&self, job: JobId, task: u32) {
        let quarantine = Some(format!("quarantine/buses/country=chile/date=2024-05-01/{task}-city-{task}.report.json"));
        let reason = "record 3, byte 211, field `passengers`: expected an integer, found \"many\"".to_owned();
        let failure = Failure { reason, quarantine, attempts: 2, finished: at(6) };
        self.ledger.record_failure(job, task, 0, &failure).await.unwrap();
    }
}

/// What came back.
#[derive(Debug, PartialEq)]
struct Answer {
    status: StatusCode,
    headers: BTreeMap<String, String>,
    body: Value,
}

impl Answer {
    async fn of(request: TestRequestBuilder<'_, impl Endpoint>) -> Self {
        let response = request.send().await.0;
        let status = response.status();
        let header = |name: &&str| Some(((*name).to_owned(), response.header(name)?.to_owned()));
        let headers: BTreeMap<_, _> = ["location", "link", "preference-applied", "retry-after", "content-type"]
            .iter()
            .filter_map(header)
            .collect();
        let problem = headers["content-type"] == "application/problem+json";
        assert_eq!(problem, status.is_client_error() || status.is_server_error());
        Self { status, headers, body: response.into_body().into_json().await.unwrap() }
    }

    fn id(&self) -> JobId {
        self.body["id"].as_str().unwrap().parse().unwrap()
    }

    /// Status, headers and body, with `ID` for the job's id and `HASH` for its definition's.
    fn text(&self) -> String {
        let mut text = format!("{}\n", self.status);
        for (name, value) in self.headers.iter().filter(|(name, _)| *name != "content-type") {
            text += &format!("{name}: {value}\n");
        }
        text += &serde_json::to_string_pretty(&self.body).unwrap();
        for (name, word) in [("id", "ID"), ("definition", "HASH")] {
            if let Some(value) = self.body[name].as_str() {
                text = text.replace(value, word);
            }
        }
        text
    }

    /// A problem in one line.
    fn problem(&self) -> String {
        let field = |name: &str| self.body[name].as_str().unwrap_or("-").to_owned();
        assert_eq!(self.body["status"], self.status.as_u16());
        assert!(self.body["title"].is_string());
        format!("{} {} [{}] {}", self.status.as_u16(), field("type"), field("parameter"), field("detail"))
    }
}

#[tokio::test]
async fn a_client_that_would_wait_is_answered_when_the_job_has_ended() {
    let fixture = Fixture::new().await;
    let ask = async |wait: &str| {
        let begun = std::time::Instant::now();
        let request = fixture.client.post("/process-request?date=2024-05-01").header("Prefer", wait);
        (Answer::of(request).await, begun.elapsed())
    };
    // Nobody works on it.
    let (answer, elapsed) = ask("wait=1").await;
    assert_eq!(
        (answer.status, answer.headers.get("preference-applied").map(String::as_str)),
        (StatusCode::ACCEPTED, None)
    );
    assert!(elapsed >= Duration::from_secs(1) && elapsed < Duration::from_secs(20), "{elapsed:?}");

    let plan = async {
        loop {
            let jobs = fixture.ledger.jobs(&Default::default(), None, 10).await.unwrap().jobs;
            if let Some(job) = jobs.into_iter().map(|status| status.request.job).find(|job| *job != answer.id()) {
                return fixture.ledger.record_plan(job, Plan { planned: at(1), tasks: Vec::new() }).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let ((answer, elapsed), _) = tokio::join!(ask("respond-async, wait=60"), plan);
    assert_eq!(
        (answer.status, answer.headers.get("preference-applied").map(String::as_str)),
        (StatusCode::OK, Some("wait=60"))
    );
    assert_eq!((&answer.body["state"], elapsed < Duration::from_secs(50)), (&json!("succeeded"), true));
    assert!(answer.headers.get("location").is_some_and(|location| location.ends_with(&answer.id().to_string())));
}

#[tokio::test]
async fn a_job_is_accepted_at_once() {
    let fixture = Fixture::new().await;
    let answer = fixture.submit(json!({ "source": "buses", "params": { "date": "2024-05-01" } })).await;
    insta::assert_snapshot!(answer.text(), @r#"
    202 Accepted
    location: /v1/jobs/ID
    {
      "bytes": 0,
      "created": "2024-05-01T08:00:10Z",
      "definition": "HASH",
      "errors": [],
      "eta_seconds": null,
      "finished": null,
      "id": "ID",
      "links": {
        "cancel": "/v1/jobs/ID/cancel",
        "self": "/v1/jobs/ID",
        "statistics": "/v1/stats/buses?from=2024-05-01&to=2024-05-01",
        "tasks": "/v1/jobs/ID/tasks"
      },
      "params": {
        "date": "2024-05-01"
      },
      "rate": null,
      "records": 0,
      "source": "buses",
      "started": null,
      "state": "queued",
      "tasks": {
        "failed": 0,
        "pending": 0,
        "stored": 0,
        "total": 0,
        "unchanged": 0
      },
      "waits": []
    }
    "#);
    assert_eq!(answer.headers["location"], format!("/v1/jobs/{}", answer.id()));
    let watched = fixture.get(&answer.headers["location"]).await;
    assert_eq!((watched.status, &watched.body), (StatusCode::OK, &answer.body));
    assert_eq!(watched.headers["retry-after"], "1");
}

#[tokio::test]
async fn parameters_may_be_json_of_any_scalar_kind() {
    let fixture = Fixture::new().await;
    let answer = fixture.submit(json!({ "source": "harbours", "params": { "harbour": true, "year": 2024 } })).await;
    assert_eq!(answer.body["params"], json!({ "harbour": "true", "year": "2024" }));
    assert_eq!(
        answer.body["links"],
        json!({
            "self": format!("/v1/jobs/{}", answer.id()),
            "cancel": format!("/v1/jobs/{}/cancel", answer.id()),
            "tasks": format!("/v1/jobs/{}/tasks", answer.id()),
        })
    );
}

/// Defaults are those of the moment, save for a request that comes again under its key.
#[tokio::test]
async fn a_job_goes_on_where_an_earlier_one_ended_and_a_repeated_request_is_the_first() {
    let rates = include_str!("../../source/tests/definitions/rates.toml");
    let rates = rates.replace("2024-04-29", "{{ previous.to | default('2024-04-20') }}");
    let mut fixture = Fixture::new().await;
    let queue = Arc::new(waybill_queue::Embedded::new(1000));
    (fixture.client, fixture.ledger) = serving_also(&fixture.store, queue, &rates);
    let submit = async |key: &str, params: Value| {
        let body = json!({ "source": "rates", "params": params }).to_string();
        let request = fixture.client.post("/v1/jobs").content_type("application/json").body(body);
        Answer::of(request.header("Idempotency-Key", key)).await
    };
    let shown = |answer: &Answer| {
        let param = |name: &str| answer.body["params"][name].as_str().unwrap_or_default().to_owned();
        format!("{} {} to {}", answer.status.as_u16(), param("from"), param("to"))
    };
    let first = submit("first", json!({})).await;
    assert_eq!(shown(&first), "202 2024-04-20 to 2024-05-01");
    assert_eq!(shown(&submit("second", json!({ "to": "2024-04-30" })).await), "202 2024-04-20 to 2024-04-30");

    fixture.ledger.record_start(first.id(), at(1)).await.unwrap();
    fixture.ledger.record_plan(first.id(), Plan { planned: at(1), tasks: Vec::new() }).await.unwrap();
    assert_eq!(fixture.get(&format!("/v1/jobs/{}", first.id())).await.body["state"], "succeeded");
    let again = submit("first", json!({})).await;
    assert_eq!((again.id(), shown(&again).as_str()), (first.id(), "202 2024-04-20 to 2024-05-01"));
    assert_eq!(shown(&submit("third", json!({})).await), "202 2024-05-01 to 2024-05-01");
    let other = submit("first", json!({ "from": "2024-04-21" })).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    let sources = fixture.get("/v1/sources/rates").await;
    assert_eq!(sources.body["params"][1], json!({ "name": "to", "type": "date", "default": "{{ job.date }}" }));
}

#[tokio::test]
async fn one_key_is_one_job() {
    let fixture = Fixture::new().await;
    let (one, two) =
        tokio::join!(fixture.submit_as(b"nightly", "2024-05-01"), fixture.submit_as(b"nightly", "2024-05-01"));
    assert_eq!((one.status, two.status), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
    assert_eq!(one.id(), two.id());

    fixture.ledger.record_start(one.id(), at(1)).await.unwrap();
    let later = fixture.submit_as(b"nightly", "2024-05-01").await;
    assert_eq!((later.status, later.id(), &later.body["state"]), (StatusCode::ACCEPTED, one.id(), &json!("planning")));

    let other = fixture.submit_as(b"nightly", "2024-05-02").await.problem().replace(&one.id().to_string(), "ID");
    insta::assert_snapshot!(other, @"422 /problems/idempotency-key-reused [Idempotency-Key] this Idempotency-Key belongs to job ID, which was asked for something else; expected a fresh key, or the same body as before");
    assert_eq!(fixture.get("/v1/jobs").await.body["jobs"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_is_1_to_255_visible_characters() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.submit_as(&[b'~'; 255], "2024-05-01").await.status, StatusCode::ACCEPTED);
    let refused = async |key: &[u8]| fixture.submit_as(key, "2024-05-01").await.problem();
    insta::assert_snapshot!(refused(b"").await, @r#"400 /problems/invalid-parameter [Idempotency-Key] parameter `Idempotency-Key`: expected 1 to 255 visible ASCII characters, found """#);
    insta::assert_snapshot!(refused(&[b'k'; 256]).await, @"400 /problems/invalid-parameter [Idempotency-Key] parameter `Idempotency-Key`: expected 1 to 255 visible ASCII characters, found 256 bytes");
    insta::assert_snapshot!(refused(b"two words").await, @r#"400 /problems/invalid-parameter [Idempotency-Key] parameter `Idempotency-Key`: expected 1 to 255 visible ASCII characters, found "two words""#);
    insta::assert_snapshot!(refused("schlüssel".as_bytes()).await, @r#"400 /problems/invalid-parameter [Idempotency-Key] parameter `Idempotency-Key`: expected 1 to 255 visible ASCII characters, found "schlüssel""#);
    insta::assert_snapshot!(refused(b"\xff").await, @r#"400 /problems/invalid-parameter [Idempotency-Key] parameter `Idempotency-Key`: expected 1 to 255 visible ASCII characters, found "�""#);
    let body = json!({ "source": "buses", "params": { "date": "2024-05-01" } }).to_string();
    let twice = fixture.client.post("/v1/jobs").content_type("application/json").body(body);
    let twice = Answer::of(twice.header("Idempotency-Key", "a").header("Idempotency-Key", "b")).await;
    insta::assert_snapshot!(twice.problem(), @"400 /problems/invalid-parameter [Idempotency-Key] parameter `Idempotency-Key`: expected 1 to 255 visible ASCII characters, found more than one");
}

#[tokio::test]
async fn each_request_for_a_date_is_a_job() {
    let fixture = Fixture::new().await;
    let one = fixture.post("/process-request?date=2024-05-01").await;
    let two = fixture.post("/process-request?date=2024-05-01").await;
    assert_eq!((one.status, two.status), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
    assert_ne!(one.id(), two.id());
    assert_eq!(one.headers["location"], format!("/v1/jobs/{}", one.id()));
    assert_eq!(one.body["params"], json!({ "date": "2024-05-01" }));
}

#[tokio::test]
async fn bad_requests_make_no_job() {
    let fixture = Fixture::new().await;
    let post = async |path: &str| fixture.post(path).await.problem();
    insta::assert_snapshot!(post("/process-request").await, @"400 /problems/invalid-parameter [date] parameter `date`: expected a date such as 2024-05-01, found nothing");
    insta::assert_snapshot!(post("/process-request?date=").await, @r#"400 /problems/invalid-parameter [date] parameter `date`: expected a date such as 2024-05-01, in the years 1900 to 2199, found """#);
    insta::assert_snapshot!(post("/process-request?date=2024-02-30").await, @r#"400 /problems/invalid-parameter [date] parameter `date`: expected a date such as 2024-05-01, in the years 1900 to 2199, found "2024-02-30""#);
    insta::assert_snapshot!(post("/process-request?date=01.05.2024").await, @r#"400 /problems/invalid-parameter [date] parameter `date`: expected a date such as 2024-05-01, in the years 1900 to 2199, found "01.05.2024""#);
    insta::assert_snapshot!(post("/process-request?date=2024-05-01&city=1").await, @"400 /problems/invalid-parameter [city] parameter `city`: unknown; this route has only `date`");
    insta::assert_snapshot!(post("/process-request?date=2024-05-01&date=2024-05-02").await, @r#"400 /problems/invalid-parameter [date] parameter `date`: expected it once, found a second "2024-05-02""#);

    let submit = async |body: &str| fixture.submit(body).await.problem();
    insta::assert_snapshot!(submit(r#"{"source":"buses"}"#).await, @"400 /problems/invalid-parameter [params.date] parameter `params.date`: expected a date such as 2024-05-01, in the years 1900 to 2199, found nothing");
    insta::assert_snapshot!(submit(r#"{"source":"buses","params":{"date":"2024-02-30"}}"#).await, @r#"400 /problems/invalid-parameter [params.date] parameter `params.date`: expected a date such as 2024-05-01, in the years 1900 to 2199, found "2024-02-30""#);
    insta::assert_snapshot!(submit(r#"{"source":"buses","params":{"date":20240501}}"#).await, @r#"400 /problems/invalid-parameter [params.date] parameter `params.date`: expected a date such as 2024-05-01, in the years 1900 to 2199, found "20240501""#);
    insta::assert_snapshot!(submit(r#"{"source":"buses","params":{"date":"2024-05-01","city":"1"}}"#).await, @"400 /problems/invalid-parameter [params.city] parameter `params.city`: expected only `date`, found a parameter that this source does not take");
    insta::assert_snapshot!(submit(r#"{"source":"trams","params":{"date":"2024-05-01"}}"#).await, @r#"404 /problems/unknown-source [source] there is no source called "trams"; expected one of `buses`, `harbours`, `relay`, `weather`"#);
    insta::assert_snapshot!(submit(r#"{"source":"buses","params":{"date":null}}"#).await, @"422 /problems/invalid-body [params.date] `params.date`: invalid type: null, expected a string, an integer or a boolean at line 1 column 39");
    insta::assert_snapshot!(submit(r#"{"source":"buses","params":{"date":["2024-05-01"]}}"#).await, @"422 /problems/invalid-body [params.date] `params.date`: invalid type: sequence, expected a string, an integer or a boolean at line 1 column 36");
    insta::assert_snapshot!(submit(r#"{"source":"harbours","params":{"harbour":"x","year":1.5}}"#).await, @"422 /problems/invalid-body [params.year] `params.year`: invalid type: floating point `1.5`, expected a string, an integer or a boolean at line 1 column 55");
    insta::assert_snapshot!(submit(r#"{"source":"buses","params":{"date":"2024-05-01","date":"2024-05-02"}}"#).await, @"422 /problems/invalid-body [params.date] `params.date`: expected it once, found it twice at line 1 column 68");
    insta::assert_snapshot!(submit(r#"{"source":"buses","params":["2024-05-01"]}"#).await, @"422 /problems/invalid-body [params] `params`: invalid type: sequence, expected an object of names and values at line 1 column 27");
    insta::assert_snapshot!(submit(r#"{"source":5,"params":{}}"#).await, @"422 /problems/invalid-body [source] `source`: invalid type: integer `5`, expected a string at line 1 column 11");
    insta::assert_snapshot!(submit(r#"{"params":{"date":"2024-05-01"}}"#).await, @"422 /problems/invalid-body [source] missing field `source` at line 1 column 32");
    insta::assert_snapshot!(submit(r#"{"source":"buses","parms":{"date":"2024-05-01"}}"#).await, @"422 /problems/invalid-body [parms] unknown field `parms`, expected one of `source`, `params`, `upload` at line 1 column 25");
    insta::assert_snapshot!(submit("date=2024-05-01").await, @"400 /problems/invalid-body [-] the body is not JSON: expected value at line 1 column 1");
    insta::assert_snapshot!(submit(r#"["buses"]"#).await, @"422 /problems/invalid-body [-] the body is JSON, but no object");

    let form = fixture.client.post("/v1/jobs").content_type("application/x-www-form-urlencoded").body("source=buses");
    insta::assert_snapshot!(Answer::of(form).await.problem(), @r#"415 /problems/unsupported-media-type [Content-Type] header `Content-Type`: expected application/json, text/csv or application/x-ndjson, found "application/x-www-form-urlencoded""#);
    let large = json!({ "source": "buses", "params": { "date": "x".repeat(1 << 20) } }).to_string();
    let large = fixture.client.post("/v1/jobs").content_type("application/json").body(large);
    insta::assert_snapshot!(Answer::of(large).await.problem(), @"413 /problems/payload-too-large [-] the body is too large; expected at most 1048576 bytes");
    insta::assert_snapshot!(Answer::of(fixture.client.get("/process-request?date=2024-05-01")).await.problem(), @"405 /problems/method-not-allowed [-] /process-request has no GET; expected POST");
    insta::assert_snapshot!(Answer::of(fixture.client.delete("/v1/jobs")).await.problem(), @"405 /problems/method-not-allowed [-] /v1/jobs has no DELETE; expected GET, HEAD, POST");

    assert_eq!(fixture.get("/v1/jobs").await.body, json!({ "jobs": [], "next_page_token": null }));
}

#[tokio::test]
async fn invalid_query_parameters_are_refused_with_what_was_expected() {
    let fixture = Fixture::new().await;
    let get = async |path: &str| fixture.get(path).await.problem();
    insta::assert_snapshot!(get("/v1/jobs/last").await, @r#"400 /problems/invalid-parameter [id] parameter `id`: expected a job id, which is a UUID of version 7 such as 018f3253-7a40-7c21-9d5e-6b1f0a2c4e88, found "last""#);
    insta::assert_snapshot!(get("/v1/jobs/16fd2706-8baf-433b-82eb-8c7fada847da").await, @r#"400 /problems/invalid-parameter [id] parameter `id`: expected a job id, which is a UUID of version 7 such as 018f3253-7a40-7c21-9d5e-6b1f0a2c4e88, found "16fd2706-8baf-433b-82eb-8c7fada847da""#);
    insta::assert_snapshot!(get("/v1/jobs/018f3253-7a40-7c21-9d5e-6b1f0a2c4e88").await, @"404 /problems/not-found [id] there is no job 018f3253-7a40-7c21-9d5e-6b1f0a2c4e88");
    insta::assert_snapshot!(get("/v1/jobs/018f3253-7a40-7c21-9d5e-6b1f0a2c4e88/tasks").await, @"404 /problems/not-found [id] there is no job 018f3253-7a40-7c21-9d5e-6b1f0a2c4e88");
    insta::assert_snapshot!(get("/v1/jobs/018f3253-7a40-7c21-9d5e-6b1f0a2c4e88/tasks?state=done").await, @r#"400 /problems/invalid-parameter [state] parameter `state`: expected one of `pending`, `stored`, `unchanged`, `failed`, found "done""#);
    insta::assert_snapshot!(get("/v1/jobs/018f3253-7a40-7c21-9d5e-6b1f0a2c4e88/tasks?limit=1001").await, @r#"400 /problems/invalid-parameter [limit] parameter `limit`: expected at most 1000, found "1001""#);
    insta::assert_snapshot!(get("/v1/jobs/018f3253-7a40-7c21-9d5e-6b1f0a2c4e88/tasks?page_token=x").await, @r#"400 /problems/invalid-parameter [page_token] parameter `page_token`: expected a `next_page_token` of the page before, found "x""#);
    insta::assert_snapshot!(get("/v1/jobs?state=asleep").await, @r#"400 /problems/invalid-parameter [state] parameter `state`: expected one of `queued`, `planning`, `running`, `succeeded`, `partial`, `failed`, `cancelled`, `damaged`, found "asleep""#);
    insta::assert_snapshot!(get("/v1/jobs?source=trams").await, @r#"404 /problems/unknown-source [source] there is no source called "trams"; expected one of `buses`, `harbours`, `relay`, `weather`"#);
    insta::assert_snapshot!(get("/v1/jobs?limit=0").await, @r#"400 /problems/invalid-parameter [limit] parameter `limit`: expected at least 1, found "0""#);
    insta::assert_snapshot!(get("/v1/jobs?limit=ten").await, @r#"400 /problems/invalid-parameter [limit] parameter `limit`: expected an integer, found "ten""#);
    insta::assert_snapshot!(get("/v1/jobs?page_token=2").await, @r#"400 /problems/invalid-parameter [page_token] parameter `page_token`: expected a `next_page_token` of the page before, found "2""#);
    insta::assert_snapshot!(get("/v1/jobs?sort=age").await, @"400 /problems/invalid-parameter [sort] parameter `sort`: unknown; this route has only `source`, `state`, `page_token`, `limit`");
    insta::assert_snapshot!(get("/v1/sources/trams").await, @r#"404 /problems/unknown-source [source] there is no source called "trams"; expected one of `buses`, `harbours`, `relay`, `weather`"#);
}

#[tokio::test]
async fn a_job_is_watched_until_it_ends() {
    let fixture = Fixture::new().await;
    let job = fixture.planned(4).await;
    let path = format!("/v1/jobs/{job}");
    fixture.done(job, 0, Outcome::Stored).await;
    let running = fixture.get(&path).await;
    insta::assert_snapshot!(running.text(), @r#"
    200 OK
    retry-after: 1
    {
      "bytes": 1000,
      "created": "2024-05-01T08:00:10Z",
      "definition": "HASH",
      "errors": [],
      "eta_seconds": 30.0,
      "finished": null,
      "id": "ID",
      "links": {
        "cancel": "/v1/jobs/ID/cancel",
        "self": "/v1/jobs/ID",
        "statistics": "/v1/stats/buses?from=2024-05-01&to=2024-05-01",
        "tasks": "/v1/jobs/ID/tasks"
      },
      "params": {
        "date": "2024-05-01"
      },
      "rate": {
        "bytes_per_second": 100.0,
        "records_per_second": 1.0
      },
      "records": 10,
      "source": "buses",
      "started": "2024-05-01T08:00:00Z",
      "state": "running",
      "tasks": {
        "failed": 0,
        "pending": 3,
        "stored": 1,
        "total": 4,
        "unchanged": 0
      },
      "waits": []
    }
    "#);

    fixture.done(job, 1, Outcome::Unchanged).await;
    fixture.failed(job, 2).await;
    fixture.failed(job, 3).await;
    let ended = fixture.get(&path).await;
    assert!(!ended.headers.contains_key("retry-after"));
    insta::assert_snapshot!(ended.text(), @r#"
    200 OK
    {
      "bytes": 2000,
      "created": "2024-05-01T08:00:10Z",
      "definition": "HASH",
      "errors": [
        {
          "items": [
            "2-city-2"
          ],
          "quarantine": "quarantine/buses/country=chile/date=2024-05-01/2-city-2.report.json",
          "reason": "record 3, byte 211, field `passengers`: expected an integer, found \"many\"",
          "task": 2
        },
        {
          "items": [
            "3-city-3"
          ],
          "quarantine": "quarantine/buses/country=chile/date=2024-05-01/3-city-3.report.json",
          "reason": "record 3, byte 211, field `passengers`: expected an integer, found \"many\"",
          "task": 3
        }
      ],
      "eta_seconds": null,
      "finished": "2024-05-01T08:00:06Z",
      "id": "ID",
      "links": {
        "retry": "/v1/jobs/ID/retry",
        "self": "/v1/jobs/ID",
        "statistics": "/v1/stats/buses?from=2024-05-01&to=2024-05-01",
        "tasks": "/v1/jobs/ID/tasks"
      },
      "params": {
        "date": "2024-05-01"
      },
      "rate": {
        "bytes_per_second": 333.333,
        "records_per_second": 3.333
      },
      "records": 20,
      "source": "buses",
      "started": "2024-05-01T08:00:00Z",
      "state": "partial",
      "tasks": {
        "failed": 2,
        "pending": 0,
        "stored": 1,
        "total": 4,
        "unchanged": 1
      },
      "waits": []
    }
    "#);
}

#[tokio::test]
async fn tasks_come_in_pages() {
    let fixture = Fixture::new().await;
    let job = fixture.planned(5).await;
    fixture.done(job, 0, Outcome::Stored).await;
    fixture.failed(job, 3).await;
    let mut path = format!("/v1/jobs/{job}/tasks?limit=2");
    let mut numbers = Vec::new();
    loop {
        let page = fixture.get(&path).await;
        let tasks = page.body["tasks"].as_array().unwrap();
        numbers.push(tasks.iter().map(|task| task["task"].as_u64().unwrap()).collect::<Vec<_>>());
        let Some(link) = page.headers.get("link") else {
            assert_eq!(page.body["next_page_token"], Value::Null);
            break;
        };
        path = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
        assert!(path.ends_with(page.body["next_page_token"].as_str().unwrap()));
    }
    assert_eq!(numbers, [vec![0, 1], vec![2, 3], vec![4]]);
    insta::assert_snapshot!(fixture.get(&format!("/v1/jobs/{job}/tasks?state=stored")).await.text(), @r#"
    200 OK
    {
      "next_page_token": null,
      "tasks": [
        {
          "attempts": 1,
          "bytes": 1000,
          "finished": "2024-05-01T08:00:05Z",
          "items": [
            "0-city-0"
          ],
          "object": "data/buses/country=chile/date=2024-05-01/0-city-0.json",
          "quarantine": null,
          "reason": null,
          "records": 10,
          "seconds": 0.25,
          "state": "stored",
          "task": 0
        }
      ]
    }
    "#);
    insta::assert_snapshot!(fixture.get(&format!("/v1/jobs/{job}/tasks?state=failed")).await.text(), @r#"
    200 OK
    {
      "next_page_token": null,
      "tasks": [
        {
          "attempts": 2,
          "bytes": null,
          "finished": "2024-05-01T08:00:06Z",
          "items": [
            "3-city-3"
          ],
          "object": null,
          "quarantine": "quarantine/buses/country=chile/date=2024-05-01/3-city-3.report.json",
          "reason": "record 3, byte 211, field `passengers`: expected an integer, found \"many\"",
          "records": null,
          "seconds": null,
          "state": "failed",
          "task": 3
        }
      ]
    }
    "#);
    let queued = fixture.job().await;
    assert_eq!(
        fixture.get(&format!("/v1/jobs/{queued}/tasks")).await.body,
        json!({ "tasks": [], "next_page_token": null })
    );
}

#[tokio::test]
async fn jobs_come_newest_first_in_pages() {
    let fixture = Fixture::new().await;
    let mut made = Vec::new();
    for n in 0..5 {
        made.push(if n % 2 == 0 { fixture.planned(1).await } else { fixture.job().await });
    }
    made.reverse();
    let walk = async |query: &str| {
        let (mut path, mut ids) = (format!("/v1/jobs?{query}"), Vec::new());
        loop {
            let page = fixture.get(&path).await;
            ids.extend(page.body["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()));
            let Some(link) = page.headers.get("link") else { break ids };
            path = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
        }
    };
    let made: Vec<String> = made.iter().map(ToString::to_string).collect();
    assert_eq!(walk("limit=2").await, made);
    assert_eq!(walk("").await, made);
    assert_eq!(walk("state=running&limit=1").await, [&made[0], &made[2], &made[4]].map(String::clone));
    assert_eq!(walk("source=buses&state=queued").await, [&made[1], &made[3]].map(String::clone));
    assert_eq!(walk("source=harbours").await, [""; 0]);
}

#[tokio::test]
async fn sources_show_their_parameters_and_statistics() {
    let fixture = Fixture::new().await;
    let list = fixture.get("/v1/sources").await.body;
    let hash = list["sources"][0]["definition"].as_str().unwrap();
    assert_eq!(hash, Catalog::shipped().get("buses").unwrap().hash());
    let buses = serde_json::to_string_pretty(&list["sources"][0]).unwrap().replace(hash, "HASH");
    insta::assert_snapshot!(buses, @r#"
    {
      "definition": "HASH",
      "lacks": [],
      "links": {
        "jobs": "/v1/jobs?source=buses",
        "self": "/v1/sources/buses"
      },
      "name": "buses",
      "params": [
        {
          "name": "date",
          "type": "date"
        }
      ],
      "partition": [
        "country",
        "date"
      ],
      "statistics": [
        "bus_count",
        "passenger_count",
        "exist_accident",
        "average_delay_s"
      ],
      "title": "Bus departures of every city on one day"
    }
    "#);
    assert_eq!(list["sources"][1]["name"], "harbours");
    let one = fixture.get("/v1/sources/harbours").await.body;
    assert_eq!(one["text"], HARBOURS);
    assert_eq!(one["params"], json!([{ "name": "harbour", "type": "string" }, { "name": "year", "type": "integer" }]));
}

#[tokio::test]
async fn an_unavailable_store_is_a_503() {
    let fixture = Fixture::new().await;
    let job = fixture.job().await;
    // Nothing can be kept or found below what is a file.
    std::fs::remove_dir_all(fixture.folder.path().join("s3")).unwrap();
    std::fs::write(fixture.folder.path().join("s3"), "").unwrap();
    let begun = std::time::Instant::now();
    let away = fixture.post("/process-request?date=2024-05-02").await;
    assert!(begun.elapsed().as_secs() < 3);
    insta::assert_snapshot!(away.text(), @r#"
    503 Service Unavailable
    retry-after: 2
    {
      "detail": "the object store does not answer at the moment; the same request may succeed later",
      "retry_after": 2,
      "status": 503,
      "title": "Unavailable",
      "type": "/problems/unavailable"
    }
    "#);
    for path in ["/v1/jobs", &format!("/v1/jobs/{job}"), &format!("/v1/jobs/{job}/tasks")] {
        assert_eq!(fixture.get(path).await.body, away.body, "{path}");
    }
}

/// A broker that neither takes a message nor says so.
#[derive(Debug)]
struct Stuck;

#[async_trait]
impl Queue for Stuck {
    async fn publish(&self, _: &QueueName, _: &Message, _: Duration) -> Result<(), QueueError> {
        std::future::pending().await
    }

    async fn consume(&self, _: &QueueName, _: u16) -> Result<Box<dyn Consumer>, QueueError> {
        Err(QueueError::Closed)
    }

    async fn dead_letter(&self, _: &QueueName, _: &Message, _: &str) -> Result<(), QueueError> {
        Err(QueueError::Closed)
    }

    async fn try_lock(&self, _: &str) -> Result<Option<Lock>, QueueError> {
        Err(QueueError::Closed)
    }

    async fn waiting(&self, _: &QueueName) -> Result<u64, QueueError> {
        Err(QueueError::Closed)
    }

    async fn check(&self) -> Result<(), QueueError> {
        Err(QueueError::Closed)
    }

    fn is_durable(&self) -> bool {
        false
    }

    async fn close(&self) {}
}

#[tokio::test]
async fn a_job_is_accepted_while_the_broker_is_unavailable() {
    let fixture = Fixture::on(Arc::new(Stuck)).await;
    let begun = std::time::Instant::now();
    let accepted = fixture.post("/process-request?date=2024-05-01").await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(fixture.get(&accepted.headers["location"]).await.body["state"], "queued");
}

/// A problem about a job, with `ID` for its id.
async fn refused(fixture: &Fixture, job: JobId, action: &str) -> String {
    fixture.post(&format!("/v1/jobs/{job}/{action}")).await.problem().replace(&job.to_string(), "ID")
}

#[tokio::test]
async fn failed_tasks_are_retried() {
    let fixture = Fixture::new().await;
    let job = fixture.planned(2).await;
    insta::assert_snapshot!(refused(&fixture, job, "retry").await, @"409 /problems/job-not-finished [id] job ID is running; what fails of it can be retried once it has ended");
    fixture.done(job, 0, Outcome::Stored).await;
    fixture.failed(job, 1).await;
    let path = format!("/v1/jobs/{job}");
    let ended = fixture.get(&path).await.body;
    assert_eq!((&ended["state"], &ended["links"]["cancel"]), (&json!("partial"), &Value::Null));

    let retried = fixture.post(ended["links"]["retry"].as_str().unwrap()).await;
    assert_eq!((retried.status, &retried.headers["location"]), (StatusCode::ACCEPTED, &path));
    assert_eq!((retried.id(), &retried.body["state"]), (job, &json!("running")));
    assert_eq!(retried.body["tasks"], json!({ "total": 2, "pending": 1, "stored": 1, "unchanged": 0, "failed": 0 }));
    assert_eq!(retried.body["links"]["retry"], Value::Null);
    assert_eq!(retried.body, fixture.get(&path).await.body);
    insta::assert_snapshot!(refused(&fixture, job, "retry").await, @"409 /problems/job-not-finished [id] job ID is running; what fails of it can be retried once it has ended");

    fixture.done(job, 1, Outcome::Stored).await;
    assert_eq!(fixture.get(&path).await.body["links"]["retry"], Value::Null);
    insta::assert_snapshot!(refused(&fixture, job, "retry").await, @"409 /problems/nothing-to-retry [id] nothing of job ID failed, and no item is known to be missing");
}

#[tokio::test]
async fn missing_items_are_retried() {
    let fixture = Fixture::new().await;
    let job = fixture.planned(2).await;
    fixture.done(job, 0, Outcome::Stored).await;
    fixture.incomplete(job, 1, 0).await;
    let path = format!("/v1/jobs/{job}");
    let ended = fixture.get(&path).await.body;
    assert_eq!((&ended["state"], &ended["errors"][0]["items"]), (&json!("partial"), &json!(["1-city-1"])));
    let retry = ended["links"]["retry"].as_str().unwrap().to_owned();
    let retried = fixture.post(&retry).await;
    assert_eq!((retried.status, &retried.body["state"]), (StatusCode::ACCEPTED, &json!("running")), "{retried:?}");
    assert_eq!(retried.body["tasks"], json!({ "total": 2, "pending": 1, "stored": 1, "unchanged": 0, "failed": 0 }));

    fixture.incomplete(job, 1, 1).await;
    assert_eq!(fixture.get(&path).await.body["state"], "partial");
    assert_eq!(fixture.post(&retry).await.body["state"], "running");
    fixture.done(job, 1, Outcome::Stored).await;
    let ended = fixture.get(&path).await.body;
    assert_eq!(
        (&ended["state"], &ended["links"]["retry"], &ended["errors"]),
        (&json!("succeeded"), &Value::Null, &json!([]))
    );
    assert_eq!(ended["bytes"], 2_000);
}

/// Garbage, empty, truncated, JSON of another shape, and more than is ever read.
fn damages() -> [Vec<u8>; 7] {
    let garbage = b"\x00\xffgarbage".to_vec();
    [garbage, Vec::new(), b"{\"job\":".to_vec(), b"[]".to_vec(), b"null".to_vec(), b"{}".to_vec(), vec![b' '; 3 << 20]]
}

#[tokio::test]
async fn a_damaged_object_is_named_and_other_jobs_are_shown() {
    for name in ["request.json", "plan.json"] {
        for damage in damages() {
            let fixture = Fixture::new().await;
            let well = fixture.planned(1).await;
            let damaged = fixture.planned(2).await;
            fixture.done(damaged, 0, Outcome::Stored).await;
            fixture.failed(damaged, 1).await;
            let key = format!("jobs/2024-05-01/{damaged}/{name}");
            fixture.store.put(&key, "application/json", damage.into()).await.unwrap();
            // Another process, which remembers nothing.
            let fixture = fixture.restarted();
            for path in ["/v1/jobs", "/v1/jobs?state=damaged", "/v1/jobs?source=buses", "/v1/jobs?state=running"] {
                let page = fixture.get(path).await;
                assert_eq!(page.status, StatusCode::OK, "{path}: {:?}", page.body);
                let jobs = page.body["jobs"].as_array().unwrap().clone();
                let is_listed = |job: JobId| jobs.iter().any(|it| it["id"] == json!(job));
                assert_eq!(is_listed(well), !path.contains("damaged"), "{path}");
                let is_known = name != "request.json" || !path.contains("source");
                assert_eq!(is_listed(damaged), is_known && !path.contains("running"), "{path}: {name}");
            }
            let job = fixture.get(&format!("/v1/jobs/{damaged}")).await;
            assert_eq!((job.status, &job.body["state"]), (StatusCode::OK, &json!("damaged")));
            assert_eq!(job.headers.get("retry-after"), None);
            let reason = job.body["errors"][0]["reason"].as_str().unwrap();
            assert!(reason.starts_with(&key) && reason.len() < 400, "{reason}");
            if name == "request.json" || name == "plan.json" {
                let problem = refused(&fixture, damaged, "retry").await;
                assert!(problem.starts_with("500 /problems/damaged-object") && problem.contains(name), "{problem}");
            }
        }
    }
}

#[tokio::test]
async fn a_damaged_summary_is_made_again() {
    for damage in damages() {
        let fixture = Fixture::new().await;
        let job = fixture.planned(1).await;
        fixture.done(job, 0, Outcome::Stored).await;
        let key = format!("jobs/2024-05-01/{job}/summary.json");
        fixture.store.put(&key, "application/json", damage.into()).await.unwrap();
        assert_eq!(fixture.get("/v1/jobs").await.body["jobs"][0]["state"], "succeeded");
    }
}

#[tokio::test]
async fn a_job_is_cancelled_for_good() {
    let fixture = Fixture::new().await;
    let job = fixture.planned(2).await;
    fixture.done(job, 0, Outcome::Stored).await;
    let path = format!("/v1/jobs/{job}");
    let cancel = fixture.get(&path).await.body["links"]["cancel"].as_str().unwrap().to_owned();
    let cancelled = fixture.post(&cancel).await;
    assert_eq!((cancelled.status, &cancelled.body["state"]), (StatusCode::OK, &json!("cancelled")));
    assert_eq!(cancelled.body["finished"], "2024-05-01T08:00:10Z");
    assert_eq!(cancelled.body["tasks"], json!({ "total": 2, "pending": 1, "stored": 1, "unchanged": 0, "failed": 0 }));
    let links = &cancelled.body["links"];
    assert_eq!((&links["cancel"], &links["retry"]), (&Value::Null, &Value::Null));
    assert_eq!(fixture.get(&path).await.body, cancelled.body);
    assert_eq!(fixture.post(&cancel).await.body, cancelled.body);
    insta::assert_snapshot!(refused(&fixture, job, "retry").await, @"409 /problems/job-cancelled [id] job ID was cancelled, for good; submit a new one instead");
}

#[tokio::test]
async fn a_refused_retry_or_cancel_says_why() {
    let fixture = Fixture::new().await;
    let job = fixture.planned(1).await;
    fixture.failed(job, 0).await;
    insta::assert_snapshot!(refused(&fixture, job, "cancel").await, @"409 /problems/job-finished [id] job ID has ended, as failed; there is nothing left to cancel");
    let job = fixture.planned(0).await;
    insta::assert_snapshot!(refused(&fixture, job, "cancel").await, @"409 /problems/job-finished [id] job ID has ended, as succeeded; there is nothing left to cancel");
    let unknown: JobId = "018f3253-7a40-7c21-9d5e-6b1f0a2c4e88".parse().unwrap();
    insta::assert_snapshot!(refused(&fixture, unknown, "retry").await, @"404 /problems/not-found [id] there is no job ID");
    insta::assert_snapshot!(refused(&fixture, unknown, "cancel").await, @"404 /problems/not-found [id] there is no job ID");
    insta::assert_snapshot!(fixture.post("/v1/jobs/last/retry").await.problem(), @r#"400 /problems/invalid-parameter [id] parameter `id`: expected a job id, which is a UUID of version 7 such as 018f3253-7a40-7c21-9d5e-6b1f0a2c4e88, found "last""#);
    insta::assert_snapshot!(fixture.post(&format!("/v1/jobs/{job}/cancel?now=1")).await.problem(), @"400 /problems/invalid-parameter [now] parameter `now`: unknown; this route has no query parameters");
    insta::assert_snapshot!(fixture.get(&format!("/v1/jobs/{unknown}/cancel")).await.problem(), @"405 /problems/method-not-allowed [-] /v1/jobs/018f3253-7a40-7c21-9d5e-6b1f0a2c4e88/cancel has no GET; expected POST");
}

#[tokio::test]
async fn retry_and_cancel_at_once_agree() {
    let fixture = Fixture::new().await;
    for _ in 0..10 {
        let job = fixture.planned(1).await;
        fixture.failed(job, 0).await;
        let (retry, cancel) = (format!("/v1/jobs/{job}/retry"), format!("/v1/jobs/{job}/cancel"));
        let (one, two, cancelled) = tokio::join!(fixture.post(&retry), fixture.post(&retry), fixture.post(&cancel));
        let retries = [one.status, two.status];
        assert!(retries.contains(&StatusCode::ACCEPTED), "{retries:?}");
        assert!(retries.iter().all(|it| [StatusCode::ACCEPTED, StatusCode::CONFLICT].contains(it)), "{retries:?}");
        let expected = if cancelled.status == StatusCode::OK { "cancelled" } else { "running" };
        assert_eq!(fixture.get(&format!("/v1/jobs/{job}")).await.body["state"], expected);
    }
}

#[tokio::test]
async fn every_route_is_documented() {
    let fixture = Fixture::new().await;
    let spec = fixture.get("/openapi.json").await.body;
    let mut routes = Vec::new();
    for (path, operations) in spec["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            routes.push(format!("{} {path}: {}", method.to_uppercase(), operation["summary"].as_str().unwrap()));
            let problem = &operation["responses"]["default"]["content"]["application/problem+json"]["schema"]["$ref"];
            let is_probe = ["/live", "/ready"].contains(&path.as_str());
            assert!(is_probe || problem == "#/components/schemas/Problem", "{method} {path}");
            let undescribed = operation["parameters"].as_array().into_iter().flatten();
            assert!(undescribed.clone().all(|parameter| parameter["description"].is_string()), "{method} {path}");
        }
    }
    insta::assert_snapshot!(routes.join("\n"), @"
    GET /live: Whether the process runs.
    POST /process-request: Fetch the buses of a date
    GET /ready: Whether the process is of use now.
    GET /v1/jobs: List jobs
    POST /v1/jobs: Submit a job
    GET /v1/jobs/{id}: Watch a job
    POST /v1/jobs/{id}/cancel: Cancel a job
    GET /v1/jobs/{id}/result: Read how the rows of a job ended
    POST /v1/jobs/{id}/retry: Retry what failed of a job
    GET /v1/jobs/{id}/tasks: List a job's tasks
    GET /v1/sources: List the sources
    GET /v1/sources/{name}: A source and its definition
    POST /v1/uploads: Send a file for a job
    GET /v1/uploads/{id}: A file that a job may name
    ");
    for (action, problems) in
        [("retry", &["job-not-finished", "nothing-to-retry", "job-cancelled"][..]), ("cancel", &["job-finished"][..])]
    {
        let described = spec["paths"][format!("/v1/jobs/{{id}}/{action}")]["post"]["description"].as_str().unwrap();
        assert!(problems.iter().all(|problem| described.contains(&format!("/problems/{problem}"))), "{described}");
    }
    insta::assert_json_snapshot!(spec["components"]["schemas"]["NewJob"], @r#"
    {
      "description": "A job to be made.",
      "properties": {
        "params": {
          "additionalProperties": {
            "anyOf": [
              {
                "type": "string"
              },
              {
                "format": "int64",
                "type": "integer"
              },
              {
                "type": "boolean"
              }
            ]
          },
          "default": {},
          "description": "What the source asks for, by name.",
          "type": "object"
        },
        "source": {
          "description": "The source's name.",
          "type": "string"
        },
        "upload": {
          "description": "The id of the upload whose rows are the job's items, or that is loaded, where the source takes one.",
          "type": "string"
        }
      },
      "required": [
        "source"
      ],
      "title": "NewJob",
      "type": "object"
    }
    "#);
}

#[tokio::test]
async fn a_source_that_lacks_a_variable_takes_no_jobs() {
    let fixture = Fixture::new().await;
    let answer = fixture.submit(json!({ "source": "weather", "params": { "id": "mine" } })).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body["type"], "/problems/source-not-configured");
    let detail = "the source `weather` needs the environment variable `OPENWEATHER_API_KEY`, which is not set here";
    assert_eq!(answer.body["detail"], detail);
    let list = fixture.get("/v1/sources").await.body;
    assert_eq!(
        (&list["sources"][0]["lacks"], &list["sources"][3]["lacks"]),
        (&json!([]), &json!(["OPENWEATHER_API_KEY"]))
    );
    assert_eq!(fixture.get("/v1/jobs").await.body["jobs"], json!([]));
}
