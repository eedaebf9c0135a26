//! Watches memory and open files of the processes that are never killed: what leaks, grows.

use std::time::{Duration, Instant};

use crate::chaos::{
    Report,
    fleet::{Fleet, Sample},
};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);

/// What a process of this size may come to hold, whatever the run: enough for its caches, which are bounded.
const MOST_MIB: u64 = 256;
const MOST_FILES: u64 = 256;

/// What may be added between the second and the last quarter of a run without being a leak. Memory: bounded caches
/// fill up, and the allocator does not give all back. Files: as many connections as work at one moment needs.
const GROWTH_MIB: u64 = 32;
const GROWTH_FILES: u64 = 24;

/// What was seen of the processes that are never killed.
#[derive(Debug, Default)]
pub(super) struct Health {
    seen: Vec<(&'static str, Vec<Sample>)>,
}

impl Health {
    /// Looks every other second.
    pub(super) async fn watch(&mut self, fleet: &Fleet, end: Instant) {
        while Instant::now() < end {
            for (target, sample) in fleet.survivors() {
                match self.seen.iter_mut().find(|(name, _)| *name == target) {
                    Some((_, samples)) => samples.push(sample),
                    None => self.seen.push((target, vec![sample])),
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    pub(super) fn judge(&self, report: &mut Report) {
        for (target, samples) in &self.seen {
            let quarter = |n: usize| &samples[samples.len() * (n - 1) / 4..samples.len() * n / 4];
            let both = |of: fn(&Sample) -> u64| {
                let most = samples.iter().map(of).max().unwrap_or_default();
                (median(quarter(2), of), median(quarter(4), of), most)
            };
            let (memory, files) = (both(|sample| sample.mebibytes), both(|sample| sample.files));
            let promise = format!(
                "the {target} that was never killed: {} MiB in the second quarter of the run, {} in the last, {} at \
                 most; {} files, {}, {}",
                memory.0, memory.1, memory.2, files.0, files.1, files.2
            );
            let grows = memory.1 > memory.0 + GROWTH_MIB || files.1 > files.0 + GROWTH_FILES;
            let is_large = memory.2 > MOST_MIB || files.2 > MOST_FILES;
            report.expect(!grows && !is_large, &promise, || "that is a leak".to_owned());
        }
    }
}

/// The median, so that one busy moment decides nothing.
fn median(samples: &[Sample], of: fn(&Sample) -> u64) -> u64 {
    let mut values: Vec<_> = samples.iter().map(of).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
