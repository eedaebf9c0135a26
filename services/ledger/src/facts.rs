//! What the names in a job's folder say. No object is opened to know a job's state.

use std::collections::HashMap;

use crate::{
    JobId, Ledger, LedgerError, State, Tally,
    keys::{self, Name},
};

/// Keys a LIST answers at a time, which is S3's own limit.
const PAGE: usize = 1_000;

/// A task's marker; the greater of two counts, in whichever order they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Marker {
    /// Given up in this round.
    Failed(u32),
    /// Ended well.
    Done,
}

/// The objects of a job that are there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) started: bool,
    pub(crate) planned: bool,
    pub(crate) cancelled: bool,
    /// The latest round: 0, then one more for each retry of what had failed.
    pub(crate) round: u32,
    plan_failed: Option<u32>,
    /// As many as tasks have ended.
    markers: HashMap<u32, Marker>,
}

impl Facts {
    pub(crate) fn add(&mut self, name: Name) {
        match name {
            Name::Started => self.started = true,
            Name::Plan => self.planned = true,
            Name::Cancelled => self.cancelled = true,
            Name::Round(round) => self.round = self.round.max(round),
            Name::PlanFailed { round } => self.plan_failed = self.plan_failed.max(Some(round)),
            Name::Done { task } => self.mark(task, Marker::Done),
            Name::Failed { task, round } => self.mark(task, Marker::Failed(round)),
            Name::Request | Name::Summary => {}
        }
    }

    fn mark(&mut self, task: u32, marker: Marker) {
        let counts = self.markers.entry(task).or_insert(marker);
        *counts = marker.max(*counts);
    }

    /// How a task ended, if it did: what failed in an earlier round is being tried again.
    pub(crate) fn marker(&self, task: u32) -> Option<Marker> {
        self.markers.get(&task).copied().filter(|marker| *marker >= Marker::Failed(self.round))
    }

    /// The round in which the planning was given up, unless it is being tried again.
    pub(crate) fn plan_failed(&self) -> Option<u32> {
        self.plan_failed.filter(|round| *round >= self.round)
    }

    /// Tasks as far as names tell: whatever ended well counts as stored.
    pub(crate) fn tally(&self, total: u32) -> Tally {
        let mut tally = Tally { total: total.into(), ..Tally::default() };
        for task in 0..total {
            match self.marker(task) {
                None => tally.pending += 1,
                Some(Marker::Failed(_)) => tally.failed += 1,
                Some(Marker::Done) => tally.stored += 1,
            }
        }
        tally
    }

    /// The state; `tally` is of the plan, if there is one.
    pub(crate) fn state(&self, tally: Option<&Tally>) -> State {
        match tally {
            _ if self.cancelled => State::Cancelled,
            None if self.plan_failed().is_some() => State::Failed,
            None if self.started => State::Planning,
            None => State::Queued,
            Some(tally) if tally.pending > 0 => State::Running,
            Some(tally) if tally.failed == 0 => State::Succeeded,
            Some(tally) if tally.failed < tally.total => State::Partial,
            Some(_) => State::Failed,
        }
    }
}

impl Ledger {
    /// One LIST of a job's folder, page by page.
    pub(crate) async fn facts(&self, job: JobId) -> Result<Facts, LedgerError> {
        let folder = keys::folder(job);
        let mut facts = Facts::default();
        let mut after: Option<String> = None;
        loop {
            let page = self.store.list(&folder, after.as_deref(), PAGE).await?;
            for entry in &page {
                if let Some(name) = entry.key.strip_prefix(&folder).and_then(Name::parse) {
                    facts.add(name);
                }
            }
            match page.into_iter().nth(PAGE - 1) {
                Some(last) => after = Some(last.key),
                None => return Ok(facts),
            }
        }
    }
}
