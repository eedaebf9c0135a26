//! Facts that follow from the object names in a job's folder. A job's state needs no object's body.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    pin::pin,
};

use futures::TryStreamExt;

use crate::{
    JobId, Ledger, LedgerError, State, TaskTally,
    layout::keys::{self, Name},
};

/// A task's marker; the greater of two counts, in whichever order they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Marker {
    /// Counts until a later round begins, in which the task is tried again.
    Round(u32, End),
    /// Ended well, for good.
    Done,
}

/// How a task ended that a retry tries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum End {
    /// Given up.
    Failed,
    /// Ended well, but without items that the upstream does not have.
    Partial,
}

/// The objects of a job that are there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Whether the job is there at all: what a process remembers of it may outlive it.
    pub(crate) exists: bool,
    pub(crate) started: bool,
    pub(crate) planned: bool,
    pub(crate) cancelled: bool,
    /// The latest round: 0, then one more for each retry.
    pub(crate) round: u32,
    /// Objects seen. It only grows while anybody works on the job.
    pub(crate) objects: u64,
    plan_failed: Option<u32>,
    sent: Option<u32>,
    /// Tasks that had a lease at some time.
    running: HashSet<u32>,
    /// Tasks, and the planning (`None`), whose next attempt waited at some time.
    waiting: BTreeSet<Option<u32>>,
    /// Tasks with more than one attempt, in any round.
    repeated: HashSet<u32>,
    /// As many as tasks have ended.
    markers: HashMap<u32, Marker>,
}

impl Facts {
    pub(crate) fn add(&mut self, name: Name) {
        self.objects += 1;
        match name {
            Name::Request => self.exists = true,
            Name::Started => self.started = true,
            Name::Plan => self.planned = true,
            Name::Cancelled => self.cancelled = true,
            Name::Round(round) => self.round = self.round.max(round),
            Name::PlanFailed { round } => self.plan_failed = self.plan_failed.max(Some(round)),
            Name::Done { task } => self.mark(task, Marker::Done),
            Name::Failed { task, round } => self.mark(task, Marker::Round(round, End::Failed)),
            Name::Partial { task, round } => self.mark(task, Marker::Round(round, End::Partial)),
            Name::Sent { round } => self.sent = self.sent.max(Some(round)),
            Name::Running { task } => self.running.extend(task),
            Name::Waiting { task } => drop(self.waiting.insert(task)),
            Name::Attempt { task, .. } => self.repeated.extend(task),
            Name::Summary => {}
        }
    }

    fn mark(&mut self, task: u32, marker: Marker) {
        let counts = self.markers.entry(task).or_insert(marker);
        *counts = marker.max(*counts);
    }

    /// How a task ended, if it did: what failed or lacked items in an earlier round is being tried again.
    pub(crate) fn marker(&self, task: u32) -> Option<Marker> {
        self.markers.get(&task).copied().filter(|marker| *marker >= Marker::Round(self.round, End::Failed))
    }

    /// The round in which the planning was given up, unless it is being tried again.
    pub(crate) fn plan_failed(&self) -> Option<u32> {
        self.plan_failed.filter(|round| *round >= self.round)
    }

    /// Whether every task that was pending when this round began was sent out.
    pub(crate) fn is_sent(&self) -> bool {
        self.sent >= Some(self.round)
    }

    /// Tasks that have ended, in whichever round.
    pub(crate) fn ended_tasks(&self) -> u64 {
        self.markers.len() as u64
    }

    /// Tasks without a marker that may have a lease.
    pub(crate) fn running(&self) -> impl Iterator<Item = u32> {
        self.running.iter().copied().filter(|task| self.marker(*task).is_none())
    }

    /// What has not ended and whose next attempt may wait.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = Option<u32>> {
        let has_ended = |task: &Option<u32>| match task {
            Some(task) => self.marker(*task).is_some(),
            None => self.planned || self.plan_failed().is_some(),
        };
        self.waiting.iter().copied().filter(move |task| !has_ended(task))
    }

    /// Whether a task without a marker had more than one attempt: it may wait in a delay queue.
    pub(crate) fn has_retries(&self) -> bool {
        self.repeated.iter().any(|task| self.marker(*task).is_none())
    }

    /// Tasks as far as names tell: whatever ended well counts as stored.
    pub(crate) fn tally(&self, total: u32) -> TaskTally {
        let mut tally = TaskTally { total: total.into(), ..TaskTally::default() };
        for task in 0..total {
            match self.marker(task) {
                None => tally.pending += 1,
                Some(Marker::Round(_, End::Failed)) => tally.failed += 1,
                Some(Marker::Round(_, End::Partial)) => {
                    tally.stored += 1;
                    tally.incomplete += 1;
                }
                Some(Marker::Done) => tally.stored += 1,
            }
        }
        tally
    }

    /// The state; `tally` is of the plan, if there is one.
    ///
    /// A job of which every task ended well has succeeded, whatever was asked of it meanwhile: nothing can
    /// change it any more, so that all who look agree. Short of that, a cancellation outranks everything, rounds
    /// included.
    pub(crate) fn state(&self, tally: Option<&TaskTally>) -> State {
        match tally {
            Some(tally) if tally.pending + tally.failed + tally.incomplete == 0 => State::Succeeded,
            _ if self.cancelled => State::Cancelled,
            None if self.plan_failed().is_some() => State::Failed,
            None if self.started => State::Planning,
            None => State::Queued,
            Some(tally) if tally.pending > 0 => State::Running,
            Some(tally) if tally.failed < tally.total => State::Partial,
            Some(_) => State::Failed,
        }
    }
}

impl Ledger {
    /// The state that follows from names alone.
    pub(crate) async fn state(&self, job: JobId, facts: &Facts) -> Result<State, LedgerError> {
        let tally = if facts.planned { Some(facts.tally(self.outline(job).await?.total())) } else { None };
        Ok(facts.state(tally.as_ref()))
    }

    /// The latest round of a job.
    pub async fn round(&self, job: JobId) -> Result<u32, LedgerError> {
        Ok(self.facts(job).await?.round)
    }

    /// One LIST of a job's folder, page by page.
    pub(crate) async fn facts(&self, job: JobId) -> Result<Facts, LedgerError> {
        let folder = keys::folder(job);
        let mut facts = Facts::default();
        let mut pages = pin!(self.store.pages(&folder));
        while let Some(page) = pages.try_next().await? {
            for entry in &page {
                if let Some(name) = entry.key.strip_prefix(&folder).and_then(Name::parse) {
                    facts.add(name);
                }
            }
        }
        Ok(facts)
    }
}
