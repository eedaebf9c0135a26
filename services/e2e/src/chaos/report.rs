//! What a run did, and which promises held.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::chaos::{Chaos, fault_injector::KILLED};

/// The outcome of a run.
#[derive(Debug)]
pub struct Report {
    chaos: Chaos,
    pub(super) done: BTreeMap<&'static str, u64>,
    pub(super) submitted: usize,
    pub(super) retried_submits: u64,
    pub(super) settled_after: Duration,
    pub(super) facts: Vec<String>,
    pub(super) broken: Vec<String>,
}

impl Report {
    pub(super) fn new(chaos: Chaos) -> Self {
        Self {
            chaos,
            done: BTreeMap::new(),
            submitted: 0,
            retried_submits: 0,
            settled_after: Duration::ZERO,
            facts: Vec::new(),
            broken: Vec::new(),
        }
    }

    /// Whether every promise held.
    pub fn is_good(&self) -> bool {
        self.broken.is_empty()
    }

    /// A run in which little was killed shows little.
    pub(super) fn kills_are_enough(&mut self) {
        const A_MINUTE: f64 = 10.0;
        let kills = self.done.get(KILLED).copied().unwrap_or_default();
        let minutes = self.chaos.duration.as_secs_f64() / 60.0;
        let promise = format!("{:.1} processes a minute were killed with -9", kills as f64 / minutes);
        self.expect(kills as f64 >= A_MINUTE * minutes, &promise, || format!("at least {A_MINUTE} should be"));
    }

    /// Notes a promise that held, or did not.
    pub(super) fn expect(&mut self, held: bool, promise: &str, otherwise: impl FnOnce() -> String) {
        if held {
            self.facts.push(promise.to_owned());
        } else {
            self.broken.push(format!("{promise}: {}", otherwise()));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.chaos.duration.as_secs_f64() / 60.0;
        writeln!(f, "chaos: seed {}, {minutes:.1} minutes", self.chaos.seed)?;
        writeln!(f, "  {} jobs accepted ({} submits had to be repeated)", self.submitted, self.retried_submits)?;
        writeln!(f, "  what was done:")?;
        for (what, times) in &self.done {
            writeln!(f, "    {times:>5} × {what}")?;
        }
        writeln!(f, "  settled {:.0} s after the last fault", self.settled_after.as_secs_f64())?;
        for fact in &self.facts {
            writeln!(f, "  held    {fact}")?;
        }
        for broken in &self.broken {
            writeln!(f, "  BROKEN  {broken}")?;
        }
        Ok(())
    }
}
