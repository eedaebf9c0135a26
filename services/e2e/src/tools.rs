//! Waiting for a condition, and the servers that scripts/test starts.

use std::{
    process::Command,
    time::{Duration, Instant},
};

/// Far beyond what any step takes, so that only a real hang meets it.
const DEADLINE: Duration = Duration::from_secs(90);

/// Waits until `condition` gives a value; panics with `what` at the deadline.
pub async fn wait_until<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The shipped weather definition for fewer cities, 1 to `cities`, and a shorter window, so that a test need
/// not wait for minutes.
pub fn weather_definition(cities: u64, window: &str) -> String {
    const SHIPPED: &str = include_str!("../../source/sources/weather.toml");
    const LIST: &str = "list   = [";
    let (before, after) = SHIPPED.split_once(LIST).expect("the shipped list of cities");
    let (_, after) = after.split_once(']').expect("the end of the list");
    let ids: Vec<_> = (1..=cities).map(|id| id.to_string()).collect();
    format!("{before}{LIST}{}]{after}", ids.join(", ")).replace("per = \"PT1M\"", &format!("per = \"{window}\""))
}

/// A variable that scripts/test sets.
pub fn required(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("set {name}, or run scripts/test, which does"))
}

/// Runs rabbitmqctl against the private broker of scripts/test; it must succeed.
pub fn rabbitmqctl(arguments: &[&str]) {
    let output = run_rabbitmqctl(arguments);
    assert!(output.status.success(), "rabbitmqctl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The same where it may fail, as when the broker is down already; whether it succeeded.
pub(crate) fn try_rabbitmqctl(arguments: &[&str]) -> bool {
    run_rabbitmqctl(arguments).status.success()
}

fn run_rabbitmqctl(arguments: &[&str]) -> std::process::Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/rabbitmq");
    Command::new(script)
        .arg("ctl")
        .arg(required("WAYBILL_TEST_RABBITMQ"))
        .args(arguments)
        .output()
        .expect("scripts/rabbitmq can be run")
}
