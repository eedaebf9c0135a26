//! Breaks things at random, and mends them again.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use fastrand::Rng;
use waybill_upstream::{CityFault, Faults};

use crate::{
    chaos::fleet::{Fleet, KILLABLE},
    fault::Fault,
    proxy::{Proxy, Weather},
    tools::try_rabbitmqctl,
};

pub(super) struct FaultInjector {
    rng: Rng,
    pub(super) done: BTreeMap<&'static str, u64>,
    /// Processes that did not go down as they should.
    pub(super) stubborn: Vec<String>,
}

/// What processes are killed with.
pub(super) const KILLED: &str = "process killed";

/// What is done to what they stand on, and how often of the sum of all.
const STORMS: [(&str, u32); 10] = [
    ("connections to S3 cut", 8),
    ("S3 answers 503", 4),
    ("S3 refuses or says nothing", 6),
    ("S3 spoils requests one by one", 8),
    ("connections to the broker cut", 8),
    ("broker refuses or says nothing", 5),
    ("broker restarted", 1),
    (QUEUE_DELETED, 2),
    ("the upstream fails", 6),
    ("the upstream has lost a city, or spoils it", 8),
];

const QUEUE_DELETED: &str = "a queue of the broker deleted";

/// In the end no queue is deleted any more: what is lost is looked for after two minutes, and a run need not wait so
/// long for what it can see as well in its middle.
const LAST_LOSS: Duration = Duration::from_secs(60);

impl FaultInjector {
    pub(super) fn new(rng: Rng) -> Self {
        Self { rng, done: BTreeMap::new(), stubborn: Vec::new() }
    }

    /// Kills processes, one after the other.
    pub(super) async fn kill(&mut self, fleet: &Fleet, end: Instant) {
        while Instant::now() < end {
            self.pause(1_000..5_000).await;
            let slot = self.rng.choice(KILLABLE).unwrap_or_default();
            let Some(process) = fleet.take(slot) else { continue };
            self.count(KILLED);
            process.kill();
            self.pause(0..1_500).await;
            fleet.respawn(slot).await;
        }
    }

    /// Restarts processes as a rollout does.
    pub(super) async fn restart(&mut self, fleet: &Fleet, end: Instant) {
        while Instant::now() < end {
            self.pause(5_000..25_000).await;
            let slot = self.rng.choice(KILLABLE).unwrap_or_default();
            let Some(process) = fleet.take(slot) else { continue };
            self.count("process restarted with SIGTERM");
            let code = process.terminate().await;
            if code != Some(0) {
                self.stubborn.push(format!("{slot}: {code:?}"));
            }
            fleet.respawn(slot).await;
        }
    }

    /// Breaks what processes stand on, at the same time as others end them.
    pub(super) async fn storm(&mut self, fleet: &Fleet, end: Instant) {
        while Instant::now() < end {
            self.pause(1_000..6_000).await;
            match self.choose(&STORMS, end) {
                "connections to S3 cut" => fleet.s3.cut(),
                "S3 answers 503" => self.weather(&fleet.s3, Weather::Http(Fault::Status(503))).await,
                "S3 refuses or says nothing" => {
                    let weather = self.silence();
                    self.weather(&fleet.s3, weather).await;
                }
                "S3 spoils requests one by one" => self.weather(&fleet.s3, Weather::Gusts).await,
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
                QUEUE_DELETED => {
                    let queue = if self.rng.bool() { "waybill.plans" } else { "waybill.tasks.buses" };
                    let vhost = fleet.vhost.clone();
                    blocking(move || try_rabbitmqctl(&["delete_queue", "-p", &vhost, queue])).await;
                }
                "the upstream fails" => {
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
                _ => {
                    // Trying again does not help: tasks fail, and are buried.
                    let city = self.rng.u64(..8);
                    let faults = [CityFault::Status(404), CityFault::Html, CityFault::WrongField];
                    fleet.upstream.set_city_fault(city, self.rng.choice(faults));
                    self.pause(2_000..8_000).await;
                    fleet.upstream.set_city_fault(city, None);
                }
            }
        }
    }

    fn choose(&mut self, actions: &[(&'static str, u32)], end: Instant) -> &'static str {
        loop {
            let mut draw = self.rng.u32(..actions.iter().map(|(_, weight)| *weight).sum::<u32>());
            let drawn = actions.iter().find(|(_, weight)| match draw.checked_sub(*weight) {
                Some(rest) => {
                    draw = rest;
                    false
                }
                None => true,
            });
            let (action, _) = drawn.expect("a draw is below the sum of the weights");
            if *action != QUEUE_DELETED || Instant::now() + LAST_LOSS < end {
                self.count(action);
                return action;
            }
        }
    }

    fn count(&mut self, action: &'static str) {
        *self.done.entry(action).or_default() += 1;
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
