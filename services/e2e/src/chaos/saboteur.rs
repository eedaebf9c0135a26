//! Breaks things at random, and mends them again.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use fastrand::Rng;
use waybill_upstream::Faults;

use super::fleet::Fleet;
use crate::{proxy::Weather, tools::try_rabbitmqctl};

pub(super) struct Saboteur {
    rng: Rng,
    pub(super) done: BTreeMap<&'static str, u64>,
    pub(super) kills: u64,
}

/// What is done, and how often of the sum of all.
const ACTIONS: [(&str, u32); 10] = [
    ("process killed", 60),
    ("process restarted with SIGTERM", 8),
    ("connections to S3 cut", 8),
    ("S3 answers 503", 6),
    ("S3 refuses or says nothing", 6),
    ("connections to the broker cut", 8),
    ("broker refuses or says nothing", 5),
    ("broker restarted", 1),
    ("a queue of the broker deleted", 2),
    ("the upstream fails", 8),
];

impl Saboteur {
    pub(super) fn new(rng: Rng) -> Self {
        Self { rng, done: BTreeMap::new(), kills: 0 }
    }

    pub(super) async fn run(&mut self, fleet: &Fleet, end: Instant) {
        while Instant::now() < end {
            self.pause(500..4_000).await;
            let sum: u32 = ACTIONS.iter().map(|(_, weight)| weight).sum();
            let mut draw = self.rng.u32(..sum);
            let action = ACTIONS.iter().find(|(_, weight)| {
                let hit = draw < *weight;
                draw = draw.saturating_sub(*weight);
                hit
            });
            let Some((action, _)) = action else { continue };
            *self.done.entry(action).or_default() += 1;
            self.act(action, fleet).await;
        }
    }

    async fn act(&mut self, action: &str, fleet: &Fleet) {
        match action {
            "process killed" | "process restarted with SIGTERM" => {
                let Some((slot, _, process)) = fleet.take(self.rng.usize(..4)) else { return };
                if action == "process killed" {
                    self.kills += 1;
                    process.kill();
                    self.pause(0..1_500).await;
                } else {
                    process.terminate().await;
                }
                fleet.respawn(slot).await;
            }
            "connections to S3 cut" => fleet.s3.cut(),
            "S3 answers 503" => self.storm(fleet, true, Weather::Status(503)).await,
            "S3 refuses or says nothing" => {
                let weather = if self.rng.bool() { Weather::Refuse } else { Weather::Stall };
                self.storm(fleet, true, weather).await;
            }
            "connections to the broker cut" => fleet.broker.cut(),
            "broker refuses or says nothing" => {
                let weather = if self.rng.bool() { Weather::Refuse } else { Weather::Stall };
                self.storm(fleet, false, weather).await;
            }
            "broker restarted" => {
                blocking(|| try_rabbitmqctl(&["stop_app"])).await;
                self.pause(500..5_000).await;
                blocking(|| try_rabbitmqctl(&["start_app"])).await;
            }
            "a queue of the broker deleted" => {
                let queue = if self.rng.bool() { "waybill.plans" } else { "waybill.tasks.buses" };
                let vhost = fleet.vhost.clone();
                blocking(move || try_rabbitmqctl(&["delete_queue", "-p", &vhost, queue])).await;
            }
            _ => {
                let chance = |text: &str| text.parse().expect("a chance");
                fleet.upstream.set_faults(Faults {
                    server_error: chance("0.3"),
                    too_many: chance("0.1"),
                    hang_up: chance("0.2"),
                    ..Faults::default()
                });
                self.pause(1_000..6_000).await;
                fleet.upstream.set_faults(Faults::default());
            }
        }
    }

    async fn storm(&mut self, fleet: &Fleet, s3: bool, weather: Weather) {
        let proxy = if s3 { &fleet.s3 } else { &fleet.broker };
        proxy.set(weather);
        proxy.cut();
        self.pause(1_000..6_000).await;
        proxy.set(Weather::Fair);
    }

    /// Nothing is broken any more.
    pub(super) async fn heal(&mut self, fleet: &Fleet) {
        fleet.s3.set(Weather::Fair);
        fleet.broker.set(Weather::Fair);
        fleet.upstream.set_faults(Faults::default());
    }

    async fn pause(&mut self, milliseconds: std::ops::Range<u64>) {
        tokio::time::sleep(Duration::from_millis(self.rng.u64(milliseconds))).await;
    }
}

async fn blocking(work: impl FnOnce() -> bool + Send + 'static) {
    tokio::task::spawn_blocking(work).await.expect("rabbitmqctl can be run");
}
