//! Submits jobs throughout: many dates, the same ones again, with changed data.

use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};

use super::fleet::Fleet;

pub(super) const DATES: [&str; 6] =
    ["2024-05-01", "2024-05-02", "2024-05-03", "2024-05-04", "2024-05-05", "2024-05-06"];

pub(super) struct Submitter {
    rng: Rng,
    /// Ids of jobs that were answered with 202: from then on they must not be lost.
    pub(super) accepted: Vec<String>,
    pub(super) retried: u64,
}

impl Submitter {
    pub(super) fn new(rng: Rng) -> Self {
        Self { rng, accepted: Vec::new(), retried: 0 }
    }

    pub(super) async fn run(&mut self, fleet: &Fleet, end: Instant) {
        while Instant::now() < end {
            let city = self.rng.u64(..8);
            fleet.upstream.set_version(city, self.rng.u64(..1_000));
            let job = if self.rng.u8(..5) == 0 {
                let id = format!("collection {}", self.rng.u32(..));
                self.submit(fleet, json!({ "source": "weather", "params": { "id": id } })).await
            } else {
                let date = self.rng.choice(DATES).unwrap_or(DATES[0]);
                self.submit(fleet, json!({ "source": "buses", "params": { "date": date } })).await
            };
            self.accepted.extend(job);
            tokio::time::sleep(Duration::from_millis(self.rng.u64(300..2_500))).await;
        }
    }

    /// Submits until it is accepted, under one key, as a careful client does. 202 or 503 must come within
    /// seconds, whatever is broken.
    async fn submit(&mut self, fleet: &Fleet, body: Value) -> Option<String> {
        let key = format!("chaos-{}", self.rng.u64(..));
        for _ in 0..60 {
            if let Some(url) = fleet.url("api", self.rng.usize(..8)) {
                let request = fleet.http.post(format!("{url}/v1/jobs")).header("Idempotency-Key", &key).json(&body);
                if let Ok(response) = request.send().await
                    && response.status() == 202
                    && let Ok(job) = response.json::<Value>().await
                {
                    return job["id"].as_str().map(str::to_owned);
                }
            }
            self.retried += 1;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        None
    }
}
