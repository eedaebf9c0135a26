//! A job's state, derived from the facts that are there.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    Failure, JobId, Ledger, LedgerError, MissingItem, Request, RowTally, Wait,
    changes::plan::Outline,
    jobs::{Ended, Facts, Tallied},
    journals::AsOf,
    layout::{
        keys::{self, Name},
        objects,
    },
    ledger::truncated,
};

/// A job's state. It only moves forward, but for a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Accepted; not begun.
    Queued,
    /// A worker asks the upstream for the items.
    Planning,
    /// Tasks are running or waiting.
    Running,
    /// Every task ended well.
    Succeeded,
    /// Some tasks ended well, the others failed; or all did, but for items that the upstream does not have.
    Partial,
    /// No task ended well, or the planning failed.
    Failed,
    /// Cancelled before all was done.
    Cancelled,
    /// An object of the job in the bucket cannot be read; the errors name it.
    Damaged,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "queued",
            Self::Planning => "planning",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Damaged => "damaged",
        })
    }
}

impl State {
    /// Whether nothing more will happen by itself.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Partial | Self::Failed | Self::Cancelled | Self::Damaged)
    }
}

/// Tasks by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskTally {
    /// All of them; 0 until planned.
    pub total: u64,
    /// Waiting or running.
    pub pending: u64,
    /// A new object was stored.
    pub stored: u64,
    /// The upstream had what was stored already.
    pub unchanged: u64,
    /// Given up.
    pub failed: u64,
    /// Of those stored or unchanged: without items that the upstream does not have. A retry tries them again.
    #[serde(default)]
    pub incomplete: u64,
}

/// A task that failed, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskError {
    /// Its number; none where the planning failed, or an object is damaged.
    pub task: Option<u64>,
    /// Its items' keys.
    pub items: Vec<String>,
    /// Why.
    pub failure: Failure,
}

/// A job's state and numbers at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The request.
    pub request: Request,
    /// The state.
    pub state: State,
    /// When a worker began to plan.
    pub started: Option<Timestamp>,
    /// When the last task ended, or the job was cancelled, if that was later; only in a terminal state.
    pub finished: Option<Timestamp>,
    /// Tasks by outcome.
    pub tasks: TaskTally,
    /// Bytes of tasks that ended well.
    pub bytes: u64,
    /// Records of tasks that ended well.
    pub records: u64,
    /// Rows of the job's upload by outcome, as far as is known; only where there is an upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<RowTally>,
    /// The first failures by task number, at most 10.
    pub errors: Vec<TaskError>,
    /// What waits for its next attempt, the first to go on first: at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<Wait>,
}

impl Status {
    /// Whether [`Ledger::retry`] has something to try again.
    pub fn is_retryable(&self) -> bool {
        match self.state {
            State::Failed => true,
            State::Partial => self.tasks.failed + self.tasks.incomplete > 0,
            _ => false,
        }
    }
}

/// `summary.json`: the status of a job that has ended, as it was written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// The round that ended with it.
    pub(crate) round: u32,
    #[serde(flatten)]
    pub(crate) status: Status,
}

impl Summary {
    /// Whether a summary still says what the facts say. A task that is done outranks a failure however late it comes,
    /// and a plan outranks a planning that was given up; a job that succeeded cannot change any more.
    pub(crate) fn holds(&self, facts: &Facts) -> bool {
        let Status { state, tasks, .. } = &self.status;
        let well = tasks.stored + tasks.unchanged;
        let is_same = |found: &TaskTally| {
            let found_well = found.stored + found.unchanged;
            (found_well, found.failed, found.incomplete) == (well, tasks.failed, tasks.incomplete)
        };
        let has_same = facts.tallied.as_ref().is_none_or(|tallied| is_same(&tallied.tasks));
        self.round == facts.round && *state == facts.state() && has_same
    }
}

/// Why a task is no success.
fn task_error(task: u32, ended: Ended, outline: &Outline) -> TaskError {
    let (items, failure) = match ended {
        Ended::Failed(_, failure) => (outline.items(task), failure),
        Ended::Partial(_, done) | Ended::Done(done) => {
            let reasons: Vec<_> = done.missing.iter().map(MissingItem::to_string).collect();
            let (attempts, finished) = (done.attempts, done.finished);
            let quarantine = done.quarantine.map(String::from);
            let failure = Failure { reason: reasons.join("; "), quarantine, attempts, finished };
            (done.missing.into_iter().map(|missing| missing.item).collect(), truncated(&failure))
        }
    };
    TaskError { task: Some(task.into()), items, failure }
}

impl Ledger {
    /// A job's status, from its summary or from its facts. `None` for an unknown job. A job with a
    /// damaged object has the state `Damaged`, and an error that names the object.
    /// Of a job that has not ended, what other processes did in the last second may be missing.
    pub async fn status(&self, job: JobId) -> Result<Option<Status>, LedgerError> {
        self.status_as_of(job, AsOf::ASecondAgo).await
    }

    pub(crate) async fn status_as_of(&self, job: JobId, as_of: AsOf) -> Result<Option<Status>, LedgerError> {
        match self.intact_status(job, as_of).await {
            Err(error @ LedgerError::Damaged { .. }) => Ok(Some(self.damaged_status(job, &error).await?)),
            status => status,
        }
    }

    async fn damaged_status(&self, job: JobId, error: &LedgerError) -> Result<Status, LedgerError> {
        let request = match self.request(job).await {
            Ok(request) => request.map(Arc::unwrap_or_clone),
            Err(LedgerError::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        let failure = Failure { reason: error.to_string(), quarantine: None, attempts: 0, finished: job.submitted() };
        Ok(Status {
            request: request.unwrap_or_else(|| Request::unreadable(job)),
            state: State::Damaged,
            started: None,
            finished: None,
            tasks: TaskTally::default(),
            bytes: 0,
            records: 0,
            rows: None,
            errors: vec![TaskError { task: None, items: Vec::new(), failure }],
            waits: Vec::new(),
        })
    }

    async fn intact_status(&self, job: JobId, as_of: AsOf) -> Result<Option<Status>, LedgerError> {
        let may_be_old = as_of == AsOf::ASecondAgo;
        if let Some(summary) = self.memory.succeeded.get(&job).filter(|_| may_be_old) {
            return Ok(Some(summary.status));
        }
        let is_unended = may_be_old && self.memory.unended.get(&job).is_some();
        let mut summary = if is_unended { None } else { self.look_for_summary(job).await? };
        if let Some(summary) = summary.take_if(|summary| summary.status.state == State::Succeeded) {
            return Ok(Some(summary.status));
        }
        let Some(request) = self.request(job).await? else { return Ok(None) };
        let facts = self.facts_to_tell(job, as_of).await?;
        if !facts.exists {
            return Ok(None);
        }
        if is_unended && facts.state().is_terminal() {
            summary = self.look_for_summary(job).await?;
        }
        if let Some(summary) = summary
            && summary.holds(&facts)
        {
            return Ok(Some(summary.status));
        }
        let status = self.derive(&request, &facts).await?;
        if status.state.is_terminal() {
            match self.conclude(&status, &facts).await {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(error) => tracing::warn!(%job, source = status.request.source, %error, "failed to write a summary"),
            }
        }
        Ok(Some(status))
    }

    /// The status that follows from the facts.
    pub(crate) async fn derive(&self, request: &Request, facts: &Facts) -> Result<Status, LedgerError> {
        let mut status = match &facts.tallied {
            Some(tallied) => self.derive_planned(request, facts, tallied).await?,
            None => derive_unplanned(request, facts),
        };
        if status.state == State::Cancelled {
            status.finished = status.finished.max(facts.cancelled);
        }
        if !status.state.is_terminal() {
            status.waits = facts.waits(Timestamp::now());
        }
        Ok(status)
    }

    async fn derive_planned(&self, request: &Request, facts: &Facts, tallied: &Tallied) -> Result<Status, LedgerError> {
        let state = facts.state();
        // A job without tasks ended when that was known.
        let finished = tallied.finished.or(facts.planned.map(|(at, _)| at));
        let errors = if tallied.errors.is_empty() {
            Vec::new()
        } else {
            let outline = self.outline(request.job).await?;
            tallied.errors.iter().map(|(task, ended)| task_error(*task, ended.clone(), &outline)).collect()
        };
        Ok(Status {
            request: request.clone(),
            state,
            started: facts.started,
            finished: finished.filter(|_| state.is_terminal()),
            tasks: tallied.tasks,
            bytes: tallied.bytes,
            records: tallied.records,
            rows: request.upload.as_ref().map(|_| {
                let mut rows = facts.rows_so_far();
                rows.add(&tallied.rows);
                rows
            }),
            errors,
            waits: Vec::new(),
        })
    }

    async fn look_for_summary(&self, job: JobId) -> Result<Option<Summary>, LedgerError> {
        let began = Instant::now();
        let summary = self.summary(job).await?;
        self.remember_summary(job, began, summary.as_ref());
        Ok(summary)
    }

    /// A summary of another state is outdated by a retry.
    fn remember_summary(&self, job: JobId, began: Instant, summary: Option<&Summary>) {
        match summary {
            None => self.memory.unended.insert(job, began, ()),
            Some(summary) => {
                self.memory.unended.remove(&job);
                if summary.status.state == State::Succeeded {
                    self.memory.succeeded.insert(job, began, summary.clone());
                }
            }
        }
    }

    /// Forgets a job that is not there any more.
    pub(crate) fn forget(&self, job: JobId) {
        self.memory.requests.remove(&job);
        self.memory.succeeded.remove(&job);
        self.memory.unended.remove(&job);
        self.memory.folders.remove(&job);
    }

    pub(crate) async fn summary(&self, job: JobId) -> Result<Option<Summary>, LedgerError> {
        // It is derived: what cannot be read is made again.
        self.read_intact(&keys::of(job, Name::Summary), objects::SUMMARY).await
    }

    /// Whether a job is there that may only be remembered: one HEAD.
    pub(crate) async fn is_there(&self, job: JobId) -> Result<bool, LedgerError> {
        let is_there = self.store.head(&keys::of(job, Name::Request)).await?.is_some();
        if !is_there {
            self.forget(job);
        }
        Ok(is_there)
    }

    /// Writes the summary of a job that has ended, so that reading it gets cheap. Returns whether the job is there: it may
    /// be remembered here, and deleted.
    pub(crate) async fn conclude(&self, status: &Status, facts: &Facts) -> Result<bool, LedgerError> {
        let job = status.request.job;
        if !self.is_there(job).await? {
            return Ok(false);
        }
        if let (State::Cancelled, Some(cancelled)) = (status.state, facts.cancelled) {
            // Whoever cancelled it may have died, or given up, before.
            self.tell_workers(job, cancelled).await?;
        }
        if status.state == State::Succeeded {
            self.set_mark(&status.request).await?;
        }
        let summary = Summary { round: facts.round, status: status.clone() };
        self.put(&keys::of(job, Name::Summary), &summary, objects::SUMMARY).await?;
        self.remember_summary(job, Instant::now(), Some(&summary));
        self.metrics.ended(&status.request.source, status.state);
        tracing::info!(
            %job,
            source = status.request.source,
            state = ?status.state,
            tasks = status.tasks.total,
            failed = status.tasks.failed,
            size_bytes = status.bytes,
            "job ended"
        );
        Ok(true)
    }
}

fn derive_unplanned(request: &Request, facts: &Facts) -> Status {
    let error = |failure: &Failure| TaskError { task: None, items: Vec::new(), failure: failure.clone() };
    Status {
        request: request.clone(),
        state: facts.state(),
        started: facts.started,
        finished: facts.plan_failed.as_ref().map(|failure| failure.finished),
        tasks: TaskTally::default(),
        bytes: 0,
        records: 0,
        rows: request.upload.as_ref().map(|_| RowTally::default()),
        errors: facts.plan_failed.iter().map(error).collect(),
        waits: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};

    use super::*;
    use crate::{
        Outcome,
        jobs::Fact,
        testing::{Fixture, at, done, failure, id, partial, plan},
    };

    #[tokio::test]
    async fn a_job_goes_through_its_states() {
        let fixture = Fixture::new().await;
        let (ledger, job) = (&fixture.ledger, id(0, 1));
        let state = async || fixture.ledger.status(job).await.unwrap().map(|status| status.state);
        assert_eq!(state().await, None);
        fixture.job(job).await;
        assert_eq!(state().await, Some(State::Queued));
        ledger.record_start(job, at(1)).await.unwrap();
        ledger.record_start(job, at(5)).await.unwrap();
        assert_eq!(state().await, Some(State::Planning));
        ledger.record_plan(job, plan(3)).await.unwrap();
        assert_eq!(ledger.record_plan(job, plan(9)).await.unwrap().tasks.len(), 3);
        assert_eq!(state().await, Some(State::Running));
        ledger.record_done(job, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
        ledger.record_failure(job, 1, 0, &failure("the upstream answers 503", 9)).await.unwrap();
        assert_eq!(state().await, Some(State::Running));
        ledger.record_done(job, 2, 0, &done(Outcome::Unchanged, 4)).await.unwrap();

        let status = ledger.status(job).await.unwrap().unwrap();
        assert_eq!(status.state, State::Partial);
        assert_eq!(status.tasks, TaskTally { total: 3, pending: 0, stored: 1, unchanged: 1, failed: 1, incomplete: 0 });
        assert_eq!((status.started, status.finished), (Some(at(1)), Some(at(9))));
        assert_eq!((status.bytes, status.records), (2_000, 20));
        let error = TaskError {
            task: Some(1),
            items: vec!["1-city-1".to_owned()],
            failure: failure("the upstream answers 503", 9),
        };
        assert_eq!(status.errors, [error]);
        // The summary says the same.
        assert_eq!(fixture.another().status(job).await.unwrap().unwrap(), status);
        let summary = fixture.text(&keys::of(job, Name::Summary)).await.unwrap();
        assert_eq!(serde_json::from_str::<Status>(&summary).unwrap(), status);
    }

    #[tokio::test]
    async fn the_final_state_follows_from_the_tasks() {
        let fixture = Fixture::new().await;
        for (n, (well, badly, expected)) in
            [(2, 0, State::Succeeded), (0, 0, State::Succeeded), (1, 1, State::Partial), (0, 2, State::Failed)]
                .into_iter()
                .enumerate()
        {
            let job = id(0, n as u64);
            fixture.planned(job, 2.min(well + badly) as usize).await;
            for task in 0..well {
                fixture.ledger.record_done(job, task, 0, &done(Outcome::Stored, 3)).await.unwrap();
            }
            for task in well..well + badly {
                fixture.ledger.record_failure(job, task, 0, &failure("gone", 4)).await.unwrap();
            }
            let status = fixture.ledger.status(job).await.unwrap().unwrap();
            assert_eq!(status.state, expected);
            assert!(status.finished.is_some());
        }
    }

    #[tokio::test]
    async fn a_planning_that_was_given_up_fails_the_job_unless_there_is_a_plan() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        fixture.job(job).await;
        fixture.ledger.record_start(job, at(1)).await.unwrap();
        fixture.ledger.record_plan_failure(job, 0, &failure("/cities answers 500", 7)).await.unwrap();
        let status = fixture.ledger.status(job).await.unwrap().unwrap();
        assert_eq!((status.state, status.finished), (State::Failed, Some(at(7))));
        assert_eq!(
            status.errors,
            [TaskError { task: None, items: vec![], failure: failure("/cities answers 500", 7) }]
        );
        assert_eq!(fixture.another().status(job).await.unwrap().unwrap(), status);

        fixture.ledger.record_plan(job, plan(1)).await.unwrap();
        assert_eq!(fixture.ledger.status(job).await.unwrap().unwrap().state, State::Running);
        fixture.ledger.record_done(job, 0, 0, &done(Outcome::Stored, 8)).await.unwrap();
        assert_eq!(fixture.another().status(job).await.unwrap().unwrap().state, State::Succeeded);
    }

    #[tokio::test]
    async fn items_that_the_upstream_does_not_have_make_a_job_partial_and_are_named() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        fixture.planned(job, 2).await;
        fixture.ledger.record_done(job, 0, 0, &done(Outcome::Stored, 8)).await.unwrap();
        fixture.ledger.record_done(job, 1, 0, &partial(9)).await.unwrap();
        // Derived, read from the summary, and by a process without caches.
        for ledger in [&fixture.ledger, &fixture.ledger, &fixture.another()] {
            let status = ledger.status(job).await.unwrap().unwrap();
            assert_eq!((status.state, status.tasks.stored, status.tasks.failed), (State::Partial, 2, 0));
            assert_eq!((status.tasks.incomplete, status.bytes), (1, 2_000));
            let [error] = status.errors.as_slice() else { panic!("{:?}", status.errors) };
            assert_eq!(
                (error.task, error.items.as_slice(), error.failure.reason.as_str()),
                (Some(1), ["7".to_owned()].as_slice(), "7: the upstream answered 404 Not Found")
            );
        }
        assert_eq!(fixture.ledger.recover(at(20), false).await.unwrap(), 0);
    }

    /// Earlier releases wrote objects, and `.done` whether items were missing or not.
    #[tokio::test]
    async fn missing_items_of_a_task_that_is_done_for_good_make_a_job_partial_that_offers_no_retry() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        fixture.planned_earlier(job, 1).await;
        fixture.object(job, Name::Done { task: 0 }, &partial(9)).await;
        for ledger in [&fixture.ledger, &fixture.ledger, &fixture.another()] {
            let status = ledger.status(job).await.unwrap().unwrap();
            assert_eq!((status.state, status.is_retryable()), (State::Partial, false));
            assert_eq!(status.errors[0].items, ["7"]);
        }
        assert!(fixture.ledger.retry(job, at(20)).await.is_err());
    }

    #[tokio::test]
    async fn a_cancelled_job_is_cancelled() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        fixture.planned(job, 2).await;
        assert_eq!(fixture.ledger.cancel(job, at(7)).await.unwrap().finished, Some(at(7)));
        assert_eq!(fixture.ledger.status(job).await.unwrap().unwrap().state, State::Cancelled);
        // A task that was past the point of looking still counts.
        fixture.ledger.record_done(job, 0, 0, &done(Outcome::Stored, 8)).await.unwrap();
        let status = fixture.another().status(job).await.unwrap().unwrap();
        assert_eq!((status.state, status.tasks.stored, status.tasks.pending), (State::Cancelled, 1, 1));
    }

    #[tokio::test]
    async fn a_success_outranks_a_failure_even_after_the_summary() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        fixture.planned(job, 2).await;
        fixture.ledger.record_done(job, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
        fixture.ledger.record_failure(job, 1, 0, &failure("lost its worker", 4)).await.unwrap();
        assert_eq!(fixture.ledger.status(job).await.unwrap().unwrap().state, State::Partial);
        fixture.ledger.record_done(job, 1, 0, &done(Outcome::Stored, 6)).await.unwrap();
        for ledger in [fixture.ledger.clone(), fixture.another()] {
            let status = ledger.status(job).await.unwrap().unwrap();
            assert_eq!((status.state, status.finished), (State::Succeeded, Some(at(6))));
            assert_eq!((status.tasks.failed, status.errors), (0, vec![]));
        }
        // The other way round nothing changes.
        fixture.ledger.record_failure(job, 1, 0, &failure("late", 9)).await.unwrap();
        assert_eq!(fixture.another().status(job).await.unwrap().unwrap().state, State::Succeeded);
    }

    #[tokio::test]
    async fn the_first_ten_failures_are_shown() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        fixture.planned(job, 40).await;
        for task in (0..39).rev() {
            fixture.ledger.record_failure(job, task, 0, &failure(&format!("reason {task}"), 4)).await.unwrap();
        }
        let told = async |ledger: &Ledger| {
            let errors = ledger.status(job).await.unwrap().unwrap().errors;
            errors.into_iter().map(|error| (error.task.unwrap(), error.failure.reason)).collect::<Vec<_>>()
        };
        let expected = |tasks: std::ops::Range<u64>| tasks.map(|n| (n, format!("reason {n}"))).collect::<Vec<_>>();
        assert_eq!(told(&fixture.ledger).await, expected(0..10));
        for task in 0..5 {
            fixture.ledger.record_done(job, task, 0, &done(Outcome::Stored, 6)).await.unwrap();
        }
        assert_eq!(told(&fixture.ledger).await, expected(5..15));
    }

    #[tokio::test]
    async fn a_damaged_summary_is_made_again() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        fixture.planned(job, 0).await;
        let status = fixture.ledger.status(job).await.unwrap();
        fixture.store.put(&keys::of(job, Name::Summary), "application/json", "{\"state\":".into()).await.unwrap();
        assert_eq!(fixture.ledger.status(job).await.unwrap(), status);
        assert_eq!(fixture.another().status(job).await.unwrap(), status);
    }

    #[tokio::test]
    async fn a_retry_makes_what_had_failed_pending() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        fixture.planned(job, 2).await;
        fixture.ledger.record_done(job, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
        fixture.ledger.record_failure(job, 1, 0, &failure("gone", 4)).await.unwrap();
        assert_eq!(fixture.ledger.status(job).await.unwrap().unwrap().state, State::Partial);
        fixture.ledger.enter(job, vec![Fact::Round(1, at(5))]).await.unwrap();
        let status = fixture.ledger.status(job).await.unwrap().unwrap();
        assert_eq!((status.state, status.tasks.pending, status.errors.len()), (State::Running, 1, 0));
        assert!(!fixture.ledger.has_task_ended(job, 1, 1).await.unwrap());
        fixture.ledger.record_failure(job, 1, 1, &failure("still gone", 9)).await.unwrap();
        let status = fixture.ledger.status(job).await.unwrap().unwrap();
        assert_eq!((status.state, status.finished), (State::Partial, Some(at(9))));
        assert_eq!(status.errors[0].failure.reason, "still gone");
    }

    /// Outcomes that are recorded while the status is read.
    #[tokio::test]
    async fn a_reader_never_sees_a_job_go_backwards() {
        const TASKS: u32 = 1_100;
        let fixture = Fixture::new().await;
        let (ledger, job) = (&fixture.ledger, id(0, 1));
        fixture.planned(job, TASKS as usize).await;
        let outcome = done(Outcome::Stored, 3);
        let writes = stream::iter(0..TASKS)
            .map(|task| ledger.record_done(job, task, 0, &outcome))
            .buffer_unordered(16)
            .for_each(async |result| result.unwrap());
        let reads = async {
            let (mut ended, mut looks) = (0, 0);
            while ended < TASKS.into() {
                let Status { tasks, bytes, state, .. } = ledger.status(job).await.unwrap().unwrap();
                assert_eq!(tasks.total, u64::from(TASKS));
                assert_eq!(tasks.pending + tasks.stored, tasks.total);
                assert_eq!(bytes, tasks.stored * outcome.bytes);
                assert!(tasks.stored >= ended, "{} after {ended}", tasks.stored);
                assert_eq!(state == State::Succeeded, tasks.pending == 0);
                ended = tasks.stored;
                looks += 1;
            }
            looks
        };
        let ((), looks) = futures::join!(writes, reads);
        assert!(looks > 0);
        assert_eq!(fixture.another().tasks(job, None, 1_050, 100).await.unwrap().unwrap().len(), 50);
    }
}
