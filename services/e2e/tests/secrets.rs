//! No secret is ever logged or traced, whatever is asked for: every line of whole runs is looked through.

use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use waybill_e2e::{Bucket, Collector, Process, rabbitmqctl, required, run, wait_until, weather_definition};
use waybill_upstream::{Options, Upstream};

/// Words that would be found by themselves, and some that must be escaped in a URL.
const AMQP_PASSWORD: &str = "amqp/hunter2@x";
const AMQP_ESCAPED: &str = "amqp%2Fhunter2%40x";
const AWS_SECRET: &str = "aws-hunter2-secret";
const AWS_TOKEN: &str = "aws-hunter2-token";
const WEATHER_KEY: &str = "weather-hunter2";
const OTLP_TOKEN: &str = "otlp-hunter2";

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_run_shows_no_secret() {
    let name = format!("secrets-{}", uuid::Uuid::now_v7().simple());
    rabbitmqctl(&["add_vhost", &name]);
    rabbitmqctl(&["add_user", &name, AMQP_PASSWORD]);
    rabbitmqctl(&["set_permissions", "-p", &name, &name, ".*", ".*", ".*"]);
    for format in ["json", "human"] {
        look_through(&name, format).await;
    }
    rabbitmqctl(&["delete_user", &name]);
    rabbitmqctl(&["delete_vhost", &name]);
}

/// At the level that shows all that any other does.
async fn look_through(name: &str, format: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let (config, key) = key(folder.path());
    let sources = folder.path().join("sources");
    std::fs::create_dir(&sources).expect("a folder");
    std::fs::write(sources.join("weather.toml"), weather_definition(4, "PT1S")).expect("a file");
    let log = folder.path().join("log");
    let collector = Collector::start().await;
    let options = Options { cities: 3, records: 20, weather_key: WEATHER_KEY.to_owned(), ..Options::default() };
    let upstream = Upstream::new(options).start().await.expect("an upstream");
    let endpoint = required("WAYBILL_TEST_S3_ENDPOINT");
    let bucket = format!("{name}-{format}");
    Bucket::new(&endpoint, &bucket, "test").create().await;
    let host = required("WAYBILL_TEST_AMQP_URL").rsplit('@').next().unwrap_or_default().to_owned();
    let base = upstream.base_url();
    let variables = [
        ("WAYBILL_LISTEN", "127.0.0.1:0".to_owned()),
        ("WAYBILL_CONFIG", config),
        ("WAYBILL_SOURCES", sources.display().to_string()),
        ("WAYBILL_BASE_URL", format!("buses={base},weather={base}")),
        ("WAYBILL_AMQP_URL", format!("amqp://{name}:{AMQP_ESCAPED}@{}/{name}", host.trim_end_matches('/'))),
        ("WAYBILL_S3_BUCKET", bucket),
        ("AWS_ENDPOINT_URL_S3", endpoint),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", AWS_SECRET.to_owned()),
        ("AWS_SESSION_TOKEN", AWS_TOKEN.to_owned()),
        ("OPENWEATHER_API_KEY", WEATHER_KEY.to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.clone()),
        ("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization=Bearer%20{OTLP_TOKEN}")),
        ("WAYBILL_LOG", "trace".to_owned()),
        ("WAYBILL_LOG_FORMAT", format.to_owned()),
        ("WAYBILL_TEST_LOG_FILE", log.display().to_string()),
    ];
    let variables: Vec<_> = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let process = Process::start(&["up".to_owned()], &variables);

    let http = reqwest::Client::new();
    let wrong_key = format!("wb_{}", "hunter2".repeat(7).split_at(43).0);
    let send = async |method: Method, path: &str, key: &str, body: Value| {
        let request = http.request(method, format!("{}{path}", process.url)).bearer_auth(key);
        let answer = request.json(&body).send().await.expect("an answer");
        let status = answer.status();
        (status, answer.json::<Value>().await.unwrap_or_default())
    };
    let buses = json!({ "source": "buses", "params": { "date": "2024-05-01" } });
    assert_eq!(send(Method::POST, "/v1/jobs", &wrong_key, buses.clone()).await.0, StatusCode::UNAUTHORIZED);
    let (status, job) = send(Method::POST, "/v1/jobs", &key, buses).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
    let weather = json!({ "source": "weather", "params": { "id": "monday" } });
    let (status, collected) = send(Method::POST, "/v1/jobs", &key, weather).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{collected}");
    for job in [job, collected] {
        let path = format!("/v1/jobs/{}", job["id"].as_str().expect("an id"));
        let ended = wait_until("the job to end", async || {
            let (_, job) = send(Method::GET, &path, &key, Value::Null).await;
            (job["state"] == "succeeded").then_some(job)
        });
        ended.await;
    }
    assert_eq!(send(Method::GET, "/country-stats?from=2024-05-01&to=2024-05-01", &key, Value::Null).await.0, 200);
    assert_eq!(process.terminate().await, Some(0));

    let log = std::fs::read_to_string(log).expect("a log");
    assert!(log.contains("DEBUG"));
    let mut lines = log.lines();
    let stored =
        lines.find(|line| line.contains("stored") && line.contains("s3_key")).expect("what was stored is logged");
    assert!(stored.contains("trace_id") && stored.contains("nightly") != stored.contains("task"), "{stored}");
    if format == "json" {
        for line in log.lines() {
            assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line["level"].is_string()), "{line}");
        }
    }
    let traces = format!("{:?}", collector.spans());
    assert!(traces.contains("submit") && traces.contains("store"));
    let secrets = ["hunter2", &key, &key[3..]];
    for (secret, text) in secrets.iter().flat_map(|secret| [(secret, &log), (secret, &traces)]) {
        let found = text.lines().find(|line| line.contains(secret));
        assert!(found.is_none(), "{secret} in {format}: {found:?}");
    }
}

/// A settings file with a key, and the key.
fn key(folder: &Path) -> (String, String) {
    let made = run(&["key", "new", "nightly", "--scope", "submit", "--scope", "read"], &[]);
    assert!(made.status.success(), "{made:?}");
    let config = folder.join("waybill.toml");
    std::fs::write(&config, &made.stdout).expect("a file");
    (config.display().to_string(), String::from_utf8_lossy(&made.stderr).trim().to_owned())
}
