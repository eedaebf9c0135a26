//! Cancels jobs, for good: tasks that have not begun do not begin, and running tasks do not store.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    JobId, Ledger, LedgerError, State, Status,
    jobs::Fact,
    journals::AsOf,
    layout::{
        keys::{self, Name},
        objects::SMALL,
    },
};

/// `cancelled.json`: says to workers, who need not read the journal, what the journal says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Cancelled {
    pub(crate) cancelled: Timestamp,
}

/// Why a job was not cancelled.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// There is no such job.
    #[error("there is no such job")]
    Unknown,
    /// It has ended otherwise; this is how.
    #[error("the job has ended: it is {0}")]
    Finished(State),
    /// The store failed: the job may be cancelled or not.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Ledger {
    /// Cancels a job that has not ended, and returns how it stands. A job that is cancelled stays so, and may be
    /// cancelled again.
    ///
    /// Where the last task ends, or a retry begins, at the same moment, all readers agree on one answer: a job of which
    /// every task ended well has succeeded; any other that was cancelled is cancelled, whatever round it is in.
    pub async fn cancel(&self, job: JobId, now: Timestamp) -> Result<Status, CancelError> {
        let status = self.status_as_of(job, AsOf::Now).await?.ok_or(CancelError::Unknown)?;
        match status.state {
            State::Cancelled => {
                // Whoever cancelled it may have died before it told the workers.
                self.tell_workers(job, status.finished.unwrap_or(now)).await?;
                return Ok(status);
            }
            // Its tasks may be running.
            State::Damaged => {}
            state if state.is_terminal() => return Err(CancelError::Finished(state)),
            _ => {}
        }
        self.mark_cancelled(job, now).await?;
        let status = self.status_as_of(job, AsOf::Now).await?.ok_or(CancelError::Unknown)?;
        match status.state {
            State::Cancelled | State::Damaged => {
                tracing::info!(%job, source = status.request.source, "job cancelled");
                Ok(status)
            }
            state => Err(CancelError::Finished(state)),
        }
    }

    /// Records that a job is cancelled; the first time counts. First in the journal, which all believe: where this process
    /// dies in between, tasks run on, and the job is cancelled all the same.
    pub(crate) async fn mark_cancelled(&self, job: JobId, now: Timestamp) -> Result<(), LedgerError> {
        self.enter(job, vec![Fact::Cancelled(now)]).await?;
        self.tell_workers(job, now).await
    }

    pub(crate) async fn tell_workers(&self, job: JobId, cancelled: Timestamp) -> Result<(), LedgerError> {
        self.create(&keys::of(job, Name::Cancelled), &Cancelled { cancelled }, SMALL).await?;
        self.memory.cancelled.insert(job, (), 1);
        Ok(())
    }

    /// Whether a job is cancelled: to be asked before a task is begun, and before it stores. One HEAD; that it is
    /// cancelled is remembered.
    pub async fn is_cancelled(&self, job: JobId) -> Result<bool, LedgerError> {
        if self.memory.cancelled.get(&job).is_some() {
            return Ok(true);
        }
        let is_cancelled = self.store.head(&keys::of(job, Name::Cancelled)).await?.is_some();
        if is_cancelled {
            self.memory.cancelled.insert(job, (), 1);
        }
        Ok(is_cancelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Outcome, RetryError,
        testing::{Fixture, at, done, failure, id},
    };

    #[tokio::test]
    async fn a_cancelled_job_stays_so_and_nothing_of_it_is_sent() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        let request = fixture.planned(job, 3).await;
        let another = fixture.another();
        assert!(!another.is_cancelled(job).await.unwrap());
        fixture.ledger.record_done(job, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
        let status = fixture.ledger.cancel(job, at(5)).await.unwrap();
        assert_eq!((status.state, status.tasks.pending, status.finished), (State::Cancelled, 2, Some(at(5))));
        assert!(another.is_cancelled(job).await.unwrap() && fixture.ledger.is_cancelled(job).await.unwrap());
        // A second cancellation, in another process, answers the same.
        assert_eq!(another.cancel(job, at(9)).await.unwrap(), status);

        fixture.queue.sent();
        let plan = fixture.ledger.plan(job).await.unwrap().unwrap();
        another.publish_tasks(&request, &plan, true).await.unwrap();
        assert_eq!(another.recover(at(100), true).await.unwrap(), 0);
        assert_eq!(fixture.queue.sent(), [""; 0]);
        assert!(matches!(another.retry(job, at(100)).await, Err(RetryError::Cancelled)));
    }

    #[tokio::test]
    async fn a_job_without_a_plan_is_cancelled() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        assert!(matches!(fixture.ledger.cancel(job, at(1)).await, Err(CancelError::Unknown)));
        fixture.job(job).await;
        let status = fixture.ledger.cancel(job, at(5)).await.unwrap();
        assert_eq!((status.state, status.started, status.finished), (State::Cancelled, None, Some(at(5))));
        // The planner that had begun already writes its plan all the same.
        fixture.ledger.record_start(job, at(6)).await.unwrap();
        fixture.ledger.record_plan(job, crate::testing::plan(2)).await.unwrap();
        assert_eq!(fixture.another().status(job).await.unwrap().unwrap().state, State::Cancelled);
    }

    #[tokio::test]
    async fn an_ended_job_is_not_cancelled() {
        let fixture = Fixture::new().await;
        for (n, failed) in [0, 1, 2].into_iter().enumerate() {
            let job = id(0, n as u64);
            fixture.planned(job, 2).await;
            for task in 0..2 {
                if task < failed {
                    fixture.ledger.record_failure(job, task, 0, &failure("gone", 4)).await.unwrap();
                } else {
                    fixture.ledger.record_done(job, task, 0, &done(Outcome::Stored, 3)).await.unwrap();
                }
            }
            let before = fixture.another().status(job).await.unwrap();
            let expected = [State::Succeeded, State::Partial, State::Failed][n];
            assert!(
                matches!(fixture.ledger.cancel(job, at(5)).await, Err(CancelError::Finished(state)) if state == expected)
            );
            assert_eq!(fixture.another().status(job).await.unwrap(), before);
            assert!(!fixture.ledger.is_cancelled(job).await.unwrap());
        }
    }

    /// The last task ends while the job is being cancelled: in whichever order, all see the same end.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn cancelled_while_the_last_task_ends() {
        let fixture = Fixture::new().await;
        for n in 0..20 {
            let job = id(0, n);
            fixture.planned(job, 1).await;
            let (one, two) = (fixture.another(), fixture.another());
            let cancel = tokio::spawn(async move { one.cancel(job, at(5)).await });
            let end = tokio::spawn(async move {
                two.record_done(job, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
                two.status(job).await.unwrap().unwrap().state
            });
            let (cancelled, seen) = (cancel.await.unwrap(), end.await.unwrap());
            assert_eq!(seen, State::Succeeded, "every task ended well");
            for reader in [fixture.another(), fixture.ledger.clone()] {
                assert_eq!(reader.status(job).await.unwrap().unwrap().state, State::Succeeded);
            }
            // The cancellation may have been confirmed a moment before the job succeeded.
            if let Err(error) = cancelled {
                assert!(matches!(error, CancelError::Finished(State::Succeeded)), "{error}");
            }
        }
    }
}
