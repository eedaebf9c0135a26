//! What the services stand on is in trouble, or they go down themselves: they answer in time, say so, and it all goes
//! on by itself afterwards.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::RwLock;
use waybill_e2e::{Mode, Process, Proxies, System, Weather, rabbitmqctl, wait_until, weather_definition};
use waybill_upstream::{CityFault, Options, Requests};

/// Held for writing by whoever raises an alarm of the broker, which holds up every test there is.
static BROKER: RwLock<()> = RwLock::const_new(());

/// What a submit may take, and what a busy machine adds to it.
const SUBMIT: Duration = Duration::from_millis(2_800);

/// The 12 seconds that a store has to answer, and the same.
const OTHER: Duration = Duration::from_secs(15);

async fn start(options: Options) -> System {
    System::start(Mode::Apart, options).await
}

fn small() -> Options {
    Options { cities: 4, countries: 2, records: 100, ..Options::default() }
}

fn proxies(system: &System) -> &Proxies {
    system.proxies.as_ref().expect("services that run apart have proxies")
}

/// A POST of a job, in time.
async fn submit(system: &System, date: &str) -> (StatusCode, Value) {
    let body = json!({ "source": "buses", "params": { "date": date } });
    let start = Instant::now();
    let answer = system.send(Method::POST, &system.api, "/v1/jobs", Some(body)).await;
    assert!(start.elapsed() < SUBMIT, "{:?}: {answer:?}", start.elapsed());
    answer
}

/// What `/ready` says of `part`, at each process of these targets; and that `/live` says nothing of it.
async fn readiness(system: &System, targets: &[&str], part: &str) -> Vec<bool> {
    let asked = system.processes.iter().filter(|(target, _)| targets.contains(target)).map(async |(_, process)| {
        let (live, _) = system.send(Method::GET, &process.url, "/live", None).await;
        assert_eq!(live, StatusCode::OK);
        let (status, report) = system.send(Method::GET, &process.url, "/ready", None).await;
        let is_ready = report["checks"][part] == "ok";
        assert_eq!(status == StatusCode::OK, is_ready, "{report}");
        is_ready
    });
    join_all(asked).await
}

/// Waits until they all are ready, or none is.
async fn until_ready(system: &System, targets: &[&str], part: &str, ready: bool) {
    wait_until(&format!("{targets:?} to say of {part}: {ready}"), async || {
        readiness(system, targets, part).await.iter().all(|is_ready| *is_ready == ready).then_some(())
    })
    .await;
}

/// A GET, in time, that cannot be answered.
async fn away(system: &System, base: &str, path: &str) {
    let start = Instant::now();
    let (status, problem) = system.send(Method::GET, base, path, None).await;
    assert!(start.elapsed() < OTHER, "{path}: {:?}", start.elapsed());
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {problem}");
    assert!(problem["retry_after"].is_u64(), "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_refuses_or_hangs_is_answered_with_503() {
    let _quiet = BROKER.read().await;
    let system = start(small()).await;
    let job = system.fetch_buses("2024-05-01").await;
    let job = job["id"].as_str().expect("an id");
    for weather in [Weather::Refuse, Weather::Stall] {
        proxies(&system).s3.set(weather);
        proxies(&system).s3.cut();
        let (status, problem) = submit(&system, "2024-05-02").await;
        assert_eq!((status.as_u16(), &problem["type"]), (503, &json!("/problems/unavailable")), "{problem}");
        assert!(problem["retry_after"].is_u64(), "{problem}");
        let tasks = format!("/v1/jobs/{job}/tasks");
        let days = "/country-stats?from=2024-05-01&to=2024-05-02";
        tokio::join!(
            away(&system, &system.api, "/v1/jobs"),
            away(&system, &system.api, &tasks),
            away(&system, &system.stats, days),
        );
        until_ready(&system, &["api", "worker", "stats"], "store", false).await;
        proxies(&system).s3.set(Weather::Fair);
        until_ready(&system, &["api", "worker", "stats"], "store", true).await;
        assert_eq!(system.fetch_buses("2024-05-02").await["state"], "succeeded");
    }
}

/// A broker that takes nothing; it does again when this is dropped, whatever happened.
struct Alarm;

impl Alarm {
    fn raise() -> Self {
        let alarm = Self;
        rabbitmqctl(&["set_vm_memory_high_watermark", "absolute", "1"]);
        alarm
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        rabbitmqctl(&["set_vm_memory_high_watermark", "absolute", "512MB"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_broker_in_trouble_holds_up_no_submit() {
    let system = start(small()).await;
    let mut jobs = Vec::new();
    for (weather, date) in [(Weather::Refuse, "2024-05-01"), (Weather::Stall, "2024-05-02")] {
        proxies(&system).broker.set(weather);
        proxies(&system).broker.cut();
        jobs.push(accepted(&system, date).await);
        until_ready(&system, &["api", "worker"], "queue", false).await;
        assert_eq!(readiness(&system, &["stats"], "store").await, [true], "statistics need no broker");
        proxies(&system).broker.set(Weather::Fair);
        until_ready(&system, &["api", "worker"], "queue", true).await;
    }
    let alone = BROKER.write().await;
    let alarm = Alarm::raise();
    jobs.push(accepted(&system, "2024-05-03").await);
    until_ready(&system, &["api"], "queue", false).await;
    drop(alarm);
    drop(alone);
    until_ready(&system, &["api", "worker"], "queue", true).await;
    for job in jobs {
        assert_eq!(system.finish(&job).await["state"], "succeeded");
    }
}

/// Submits a job, which must be accepted, and returns its id.
async fn accepted(system: &System, date: &str) -> String {
    let (status, job) = submit(system, date).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
    let id = job["id"].as_str().expect("an id").to_owned();
    assert!(system.get(&system.api, &format!("/v1/jobs/{id}")).await["state"].is_string());
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_to_the_store_that_go_wrong_lose_no_job() {
    let _quiet = BROKER.read().await;
    let system = start(Options { cities: 8, delay: Duration::from_secs(1), ..small() }).await;
    let s3 = &proxies(&system).s3;
    let mut jobs = Vec::new();
    for day in 1..=3 {
        jobs.push(system.submit("buses", json!({ "date": format!("2024-05-0{day}") })).await);
    }
    wait_until("the first tasks to run", async || (system.upstream.requests().data >= 4).then_some(())).await;
    s3.set(Weather::Gusts);
    s3.cut();
    // Of six kinds, so that each is among them.
    wait_until("many requests to meet a fault", async || (s3.faults() >= 40).then_some(())).await;
    s3.set(Weather::Fair);
    for job in jobs {
        let job = system.finish(&job).await;
        assert_eq!((&job["state"], &job["tasks"]["total"]), (&json!("succeeded"), &json!(8)), "{job:#}");
    }
    assert_eq!(system.bucket.keys("data/buses/").await.len(), 24, "one object for each city and day");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rolling_restart_loses_and_doubles_nothing() {
    let _quiet = BROKER.read().await;
    let options = Options { cities: 12, countries: 3, records: 2_000, bytes_per_second: Some(80_000), ..small() };
    let mut system = start(options).await;
    let mut jobs = Vec::new();
    for day in 1..=3 {
        jobs.push(system.submit("buses", json!({ "date": format!("2024-05-0{day}") })).await);
    }
    wait_until("a first city to be stored", async || {
        (!system.bucket.keys("data/buses/").await.is_empty()).then_some(())
    })
    .await;
    for target in ["worker", "api", "worker", "stats"] {
        let first = system.processes.iter().position(|(name, _)| *name == target).expect("such a process runs");
        let (_, process) = system.processes.remove(first);
        assert_eq!(process.terminate().await, Some(0), "{target} goes down well");
        system.spawn(target).await;
    }
    for job in &jobs {
        let job = system.finish(job).await;
        assert_eq!((&job["state"], &job["tasks"]["stored"]), (&json!("succeeded"), &json!(12)), "{job:#}");
    }
    let mut outcomes = 0;
    for job in &jobs {
        let tasks = system.get(&system.api, &format!("/v1/jobs/{job}/tasks")).await;
        for task in tasks["tasks"].as_array().expect("tasks") {
            assert_eq!((&task["state"], &task["attempts"]), (&json!("stored"), &json!(1)), "{task}");
            outcomes += 1;
        }
    }
    assert_eq!(outcomes, 36);
    assert_eq!(system.bucket.keys("data/buses/").await.len(), 36, "one object for each city and day");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_drains_until_a_second_signal() {
    let _quiet = BROKER.read().await;
    let mut system = start(Options { cities: 1, countries: 1, ..small() }).await;
    // With one worker it is known who has the task.
    assert_eq!(take_worker(&mut system).terminate().await, Some(0));
    system.upstream.set_city_fault(0, CityFault::Stall);
    let job = system.submit("buses", json!({ "date": "2024-05-01" })).await;
    wait_until("the task to run", async || (system.upstream.requests().data > 0).then_some(())).await;
    let holder = take_worker(&mut system);
    system.spawn("worker").await;
    holder.send_sigterm();
    wait_until("the worker to drain", async || {
        let (status, report) = system.send(Method::GET, &holder.url, "/ready", None).await;
        (status == StatusCode::SERVICE_UNAVAILABLE && report["status"] == "draining").then_some(())
    })
    .await;
    let (live, _) = system.send(Method::GET, &holder.url, "/live", None).await;
    assert_eq!(live, StatusCode::OK);
    assert_eq!(system.get(&system.api, &format!("/v1/jobs/{job}")).await["state"], "running");
    // For whoever asks anew.
    system.upstream.set_city_fault(0, None);
    holder.send_sigterm();
    assert_eq!(holder.exit_code(Duration::from_secs(1)).await, Some(130));
    assert_eq!(system.finish(&job).await["state"], "succeeded");
    assert_eq!(system.bucket.keys("data/buses/").await.len(), 1);
}

/// Stops the only worker in the midst of a job for longer than the broker waits for a heartbeat, lets another take over,
/// and wakes it; `sent` counts the requests of the job.
async fn stop_the_owner_of_a_limit(
    sources: Option<&Path>,
    options: Options,
    (source, params): (&str, Value),
    sent: impl Fn(&Requests) -> u64,
) -> (System, Value) {
    let mut system = System::start_with_sources(Mode::Apart, options, sources).await;
    assert_eq!(take_worker(&mut system).terminate().await, Some(0));
    let job = {
        let _quiet = BROKER.read().await;
        system.submit(source, params).await
    };
    wait_until("the job to run", async || (sent(&system.upstream.requests()) > 2).then_some(())).await;
    let owner = take_worker(&mut system);
    system.spawn("worker").await;
    owner.signal("STOP");
    let stopped = Instant::now();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = sent(&system.upstream.requests());
    wait_until("the other worker to take over", async || (sent(&system.upstream.requests()) > before).then_some(()))
        .await;
    tokio::time::sleep(Duration::from_secs(38).saturating_sub(stopped.elapsed())).await;
    owner.signal("CONT");
    let running = system.get(&system.api, &format!("/v1/jobs/{job}")).await;
    assert_eq!(running["state"], "running", "it woke in the midst of the job: {running:#}");
    let job = system.finish(&job).await;
    drop(owner);
    (system, job)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_kept_by_an_owner_that_was_stopped_and_wakes() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("weather.toml"), weather_definition(1_000, "PT3S")).expect("a file");
    let options = Options { weather_window: Duration::from_secs(3), ..small() };
    let job = ("weather", json!({ "id": "stopped" }));
    let (system, job) = stop_the_owner_of_a_limit(Some(folder.path()), options, job, |requests| requests.weather).await;
    assert_eq!(job["state"], "succeeded", "{job:#}");
    assert_eq!(system.upstream.requests().violations, 0, "{:?}", system.upstream.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_concurrency_is_kept_by_an_owner_that_was_stopped_and_wakes() {
    let options = Options { cities: 240, countries: 2, records: 10, delay: Duration::from_secs(4), ..small() };
    let job = ("buses", json!({ "date": "2024-05-01" }));
    let (system, job) = stop_the_owner_of_a_limit(None, options, job, |requests| requests.data).await;
    assert_eq!(job["state"], "succeeded", "{job:#}");
    assert_eq!(system.upstream.requests().most_at_once, 16);
}

fn take_worker(system: &mut System) -> Process {
    let at = system.processes.iter().position(|(target, _)| *target == "worker").expect("a worker runs");
    system.processes.remove(at).1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hits_are_counted_once_whatever_the_store_does_meanwhile() {
    let _quiet = BROKER.read().await;
    let system = start(small()).await;
    let s3 = &proxies(&system).s3;
    let mut sent = 0;
    for weather in [Weather::Refuse, Weather::Gusts] {
        s3.set(weather);
        s3.cut();
        for _ in 0..4 {
            let (status, run) = system.send(Method::POST, &system.api, "/test/200/", None).await;
            assert_eq!((status, &run["answered"]), (StatusCode::OK, &json!(200)), "{run}");
            sent += 200;
            // So long that the next are another batch.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        if weather == Weather::Refuse {
            away(&system, &system.stats, "/stats/").await;
        }
    }
    s3.set(Weather::Fair);
    wait_until("every hit to be told", async || {
        let (status, counts) = system.send(Method::GET, &system.stats, "/stats/?prefix=/api/", None).await;
        let counts = counts.as_object().filter(|_| status.is_success())?;
        let told = counts.values().map(|count| count.as_u64().expect("a number")).sum::<u64>();
        assert!(told <= sent, "a hit is counted twice: {told} of {sent}");
        (told == sent).then_some(())
    })
    .await;
}
