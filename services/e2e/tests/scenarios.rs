//! What users do, in both modes: the same scenario in one process, and as separate services.

use std::time::Instant;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use waybill_e2e::{Mode, System, reference_country_stats, run, wait_until, weather_definition};
use waybill_upstream::{CityFault, Faults, Options};

/// Runs each scenario once in each mode.
macro_rules! in_both_modes {
    ($($scenario:ident),* $(,)?) => {
        mod one_process {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $scenario() { super::$scenario(Mode::OneProcess).await; })*
        }
        mod apart {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $scenario() { super::$scenario(Mode::Apart).await; })*
        }
    };
}

in_both_modes! {
    three_dates_come_in_and_add_up,
    a_second_fetch_takes_what_changed_and_nothing_else,
    bad_files_go_to_quarantine_and_hold_up_nobody,
    a_passing_fault_is_tried_again,
    one_key_is_one_job,
    bad_requests_make_no_job,
    a_killed_worker_loses_nothing,
    a_source_from_a_file_runs,
    the_command_line_does_it_all,
    what_failed_is_retried_and_what_runs_is_cancelled,
    weather_is_collected_within_its_limit,
    rows_of_a_file_are_sent_within_the_limit,
    rows_outlive_the_workers_that_send_them,
    hits_are_exact_and_outlive_a_crash,
}

fn small() -> Options {
    Options { cities: 6, countries: 3, records: 200, ..Options::default() }
}

async fn three_dates_come_in_and_add_up(mode: Mode) {
    let system = System::start(mode, small()).await;
    let days = ["2024-05-01", "2024-05-02", "2024-05-03"];
    for day in days {
        // The old route, as old clients call it.
        let (status, body) =
            system.send(Method::POST, &system.api, &format!("/process-request?date={day}"), None).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{body}");
        let job = system.finish(body["id"].as_str().expect("an id")).await;
        assert_eq!(job["state"], "succeeded", "{job:#}");
        assert_eq!(job["tasks"]["stored"], 6);
    }
    let expected = reference_country_stats(system.upstream.base_url(), &days, &[]).await;
    assert_eq!(system.country_stats(days[0], days[2]).await, expected);
    // Once more, now from what was added up before, and with the slip of the old documentation.
    assert_eq!(system.get(&system.stats, "/country-stats?from=2024-05-01&to2024-05-03").await, expected);

    // The bytes are in the bucket as they were served, with their statistics beside them.
    let keys = system.bucket.keys("data/buses/").await;
    assert_eq!(keys.len(), 18);
    let (bytes, metadata) = system.bucket.read(&keys[0]).await;
    let buses: Vec<Value> = serde_json::from_slice(&bytes).expect("a list of buses");
    assert_eq!(metadata["bus-count"], buses.len().to_string());
    for name in ["passenger-count", "exist-accident", "average-delay-s", "total-delay-s", "sha256"] {
        assert!(metadata.contains_key(name), "{name} is missing in {metadata:?}");
    }

    let http = reqwest::Client::new();
    let url = format!("{}/v1/stats/buses?from=2024-05-01&to=2024-05-03", system.stats);
    let first = http.get(&url).send().await.expect("an answer");
    let etag = first.headers()["ETag"].clone();
    let again = http.get(&url).header("If-None-Match", &etag).send().await.expect("an answer");
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    system.upstream.set_version(0, 1);
    system.fetch_buses("2024-05-02").await;
    let changed = http.get(&url).header("If-None-Match", &etag).send().await.expect("an answer");
    assert_eq!(changed.status(), StatusCode::OK);
}

async fn a_second_fetch_takes_what_changed_and_nothing_else(mode: Mode) {
    let system = System::start(mode, small()).await;
    let day = "2024-05-01";
    assert_eq!(system.fetch_buses(day).await["tasks"]["stored"], 6);
    assert_eq!(system.fetch_buses(day).await["tasks"]["unchanged"], 6);
    system.upstream.set_version(2, 1);
    system.upstream.set_version(5, 7);
    // Two jobs for one date at once, while somebody reads.
    let (one, two, _) = tokio::join!(system.fetch_buses(day), system.fetch_buses(day), system.country_stats(day, day));
    assert_eq!((&one["state"], &two["state"]), (&json!("succeeded"), &json!("succeeded")), "{one:#} {two:#}");
    let expected = reference_country_stats(system.upstream.base_url(), &[day], &[]).await;
    assert_eq!(system.country_stats(day, day).await, expected);
    // Neither of two workers may have seen what the other stored at the same moment: the compaction or the sweep has.
    wait_until("one object for each city", async || (system.bucket.keys("data/buses/").await.len() == 6).then_some(()))
        .await;
}

/// Not in one process, whose bucket only it can write.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_index_is_said_and_built_again() {
    let mut system = System::start(Mode::Apart, small()).await;
    let day = "2024-05-01";
    system.fetch_buses(day).await;
    let expected = system.country_stats(day, day).await;
    let rebuild = |system: &System| {
        let output = run(&["rebuild", "buses"], &system.environment());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    // The index is what workers made, as their objects say.
    assert!(rebuild(&system).contains("The two did not differ."));

    let path = format!("/country-stats?from={day}&to={day}");
    for by_hand in [true, false] {
        system.bucket.delete("journal/").await;
        let (status, problem) = system.send(Method::GET, &system.stats, &path, None).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|text| text.contains("waybill rebuild buses")), "{problem}");
        if by_hand {
            assert!(rebuild(&system).contains("6 fetches were not in it, and are now"));
        } else {
            // A housekeeper that starts finds that it is not there.
            for _ in 0..2 {
                system.kill("worker");
            }
            system.spawn("worker").await;
            wait_until("the index", async || {
                system.send(Method::GET, &system.stats, &path, None).await.0.is_success().then_some(())
            })
            .await;
        }
        assert_eq!(system.country_stats(day, day).await, expected);
    }
    // What is known of the items is known again.
    assert_eq!(system.fetch_buses(day).await["tasks"]["unchanged"], 6);
    let rows = run(&["journal", "buses", "--month", "2024-05"], &system.environment());
    let rows = String::from_utf8(rows.stdout).expect("text");
    let row: Value = serde_json::from_str(rows.lines().next().expect("a row")).expect("JSON");
    assert_eq!(rows.lines().count(), 6);
    assert!(row["fetch"]["objects"][0]["statistics"]["bus-count"].is_string(), "{row}");
}

/// Not in one process, whose bucket only it can write. Nothing that is there is deleted, and nothing stops.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_in_a_journal_is_named_and_all_else_goes_on() {
    let system = System::start(Mode::Apart, small()).await;
    let day = "2024-05-01";
    system.fetch_buses(day).await;
    let segment = system.bucket.keys("journal/buses/jobs/").await.remove(0);
    let (whole, _) = system.bucket.read(&segment).await;
    let (folder, _) = segment.rsplit_once('/').expect("a segment lies in a folder");
    let slot = folder.strip_suffix("/segments").or(folder.strip_suffix("/snapshots")).expect("of a slot");
    let newer = [&whole[..8], &[99, 0], &whole[10..]].concat();
    let mut changed = whole.clone();
    *changed.last_mut().expect("it has bytes") ^= 1;
    let bad: [(&str, Vec<u8>, &str); 6] = [
        ("0190a000-0000-7000-8000-000000000001", b"garbage".to_vec(), "neither a segment nor a snapshot"),
        ("0190a000-0000-7000-8000-000000000002", Vec::new(), "it is empty"),
        ("0190a000-0000-7000-8000-000000000003", whole[..whole.len() - 1].to_vec(), "bytes and has"),
        ("0190a000-0000-7000-8000-000000000004", vec![0; 65 << 20], "at most"),
        ("0190a000-0000-7000-8000-000000000005", newer, "run the newer release"),
        ("0190a000-0000-7000-8000-000000000006", changed, "its checksum does not match"),
    ];
    let index = "journal/buses/index/2024-05";
    for folder in [slot, index] {
        for (name, body, _) in &bad {
            system.bucket.put(&format!("{folder}/segments/{name}"), body.clone()).await;
        }
    }
    assert_eq!(system.fetch_buses(day).await["state"], "succeeded");
    assert_eq!(system.fetch_buses("2024-05-02").await["state"], "succeeded");
    system.country_stats(day, "2024-05-02").await;
    for (url, folder) in [(&system.api, slot), (&system.stats, index)] {
        let ready = system.get(url, "/ready").await;
        let warnings = ready["warnings"].to_string();
        for (name, _, reason) in &bad {
            let said = format!("{folder}/segments/{name} cannot be read: ");
            assert!(warnings.contains(&said) && warnings.contains(reason), "{reason}: {warnings}");
        }
        assert_eq!(ready["status"], "ready");
    }
    for arguments in [&["journal", "buses", "--jobs"][..], &["journal", "buses"]] {
        let output = run(arguments, &system.environment());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && bad.iter().all(|(name, _, _)| said.contains(name)), "{said}");
        assert!(!output.stdout.is_empty(), "what can be read is printed");
    }
    for folder in [slot, index] {
        let keys = system.bucket.keys(folder).await;
        assert!(bad.iter().all(|(name, _, _)| keys.iter().any(|key| key.ends_with(name))), "{keys:?}");
    }
}

async fn bad_files_go_to_quarantine_and_hold_up_nobody(mode: Mode) {
    let system = System::start(mode, small()).await;
    system.upstream.set_city_fault(1, CityFault::Html);
    system.upstream.set_city_fault(3, CityFault::Status(404));
    system.upstream.set_city_fault(4, CityFault::Truncated);
    let job = system.fetch_buses("2024-05-01").await;
    assert_eq!(job["state"], "partial", "{job:#}");
    assert_eq!((&job["tasks"]["stored"], &job["tasks"]["failed"]), (&json!(3), &json!(3)));
    let reasons = job["errors"].to_string();
    assert!(reasons.contains("404") && reasons.contains("expected"), "{reasons}");

    let quarantined = system.bucket.keys("quarantine/buses/").await;
    let reports: Vec<_> = quarantined.iter().filter(|key| key.ends_with(".report.json")).collect();
    assert_eq!((quarantined.len(), reports.len()), (4, 2), "{quarantined:?}");
    let (report, _) = system.bucket.read(reports[0]).await;
    let report: Value = serde_json::from_slice(&report).expect("a report is JSON");
    assert!(report.to_string().contains("offset"), "{report:#}");
    assert_eq!(system.bucket.keys("data/buses/").await.len(), 3);

    let failed =
        system.get(&system.api, &format!("/v1/jobs/{}/tasks?state=failed", job["id"].as_str().expect("an id"))).await;
    assert_eq!(failed["tasks"].as_array().map(Vec::len), Some(3), "{failed:#}");
    for city in [1, 3, 4] {
        system.upstream.set_city_fault(city, None);
    }
    assert_eq!(system.fetch_buses("2024-05-01").await["state"], "succeeded");
}

fn first(requests: u64, fault: CityFault) -> CityFault {
    CityFault::First { requests, fault: Box::new(fault) }
}

async fn a_passing_fault_is_tried_again(mode: Mode) {
    let system = System::start(mode, small()).await;
    system.upstream.set_city_fault(0, first(2, CityFault::Status(503)));
    system.upstream.set_city_fault(1, first(1, CityFault::Status(429)));
    let job = system.fetch_buses("2024-05-01").await;
    assert_eq!(job["state"], "succeeded", "{job:#}");
}

async fn one_key_is_one_job(mode: Mode) {
    let system = System::start(mode, small()).await;
    let http = reqwest::Client::new();
    let submit = async |date: &str| {
        let body = json!({ "source": "buses", "params": { "date": date } });
        let url = format!("{}/v1/jobs", system.api);
        let response = http.post(url).header("Idempotency-Key", "nightly").json(&body).send().await.expect("an answer");
        (response.status(), response.json::<Value>().await.expect("JSON"))
    };
    let ((status, one), (_, two)) = tokio::join!(submit("2024-05-01"), submit("2024-05-01"));
    assert_eq!((status, &one["id"]), (StatusCode::ACCEPTED, &two["id"]));
    assert_eq!(submit("2024-05-01").await.1["id"], one["id"]);
    assert_eq!(submit("2024-05-02").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    system.finish(one["id"].as_str().expect("an id")).await;
    let jobs = system.get(&system.api, "/v1/jobs").await;
    assert_eq!(jobs["jobs"].as_array().map(Vec::len), Some(1), "{jobs:#}");
}

async fn bad_requests_make_no_job(mode: Mode) {
    let system = System::start(mode, small()).await;
    let refused = [
        (Method::POST, "/process-request", 400),
        (Method::POST, "/process-request?date=2024-02-30", 400),
        (Method::POST, "/process-request?date=01.05.2024", 400),
        (Method::POST, "/process-request?date=2024-05-01&colour=red", 400),
        (Method::GET, "/process-request?date=2024-05-01", 405),
        (Method::GET, "/v1/jobs/not-a-job", 400),
        (Method::GET, "/v1/jobs/0190a5a0-0000-7000-8000-000000000000", 404),
        (Method::GET, "/v1/jobs?state=asleep", 400),
        (Method::GET, "/nowhere", 404),
    ];
    for (method, path, expected) in refused {
        let (status, problem) = system.send(method, &system.api, path, None).await;
        assert_eq!(status.as_u16(), expected, "{path}: {problem}");
        assert_eq!(problem["status"], expected, "{path}: {problem}");
        assert!(problem["detail"].is_string() && problem["type"].is_string(), "{path}: {problem}");
    }
    for (path, expected) in [
        ("/country-stats", 400),
        ("/country-stats?from=2024-05-02&to=2024-05-01", 400),
        ("/country-stats?from=2000-01-01&to=2024-05-01", 400),
        ("/v1/stats/trams?from=2024-05-01&to=2024-05-01", 404),
    ] {
        let (status, problem) = system.send(Method::GET, &system.stats, path, None).await;
        assert_eq!((status.as_u16(), &problem["status"]), (expected, &json!(expected)), "{path}: {problem}");
    }
    for (body, expected) in [
        (json!({ "source": "trams", "params": {} }), 404),
        (json!({ "source": "buses", "params": {} }), 400),
        (json!({ "source": "buses", "params": { "date": "2024-05-01", "city": "1" } }), 400),
    ] {
        let (status, problem) = system.send(Method::POST, &system.api, "/v1/jobs", Some(body)).await;
        assert_eq!((status.as_u16(), &problem["status"]), (expected, &json!(expected)), "{problem}");
    }
    assert_eq!(system.get(&system.api, "/v1/jobs").await["jobs"], json!([]));
}

async fn a_killed_worker_loses_nothing(mode: Mode) {
    let options = Options { cities: 12, records: 2_000, bytes_per_second: Some(400_000), ..small() };
    let mut system = System::start(mode, options).await;
    let days = ["2024-05-01", "2024-05-02"];
    let mut jobs = Vec::new();
    for day in days {
        jobs.push(system.submit("buses", json!({ "date": day })).await);
    }
    wait_until("a first city to be stored", async || {
        (!system.bucket.keys("data/buses/").await.is_empty()).then_some(())
    })
    .await;
    let worker = system.worker();
    system.kill(worker);
    system.spawn(worker).await;
    for job in jobs {
        let job = system.finish(&job).await;
        assert_eq!((&job["state"], &job["tasks"]["total"]), (&json!("succeeded"), &json!(12)), "{job:#}");
    }
    let expected = reference_country_stats(system.upstream.base_url(), &days, &[]).await;
    assert_eq!(system.country_stats(days[0], days[1]).await, expected);
    assert_eq!(system.bucket.keys("data/buses/").await.len(), 24, "one object for each city and day");
    for (target, process) in std::mem::take(&mut system.processes) {
        assert_eq!(process.terminate().await, Some(0), "{target} goes down well");
    }
}

async fn a_source_from_a_file_runs(mode: Mode) {
    let definitions = concat!(env!("CARGO_MANIFEST_DIR"), "/../source/tests/definitions");
    let system = System::start_with_sources(mode, small(), Some(definitions.as_ref())).await;
    let id = system.submit("stations", json!({ "day": "2024-05-01" })).await;
    let job = system.finish(&id).await;
    assert_eq!(job["state"], "succeeded", "{job:#}");

    // The same numbers from the bytes in the bucket, computed another way.
    let mut expected = (0_u64, f64::MIN, true, 0_i64);
    for key in system.bucket.keys("data/stations/").await {
        let (bytes, _) = system.bucket.read(&key).await;
        for line in String::from_utf8(bytes).expect("UTF-8").lines() {
            let reading: Value = serde_json::from_str(line).expect("a reading");
            expected.0 += 1;
            expected.1 = expected.1.max(reading["pm25"].as_f64().expect("pm25"));
            expected.2 &= reading["alarm"].as_bool().expect("alarm");
            expected.3 += reading["humidity"].as_i64().unwrap_or(0);
        }
    }
    let total = &system.get(&system.stats, "/v1/stats/stations?from=2024-05-01&to=2024-05-01").await["total"];
    assert_eq!(total["readings"], expected.0);
    assert_eq!(total["pm25_max"].as_f64(), Some(expected.1));
    assert_eq!(total["all_alarms"], expected.2);
    assert_eq!(total["humidity_sum"], expected.3);
}

async fn the_command_line_does_it_all(mode: Mode) {
    let system = System::start(mode, small()).await;
    let environment = system.environment();
    let waybill = |arguments: &[&str]| {
        let output = run(arguments, &environment);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, id, progress) = waybill(&["submit", "buses", "date=2024-05-01", "--wait", "--key", "one"]);
    assert_eq!(code, Some(0), "{progress}");
    assert!(progress.contains("buses date=2024-05-01: succeeded, 6 of 6 tasks"), "{progress}");
    let (_, again, _) = waybill(&["submit", "buses", "date=2024-05-01", "--key", "one"]);
    assert_eq!(again, id, "the same key is the same job");
    let (_, job, _) = waybill(&["job", id.trim()]);
    assert!(job.contains("state     succeeded"), "{job}");
    let (_, jobs, _) = waybill(&["jobs"]);
    assert!(jobs.contains(id.trim()), "{jobs}");
    let (code, ready, _) = waybill(&["health"]);
    assert_eq!(code, Some(0), "{ready}");

    let mut environment = environment.clone();
    environment.push(("WAYBILL_URL".to_owned(), system.stats.clone()));
    let csv = run(&["stats", "buses", "--from", "2024-05-01", "--to", "2024-05-01", "--format", "csv"], &environment);
    let mut csv = csv::Reader::from_reader(&csv.stdout[..]);
    let headers = csv.headers().expect("a header").clone();
    assert_eq!(headers.iter().take(3).collect::<Vec<_>>(), ["country", "date", "average_delay_s"]);
    let buses: u64 = csv.records().map(|row| row.expect("a row")[3].parse::<u64>().expect("a count")).sum();
    let expected = reference_country_stats(system.upstream.base_url(), &["2024-05-01"], &[]).await;
    let countries = expected.as_object().expect("countries");
    assert_eq!(
        buses,
        countries.values().map(|days| days["2024-05-01"]["bus_count"].as_u64().expect("a count")).sum::<u64>()
    );

    let (code, _, error) = waybill(&["submit", "buses", "date=2024-02-30"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("400") && error.contains("date"), "{error}");
}

async fn what_failed_is_retried_and_what_runs_is_cancelled(mode: Mode) {
    let system = System::start(mode, small()).await;
    system.upstream.set_city_fault(1, CityFault::Status(404));
    let job = system.fetch_buses("2024-05-01").await;
    assert_eq!(job["state"], "partial", "{job:#}");
    let path = format!("/v1/jobs/{}", job["id"].as_str().expect("an id"));
    system.upstream.set_city_fault(1, None);
    let requests = system.upstream.requests().data;
    let (status, body) = system.send(Method::POST, &system.api, &format!("{path}/retry"), None).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    let job = system.finish(job["id"].as_str().expect("an id")).await;
    assert_eq!((&job["state"], &job["tasks"]["stored"]), (&json!("succeeded"), &json!(6)), "{job:#}");
    assert_eq!(system.upstream.requests().data, requests + 1, "only what failed is fetched again");
    for action in ["retry", "cancel"] {
        let (status, problem) = system.send(Method::POST, &system.api, &format!("{path}/{action}"), None).await;
        assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    }

    system
        .upstream
        .set_faults(Faults { cities: (0..6).map(|city| (city, CityFault::Stall)).collect(), ..Faults::default() });
    let id = system.submit("buses", json!({ "date": "2024-05-02" })).await;
    wait_until("the tasks to run", async || {
        (system.get(&system.api, &format!("/v1/jobs/{id}")).await["state"] == "running").then_some(())
    })
    .await;
    let (status, body) = system.send(Method::POST, &system.api, &format!("/v1/jobs/{id}/cancel"), None).await;
    assert!(status.is_success(), "{body}");
    assert_eq!(system.finish(&id).await["state"], "cancelled");
    assert_eq!(system.bucket.keys("data/buses/").await.len(), 6, "nothing of the cancelled job is stored");
}

async fn weather_is_collected_within_its_limit(mode: Mode) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("weather.toml"), weather_definition(45, "PT3S")).expect("a file");

    let window = std::time::Duration::from_secs(3);
    let system =
        System::start_with_sources(mode, Options { weather_window: window, ..small() }, Some(folder.path())).await;
    system.upstream.set_weather_unknown([7]);
    let collect = async |id: &str| {
        let (status, body) = system.send(Method::POST, &system.api, "/collect/", Some(json!({ "id": id }))).await;
        (status.as_u16(), body)
    };
    let name = "Zoë/1 🚌";
    let ((status, one), (_, two)) = tokio::join!(collect(name), collect(name));
    assert_eq!((status, &one, &two), (202, &json!({ "id": name }), &json!({ "id": name })));
    assert_eq!(collect("").await.0, 400);
    assert_eq!(collect(&"x".repeat(10_000)).await.0, 400);

    let path = "/get/?id=Zo%C3%AB%2F1%20%F0%9F%9A%8C";
    let done = wait_until("all cities to be done", async || {
        let answer = system.get(&system.api, path).await;
        (answer["progress"] == 1.0).then_some(answer)
    })
    .await;
    let mut ids: Vec<_> =
        done["data"].as_array().expect("cities").iter().filter_map(|city| city["city_id"].as_i64()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=45).filter(|id| *id != 7).collect::<Vec<_>>(), "all but the unknown one");
    let jobs = system.get(&system.api, "/v1/jobs?source=weather").await;
    assert_eq!(jobs["jobs"].as_array().map(Vec::len), Some(1), "{jobs:#}");
    assert_eq!(jobs["jobs"][0]["state"], "partial", "{jobs:#}");
    assert!(jobs["jobs"][0]["errors"].to_string().contains('7'), "{jobs:#}");
    assert_eq!(system.upstream.requests().violations, 0);
    let (status, problem) = system.send(Method::GET, &system.api, "/get/?id=nobody", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{problem}");
}

/// A CSV of so many rows, each with a title of its own.
fn csv(rows: u64) -> String {
    (0..rows).fold("userId,title,body\n".to_owned(), |csv, n| csv + &format!("{n},row {n},text\n"))
}

/// `/api/v1/file/…` as JSON.
async fn file(system: &System, what: &str, job: &str) -> Value {
    let url = format!("{}/api/v1/file/{what}?uuid_id={job}", system.api);
    let answer = reqwest::Client::new().get(url).header("Accept", "application/json").send().await;
    answer.expect("an answer").json().await.expect("JSON")
}

/// A form with a file, as browsers send it.
async fn upload(system: &System, csv: &str) -> (StatusCode, Value) {
    const EDGE: &str = "------------------------waybill";
    let head = "Content-Disposition: form-data; name=\"file\"; filename=\"rows.csv\"\r\nContent-Type: text/csv";
    let request = reqwest::Client::new().post(format!("{}/api/v1/file", system.api));
    let request = request.header("Content-Type", format!("multipart/form-data; boundary={EDGE}"));
    let body = format!("--{EDGE}\r\n{head}\r\n\r\n{csv}\r\n--{EDGE}--\r\n");
    let answer = request.header("Accept", "application/json").body(body).send().await.expect("an answer");
    (answer.status(), answer.json().await.expect("JSON"))
}

async fn rows_of_a_file_are_sent_within_the_limit(mode: Mode) {
    let system = System::start(mode, Options { control: true, ..small() }).await;
    let bad = "1,fault:409,text\n,abc,123\n";
    let began = Instant::now();
    let (status, made) = upload(&system, &(csv(33) + bad)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let job = made["uuid_id"].as_str().expect("an id").to_owned();
    assert_eq!(file(&system, "check", &job).await["data_in"], 35);
    let ended = system.finish(&job).await;
    assert_eq!((&ended["state"], &ended["rows"]["done"]), (&json!("partial"), &json!(33)), "{ended:#}");
    // The first second may bring a burst of the whole rate; that the job is planned, and its end seen, takes a moment.
    let took = began.elapsed().as_secs_f64();
    assert!((3.8..8.0).contains(&took), "34 rows at 7 a second took {took} s");
    let checked = file(&system, "check", &job).await;
    assert_eq!(checked, json!({"data_in": 35, "data_out": 33, "errors": 2, "result": "done"}));
    let result = file(&system, "download", &job).await;
    assert_eq!(result["result"][0], json!({"userId": 0, "result": "done", "postId": 101}));
    assert_eq!(result["result"][33], json!({"userId": 1, "result": "error", "postId": null}));
    assert_eq!(result["result"].as_array().map(Vec::len), Some(35));
    let received = system.upstream.received();
    assert_eq!((received.total, received.repeated_distinct), (34, 0));
    assert_eq!(system.upstream.requests().posts.violations, 0);
    let today = &ended["created"].as_str().expect("a time")[..10];
    let statistics = system.get(&system.stats, &format!("/v1/stats/relay?from={today}&to={today}")).await;
    assert_eq!(statistics["total"], json!({"rows": 35, "done": 33, "errors": 2, "unknown": 0}), "{statistics:#}");

    // The same by the command line, which waits.
    let path = system.folder().join("rows.csv");
    std::fs::write(&path, csv(3)).expect("a file");
    let output = run(&["submit", "relay", "--file", path.to_str().expect("a path"), "--wait"], &system.environment());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(system.upstream.received_with_title("row 2"), 2);
}

async fn rows_outlive_the_workers_that_send_them(mode: Mode) {
    let mut system = System::start(mode, Options { control: true, ..small() }).await;
    let job = system.submit_rows("relay", &csv(40)).await;
    for sent in [3, 12] {
        wait_until("rows to be sent", async || (system.upstream.received().total >= sent).then_some(())).await;
        let target = system.worker();
        system.kill(target);
        system.spawn(target).await;
    }
    let ended = system.finish(&job).await;
    let count = |name: &str| ended["rows"][name].as_u64().expect("a number");
    assert_eq!((count("done") + count("unknown"), count("errors")), (40, 0), "{ended:#}");
    let received = system.upstream.received();
    assert_eq!(received.repeated_distinct, 0, "no row is sent again by itself: {received:?}");
    assert!((count("done")..=40).contains(&received.total), "{received:?} {ended:#}");
    let unknown = count("unknown");
    if unknown > 0 {
        let (status, _) = system.send(Method::POST, &system.api, &format!("/v1/jobs/{job}/retry"), None).await;
        assert_eq!(status, StatusCode::ACCEPTED);
    }
    let ended = system.finish(&job).await;
    assert_eq!((&ended["state"], &ended["rows"]["done"]), (&json!("succeeded"), &json!(40)), "{ended:#}");
    let received = system.upstream.received();
    assert!(received.distinct == 40 && received.total <= 40 + unknown, "{received:?}, {unknown} were unknown");
    assert_eq!(system.upstream.requests().posts.violations, 0);
}

async fn hits_are_exact_and_outlive_a_crash(mode: Mode) {
    let mut system = System::start(mode, small()).await;
    let first = jiff::Timestamp::now().to_string()[..10].to_owned();
    let (status, run) = system.send(Method::POST, &system.api, "/test/1000/", None).await;
    assert_eq!(
        (status, run),
        (StatusCode::OK, json!({"requested": 1000, "answered": 1000, "succeeded": 1000, "failed": 0}))
    );
    for path in ["/api/known?x=y", "/api/known", "/api/v1/file/check/not"] {
        system.get(&system.api, path).await;
    }
    // Other routes below /api/ are not hidden.
    let page =
        reqwest::get(format!("{}/api/v1/file", system.api)).await.expect("an answer").text().await.expect("a page");
    assert!(page.contains("<form"), "{page}");
    // What is counted is in the bucket within a second; on a busy machine a write takes longer than it should.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let target = if mode == Mode::OneProcess { "up" } else { "api" };
    system.kill(target);
    system.spawn(target).await;
    system.get(&system.api, "/api/known").await;
    let last = jiff::Timestamp::now().to_string()[..10].to_owned();
    let counts = wait_until("the last hit to be told", async || {
        let path = format!("/stats/?from={first}&to={last}");
        let counts = system.get(&system.stats, &path).await;
        (counts["/api/known"] == 3).then_some(counts)
    })
    .await;
    let counts = counts.as_object().expect("an object");
    let below_api = counts.iter().filter(|(path, _)| path.starts_with("/api/"));
    let below_api: u64 = below_api.map(|(_, count)| count.as_u64().expect("a number")).sum();
    assert_eq!(below_api, 1000 + 3 + 1 + 1, "{counts:#?}");
    assert_eq!(counts["/test/1000/"], 1);
    let probed = counts["/ready"].as_u64().expect("a number");
    assert!(probed >= system.processes.len() as u64, "each process was asked whether it is ready: {probed}");
    assert_eq!(system.get(&system.stats, "/stats/?day=2000-01-01").await, json!({}));
    let known = system.get(&system.stats, "/stats/?prefix=/api/known&limit=1").await;
    assert_eq!(known, json!({"/api/known": 3}));
}
