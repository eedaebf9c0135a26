//! Retries: a new round of the tasks that failed or lack items. What ended well is left alone.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use waybill_store::Created;

use crate::{
    JobId, Ledger, LedgerError, State, TaskTally,
    jobs::Fact,
    layout::{keys, objects::SMALL},
};

/// `retries/{job}.{n}`, and `rounds/{n}.json` of earlier releases: a round was asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Round {
    pub(crate) retried: Timestamp,
}

/// A round that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retried {
    /// Its number, from 1.
    pub round: u32,
    /// Whether this call began it; otherwise another did, at the same moment.
    pub is_new: bool,
}

/// Why nothing was tried again.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// There is no such job.
    #[error("there is no such job")]
    Unknown,
    /// It has not ended; another retry may have begun a moment before.
    #[error("the job has not ended: it is {0}")]
    NotFinished(State),
    /// Every task ended well, and no item was missing.
    #[error("nothing of the job failed")]
    NothingFailed,
    /// It was cancelled, for good.
    #[error("the job was cancelled")]
    Cancelled,
    /// The store failed: the round may have begun or not.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Ledger {
    /// Begins a new round with what failed in the latest, tasks or the planning, and with tasks that lack items. Of
    /// concurrent calls one begins the round, and the others get the same answer or [`RetryError::NotFinished`].
    ///
    /// A planner sends the tasks out, so that this takes as long for a large job as for a small one, and a
    /// process that dies on the way leaves a round that [`Self::recover`] sends out.
    pub async fn retry(&self, job: JobId, now: Timestamp) -> Result<Retried, RetryError> {
        let request = self.request(job).await?.ok_or(RetryError::Unknown)?;
        let facts = self.facts(job).await?;
        if !facts.exists {
            return Err(RetryError::Unknown);
        }
        let has_failed = |tasks: &TaskTally| tasks.failed + tasks.incomplete > 0;
        match facts.state() {
            // Jobs of earlier releases may lack items of which nothing tells whose they are.
            State::Partial if !facts.tallied.as_ref().is_some_and(|tallied| has_failed(&tallied.tasks)) => {
                return Err(RetryError::NothingFailed);
            }
            State::Partial | State::Failed => {}
            State::Succeeded => return Err(RetryError::NothingFailed),
            State::Cancelled => return Err(RetryError::Cancelled),
            state => return Err(RetryError::NotFinished(state)),
        }
        if facts.planned.is_some() {
            // Nothing could be sent of a plan that cannot be read.
            self.outline(job).await?;
        }
        let round = facts.last_round + 1;
        let fact = Round { retried: now };
        // First where recovery looks: it no longer looks at a job that has ended, and would not find the round where
        // this process dies now. Of calls at the same moment it also tells one that the round is its own.
        let created = self.create(&keys::retry(job, round), &fact, SMALL).await?;
        self.enter(job, vec![Fact::Round(round, now)]).await?;
        if created == Created::New {
            tracing::info!(%job, source = request.source, round, "job retried");
            self.publish_with_retries(&request).await;
        }
        Ok(Retried { round, is_new: created == Created::New })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures::future::try_join_all;
    use waybill_queue::Message;

    use super::*;
    use crate::{
        CancelError, Outcome, Status,
        layout::keys::Name,
        testing::{Fixture, at, done, failure, id, partial, plan},
    };

    /// A job of three tasks, of which the second failed.
    async fn partial_job(fixture: &Fixture, job: JobId) {
        let request = fixture.planned(job, 3).await;
        fixture.ledger.publish_tasks(&request, &plan(3), false).await.unwrap();
        for task in [0, 2] {
            fixture.ledger.record_done(job, task, 0, &done(Outcome::Stored, 3)).await.unwrap();
        }
        fixture.ledger.record_failure(job, 1, 0, &failure("gone", 4)).await.unwrap();
    }

    async fn state(ledger: &Ledger, job: JobId) -> State {
        ledger.status(job).await.unwrap().unwrap().state
    }

    #[tokio::test]
    async fn a_retry_publishes_only_failed_tasks() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        partial_job(&fixture, job).await;
        let other = fixture.another();
        assert_eq!(state(&other, job).await, State::Partial);
        fixture.queue.sent();

        assert_eq!(fixture.ledger.retry(job, at(10)).await.unwrap(), Retried { round: 1, is_new: true });
        assert_eq!(fixture.queue.sent(), [format!("plan {job}")]);
        // A process that has its summary, and one that never saw it.
        for ledger in [&other, &fixture.another(), &fixture.ledger] {
            let status = ledger.status(job).await.unwrap().unwrap();
            assert_eq!((status.state, status.tasks.pending, status.tasks.stored), (State::Running, 1, 2));
            assert_eq!((status.finished, status.errors.len()), (None, 0));
        }
        // What a planner does with the message, however often it comes.
        let request = other.request(job).await.unwrap().unwrap();
        for _ in 0..3 {
            other.publish_tasks(&request, &plan(3), true).await.unwrap();
        }
        let messages = fixture.queue.messages();
        let [Message::RunTask(task)] = &messages[..] else { panic!("one task, not {messages:?}") };
        assert_eq!((task.task, task.round, task.attempt, task.resent), (1, 1, 1, true));

        other.record_failure(job, 1, 1, &failure("still gone", 20)).await.unwrap();
        assert_eq!(state(&fixture.ledger, job).await, State::Partial);
        assert_eq!(fixture.ledger.retry(job, at(30)).await.unwrap().round, 2);
        other.record_done(job, 1, 0, &done(Outcome::Stored, 40)).await.unwrap();
        assert_eq!(state(&fixture.another(), job).await, State::Succeeded);
        assert!(matches!(fixture.another().retry(job, at(50)).await, Err(RetryError::NothingFailed)));
    }

    #[tokio::test]
    async fn tasks_with_missing_items_are_tried_again_and_their_last_result_counts() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        let request = fixture.planned(job, 3).await;
        fixture.ledger.publish_tasks(&request, &plan(3), false).await.unwrap();
        fixture.ledger.record_done(job, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
        for task in [1, 2] {
            fixture.ledger.record_done(job, task, 0, &partial(4)).await.unwrap();
        }
        // It follows the journal as it grows.
        let other = fixture.another();
        let seen = async |ledger: &Ledger| {
            let Status { state, tasks, bytes, errors, .. } = ledger.status(job).await.unwrap().unwrap();
            (state, tasks.pending, tasks.stored, tasks.failed, tasks.incomplete, bytes, errors.len())
        };
        let all_see = async |expected| {
            for ledger in [&other, &fixture.ledger, &fixture.another()] {
                assert_eq!(seen(ledger).await, expected);
            }
        };
        all_see((State::Partial, 0, 3, 0, 2, 3_000, 2)).await;
        assert!(fixture.ledger.has_task_ended(job, 1, 0).await.unwrap());

        fixture.queue.sent();
        assert_eq!(fixture.another().retry(job, at(10)).await.unwrap().round, 1);
        all_see((State::Running, 2, 1, 0, 0, 1_000, 0)).await;
        assert!(!fixture.ledger.has_task_ended(job, 1, 1).await.unwrap());
        fixture.queue.sent();
        other.publish_tasks(&request, &plan(3), true).await.unwrap();
        let messages = fixture.queue.messages();
        let sent = messages.iter().map(|message| match message {
            Message::RunTask(task) => (task.task, task.round),
            Message::PlanJob(_) => panic!("a task"),
        });
        assert_eq!(sent.collect::<Vec<_>>(), [(1, 1), (2, 1)]);
        // A message of the first round that comes late changes nothing.
        fixture.ledger.record_done(job, 1, 0, &partial(11)).await.unwrap();
        all_see((State::Running, 2, 1, 0, 0, 1_000, 0)).await;
        fixture.ledger.record_done(job, 1, 1, &partial(12)).await.unwrap();
        fixture.ledger.record_failure(job, 2, 1, &failure("503", 12)).await.unwrap();
        all_see((State::Partial, 0, 2, 1, 1, 2_000, 2)).await;

        assert_eq!(fixture.another().retry(job, at(20)).await.unwrap().round, 2);
        for task in [1, 2] {
            fixture.ledger.record_done(job, task, 2, &done(Outcome::Unchanged, 21)).await.unwrap();
        }
        for ledger in [&other, &fixture.ledger, &fixture.another()] {
            let status = ledger.status(job).await.unwrap().unwrap();
            assert_eq!((status.state, status.tasks.unchanged, status.bytes), (State::Succeeded, 2, 3_000));
        }
        assert!(matches!(other.retry(job, at(30)).await, Err(RetryError::NothingFailed)));
    }

    /// The process that retries, or the worker, dies after any object that it writes: the housekeeper publishes the
    /// rest, and the job ends.
    #[tokio::test]
    async fn killed_at_any_step_a_retry_of_missing_items_comes_to_its_end() {
        let steps = ["nothing", "retries/", "rounds/", "sent", "partial"];
        for (killed, step) in steps.into_iter().enumerate() {
            let fixture = Fixture::new().await;
            let job = id(0, 1);
            let request = fixture.planned(job, 2).await;
            fixture.ledger.publish_tasks(&request, &plan(2), false).await.unwrap();
            fixture.ledger.record_done(job, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
            fixture.ledger.record_done(job, 1, 0, &partial(4)).await.unwrap();
            assert_eq!(state(&fixture.ledger, job).await, State::Partial);
            fixture.another().recover(at(5), false).await.unwrap();
            let dying = fixture.another();
            dying.memory.publishing.close();
            let round = Round { retried: at(10) };
            if killed >= 1 {
                dying.create(&keys::retry(job, 1), &round, SMALL).await.unwrap();
            }
            if killed >= 2 {
                dying.enter(job, vec![Fact::Round(1, at(10))]).await.unwrap();
            }
            if killed >= 3 {
                dying.publish_tasks(&request, &plan(2), true).await.unwrap();
            }
            if killed >= 4 {
                dying.record_done(job, 1, 1, &partial(11)).await.unwrap();
            }
            let expected = if killed == 2 || killed == 3 { State::Running } else { State::Partial };
            assert_eq!(state(&fixture.another(), job).await, expected, "{step}");
            if expected == State::Partial {
                // Another retry begins the next round.
                let next = if killed == 4 { 2 } else { 1 };
                assert_eq!(fixture.another().retry(job, at(12)).await.unwrap().round, next, "{step}");
            }
            // The queue loses all that was sent. A worker does what the housekeeper sends out again.
            fixture.queue.sent();
            let housekeeper = fixture.another();
            for minute in 1..60 {
                housekeeper.recover(at(minute * 60), false).await.unwrap();
                for message in fixture.queue.messages() {
                    match message {
                        Message::PlanJob(_) => dying.publish_tasks(&request, &plan(2), true).await.unwrap(),
                        Message::RunTask(task) => {
                            assert_eq!(task.task, 1);
                            let outcome = done(Outcome::Stored, 20);
                            fixture.another().record_done(job, 1, task.round, &outcome).await.unwrap();
                        }
                    }
                }
            }
            assert_eq!(state(&fixture.another(), job).await, State::Succeeded, "{step}");
            assert_eq!(fixture.store.list(keys::RETRIES, None, 10).await.unwrap().len(), 0, "{step}");
        }
    }

    #[tokio::test]
    async fn a_planning_that_failed_is_tried_again() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        fixture.job(job).await;
        fixture.ledger.record_start(job, at(1)).await.unwrap();
        fixture.ledger.record_plan_failure(job, 0, &failure("/cities answers 500", 7)).await.unwrap();
        assert_eq!(state(&fixture.another(), job).await, State::Failed);
        fixture.queue.sent();
        assert_eq!(fixture.ledger.retry(job, at(10)).await.unwrap().round, 1);
        assert_eq!(fixture.queue.sent(), [format!("plan {job}")]);
        assert_eq!(state(&fixture.another(), job).await, State::Planning);
        // A message to plan says no round: the failure is of the latest.
        fixture.another().record_plan_failure(job, 0, &failure("/cities answers 500", 17)).await.unwrap();
        assert_eq!(state(&fixture.another(), job).await, State::Failed);

        assert_eq!(fixture.ledger.retry(job, at(20)).await.unwrap().round, 2);
        let request = fixture.ledger.request(job).await.unwrap().unwrap();
        let plan = fixture.ledger.record_plan(job, plan(1)).await.unwrap();
        fixture.queue.sent();
        fixture.another().publish_tasks(&request, &plan, false).await.unwrap();
        let messages = fixture.queue.messages();
        assert!(matches!(&messages[..], [Message::RunTask(task)] if task.round == 2), "{messages:?}");
        fixture.ledger.record_failure(job, 0, 2, &failure("gone", 30)).await.unwrap();
        assert_eq!(state(&fixture.another(), job).await, State::Failed);
    }

    #[tokio::test]
    async fn retry_is_refused_where_nothing_failed() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        assert!(matches!(fixture.ledger.retry(job, at(1)).await, Err(RetryError::Unknown)));
        fixture.job(job).await;
        let refused = async || fixture.another().retry(job, at(10)).await.unwrap_err().to_string();
        insta::assert_snapshot!(refused().await, @"the job has not ended: it is queued");
        fixture.planned(job, 2).await;
        fixture.ledger.record_failure(job, 0, 0, &failure("gone", 4)).await.unwrap();
        insta::assert_snapshot!(refused().await, @"the job has not ended: it is running");
        fixture.ledger.record_failure(job, 1, 0, &failure("gone", 4)).await.unwrap();
        fixture.ledger.retry(job, at(10)).await.unwrap();
        insta::assert_snapshot!(refused().await, @"the job has not ended: it is running");
        fixture.ledger.cancel(job, at(11)).await.unwrap();
        insta::assert_snapshot!(refused().await, @"the job was cancelled");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn sixteen_concurrent_retries_begin_one_round() {
        let fixture = Fixture::new().await;
        for n in 0..5 {
            let job = id(0, n);
            partial_job(&fixture, job).await;
            fixture.queue.sent();
            let retries = (0..16).map(|n| {
                let ledger = fixture.another();
                tokio::spawn(async move { ledger.retry(job, at(10 + n)).await })
            });
            let retried = try_join_all(retries).await.unwrap();
            let begun = retried.iter().flatten().filter(|retried| retried.is_new).count();
            assert_eq!(begun, 1);
            for retried in retried {
                match retried {
                    Ok(retried) => assert_eq!(retried.round, 1),
                    Err(error) => assert!(matches!(error, RetryError::NotFinished(State::Running)), "{error}"),
                }
            }
            assert_eq!(fixture.queue.sent(), [format!("plan {job}")]);
        }
    }

    /// The round follows from the same look as the state: what another retry of this process has begun since is not counted.
    #[tokio::test]
    async fn the_next_round_follows_from_one_look() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        partial_job(&fixture, job).await;
        let facts = fixture.ledger.facts(job).await.unwrap();
        fixture.ledger.retry(job, at(10)).await.unwrap();
        assert_eq!((facts.state(), facts.last_round), (State::Partial, 0));
        // Also where the entry that began a round was lost.
        fixture.ledger.record_failure(job, 1, 3, &failure("gone", 20)).await.unwrap();
        assert_eq!(fixture.another().retry(job, at(30)).await.unwrap().round, 4);
    }

    /// Whatever of the two comes first, all who look afterwards see the same, also once the round has ended.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn retry_and_cancel_at_once_end_in_one_state() {
        let fixture = Fixture::new().await;
        let mut ends = BTreeSet::new();
        for n in 0..40 {
            let job = id(0, n);
            partial_job(&fixture, job).await;
            let (one, two) = (fixture.another(), fixture.another());
            let retry = tokio::spawn(async move { one.retry(job, at(10)).await });
            let cancel = tokio::spawn(async move {
                loop {
                    match two.cancel(job, at(11)).await {
                        // Until the retry is seen; every other time only once.
                        Err(CancelError::Finished(_)) if n % 2 == 0 => tokio::task::yield_now().await,
                        result => return result,
                    }
                }
            });
            let (retried, cancelled) = (retry.await.unwrap(), cancel.await.unwrap());
            assert_eq!(retried.unwrap(), Retried { round: 1, is_new: true });
            let expected = if cancelled.is_ok() { State::Cancelled } else { State::Running };
            for reader in [fixture.another(), fixture.another()] {
                assert_eq!(state(&reader, job).await, expected);
            }
            fixture.ledger.record_failure(job, 1, 1, &failure("gone", 20)).await.unwrap();
            let expected = if cancelled.is_ok() { State::Cancelled } else { State::Partial };
            assert_eq!(state(&fixture.another(), job).await, expected);
            ends.insert(expected.to_string());
        }
        assert!(ends.contains("cancelled"));
    }

    /// The housekeeper has written the job off, in memory and for the whole day, when another process retries it.
    #[tokio::test]
    async fn a_retried_job_is_looked_after_though_it_had_ended() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        partial_job(&fixture, job).await;
        let housekeeper = fixture.another();
        let day = 86_400;
        // 60 days later it is older than anything else that is looked after.
        for later in [3 * day, 60 * day] {
            assert_eq!(housekeeper.recover(at(later), false).await.unwrap(), 0);
            assert_eq!(housekeeper.recover(at(later), false).await.unwrap(), 0);
            // The process that began the retry dies before it publishes.
            let asker = fixture.another();
            asker.memory.publishing.close();
            let retried = asker.retry(job, at(later)).await.unwrap();
            fixture.queue.sent();
            let mut sent = Vec::new();
            for minute in 1..15 {
                housekeeper.recover(at(later + minute * 60), false).await.unwrap();
                sent.append(&mut fixture.queue.sent());
            }
            assert_eq!(sent, [format!("plan {job}")]);
            let key = keys::retry(job, retried.round);
            assert!(fixture.text(&key).await.is_some());
            fixture.ledger.record_failure(job, 1, retried.round, &failure("gone", later + 1)).await.unwrap();
            assert_eq!(housekeeper.recover(at(later + 1_000), false).await.unwrap(), 0);
            assert!(fixture.text(&key).await.is_none(), "a round that has ended is forgotten");
            let summary = fixture.text(&keys::of(job, Name::Summary)).await.unwrap();
            assert!(summary.starts_with(&format!("{{\"round\":{}", retried.round)), "{summary}");
        }
    }

    /// The process that retried died before it wrote the round.
    #[tokio::test]
    async fn a_round_that_never_came_about_is_forgotten() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        partial_job(&fixture, job).await;
        let key = keys::retry(job, 1);
        fixture.ledger.create(&key, &Round { retried: at(10) }, SMALL).await.unwrap();
        fixture.another().recover(at(20), false).await.unwrap();
        assert!(fixture.text(&key).await.is_some());
        fixture.another().recover(at(10 + 3_601), false).await.unwrap();
        assert!(fixture.text(&key).await.is_none());
        assert_eq!(state(&fixture.another(), job).await, State::Partial);
    }
}
