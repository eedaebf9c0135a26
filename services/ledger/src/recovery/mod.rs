//! Recovers jobs: writes missing summaries of jobs that have ended, seals large ones, and republishes lost messages. `lost.rs` decides
//! which are lost. All of it may be done twice, and by several processes at once.

pub(crate) mod lost;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date};
use waybill_queue::{QueueError, QueueName};

use crate::{
    JobId, Ledger, LedgerError, Request, State, Status,
    changes::{publish::Sent, retry::Round},
    jobs::Facts,
    journals::AsOf,
    layout::{id::utc_day, keys, objects::SMALL},
};

/// How far back jobs are looked after.
pub(crate) const DAYS: i64 = 30;
/// Jobs recovered concurrently.
const AT_ONCE: usize = 16;
/// How long nothing may happen to a job's tasks before they count as lost. Longer than the delay after a first try
/// that failed, and than a task runs without saying who has it.
pub const LOST_AFTER: Duration = Duration::from_secs(120);
/// A planning takes longer than most tasks: so many times [`LOST_AFTER`].
const LOST_AFTER_FOR_PLANS: i32 = 5;
/// A task with several attempts may wait in a delay queue for a quarter of an hour: so many times [`LOST_AFTER`].
const LOST_AFTER_FOR_RETRIES: i32 = 8;
/// A retry without its round after so long will never have one: its process died.
const RETRY_TIMEOUT: SignedDuration = SignedDuration::from_hours(1);
/// Retries looked for in one LIST.
const RETRIES: usize = 1_000;
/// A job that is queued for so long may have been accepted while the queue was unavailable.
const UNSTARTED: SignedDuration = SignedDuration::from_secs(60);
/// The interval between two plan messages of one job.
const BETWEEN_PLAN_MESSAGES: SignedDuration = SignedDuration::from_mins(10);

/// How long one job's messages may take in one pass. A queue that is full waits for its workers, and while it
/// does, the other jobs must be looked after.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a pass goes on to seal jobs: a million outcomes are a hundred PUTs.
const SEALING: Duration = Duration::from_secs(10);

/// The result of one recovery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Messages that were sent.
    pub messages: u64,
    /// Jobs that have not ended, by source; without those that could not be looked at.
    pub unfinished: BTreeMap<String, u64>,
}

/// One recovery of all jobs.
#[derive(Debug)]
pub(crate) struct Pass {
    pub(crate) now: Timestamp,
    everything: bool,
    lost_after: SignedDuration,
    /// Messages that wait on queues, each asked once; `None` where the queue does not say.
    waiting: tokio::sync::Mutex<HashMap<QueueName, Option<u64>>>,
    /// Lanes that took no message: they are not tried for the other jobs.
    refused: Mutex<HashSet<QueueName>>,
    /// Jobs that were looked after because they were retried.
    retried: Mutex<HashSet<JobId>>,
    sent: AtomicU64,
    unfinished: Mutex<BTreeMap<String, u64>>,
    /// Large jobs that succeeded, and may not be sealed.
    unsealed: Mutex<Vec<Status>>,
}

impl Pass {
    /// How many messages wait on a queue; `None` where the queue does not say.
    pub(crate) async fn waiting(&self, ledger: &Ledger, queue_name: QueueName) -> Option<u64> {
        let mut waiting = self.waiting.lock().await;
        if let Some(known) = waiting.get(&queue_name) {
            return *known;
        }
        let found = ledger.queue.waiting(&queue_name).await;
        if let Err(error) = &found {
            tracing::warn!(%error, queue_name = %queue_name, "failed to count waiting messages");
        }
        *waiting.entry(queue_name).or_insert(found.ok())
    }

    fn patience_times(&self, times: i32) -> SignedDuration {
        self.lost_after.checked_mul(times).unwrap_or(SignedDuration::MAX)
    }

    /// Sends to a queue, unless it refused before.
    async fn send(
        &self,
        queue_name: QueueName,
        sending: impl Future<Output = Result<(), LedgerError>>,
    ) -> Result<(), LedgerError> {
        let unavailable = |reason: &str| Err(QueueError::Unavailable(format!("{queue_name} {reason}")).into());
        if lock(&self.refused).contains(&queue_name) {
            return unavailable("took no messages just now");
        }
        let result = match tokio::time::timeout(SEND_TIMEOUT, sending).await {
            Ok(result) => result,
            Err(_) => unavailable("is full"),
        };
        if let Err(LedgerError::Queue(error)) = &result
            && lock(&self.refused).insert(queue_name)
        {
            tracing::warn!(%error, "failed to republish jobs");
        }
        result
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    /// [`Self::recover_within`], with [`LOST_AFTER`].
    pub async fn recover(&self, now: Timestamp, everything: bool) -> Result<u64, LedgerError> {
        Ok(self.recover_within(now, everything, LOST_AFTER).await?.messages)
    }

    /// Writes the summary of every job of the last days that has ended and has none, and seals the large ones that
    /// succeeded; tells the queue of jobs that were accepted while it was away (older than a minute, not begun), and of
    /// those whose messages were lost: to which nothing has happened for `patience` while their queue was empty, save tasks that a
    /// worker says it runs. With `everything`, as after a start with an empty queue: of every unfinished job and
    /// task. Jobs that were retried are looked after however old they are.
    ///
    /// That nothing has happened is seen from call to call, so lost work is found by the process that calls this
    /// again and again, every `patience` at least.
    ///
    /// A job that cannot be looked after is logged, and the next call does for it what this one should
    /// have done. An error means that jobs were not even listed: call again with the same `everything`.
    pub async fn recover_within(
        &self,
        now: Timestamp,
        everything: bool,
        lost_after: Duration,
    ) -> Result<Recovery, LedgerError> {
        let pass = Pass {
            now,
            everything,
            lost_after: SignedDuration::try_from(lost_after).unwrap_or(SignedDuration::MAX),
            waiting: tokio::sync::Mutex::default(),
            refused: Mutex::default(),
            retried: Mutex::default(),
            sent: AtomicU64::new(0),
            unfinished: Mutex::default(),
            unsealed: Mutex::default(),
        };
        self.recover_retried(&pass).await?;
        let today = utc_day(now);
        let oldest = today.saturating_sub((DAYS + 1).days());
        self.forget_days_before(oldest);
        for day in self.days(Some(oldest)).await? {
            if !self.has_ended(day) && self.recover_day(day, &pass).await? && day < today.saturating_sub(1.day()) {
                // No job is made for a day that is over, and no clock is a day wrong.
                lock(&self.memory.ended_days).insert(day);
            }
        }
        self.seal_some(pass.unsealed.into_inner().unwrap_or_else(PoisonError::into_inner)).await;
        let unfinished = pass.unfinished.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Recovery { messages: pass.sent.into_inner(), unfinished })
    }

    /// Jobs that had ended, and have work again. A retry is forgotten once its round has ended.
    async fn recover_retried(&self, pass: &Pass) -> Result<(), LedgerError> {
        let mut after: Option<String> = None;
        loop {
            let page = self.store.list(keys::RETRIES, after.as_deref(), RETRIES).await?;
            let mut retries: BTreeMap<JobId, Vec<u32>> = BTreeMap::new();
            for (job, round) in page.iter().filter_map(|entry| keys::parse_retry(&entry.key)) {
                retries.entry(job).or_default().push(round);
            }
            stream::iter(retries)
                .for_each_concurrent(AT_ONCE, |(job, rounds)| async move {
                    if let Err(error) = self.recover_retries(job, rounds, pass).await {
                        tracing::warn!(%job, %error, "failed to recover a retried job");
                    }
                })
                .await;
            match page.into_iter().nth(RETRIES - 1) {
                Some(last) => after = Some(last.key),
                None => return Ok(()),
            }
        }
    }

    async fn recover_retries(&self, job: JobId, rounds: Vec<u32>, pass: &Pass) -> Result<(), LedgerError> {
        // Looked at before the job is: a round that is begun meanwhile is not forgotten with the others.
        let facts = self.facts(job).await?;
        lock(&pass.retried).insert(job);
        self.memory.ended.remove(&job);
        let is_settled = facts.exists && self.recover_job(job, pass).await;
        let has_ended = is_settled || facts.sealed.is_some();
        for round in rounds {
            let key = keys::retry(job, round);
            let is_over = if facts.exists && facts.round >= round {
                has_ended
            } else {
                // Either the round is being written now, or the job, or the process that retried it, is gone.
                let asked: Option<Round> = self.read_intact(&key, SMALL).await?;
                asked.is_none_or(|asked| pass.now.duration_since(asked.retried) > RETRY_TIMEOUT)
            };
            if is_over {
                self.store.delete(&[key]).await?;
            }
        }
        Ok(())
    }

    /// Returns whether nothing is left to do for any job of the day.
    async fn recover_day(&self, day: Date, pass: &Pass) -> Result<bool, LedgerError> {
        let mut all_ended = true;
        let mut after = None;
        loop {
            let (jobs, next) = self.ids_page(day, after.as_deref()).await?;
            let is_unknown = |job: &JobId| self.memory.ended.get(job).is_none() && !lock(&pass.retried).contains(job);
            all_ended &= !jobs.iter().any(|job| lock(&pass.retried).contains(job));
            let unknown = jobs.into_iter().filter(is_unknown);
            let looks = stream::iter(unknown).map(|job| self.recover_job(job, pass)).buffer_unordered(AT_ONCE);
            // A fold, not `all`, which would stop at the first that has not ended.
            all_ended &= looks.fold(true, |all, ended| async move { all && ended }).await;
            if next.is_none() {
                return Ok(all_ended);
            }
            after = next;
        }
    }

    /// Seals jobs until [`SEALING`] is over, at least one, after all others were looked after. One at a time: each may bring a
    /// slot into memory. Those that are left are found again by the next pass.
    async fn seal_some(&self, jobs: Vec<Status>) {
        let began = Instant::now();
        for status in jobs {
            let job = status.request.job;
            if let Err(error) = self.seal(&status).await {
                tracing::warn!(%job, source = status.request.source, %error, "failed to seal a job");
            } else {
                self.memory.ended.insert(job, (), 1);
            }
            if began.elapsed() > SEALING {
                return;
            }
        }
    }

    /// Returns whether nothing is left to do for a job that has ended.
    fn is_settled(&self, status: Status, pass: &Pass) -> bool {
        let is_settled = !self.is_to_be_sealed(&status);
        if !is_settled {
            lock(&pass.unsealed).push(status);
        }
        is_settled
    }

    /// Returns whether the job has a summary, and nothing is left to do for it.
    async fn recover_job(&self, job: JobId, pass: &Pass) -> bool {
        let unpublished = self.memory.unpublished.get(&job);
        let sent = Sent::from(unpublished.unwrap_or(0));
        let everything = pass.everything || unpublished.is_some();
        let recovered = self.try_recover_job(job, pass, everything, &sent).await;
        pass.sent.fetch_add(sent.messages().into(), Ordering::Relaxed);
        match recovered {
            Ok(ended) => {
                self.memory.unpublished.remove(&job);
                self.memory.damaged.remove(&job);
                if ended {
                    self.memory.ended.insert(job, (), 1);
                }
                ended
            }
            Err(error) => {
                let is_told = match &error {
                    // Once for all jobs of the queue that takes nothing.
                    LedgerError::Queue(_) => true,
                    LedgerError::Damaged { .. } => self.memory.damaged.insert(job, (), 1),
                    LedgerError::Store(_) | LedgerError::Read(_) | LedgerError::Commit(_) | LedgerError::Compact(_) => {
                        false
                    }
                };
                if !is_told {
                    tracing::warn!(%job, %error, "failed to recover a job");
                }
                if everything || sent.messages() > 0 {
                    self.memory.unpublished.insert(job, sent.up_to(), 1);
                }
                false
            }
        }
    }

    async fn try_recover_job(
        &self,
        job: JobId,
        pass: &Pass,
        everything: bool,
        sent: &Sent,
    ) -> Result<bool, LedgerError> {
        let summary = match self.summary(job).await? {
            Some(summary) if summary.status.state == State::Succeeded => {
                return Ok(self.is_settled(summary.status, pass));
            }
            summary => summary,
        };
        let Some(request) = self.request(job).await? else { return Ok(false) };
        let facts = self.facts_to_tell(job, AsOf::ASecondAgo).await?;
        if !facts.exists {
            return Ok(false);
        }
        self.count_ended(job, &request.source, &facts);
        if summary.is_some_and(|summary| summary.status.state.is_terminal() && summary.holds(&facts)) {
            return Ok(true);
        }
        let state = facts.state();
        if state.is_terminal() {
            let status = self.derive(&request, &facts).await?;
            return Ok(self.conclude(&status, &facts).await? && self.is_settled(status, pass));
        }
        *lock(&pass.unfinished).entry(request.source.clone()).or_default() += 1;
        // A planner that has not said that it sent all tasks out may still be at it, or have died.
        let by_planner = state != State::Running || !(facts.is_sent || everything);
        let due = everything
            || match state {
                State::Queued => self.is_unstarted(&request, pass).await,
                _ if by_planner => {
                    self.is_lost(job, &facts, QueueName::Plans, pass.patience_times(LOST_AFTER_FOR_PLANS), pass).await
                }
                _ => {
                    let lost_after = pass.patience_times(if facts.has_retries { LOST_AFTER_FOR_RETRIES } else { 1 });
                    self.is_lost(job, &facts, QueueName::Source(request.source.clone()), lost_after, pass).await
                }
            };
        match (due, by_planner) {
            (false, _) => {}
            (true, true) => {
                if everything || !facts.is_planning_held(pass.now) {
                    self.send_plan(&request, &facts, pass).await?;
                }
            }
            (true, false) => {
                // After a start no task runs, whatever lease a predecessor of this process left.
                let held = if everything { HashSet::new() } else { facts.held(pass.now) };
                self.publish_pending(&request, &facts, &held, pass, sent).await?;
            }
        }
        Ok(false)
    }

    /// Whether the plan message of a queued job counts as lost. The first time the queue is not asked, because a queue
    /// that never runs empty must not hide it; one message too many costs a planner one look at the bucket.
    async fn is_unstarted(&self, request: &Request, pass: &Pass) -> bool {
        let is_due = match self.memory.republished_at.get(&request.job) {
            None => return pass.now.duration_since(request.created) > UNSTARTED,
            Some(at) => pass.now.duration_since(at) >= BETWEEN_PLAN_MESSAGES,
        };
        is_due && pass.waiting(self, QueueName::Plans).await == Some(0)
    }

    async fn send_plan(&self, request: &Request, facts: &Facts, pass: &Pass) -> Result<(), LedgerError> {
        pass.send(QueueName::Plans, self.publish_plan(request)).await?;
        self.record_republish(request.job, facts);
        tracing::info!(job = %request.job, source = request.source, "republished a plan message");
        self.memory.republished_at.insert(request.job, pass.now, 1);
        pass.sent.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn publish_pending(
        &self,
        request: &Request,
        facts: &Facts,
        held: &HashSet<u32>,
        pass: &Pass,
        sent: &Sent,
    ) -> Result<(), LedgerError> {
        let Some(plan) = self.plan(request.job).await? else { return Ok(()) };
        let queue_name = QueueName::Source(request.source.clone());
        let result = pass.send(queue_name, self.send_tasks(request, &plan, facts, true, held, sent)).await;
        if sent.messages() == 0 {
            return result;
        }
        self.record_republish(request.job, facts);
        tracing::info!(job = %request.job, source = request.source, sent = sent.messages(), "republished a job's tasks");
        result
    }

    fn has_ended(&self, day: Date) -> bool {
        lock(&self.memory.ended_days).contains(&day)
    }

    fn forget_days_before(&self, oldest: Date) {
        lock(&self.memory.ended_days).retain(|day| *day > oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Outcome,
        layout::keys::Name,
        testing::{Fixture, at, done, failure, id},
    };

    #[tokio::test]
    async fn an_unstarted_job_is_republished_at_most_every_ten_minutes() {
        let fixture = Fixture::new().await;
        fixture.job(id(0, 1)).await;
        fixture.planned(id(0, 2), 3).await;
        fixture.job(id(0, 3)).await;
        fixture.ledger.record_start(id(0, 3), at(1)).await.unwrap();
        fixture.queue.sent();
        let expected = format!("plan {}", id(0, 1));
        for (second, sent) in [(60, 0), (61, 1), (62, 0), (660, 0), (661, 1)] {
            fixture.ledger.recover(at(second), false).await.unwrap();
            let found = fixture.queue.sent().iter().filter(|message| **message == expected).count();
            assert_eq!(found, sent, "after {second} s");
        }
        // The queue is not empty: it may be in there.
        fixture.queue.waiting.store(1, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(fixture.ledger.recover(at(3_600), false).await.unwrap(), 0);
        fixture.queue.waiting.store(0, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(fixture.ledger.recover(at(3_601), false).await.unwrap(), 1);
        assert_eq!(fixture.queue.sent(), [expected]);
    }

    #[tokio::test]
    async fn after_a_start_every_unfinished_task_is_published() {
        let fixture = Fixture::new().await;
        let jobs: Vec<JobId> = (1..=5).map(|n| id(0, n)).collect();
        fixture.job(jobs[0]).await;
        fixture.job(jobs[1]).await;
        fixture.ledger.record_start(jobs[1], at(1)).await.unwrap();
        for job in &jobs[2..4] {
            fixture.planned(*job, 4).await;
            fixture.ledger.record_done(*job, 1, 0, &done(Outcome::Stored, 3)).await.unwrap();
            fixture.ledger.record_failure(*job, 3, 0, &failure("gone", 3)).await.unwrap();
        }
        for task in [0, 2] {
            fixture.ledger.record_done(jobs[3], task, 0, &done(Outcome::Stored, 3)).await.unwrap();
        }
        // Older than what is looked after.
        fixture.job(id(-40 * 86_400, 9)).await;
        fixture.queue.sent();

        let another = fixture.another();
        assert_eq!(another.recover(at(2), true).await.unwrap(), 4);
        let expected = [
            format!("again {} 0", jobs[2]),
            format!("again {} 2", jobs[2]),
            format!("plan {}", jobs[0]),
            format!("plan {}", jobs[1]),
        ];
        assert_eq!(fixture.queue.sent(), expected);
        // The one that had ended has its summary, and that is all that a second look does.
        let summary = keys::of(jobs[3], Name::Summary);
        assert_eq!(fixture.another().status(jobs[3]).await.unwrap().unwrap().state, State::Partial);
        assert!(fixture.text(&summary).await.is_some());
        assert_eq!(another.recover(at(3), false).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn unpublished_messages_are_published_by_the_next_recovery() {
        let fixture = Fixture::new().await;
        for n in 0..3 {
            fixture.planned(id(0, n), 2).await;
            fixture.job(id(1, n)).await;
        }
        fixture.queue.sent();
        let another = fixture.another();
        fixture.queue.take_only(4);
        assert_eq!(another.recover(at(2), true).await.unwrap(), 4);
        fixture.queue.take_all();
        assert_eq!(another.recover(at(3), false).await.unwrap(), 5);
        let mut sent = fixture.queue.sent();
        sent.dedup();
        assert_eq!(sent.len(), 9, "every plan and every task once");
        assert_eq!(another.recover(at(4), false).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn damaged_jobs_do_not_stop_the_others() {
        let fixture = Fixture::new().await;
        let names = [Name::Request, Name::Plan, Name::Summary];
        for (n, name) in (1..).zip(names) {
            let job = id(0, n);
            fixture.planned(job, 2).await;
            fixture.ledger.record_done(job, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
            fixture.ledger.record_failure(job, 1, 0, &failure("gone", 3)).await.unwrap();
            fixture.ledger.retry(job, at(4)).await.unwrap();
            fixture.ledger.record_failure(job, 1, 1, &failure("gone", 5)).await.unwrap();
            let too_large = vec![b' '; SMALL + 1].into();
            fixture.store.put(&keys::of(job, name), "application/json", too_large).await.unwrap();
            fixture.store.put(&keys::retry(job, 2), "application/json", "[]".into()).await.unwrap();
        }
        fixture.planned(id(0, 9), 0).await;
        let housekeeper = fixture.another();
        for second in [6, 7] {
            assert_eq!(housekeeper.recover(at(second), true).await.unwrap(), 0);
        }
        for (n, is_ended) in [(1, false), (2, false), (3, true), (9, true)] {
            let summary: Option<crate::views::status::Summary> = fixture.ledger.summary(id(0, n)).await.unwrap();
            assert_eq!(summary.is_some(), is_ended, "{n}");
        }
        // Deleted in time, all of them.
        for day in 91..=92 {
            housekeeper.expire(at(day * 86_400)).await.unwrap();
        }
        assert_eq!(fixture.store.list(keys::JOBS, None, 100).await.unwrap().len(), 0);
    }

    #[tokio::test]
    async fn a_day_that_is_over_is_not_looked_at_again() {
        let fixture = Fixture::new().await;
        fixture.planned(id(0, 1), 0).await;
        let later = at(3 * 86_400);
        fixture.ledger.recover(later, false).await.unwrap();
        assert!(fixture.ledger.has_ended(id(0, 1).day()));
        let much_later = at(40 * 86_400);
        fixture.ledger.recover(much_later, false).await.unwrap();
        assert!(!fixture.ledger.has_ended(id(0, 1).day()));
    }
}
