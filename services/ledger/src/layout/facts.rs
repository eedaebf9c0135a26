//! What a job's state follows from: the object names in its folder, and how its tasks ended.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    pin::pin,
};

use futures::{StreamExt, TryStreamExt, future::try_join, stream};
use serde::de::DeserializeOwned;
use waybill_journal::Follower;

use crate::{
    JobId, Ledger, LedgerError, State, TaskTally,
    journals::AsOf,
    layout::{
        keys::{self, Name},
        objects::SMALL,
    },
    outcomes::{End, Ended, Hour, JobOutcomes, Rank},
};

/// Objects of earlier releases read at once.
const AT_ONCE: usize = 64;

/// The facts of a job that are there.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Whether the job is there at all: what a process remembers of it may outlive it.
    pub(crate) exists: bool,
    pub(crate) started: bool,
    pub(crate) planned: bool,
    pub(crate) cancelled: bool,
    /// The latest round: 0, then one more for each retry.
    pub(crate) round: u32,
    /// Counts facts. It only grows while anybody works on the job.
    pub(crate) activity: u64,
    plan_failed: Option<u32>,
    sent: Option<u32>,
    /// Tasks that had a lease at some time.
    running: HashSet<u32>,
    /// Tasks, and the planning (`None`), whose next attempt waited at some time.
    waiting: BTreeSet<Option<u32>>,
    /// Tasks with more than one attempt, in any round.
    repeated: HashSet<u32>,
    /// As many as tasks have ended.
    outcomes: HashMap<u32, Rank>,
    /// How tasks ended by objects of earlier releases.
    markers: Vec<(u32, Rank)>,
    /// What the outcomes were read from; none where the job has no readable request.
    hour: Option<Follower<Hour>>,
}

impl Facts {
    pub(crate) fn add(&mut self, name: Name) {
        self.activity += 1;
        match name {
            Name::Request => self.exists = true,
            Name::Started => self.started = true,
            Name::Plan => self.planned = true,
            Name::Cancelled => self.cancelled = true,
            Name::Round(round) => self.round = self.round.max(round),
            Name::PlanFailed { round } => self.plan_failed = self.plan_failed.max(Some(round)),
            Name::Done { task } => self.markers.push((task, Rank::Done)),
            Name::Failed { task, round } => self.markers.push((task, Rank::Round(round, End::Failed))),
            Name::Partial { task, round } => self.markers.push((task, Rank::Round(round, End::Partial))),
            Name::Sent { round } => self.sent = self.sent.max(Some(round)),
            Name::Running { task } => self.running.extend(task),
            Name::Waiting { task } => drop(self.waiting.insert(task)),
            Name::Attempt { task, .. } => self.repeated.extend(task),
            Name::Summary => {}
        }
    }

    pub(crate) fn add_outcomes(&mut self, outcomes: &JobOutcomes) {
        self.outcomes = outcomes.iter().map(|(task, ended)| (*task, ended.rank())).collect();
        // Every fact counts, also one that took another's place.
        self.activity += outcomes.values().map(|ended| ended.rank().steps()).sum::<u64>();
    }

    /// Looks at the outcomes of the job, as they are now.
    pub(crate) fn look<T>(&self, job: JobId, look: impl FnOnce(Option<&JobOutcomes>) -> T) -> T {
        match &self.hour {
            Some(hour) => hour.read(|hour| look(hour.job(job))),
            None => look(None),
        }
    }

    /// How a task ended, if it did: what failed or lacked items in an earlier round is being tried again.
    pub(crate) fn outcome(&self, task: u32) -> Option<Rank> {
        self.outcomes.get(&task).copied().filter(|rank| rank.counts_in(self.round))
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
        self.outcomes.len() as u64
    }

    /// Tasks that have not ended and may have a lease.
    pub(crate) fn running(&self) -> impl Iterator<Item = u32> {
        self.running.iter().copied().filter(|task| self.outcome(*task).is_none())
    }

    /// What has not ended and whose next attempt may wait.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = Option<u32>> {
        let has_ended = |task: &Option<u32>| match task {
            Some(task) => self.outcome(*task).is_some(),
            None => self.planned || self.plan_failed().is_some(),
        };
        self.waiting.iter().copied().filter(move |task| !has_ended(task))
    }

    /// Whether a task that has not ended had more than one attempt: it may wait in a delay queue.
    pub(crate) fn has_retries(&self) -> bool {
        self.repeated.iter().any(|task| self.outcome(*task).is_none())
    }

    /// Tasks as far as ranks tell: whatever ended well counts as stored.
    pub(crate) fn tally(&self, total: u32) -> TaskTally {
        let mut tally = TaskTally { total: total.into(), ..TaskTally::default() };
        for task in 0..total {
            match self.outcome(task) {
                None => tally.pending += 1,
                Some(Rank::Round(_, End::Failed)) => tally.failed += 1,
                Some(Rank::Round(_, End::Partial)) => {
                    tally.stored += 1;
                    tally.incomplete += 1;
                }
                Some(Rank::Done) => tally.stored += 1,
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
    /// The state that follows from the facts alone.
    pub(crate) async fn state(&self, job: JobId, facts: &Facts) -> Result<State, LedgerError> {
        let tally = if facts.planned { Some(facts.tally(self.outline(job).await?.total())) } else { None };
        Ok(facts.state(tally.as_ref()))
    }

    /// The latest round of a job.
    pub async fn round(&self, job: JobId) -> Result<u32, LedgerError> {
        Ok(self.facts(job).await?.round)
    }

    /// Everything that was committed before this call.
    pub(crate) async fn facts(&self, job: JobId) -> Result<Facts, LedgerError> {
        self.facts_as_of(job, AsOf::Now).await
    }

    /// One LIST of a job's folder, and one of the journal of its hour, which many who ask at once share.
    pub(crate) async fn facts_as_of(&self, job: JobId, as_of: AsOf) -> Result<Facts, LedgerError> {
        let source = self.source(job).await?;
        let (mut facts, outcomes) = try_join(self.listed(job), async {
            match &source {
                Some(source) => Ok(Some(self.memory.outcomes.hour(source, job, as_of).await?)),
                None => Ok(None),
            }
        })
        .await?;
        let (Some(source), Some(hour)) = (source, outcomes) else { return Ok(facts) };
        let markers = std::mem::take(&mut facts.markers);
        let unknown: Vec<_> = hour.read(|hour| {
            let known = |task: &u32| hour.job(job).and_then(|outcomes| outcomes.get(task)).map(Ended::rank);
            markers.into_iter().filter(|(task, rank)| Some(*rank) > known(task)).collect()
        });
        if !unknown.is_empty() {
            self.adopt(&source, job, unknown).await?;
            hour.fresh().await?;
        }
        hour.read(|hour| hour.job(job).map(|outcomes| facts.add_outcomes(outcomes)));
        facts.hour = Some(hour);
        Ok(facts)
    }

    async fn listed(&self, job: JobId) -> Result<Facts, LedgerError> {
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

    /// Commits what objects of earlier releases say of tasks.
    async fn adopt(&self, source: &str, job: JobId, markers: Vec<(u32, Rank)>) -> Result<(), LedgerError> {
        tracing::info!(%job, source, tasks = markers.len(), "entering the outcomes of an earlier release");
        stream::iter(markers)
            .map(async |(task, rank)| {
                let ended = self.marker(job, task, rank).await?;
                Ok(self.memory.outcomes.commit(source, job, task, &ended).await?)
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn marker(&self, job: JobId, task: u32, rank: Rank) -> Result<Ended, LedgerError> {
        Ok(match rank {
            Rank::Done => Ended::Done(self.seen(&keys::of(job, Name::Done { task })).await?),
            Rank::Round(round, End::Partial) => {
                Ended::Partial(round, self.seen(&keys::of(job, Name::Partial { task, round })).await?)
            }
            Rank::Round(round, End::Failed) => {
                Ended::Failed(round, self.seen(&keys::of(job, Name::Failed { task, round })).await?)
            }
        })
    }

    async fn seen<T: DeserializeOwned>(&self, key: &str) -> Result<T, LedgerError> {
        self.read(key, SMALL).await?.ok_or_else(|| LedgerError::damaged(key, "it was there, and is gone"))
    }
}
