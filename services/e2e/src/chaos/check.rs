//! What must be true once all has settled.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    chaos::{
        Report,
        canceller::{Canceller, act},
        dead,
        fleet::Fleet,
        submitter::DATES,
    },
    reference_country_stats,
};

/// The housekeeper looks every 30 s, and may just have begun.
const SWEPT_WITHIN: Duration = Duration::from_secs(90);

/// Waits until every accepted job is terminal.
pub(super) async fn settle(fleet: &Fleet, accepted: &[String], deadline: Duration, report: &mut Report, promise: &str) {
    let start = Instant::now();
    let mut open: BTreeSet<&String> = accepted.iter().collect();
    let mut last = BTreeMap::new();
    while !open.is_empty() && start.elapsed() < deadline {
        for id in open.clone() {
            if let Some(job) = fleet.get("api", &format!("/v1/jobs/{id}")).await {
                let state = job["state"].as_str().unwrap_or_default().to_owned();
                if ["succeeded", "partial", "failed", "cancelled"].contains(&state.as_str()) {
                    open.remove(id);
                } else {
                    last.insert(id, job["tasks"].to_string());
                }
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    report.expect(open.is_empty(), promise, || {
        let left: Vec<_> = open.iter().map(|id| format!("{id} {:?}", last.get(*id))).collect();
        format!("{} are not: {}", left.len(), left.join(", "))
    });
}

/// Every promise that can be checked from outside.
pub(super) async fn all(fleet: &Fleet, accepted: &[String], canceller: &Canceller, report: &mut Report) {
    dead::check(fleet, report).await;
    retries(fleet, accepted, report).await;
    outcomes(fleet, accepted, canceller, report).await;
    statistics(fleet, report).await;
    objects(fleet, report).await;
    index(fleet, report).await;
    let requests = fleet.upstream.requests();
    let promise = format!("{} requests kept the upstream's limit", requests.weather);
    report.expect(requests.violations == 0, &promise, || format!("{} did not", requests.violations));
}

/// What failed while things were broken succeeds when it is retried.
async fn retries(fleet: &Fleet, accepted: &[String], report: &mut Report) {
    let mut failed = Vec::new();
    for id in accepted {
        let job = get_when_up(fleet, "api", &format!("/v1/jobs/{id}")).await.unwrap_or_default();
        if job["state"] == "partial" || job["state"] == "failed" {
            act(fleet, failed.len(), id, "retry").await;
            failed.push(id.clone());
        }
    }
    let promise = format!("the {} jobs of which something had failed end when they are retried", failed.len());
    settle(fleet, &failed, Duration::from_secs(180), report, &promise).await;
}

/// Every job has succeeded, or somebody cancelled it; and the journals in the bucket say the same as the API.
async fn outcomes(fleet: &Fleet, accepted: &[String], canceller: &Canceller, report: &mut Report) {
    let mut done: BTreeMap<String, u64> = BTreeMap::new();
    for outcome in fleet.journaled().await {
        if outcome["done"].is_object() {
            *done.entry(outcome["job"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    let (mut tasks, mut cancelled, mut wrong) = (0, 0, Vec::new());
    for id in accepted {
        let Some(job) = get_when_up(fleet, "api", &format!("/v1/jobs/{id}")).await else {
            wrong.push(format!("{id} cannot be read"));
            continue;
        };
        let count = |name: &str| job["tasks"][name].as_u64().unwrap_or_default();
        let (ended, recorded) = (count("stored") + count("unchanged"), done.get(id).copied().unwrap_or_default());
        tasks += count("total");
        let is_right = match job["state"].as_str().unwrap_or_default() {
            "succeeded" => count("total") == ended && count("failed") + count("pending") == 0,
            // An outcome may come after the end of a job: its task ran when it was cancelled.
            "cancelled" => {
                cancelled += 1;
                canceller.perhaps_cancelled.contains(id) && ended <= recorded
            }
            _ => false,
        };
        let is_granted =
            !canceller.cancelled.contains(id) || job["state"] == "cancelled" || job["state"] == "succeeded";
        if !is_right || !is_granted || (job["state"] == "succeeded" && ended != recorded) {
            wrong.push(format!("{id}: {}, {}, {recorded} in the journal", job["state"], job["tasks"]));
        }
    }
    let promise = format!(
        "every one of {tasks} tasks has exactly one outcome, but for those of {cancelled} cancelled jobs; every other \
         job succeeded"
    );
    report.expect(wrong.is_empty(), &promise, || wrong.join(", "));
}

/// After one more quiet fetch of every date, statistics are what the upstream serves now.
async fn statistics(fleet: &Fleet, report: &mut Report) {
    let mut ids = Vec::new();
    for date in DATES {
        let body = json!({ "source": "buses", "params": { "date": date } });
        let Some(url) = fleet.url("api", 0) else { continue };
        if let Ok(response) = fleet.http.post(format!("{url}/v1/jobs")).json(&body).send().await
            && let Ok(job) = response.json::<Value>().await
        {
            ids.extend(job["id"].as_str().map(str::to_owned));
        }
    }
    settle(fleet, &ids, Duration::from_secs(120), report, "a quiet fetch of every date ends").await;
    let expected = reference_country_stats(fleet.upstream.base_url(), &DATES, &[]).await;
    let found = get_when_up(fleet, "stats", &format!("/country-stats?from={}&to={}", DATES[0], DATES[5])).await;
    report.expect(found.as_ref() == Some(&expected), "statistics equal an independent computation", || {
        format!("expected {expected}, found {found:?}")
    });
}

/// No object without metadata, and one object for each city and date, once the sweep has gone through.
async fn objects(fleet: &Fleet, report: &mut Report) {
    let start = Instant::now();
    let (keys, superseded) = loop {
        let keys = fleet.bucket.keys("data/").await;
        let mut items: BTreeMap<&str, u32> = BTreeMap::new();
        for key in &keys {
            // `{item}.{fetched at}.{fraction}-{hash}.json`
            *items.entry(key.rsplitn(4, '.').last().unwrap_or_default()).or_default() += 1;
        }
        let superseded: Vec<_> = items.iter().filter(|(_, n)| **n > 1).map(|(item, _)| (*item).to_owned()).collect();
        if superseded.is_empty() || start.elapsed() > SWEPT_WITHIN {
            break (keys, superseded);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    let mut bare = Vec::new();
    for key in &keys {
        let (_, metadata) = fleet.bucket.read(key).await;
        if !metadata.contains_key("sha256")
            || !(["bus-count", "cities", "rows"].iter().any(|name| metadata.contains_key(*name)))
        {
            bare.push(key.clone());
        }
    }
    report.expect(bare.is_empty(), &format!("all {} objects have their metadata", keys.len()), || bare.join(", "));
    report.expect(superseded.is_empty(), "no superseded object is left", || superseded.join(", "));
}

/// The index says what the objects say.
async fn index(fleet: &Fleet, report: &mut Report) {
    for arguments in [&["rebuild", "buses"], &["rebuild", "weather"], &["rebuild", "relay"]] {
        let source = arguments[1];
        let (code, text) = fleet.command(arguments).await;
        let agrees = code == Some(0) && text.contains("The two did not differ.");
        report.expect(agrees, &format!("the index of {source} is what data/ makes of it"), || text);
    }
}

pub(super) async fn get_when_up(fleet: &Fleet, target: &str, path: &str) -> Option<Value> {
    for _ in 0..20 {
        if let Some(answer) = fleet.get(target, path).await {
            return Some(answer);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    None
}
