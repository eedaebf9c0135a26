//! Retries and cancels jobs at random, finished or not, sometimes both at once, each from another API.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use fastrand::Rng;

use crate::chaos::{
    fleet::{Fleet, Post},
    submitter::Accepted,
};

pub(super) struct Canceller {
    rng: Rng,
    /// Jobs that somebody asked to cancel, whatever was answered, or nothing.
    pub(super) perhaps_cancelled: BTreeSet<String>,
    /// Jobs whose cancelling was answered with 2xx.
    pub(super) cancelled: BTreeSet<String>,
    pub(super) done: BTreeMap<&'static str, u64>,
}

impl Canceller {
    pub(super) fn new(rng: Rng) -> Self {
        Self { rng, perhaps_cancelled: BTreeSet::new(), cancelled: BTreeSet::new(), done: BTreeMap::new() }
    }

    pub(super) async fn run(&mut self, fleet: &Fleet, accepted: &Accepted, end: Instant) {
        while Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(self.rng.u64(500..4_000))).await;
            let Some(job) = self.choose(accepted) else { continue };
            let (here, there) = (self.rng.usize(..2), self.rng.usize(..2));
            match self.rng.u8(..8) {
                0..4 => self.retry(fleet, here, &job).await,
                4 | 5 => self.cancel(fleet, here, &job).await,
                _ => {
                    let retry = act(fleet, here, &job, "retry");
                    let cancel = act(fleet, there, &job, "cancel");
                    let (retried, cancelled) = tokio::join!(retry, cancel);
                    *self.done.entry("a job retried and cancelled at once").or_default() += 1;
                    self.note(&job, cancelled);
                    let _ = retried;
                }
            }
        }
    }

    /// Mostly one of the newest, on which work goes on.
    fn choose(&mut self, accepted: &Accepted) -> Option<String> {
        let accepted = accepted.lock().expect("no holder panics");
        let newest = if self.rng.u8(..4) == 0 { accepted.len() } else { accepted.len().min(4) };
        self.rng.choice(&accepted[accepted.len() - newest..]).cloned()
    }

    async fn retry(&mut self, fleet: &Fleet, api: usize, job: &str) {
        *self.done.entry("a job retried").or_default() += 1;
        act(fleet, api, job, "retry").await;
    }

    async fn cancel(&mut self, fleet: &Fleet, api: usize, job: &str) {
        *self.done.entry("a job cancelled").or_default() += 1;
        let cancelled = act(fleet, api, job, "cancel").await;
        self.note(job, cancelled);
    }

    fn note(&mut self, job: &str, answer: Option<u16>) {
        self.perhaps_cancelled.insert(job.to_owned());
        if answer.is_some_and(|status| status < 300) {
            self.cancelled.insert(job.to_owned());
        }
    }
}

/// Asks for it once; the status of the answer.
pub(super) async fn act(fleet: &Fleet, api: usize, job: &str, action: &str) -> Option<u16> {
    let path = format!("/v1/jobs/{job}/{action}");
    let answer = fleet.post(api, Post { path: &path, submit: None, allowed: &[200, 202, 409] }).await;
    answer.map(|(status, _)| status)
}
