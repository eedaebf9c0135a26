//! A job is one trace, from the request that submitted it to the upload of its last file, in both modes.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::{Value, json};
use waybill_e2e::{Collector, Mode, Span, System, wait_until};
use waybill_upstream::Options;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const CITIES: u64 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_one_trace_in_one_process() {
    a_job_is_one_trace(Mode::OneProcess).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_one_trace_apart() {
    a_job_is_one_trace(Mode::Apart).await;
}

async fn a_job_is_one_trace(mode: Mode) {
    let collector = Collector::start().await;
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.clone()), ("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned())];
    let system = System::start_with(mode, small(), None, &variables).await;
    let id = submit(&system, "01").await;
    assert_eq!(system.finish(&id).await["state"], "succeeded");

    let count = |name: &str| of_the_trace(&collector).iter().filter(|span| span.name == name).count() as u64;
    wait_until("every span to arrive", async || {
        let names = ["POST /v1/jobs", "submit", "plan"];
        (names.iter().all(|name| count(name) == 1) && count("task") == CITIES).then_some(())
    })
    .await;

    let spans = of_the_trace(&collector);
    let one = |name: &str| spans.iter().find(|span| span.name == name).expect("it arrived").clone();
    let children = |parent: &Span, name: &str| {
        spans.iter().filter(|span| span.parent == parent.id && span.name == name).cloned().collect::<Vec<_>>()
    };
    let only = |parent: &Span, name: &str| {
        let mut found = children(parent, name);
        assert_eq!(found.len(), 1, "{name} below {parent:#?}: {spans:#?}");
        found.remove(0)
    };
    let request = one("POST /v1/jobs");
    assert_eq!((request.parent.as_str(), request.kind), (CALLER, 2), "{request:#?}");
    assert_eq!(request.attributes["http.response.status_code"], "202");
    let submit = only(&request, "submit");
    assert_eq!((&submit.attributes["job"], submit.attributes["source"].as_str()), (&id, "buses"));
    let plan = only(&submit, "plan");
    assert_eq!((&plan.attributes["job"], plan.attributes["queue_name"].as_str(), plan.kind), (&id, "plans", 5));
    let tasks = children(&plan, "task");
    let numbers: BTreeSet<_> = tasks.iter().map(|task| task.attributes["task"].clone()).collect();
    assert_eq!(numbers, (0..CITIES).map(|number| number.to_string()).collect());
    for task in &tasks {
        assert_eq!((&task.attributes["job"], task.attributes["outcome"].as_str()), (&id, "stored"), "{task:#?}");
        assert!(task.attributes["item"].starts_with(|first: char| first.is_ascii_digit()), "{task:#?}");
        let fetch = only(task, "fetch");
        assert!(fetch.attributes["path"].starts_with("/cities/") && fetch.kind == 3, "{fetch:#?}");
        assert!(only(&fetch, "check").attributes.contains_key("records"));
        assert!(only(task, "store").attributes["s3_key"].starts_with("data/buses/"));
    }
    let services: BTreeSet<_> = spans.iter().map(|span| span.service.as_str()).collect();
    let expected: &[&str] = if mode == Mode::Apart { &["waybill-api", "waybill-worker"] } else { &["waybill"] };
    assert_eq!(services.into_iter().collect::<Vec<_>>(), expected);
    let queries = collector.spans().into_iter().filter(|span| format!("{span:?}").contains('?'));
    assert_eq!(queries.count(), 0, "no span shows a query");
    assert!(!collector.spans().iter().any(|span| span.name.contains("/ready")), "nobody wants to see probes");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_caller_does_not_sample_is_not_sent() {
    let collector = Collector::start().await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.clone()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned()),
        ("OTEL_SERVICE_NAME", "freight".to_owned()),
    ];
    let mut system = System::start_with(Mode::OneProcess, small(), None, &variables).await;
    let id = submit(&system, "00").await;
    assert_eq!(system.finish(&id).await["state"], "succeeded");
    // Going down sends what is left.
    assert_eq!(system.processes.remove(0).1.terminate().await, Some(0));
    assert!(of_the_trace(&collector).is_empty());
    let names: BTreeSet<_> = collector.spans().into_iter().map(|span| (span.service, span.name)).collect();
    assert!(names.contains(&("freight".to_owned(), "GET /v1/jobs/{id}".to_owned())), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_or_silent_is_not_waited_for() {
    // Takes connections, and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let silent = format!("http://{}", silent.local_addr().expect("an address"));
    for endpoint in ["http://127.0.0.1:9".to_owned(), silent] {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
            ("OTEL_BSP_SCHEDULE_DELAY", "10".to_owned()),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "8".to_owned()),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4".to_owned()),
            ("WAYBILL_TEST_LOG_FILE", log.display().to_string()),
        ];
        let mut system = System::start_with(Mode::OneProcess, small(), None, &variables).await;
        for day in 1..=5 {
            let job = system.fetch_buses(&format!("2024-05-0{day}")).await;
            assert_eq!(job["state"], "succeeded");
        }
        let begun = std::time::Instant::now();
        assert_eq!(system.processes.remove(0).1.terminate().await, Some(0));
        assert!(begun.elapsed().as_secs() < 8, "going down took {:?}", begun.elapsed());
        let log = std::fs::read_to_string(log).expect("a log");
        let told = log.lines().filter(|line| line.contains("collector") || line.contains("dropped a Span")).count();
        assert!((1..=3).contains(&told), "told once, not for every batch: {log}");
    }
}

#[test]
fn what_cannot_be_sent_anywhere_is_refused_by_name() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector.hunter2"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://hunter2@collector"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ] {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), "http://127.0.0.1:9".to_owned());
        let output = waybill_e2e::run(&["up"], &[endpoint, (name.to_owned(), value.to_owned())]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && error.contains(name) && !error.contains("hunter2"), "{error}");
    }
}

fn small() -> Options {
    Options { cities: CITIES, countries: 2, records: 50, ..Options::default() }
}

fn of_the_trace(collector: &Collector) -> Vec<Span> {
    collector.spans().into_iter().filter(|span| span.trace == TRACE).collect()
}

/// Submits a job, as part of a trace that somebody else began; its id.
async fn submit(system: &System, flags: &str) -> String {
    let request = reqwest::Client::new().post(format!("{}/v1/jobs", system.api));
    let request = request.header("traceparent", format!("00-{TRACE}-{CALLER}-{flags}"));
    let body = json!({ "source": "buses", "params": { "date": "2024-05-01" } });
    let answer = request.json(&body).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let body: Value = answer.json().await.expect("a job");
    body["id"].as_str().expect("an id").to_owned()
}
