//! A fleet under fire: jobs are submitted, retried and cancelled throughout while processes, the broker, the store and
//! the upstream are made to fail; at the end all settles by itself, and every promise is checked.

mod canceller;
mod check;
mod dead;
mod fault_injector;
mod fleet;
mod health;
mod http_log;
mod relay;
mod report;
mod submitter;

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use fastrand::Rng;

pub use self::report::Report;
use crate::chaos::fleet::Fleet;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Chaos {
    /// The same seed: the same choices in the same order (how they fall in time is up to the machine).
    pub seed: u64,
    /// How long things are broken; settling and checking come on top.
    pub duration: Duration,
}

/// How long the fleet may take to settle once nothing is broken any more: the longest delay of the
/// queue that a task may still wait in, and then some.
const SETTLE: Duration = Duration::from_secs(1_200);

impl Chaos {
    /// Runs it; the report says what was done and which promises held.
    pub async fn run(self) -> Report {
        let mut rng = Rng::with_seed(self.seed);
        let fleet = Fleet::start(self.seed).await;
        let mut report = Report::new(self);
        let end = Instant::now() + self.duration;
        let accepted = Mutex::new(Vec::new());
        let mut submitter = submitter::Submitter::new(rng.fork());
        let mut relay = relay::Relay::new(rng.fork());
        let mut canceller = canceller::Canceller::new(rng.fork());
        let [mut killer, mut stormer, mut restarter] = [(); 3].map(|()| fault_injector::FaultInjector::new(rng.fork()));
        let mut health = health::Health::default();
        tokio::join!(
            submitter.run(&fleet, &accepted, end),
            relay.run(&fleet, end),
            canceller.run(&fleet, &accepted, end),
            killer.kill(&fleet, end),
            restarter.restart(&fleet, end),
            stormer.storm(&fleet, end),
            health.watch(&fleet, end),
        );
        let accepted = accepted.into_inner().expect("no holder panics");
        report.done =
            [killer.done, restarter.done, stormer.done, canceller.done.clone()].into_iter().flatten().collect();
        report.submitted = accepted.len() + relay.jobs.len();
        report.retried_submits = submitter.retried;
        report.kills_are_enough();
        let stubborn = restarter.stubborn;
        report.expect(stubborn.is_empty(), "every SIGTERM ended in exit code 0", || stubborn.join(", "));
        let settling = Instant::now();
        check::settle(&fleet, &accepted, SETTLE, &mut report, "every accepted job is terminal").await;
        report.settled_after = settling.elapsed();
        relay.check(&fleet, SETTLE, &mut report).await;
        check::all(&fleet, &accepted, &canceller, &mut report).await;
        http_log::judge(&fleet.posts(), &mut report);
        health.judge(&mut report);
        fleet.stop().await;
        report
    }
}
