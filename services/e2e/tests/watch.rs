//! What is there to be watched: `/metrics` says what happened, in labels that are bounded, and the dashboard and the
//! alerts name nothing that is not there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::Value;
use waybill_e2e::{Exposition, Mode, Named, System, grouped, named, wait_until};
use waybill_upstream::{CityFault, Options};

const DAY: &str = "2024-05-01";

/// What a label may be called, and what its value may be made of: names that we or the operator chose, never an id.
const LABELS: [&str; 17] = [
    "action",
    "connection",
    "queue",
    "le",
    "method",
    "operation",
    "outcome",
    "reason",
    "route",
    "source",
    "state",
    "status",
    "version",
    // What Prometheus adds.
    "job",
    "instance",
    "alertname",
    "severity",
];

fn small() -> Options {
    Options { cities: 6, countries: 3, records: 200, ..Options::default() }
}

async fn scrape(url: &str) -> Exposition {
    let answer = reqwest::get(format!("{url}/metrics")).await.expect("an answer");
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    Exposition::parse(&answer.text().await.expect("a text"))
}

/// All processes together, as a query that sums over them sees it.
async fn scrape_all(system: &System) -> Exposition {
    let mut all = Exposition::default();
    for (_, process) in &system.processes {
        all.samples.extend(scrape(&process.url).await.samples);
    }
    all
}

/// Scrapes until something is so: a count follows what it counts by a moment.
async fn scrape_until(system: &System, what: &str, so: impl Fn(&Exposition) -> bool) -> Exposition {
    wait_until(what, async || Some(scrape_all(system).await).filter(|page| so(page))).await
}

async fn counts_agree_with_the_job(mode: Mode) {
    let system = System::start(mode, small()).await;
    let before = scrape_all(&system).await;
    for (name, labels) in [
        ("waybill_tasks_total", [("source", "buses"), ("outcome", "stored")].as_slice()),
        ("waybill_fetched_bytes_total", &[("source", "weather")]),
        ("waybill_jobs_ended_total", &[("source", "buses"), ("state", "failed")]),
        ("waybill_auth_failures_total", &[("reason", "unknown")]),
    ] {
        let is_shown = before.samples.iter().any(|sample| sample.name == name);
        assert!(is_shown && before.sum(name, labels) == 0.0, "{name} begins at 0");
    }
    let job = system.fetch_buses(DAY).await;
    assert_eq!(job["state"], "succeeded", "{job:#}");
    let number = |value: &Value| value.as_f64().expect("a number");
    let buses = [("source", "buses")];
    let page = scrape_until(&system, "all six tasks to be counted", |page| {
        page.sum("waybill_tasks_total", &[("source", "buses"), ("outcome", "stored")]) == 6.0
    })
    .await;
    assert_eq!(page.sum("waybill_tasks_total", &buses), 6.0, "and nothing else");
    assert_eq!(page.sum("waybill_plans_total", &[("source", "buses"), ("outcome", "planned")]), 1.0);
    assert_eq!(page.sum("waybill_jobs_submitted_total", &buses), 1.0);
    assert_eq!(page.sum("waybill_jobs_ended_total", &[("source", "buses"), ("state", "succeeded")]), 1.0);
    assert_eq!(page.sum("waybill_fetched_bytes_total", &buses), number(&job["bytes"]));
    assert_eq!(page.sum("waybill_records_total", &buses), number(&job["records"]));
    assert_eq!(page.sum("waybill_upstream_responses_total", &[("source", "buses"), ("status", "200")]), 7.0);
    for histogram in ["fetch", "check", "store"] {
        assert_eq!(page.sum(&format!("waybill_{histogram}_duration_seconds_count"), &buses), 6.0, "{histogram}");
    }
    assert_eq!(page.sum("waybill_queue_wait_seconds_count", &[("queue", "tasks.buses")]), 6.0);
    let waited = page.sum("waybill_queue_wait_seconds_sum", &[]);
    assert!(waited > 0.0 && waited < 60.0, "seven messages waited {waited} s together");
    assert!(page.sum("waybill_s3_requests_total", &[("operation", "PutObject"), ("outcome", "ok")]) >= 6.0);
    let services = if mode == Mode::OneProcess { 1.0 } else { 4.0 };
    assert_eq!(page.sum("waybill_build_info", &[]), services);
    let connected = if mode == Mode::OneProcess { 1.0 } else { 6.0 };
    assert_eq!(page.sum("waybill_queue_connected", &[]), connected);

    // The same once more: nothing new is stored. Then a file that is not as it should be, and one that is not there.
    system.upstream.set_city_fault(1, CityFault::Html);
    system.upstream.set_city_fault(2, CityFault::Status(404));
    system.fetch_buses(DAY).await;
    scrape_until(&system, "every outcome to be counted", |page| {
        let tasks = |outcome| page.sum("waybill_tasks_total", &[("source", "buses"), ("outcome", outcome)]);
        (tasks("unchanged"), tasks("rejected"), tasks("failed")) == (4.0, 1.0, 1.0)
            && page.sum("waybill_quarantined_files_total", &buses) == 1.0
    })
    .await;

    // What a client or an upstream chose is in no label.
    let id = job["id"].as_str().expect("an id");
    for path in [&format!("/v1/jobs/{id}"), &format!("/v1/jobs/{id}x"), "/nothing/here", "/v1/sources?x=y"] {
        system.send(Method::GET, &system.api, path, None).await;
    }
    labels_are_bounded(&scrape_all(&system).await);
}

fn labels_are_bounded(page: &Exposition) {
    let mut series: BTreeMap<&str, usize> = BTreeMap::new();
    for sample in &page.samples {
        *series.entry(&sample.name).or_default() += 1;
        for (label, value) in &sample.labels {
            assert!(LABELS.contains(&label.as_str()), "{sample:?}");
            let is_pattern = label == "route" || label == "version" || label == "le";
            let is_name = value.len() <= 30 && value.chars().all(|c| c.is_ascii_alphanumeric() || "._-+".contains(c));
            // A job's id, a hash, a date: all have more digits than a status.
            let digits = value.chars().filter(char::is_ascii_digit).count();
            assert!(is_pattern || (is_name && digits <= 3), "{sample:?}");
            assert!(label != "route" || digits <= 2, "{sample:?}");
        }
    }
    for (name, count) in series {
        assert!(count <= 1_000, "{name} has {count} series");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_agree_with_the_job_in_one_process() {
    counts_agree_with_the_job(Mode::OneProcess).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_agree_with_the_job_apart() {
    counts_agree_with_the_job(Mode::Apart).await;
}

fn observe() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../compose/observe")
}

/// Every query of the dashboard and of the alerts, by where it is.
fn queries() -> Vec<(String, String)> {
    let read = |file: &str| fs::read_to_string(observe().join(file)).expect("a file");
    let dashboard: Value = serde_json::from_str(&read("grafana/dashboard.json")).expect("a dashboard is JSON");
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            queries.push((text(&panel["title"]), text(&target["expr"])));
        }
    }
    // An alert is everything from its name to the next: its runbook names metrics too.
    let alerts = read("alerts.yml");
    let alerts = alerts.split("- alert: ").skip(1).map(|alert| {
        let (name, rest) = alert.split_once('\n').expect("a name");
        (name.to_owned(), rest.to_owned())
    });
    queries.extend(alerts);
    queries
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_and_the_alerts_name_what_is_there() {
    let system = System::start(Mode::OneProcess, small()).await;
    system.fetch_buses(DAY).await;
    let page = scrape_until(&system, "the housekeeper to look", |page| {
        page.sum("waybill_housekeeper_actions_total", &[("action", "looked")]) > 0.0
    })
    .await;
    let mut there: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for sample in &page.samples {
        // A runbook names a histogram as a whole.
        let family = sample.name.strip_suffix("_bucket");
        for name in std::iter::once(sample.name.as_str()).chain(family) {
            there.entry(name).or_default().extend(sample.labels.keys().map(String::as_str));
        }
    }
    let queries = queries();
    assert!(queries.len() > 40, "{} queries", queries.len());
    let from_prometheus = ["job", "instance"];
    for (place, query) in &queries {
        let mut labels: BTreeSet<&str> = from_prometheus.into();
        for Named { metric, labels: chosen } in named(query) {
            let Some(exposed) = there.get(metric.as_str()) else {
                panic!("{place} names {metric}, which is not there")
            };
            labels.extend(exposed);
            for label in chosen {
                let is_there = exposed.contains(label.as_str()) || from_prometheus.contains(&label.as_str());
                assert!(is_there, "{place} chooses {metric} by {label}, which it does not have");
            }
        }
        for label in grouped(query) {
            assert!(labels.contains(label.as_str()), "{place} groups by {label}, which nothing in it has");
        }
    }
    // Every family of ours is in the dashboard: what nobody can see need not be counted.
    let shown: String = queries.iter().map(|(_, query)| query.as_str()).collect::<Vec<_>>().join("\n");
    for name in there.keys() {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(shown.contains(family), "{name} is on no panel and in no alert");
    }
}
