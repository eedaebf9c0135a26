//! Attempts and leases of tasks and plannings. Neither says how work ended; once it has, neither is read any more.

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use waybill_store::Created;

use crate::{
    JobId, Ledger, LedgerError,
    layout::{
        facts::Facts,
        keys::{self, Name},
        objects::SMALL,
    },
};

/// Attempts that are counted. A worker gives a task up long before.
const COUNTED: usize = 1_000;

/// Leases read at once.
const READS_AT_ONCE: usize = 64;
/// Waits that are read for one status.
const WAITS_READ: usize = 10;

/// `tasks/{task}.attempts.{round}.{number}` or `plan.attempts.{round}.{number}`: it was begun again.
#[derive(Debug, Serialize)]
struct Attempt {
    /// Tells two that were begun at once apart: what is the same would count as one write that was repeated.
    attempt: Uuid,
}

/// `tasks/{task}.running` or `plan.running`: which worker runs long work, and until when the lease is valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The worker's own name.
    pub worker: String,
    /// When it expires, unless it is renewed.
    pub until: Timestamp,
}

/// `tasks/{task}.waiting` or `plan.waiting`: the next attempt waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// The task; none for the planning.
    pub task: Option<u32>,
    /// When it goes on.
    pub until: Timestamp,
    /// Why the last attempt failed.
    pub reason: String,
}

impl Lease {
    /// Whether it is valid at `now`.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.until
    }
}

impl Ledger {
    /// Records a further attempt at a task, or at the planning (`None`), in this round, and returns its number, from 1.
    /// No two get the same number where the store honours create-only.
    pub async fn record_attempt(&self, job: JobId, task: Option<u32>, round: u32) -> Result<u32, LedgerError> {
        let attempt = Attempt { attempt: Uuid::now_v7() };
        let mut number = self.last_attempt(job, task, round).await?.unwrap_or(0);
        loop {
            number = number.saturating_add(1);
            let key = keys::of(job, Name::Attempt { task, round, number });
            if self.create(&key, &attempt, SMALL).await? == Created::New {
                return Ok(number);
            }
        }
    }

    /// Deletes the last attempt: it was interrupted by a shutdown, which says nothing about the task.
    pub async fn forget_attempt(&self, job: JobId, task: Option<u32>, round: u32) -> Result<(), LedgerError> {
        match self.last_attempt(job, task, round).await? {
            Some(number) => Ok(self.store.delete(&[keys::of(job, Name::Attempt { task, round, number })]).await?),
            None => Ok(()),
        }
    }

    async fn last_attempt(&self, job: JobId, task: Option<u32>, round: u32) -> Result<Option<u32>, LedgerError> {
        let prefix = keys::attempts(job, task, round);
        let known = self.store.list(&prefix, None, COUNTED).await?;
        Ok(known.iter().filter_map(|entry| entry.key.strip_prefix(&prefix)?.parse().ok()).max())
    }

    /// Takes or renews the lease of a task, or of the planning (`None`), for `worker`.
    pub async fn lease(
        &self,
        job: JobId,
        task: Option<u32>,
        worker: &str,
        until: Timestamp,
    ) -> Result<(), LedgerError> {
        let lease = Lease { worker: worker.to_owned(), until };
        self.put(&keys::of(job, Name::Running { task }), &lease, SMALL).await
    }

    /// The lease of a task, or of the planning (`None`), valid or expired. A damaged one counts as none.
    pub async fn lease_of(&self, job: JobId, task: Option<u32>) -> Result<Option<Lease>, LedgerError> {
        self.read_intact(&keys::of(job, Name::Running { task }), SMALL).await
    }

    /// Records that the next attempt at a task, or at the planning, waits; in place of what was recorded before.
    pub async fn record_wait(&self, job: JobId, wait: &Wait) -> Result<(), LedgerError> {
        self.put(&keys::of(job, Name::Waiting { task: wait.task }), wait, SMALL).await
    }

    /// What waits at `now`, the first to go on first: of [`WAITS_READ`] that may wait.
    pub(crate) async fn waits(&self, job: JobId, facts: &Facts, now: Timestamp) -> Result<Vec<Wait>, LedgerError> {
        let waiting: Vec<_> = facts.waiting().take(WAITS_READ).collect();
        let mut waits: Vec<Wait> = stream::iter(waiting)
            .map(async |task| self.read_intact(&keys::of(job, Name::Waiting { task }), SMALL).await)
            .buffered(READS_AT_ONCE)
            .try_filter_map(async |wait: Option<Wait>| Ok(wait.filter(|wait| wait.until > now)))
            .try_collect()
            .await?;
        waits.sort_by_key(|wait| wait.until);
        Ok(waits)
    }

    /// The tasks that have not ended and have a valid lease at `now`.
    pub(crate) async fn held<C: FromIterator<u32>>(
        &self,
        job: JobId,
        facts: &Facts,
        now: Timestamp,
    ) -> Result<C, LedgerError> {
        let running: Vec<u32> = facts.running().collect();
        let leases: Vec<_> = stream::iter(running)
            .map(|task| async move { Ok::<_, LedgerError>((task, self.lease_of(job, Some(task)).await?)) })
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await?;
        let held = leases.into_iter().filter(|(_, lease)| lease.as_ref().is_some_and(|lease| lease.is_fresh(now)));
        Ok(held.map(|(task, _)| task).collect())
    }
}

#[cfg(test)]
mod tests {
    use futures::future::try_join_all;

    use super::*;
    use crate::{
        Outcome,
        testing::{Fixture, at, done, id, plan},
    };

    #[tokio::test]
    async fn attempts_are_counted_by_task_and_round() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        for number in 1..=12 {
            assert_eq!(fixture.another().record_attempt(job, Some(7), 1).await.unwrap(), number);
        }
        fixture.ledger.forget_attempt(job, Some(7), 1).await.unwrap();
        assert_eq!(fixture.ledger.record_attempt(job, Some(7), 1).await.unwrap(), 12);
        fixture.ledger.forget_attempt(job, Some(7), 5).await.unwrap();
        assert_eq!(fixture.ledger.record_attempt(job, Some(7), 12).await.unwrap(), 1);
        assert_eq!(fixture.ledger.record_attempt(job, Some(70), 1).await.unwrap(), 1);
        for number in 1..=2 {
            assert_eq!(fixture.another().record_attempt(job, None, 1).await.unwrap(), number);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_two_attempts_at_once_are_the_same() {
        let fixture = Fixture::new().await;
        let attempts = (0..16).map(|_| {
            let ledger = fixture.another();
            tokio::spawn(async move { ledger.record_attempt(id(0, 1), Some(7), 0).await.unwrap() })
        });
        let mut numbers = try_join_all(attempts).await.unwrap();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=16).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_job_says_what_it_waits_for_until_it_goes_on() {
        let fixture = Fixture::new().await;
        let (ledger, job) = (&fixture.ledger, id(0, 1));
        fixture.job(job).await;
        let waits = async |second| ledger.waits(job, &ledger.facts(job).await.unwrap(), at(second)).await.unwrap();
        let wait = |task, second| Wait { task, until: at(second), reason: "the upstream answers 429".to_owned() };
        assert_eq!(waits(0).await, []);
        ledger.record_wait(job, &wait(None, 5)).await.unwrap();
        assert_eq!(waits(4).await, [wait(None, 5)]);
        ledger.record_plan(job, plan(3)).await.unwrap();
        assert_eq!(waits(4).await, [], "it is planned");
        ledger.record_wait(job, &wait(Some(1), 30)).await.unwrap();
        ledger.record_wait(job, &wait(Some(2), 20)).await.unwrap();
        assert_eq!(waits(4).await, [wait(Some(2), 20), wait(Some(1), 30)]);
        assert_eq!(waits(20).await, [wait(Some(1), 30)]);
        ledger.record_done(job, 1, 0, &done(Outcome::Stored, 25)).await.unwrap();
        assert_eq!(waits(20).await, []);
    }

    #[tokio::test]
    async fn a_lease_is_renewed_and_expires() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        assert_eq!(fixture.ledger.lease_of(job, Some(7)).await.unwrap(), None);
        fixture.ledger.lease(job, Some(7), "one", at(30)).await.unwrap();
        fixture.ledger.lease(job, Some(7), "one", at(60)).await.unwrap();
        let lease = fixture.another().lease_of(job, Some(7)).await.unwrap().unwrap();
        assert_eq!((lease.worker.as_str(), lease.until), ("one", at(60)));
        assert!(lease.is_fresh(at(59)) && !lease.is_fresh(at(60)));
        let key = keys::of(job, Name::Running { task: Some(7) });
        assert_eq!(fixture.text(&key).await.unwrap(), "{\"worker\":\"one\",\"until\":\"2024-05-01T08:01:00Z\"}\n");
        fixture.store.put(&key, "application/json", "{".into()).await.unwrap();
        assert_eq!(fixture.ledger.lease_of(job, Some(7)).await.unwrap(), None);
    }
}
