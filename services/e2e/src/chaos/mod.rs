//! A fleet under fire: jobs are submitted throughout while processes, the broker, the store and the
//! upstream are made to fail; at the end all settles by itself, and every promise is checked.

mod check;
mod fleet;
mod report;
mod saboteur;
mod submitter;

use std::time::{Duration, Instant};

use fastrand::Rng;

use fleet::Fleet;
pub use report::Report;

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
        let mut submitter = submitter::Submitter::new(rng.fork());
        let (mut killer, mut stormer) = (saboteur::Saboteur::new(rng.fork()), saboteur::Saboteur::new(rng.fork()));
        tokio::join!(submitter.run(&fleet, end), killer.kill(&fleet, end), stormer.storm(&fleet, end));
        fleet.upstream.set_faults(waybill_upstream::Faults::default());
        report.kills = killer.kills;
        report.done = killer.done.into_iter().chain(stormer.done).collect();
        report.submitted = submitter.accepted.len();
        report.retried_submits = submitter.retried;
        let settling = Instant::now();
        check::settle(&fleet, &submitter.accepted, SETTLE, &mut report, "every accepted job is terminal").await;
        report.settled_after = settling.elapsed();
        check::all(&fleet, &submitter.accepted, &mut report).await;
        fleet.stop().await;
        report
    }
}
