//! Submits jobs throughout: many dates, the same ones again, with changed data.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use fastrand::Rng;
use serde_json::{Value, json};

use crate::chaos::fleet::{Body, Fleet, Post};

pub(super) const DATES: [&str; 6] =
    ["2024-05-01", "2024-05-02", "2024-05-03", "2024-05-04", "2024-05-05", "2024-05-06"];

/// Ids of jobs that were answered with 202: from then on they must not be lost.
pub(super) type Accepted = Mutex<Vec<String>>;

pub(super) struct Submitter {
    rng: Rng,
    pub(super) retried: u64,
}

impl Submitter {
    pub(super) fn new(rng: Rng) -> Self {
        Self { rng, retried: 0 }
    }

    pub(super) async fn run(&mut self, fleet: &Fleet, accepted: &Accepted, end: Instant) {
        while Instant::now() < end {
            let city = self.rng.u64(..8);
            fleet.upstream.set_version(city, self.rng.u64(..1_000));
            let body = if self.rng.u8(..5) == 0 {
                json!({ "source": "weather", "params": { "id": format!("collection {}", self.rng.u32(..)) } })
            } else {
                json!({ "source": "buses", "params": { "date": self.rng.choice(DATES).unwrap_or(DATES[0]) } })
            };
            let job = self.submit(fleet, &body).await;
            accepted.lock().expect("no holder panics").extend(job);
            tokio::time::sleep(Duration::from_millis(self.rng.u64(300..2_500))).await;
        }
    }

    /// Submits until it is accepted, under one key, as a careful client does.
    async fn submit(&mut self, fleet: &Fleet, body: &Value) -> Option<String> {
        let key = format!("chaos-{}", self.rng.u64(..));
        let post = Post { path: "/v1/jobs", submit: Some((Body::Json(body), &key)), allowed: &[202] };
        for _ in 0..60 {
            if let Some((202, job)) = fleet.post(self.rng.usize(..8), post).await {
                return job["id"].as_str().map(str::to_owned);
            }
            self.retried += 1;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        None
    }
}
