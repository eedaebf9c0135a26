//! Breaks things at random, and mends them again.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use fastrand::Rng;
use waybill_upstream::Faults;

use super::fleet::Fleet;
use crate::{
    proxy::{Proxy, Weather},
    tools::try_rabbitmqctl,
};

pub(super) struct Saboteur {
    rng: Rng,
    pub(super) done: BTreeMap<&'static str, u64>,
    pub(super) kills: u64,
}

/// What is done to processes, and how often of the sum of all.
const KILLS: [(&str, u32); 2] = [("process killed", 9), ("process restarted with SIGTERM", 1)];

/// What is done to what they stand on.
const STORMS: [(&str, u32); 8] = [
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

    /// Kills processes, one after the other.
    pub(super) async fn kill(&mut self, fleet: &Fleet, end: Instant) {
        while Instant::now() < end {
            self.pause(1_000..7_000).await;
            let action = self.choose(&KILLS);
            let Some((slot, _, process)) = fleet.take(self.rng.usize(..4)) else { continue };
            if action == "process killed" {
                self.kills += 1;
                process.kill();
                self.pause(0..1_500).await;
            } else {
                process.terminate().await;
            }
            fleet.respawn(slot).await;
        }
    }

    /// Breaks what processes stand on, at the same time as another kills them.
    pub(super) async fn storm(&mut self, fleet: &Fleet, end: Instant) {
        while Instant::now() < end {
            self.pause(1_000..6_000).await;
            match self.choose(&STORMS) {
                "connections to S3 cut" => fleet.s3.cut(),
                "S3 answers 503" => self.weather(&fleet.s3, Weather::Status(503)).await,
                "S3 refuses or says nothing" => {
                    let weather = self.silence();
                    self.weather(&fleet.s3, weather).await;
                }
                "connections to the broker cut" => fleet.broker.cut(),
                "broker refuses or says nothing" => {
                    let weather = self.silence();
                    self.weather(&fleet.broker, weather).await;
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
    }

    fn choose(&mut self, actions: &[(&'static str, u32)]) -> &'static str {
        let mut draw = self.rng.u32(..actions.iter().map(|(_, weight)| *weight).sum::<u32>());
        for (action, weight) in actions {
            if draw < *weight {
                *self.done.entry(action).or_default() += 1;
                return action;
            }
            draw -= weight;
        }
        unreachable!("a draw is below the sum of the weights")
    }

    fn silence(&mut self) -> Weather {
        if self.rng.bool() { Weather::Refuse } else { Weather::Stall }
    }

    async fn weather(&mut self, proxy: &Proxy, weather: Weather) {
        proxy.set(weather);
        proxy.cut();
        self.pause(1_000..6_000).await;
        proxy.set(Weather::Fair);
    }

    async fn pause(&mut self, milliseconds: std::ops::Range<u64>) {
        tokio::time::sleep(Duration::from_millis(self.rng.u64(milliseconds))).await;
    }
}

async fn blocking(work: impl FnOnce() -> bool + Send + 'static) {
    tokio::task::spawn_blocking(work).await.expect("rabbitmqctl can be run");
}
