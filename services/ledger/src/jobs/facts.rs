//! One look at a job: what its state follows from.

use std::{collections::BinaryHeap, sync::OnceLock};

use jiff::Timestamp;
use tokio::time::Instant;
use waybill_journal::Follower;

use crate::{
    Failure, JobId, Ledger, LedgerError, RowTally, State, Wait,
    jobs::{Job, Sealed, Slot, Tallied, Work, tally},
    journals::AsOf,
};

/// Waits that are told of a job.
const WAITS_TOLD: usize = 10;

/// The facts of a job at one time.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) job: JobId,
    /// Whether the job is there at all: what a process remembers of it may outlive it.
    pub(crate) exists: bool,
    pub(crate) started: Option<Timestamp>,
    /// When it was planned, with how many tasks.
    pub(crate) planned: Option<(Timestamp, u32)>,
    pub(crate) cancelled: Option<Timestamp>,
    /// The latest round: 0, then one more for each retry.
    pub(crate) round: u32,
    /// How the planning was given up, unless it is being tried again.
    pub(crate) plan_failed: Option<Failure>,
    /// Whether every task that was pending when this round began was sent out.
    pub(crate) is_sent: bool,
    /// The numbers of a job that is planned.
    pub(crate) tallied: Option<Tallied>,
    /// Of a job whose outcomes are no longer in the journal.
    pub(crate) sealed: Option<Sealed>,
    /// Tasks that have ended, in whichever round.
    pub(crate) ended_tasks: u64,
    /// Whether a task that has not ended had more than one attempt: it may wait in a delay queue.
    pub(crate) has_retries: bool,
    /// The latest round of which anything is known, also where the entry that began it was lost.
    pub(crate) last_round: u32,
    activity: OnceLock<u64>,
    /// What it was read from; none where the job has no readable request.
    slot: Option<Follower<Slot>>,
}

impl Facts {
    fn of(job: JobId, exists: bool, slot: Follower<Slot>) -> Self {
        let facts = slot.read(|slot| Self::at_once(job, slot.job(job).unwrap_or(&Job::default())));
        Self { exists, slot: Some(slot), ..facts }
    }

    fn at_once(id: JobId, job: &Job) -> Self {
        let round = job.round();
        let of_outcomes = || job.planned.map(|(_, total)| tally(&job.outcomes, total, round));
        let tallied = job.sealed.as_ref().map(Sealed::tallied).or_else(of_outcomes);
        Self {
            job: id,
            exists: false,
            started: job.started,
            planned: job.planned,
            cancelled: job.cancelled,
            round,
            plan_failed: job.plan_failed().cloned(),
            is_sent: job.is_sent_in(round),
            sealed: job.sealed,
            ended_tasks: job.sealed.map_or(job.outcomes.len() as u64, |sealed| sealed.tasks().into()),
            has_retries: job.works().any(|(task, work)| task.is_some() && work.has_attempts()),
            last_round: job.last_round().max(tallied.as_ref().map_or(0, |tallied| tallied.last_round)),
            tallied,
            activity: OnceLock::new(),
            slot: None,
        }
    }

    /// Looks at the job once more, as it is now.
    pub(crate) fn look<T: Default>(&self, look: impl FnOnce(&Job) -> T) -> T {
        let Some(slot) = &self.slot else { return T::default() };
        slot.read(|slot| slot.job(self.job).map(look)).unwrap_or_default()
    }

    /// Changes with every fact, but for leases that are renewed and attempts that are withdrawn. Only recovery asks: it
    /// goes through all outcomes.
    pub(crate) fn activity(&self) -> u64 {
        *self.activity.get_or_init(|| self.look(Job::activity))
    }

    /// The latest time that its facts name, by the clocks of whoever entered them. Only recovery asks: it goes through all
    /// outcomes.
    pub(crate) fn latest(&self) -> Option<Timestamp> {
        self.look(Job::latest)
    }

    /// Tasks that have not ended, from this number on.
    pub(crate) fn pending(&self, from: u32) -> Vec<u32> {
        let total = self.planned.map_or(0, |(_, total)| total);
        self.look(|job| (from..total).filter(|task| !job.has_ended(*task, job.round())).collect())
    }

    /// Tasks that have not ended and have a valid lease at `now`.
    pub(crate) fn held<C: FromIterator<u32> + Default>(&self, now: Timestamp) -> C {
        self.look(|job| job.works().filter(|(_, work)| work.is_leased(now)).filter_map(|(task, _)| task).collect())
    }

    /// Whether the planning has a valid lease at `now`.
    pub(crate) fn is_planning_held(&self, now: Timestamp) -> bool {
        self.look(|job| job.work(None).is_some_and(|work| work.is_leased(now)))
    }

    /// How the rows of tasks that have not ended have ended so far.
    pub(crate) fn rows_so_far(&self) -> RowTally {
        self.look(|job| {
            let mut all = RowTally::default();
            job.works().filter_map(|(_, work)| work.rows()).for_each(|rows| all.add(&rows));
            all
        })
    }

    /// What waits at `now`, the first to go on first: at most [`WAITS_TOLD`].
    pub(crate) fn waits(&self, now: Timestamp) -> Vec<Wait> {
        self.look(|job| {
            let mut first = BinaryHeap::new();
            let is_open = |(task, _): &(Option<u32>, &Work)| task.is_some() || job.planned.is_none();
            for (task, work) in job.works().filter(is_open) {
                first.extend(work.waits_until(now).map(|until| (until, task)));
                if first.len() > WAITS_TOLD {
                    first.pop();
                }
            }
            let waits = first.into_sorted_vec().into_iter();
            waits.filter_map(|(_, task)| job.work(task)?.told_wait(task)).collect()
        })
    }

    /// The state.
    ///
    /// A job of which every task ended well has succeeded, whatever was asked of it meanwhile: nothing can
    /// change it any more, so that all who look agree. Short of that, a cancellation outranks everything, rounds
    /// included.
    pub(crate) fn state(&self) -> State {
        match self.tallied.as_ref().map(|tallied| (tallied, &tallied.tasks)) {
            Some((tallied, tasks)) if tasks.pending + tasks.failed + tasks.incomplete == 0 => match tallied.lacks_items
            {
                true => State::Partial,
                false => State::Succeeded,
            },
            _ if self.cancelled.is_some() => State::Cancelled,
            None if self.plan_failed.is_some() => State::Failed,
            None if self.started.is_some() => State::Planning,
            None => State::Queued,
            Some((_, tasks)) if tasks.pending > 0 => State::Running,
            Some((_, tasks)) if tasks.failed < tasks.total => State::Partial,
            Some(_) => State::Failed,
        }
    }
}

impl Ledger {
    /// The latest round of a job.
    pub async fn round(&self, job: JobId) -> Result<u32, LedgerError> {
        Ok(self.facts(job).await?.round)
    }

    /// Everything that was committed before this call.
    pub(crate) async fn facts(&self, job: JobId) -> Result<Facts, LedgerError> {
        self.facts_as_of(job, AsOf::Now).await
    }

    /// What is a second old may say that a job has not ended. That it has, is said by all that was committed: it may have been
    /// retried, or a task have ended better, a moment ago.
    pub(crate) async fn facts_to_tell(&self, job: JobId, as_of: AsOf) -> Result<Facts, LedgerError> {
        let facts = self.facts_as_of(job, as_of).await?;
        if as_of != AsOf::Now && facts.state().is_terminal() {
            return self.facts(job).await;
        }
        Ok(facts)
    }

    /// One LIST of the journal of the job's slot, which many who ask at once share. Where no planning has begun, also one of
    /// the job's folder: it tells whether the job is there. Those who are content with what is a second old share both.
    pub(crate) async fn facts_as_of(&self, job: JobId, as_of: AsOf) -> Result<Facts, LedgerError> {
        let Some(source) = self.source(job).await? else {
            let folder = self.folder(job).await?;
            let cancelled = folder.is_cancelled.then(|| job.submitted());
            return Ok(Facts { exists: folder.exists, cancelled, ..Facts::at_once(job, &Job::default()) });
        };
        let slot = self.memory.jobs.slot(&source, job, as_of).await?;
        if slot.read(|slot| slot.job(job).is_some_and(|job| job.started.is_some())) {
            return Ok(Facts::of(job, true, slot));
        }
        if as_of == AsOf::ASecondAgo && self.memory.folders.get(&job).is_some() {
            return Ok(Facts::of(job, true, slot));
        }
        let began = Instant::now();
        let folder = self.folder(job).await?;
        self.adopt_seal(job, &folder, &slot).await?;
        self.adopt(&source, job, &folder, &slot).await?;
        if folder.exists {
            self.memory.folders.insert(job, began, ());
        }
        Ok(Facts::of(job, folder.exists, slot))
    }
}
