//! Outcomes in the bucket, and those that earlier releases left there as objects.

use std::time::Duration;

use futures::{StreamExt, stream};
use serde_json::json;

use crate::{
    CancelError, Ledger, Outcome, State,
    jobs::Fact,
    layout::keys::{self, Name},
    testing::{Fixture, at, done, failure, id, partial, plan},
};

const DAY: i64 = 86_400;

/// What lies under a prefix.
async fn keys_under(fixture: &Fixture, prefix: &str) -> Vec<String> {
    fixture.store.list(prefix, None, 1_000).await.unwrap().into_iter().map(|entry| entry.key).collect()
}

#[tokio::test]
async fn tasks_of_many_jobs_share_segments_and_a_compaction_changes_no_answer() {
    let fixture = Fixture::new().await;
    let jobs: Vec<_> = (0..40_u64).map(|n| id(n.cast_signed(), n)).collect();
    stream::iter(&jobs).for_each_concurrent(8, async |job| drop(fixture.planned(*job, 5).await)).await;
    let tasks = jobs.iter().flat_map(|job| (0..5).map(move |task| (*job, task)));
    stream::iter(tasks)
        .for_each_concurrent(64, async |(job, task)| {
            fixture.ledger.record_done(job, task, 0, &done(Outcome::Stored, 3)).await.unwrap();
        })
        .await;
    let prefix = "journal/buses/jobs/2024-05-01T0800/";
    let shared = keys_under(&fixture, prefix).await.len();
    assert!(shared < 100, "{shared} segments for 200 tasks");
    // Said once more by others, each in a segment of its own.
    for job in &jobs {
        fixture.another().record_done(*job, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
    }
    assert!(keys_under(&fixture, "jobs/").await.iter().all(|key| !key.contains("/tasks/")));
    while fixture.another().compact_jobs("buses", "2024-05-01T0800").await.unwrap() {}
    assert_eq!(keys_under(&fixture, prefix).await.len(), 1);
    for job in jobs {
        let status = fixture.another().status(job).await.unwrap().unwrap();
        assert_eq!((status.state, status.tasks.stored, status.bytes), (State::Succeeded, 5, 5_000));
    }
    let listed = fixture.another().journal_slot("buses", "2024-05-01T0800", None).await.unwrap();
    let outcomes: usize = listed.jobs.iter().map(|job| job.outcomes.len()).sum();
    assert_eq!((listed.jobs.len(), outcomes, listed.unreadable.len()), (40, 200, 0));
    assert_eq!(fixture.ledger.journal_slots("buses").await.unwrap(), ["2024-05-01T0800"]);
}

/// A job that an earlier release began, failed, was asked to retry, and left when it was replaced.
#[tokio::test]
async fn what_earlier_releases_wrote_counts_and_is_entered_once() {
    let fixture = Fixture::new().await;
    let (job, unplanned, cancelled) = (id(0, 1), id(0, 2), id(0, 3));
    fixture.planned_earlier(job, 5).await;
    fixture.object(job, Name::Sent { round: 0 }, &json!({ "messages": 5 })).await;
    fixture.object(job, Name::Done { task: 0 }, &done(Outcome::Stored, 3)).await;
    fixture.object(job, Name::Partial { task: 1, round: 0 }, &partial(4)).await;
    fixture.object(job, Name::Failed { task: 2, round: 0 }, &failure("gone", 5)).await;
    fixture.object(job, Name::Failed { task: 3, round: 0 }, &failure("gone", 5)).await;
    fixture.object(job, Name::Done { task: 4 }, &done(Outcome::Stored, 6)).await;
    fixture.object(job, Name::Round(1), &json!({ "retried": at(10) })).await;
    fixture.object(job, Name::Done { task: 2 }, &done(Outcome::Stored, 11)).await;
    fixture.object(job, Name::Failed { task: 3, round: 1 }, &failure("still gone", 12)).await;
    let status = fixture.another().status(job).await.unwrap().unwrap();
    assert_eq!((status.state, status.started, status.tasks.pending), (State::Running, Some(at(1)), 1));
    assert_eq!((status.tasks.stored, status.tasks.failed), (3, 1));
    assert_eq!(status.errors[0].failure.reason, "still gone");
    let entered = keys_under(&fixture, "journal/").await.len();
    fixture.another().status(job).await.unwrap();
    assert_eq!(keys_under(&fixture, "journal/").await.len(), entered, "however many look");

    assert!(!fixture.ledger.has_task_ended(job, 1, 1).await.unwrap());
    fixture.ledger.record_done(job, 1, 1, &done(Outcome::Stored, 13)).await.unwrap();
    assert_eq!(fixture.ledger.retry(job, at(20)).await.unwrap().round, 2);
    fixture.ledger.record_done(job, 3, 2, &done(Outcome::Stored, 21)).await.unwrap();
    assert_eq!(fixture.another().status(job).await.unwrap().unwrap().state, State::Succeeded);

    fixture.job(unplanned).await;
    fixture.object(unplanned, Name::Started, &json!({ "started": at(1) })).await;
    fixture.object(unplanned, Name::PlanFailed { round: 0 }, &failure("/cities answers 500", 2)).await;
    let status = fixture.another().status(unplanned).await.unwrap().unwrap();
    assert_eq!((status.state, status.errors[0].failure.reason.as_str()), (State::Failed, "/cities answers 500"));
    fixture.job(cancelled).await;
    fixture.object(cancelled, Name::Cancelled, &json!({ "cancelled": at(3) })).await;
    let status = fixture.another().status(cancelled).await.unwrap().unwrap();
    assert_eq!((status.state, status.finished), (State::Cancelled, Some(at(3))));
}

#[tokio::test]
async fn an_object_of_an_earlier_release_that_cannot_be_read_is_named() {
    let fixture = Fixture::new().await;
    let job = id(0, 1);
    fixture.planned_earlier(job, 1).await;
    fixture.object(job, Name::Done { task: 0 }, &json!({})).await;
    let status = fixture.ledger.status(job).await.unwrap().unwrap();
    assert_eq!(status.state, State::Damaged);
    let key = keys::of(job, Name::Done { task: 0 });
    assert!(status.errors[0].failure.reason.starts_with(&key), "{:?}", status.errors);
}

/// The planner, or whoever cancels, dies between an object and its entry, or the other way round.
#[tokio::test]
async fn an_object_and_its_entry_that_a_process_died_between() {
    let fixture = Fixture::new().await;
    let job = id(0, 1);
    let request = fixture.job(job).await;
    fixture.ledger.record_start(job, at(1)).await.unwrap();
    fixture.object(job, Name::Plan, &plan(2)).await;
    let state = async || fixture.another().status(job).await.unwrap().unwrap().state;
    assert_eq!(state().await, State::Planning);
    // The plan message comes once more.
    let planned = fixture.another().plan(job).await.unwrap().unwrap();
    fixture.queue.sent();
    fixture.another().publish_tasks(&request, &planned, true).await.unwrap();
    assert_eq!((state().await, fixture.queue.sent().len()), (State::Running, 2));

    fixture.ledger.enter(job, vec![Fact::Cancelled(at(5))]).await.unwrap();
    assert!(!fixture.another().is_cancelled(job).await.unwrap(), "workers run on");
    // Until somebody looks.
    assert_eq!(state().await, State::Cancelled);
    assert!(fixture.another().is_cancelled(job).await.unwrap());
    assert_eq!(fixture.another().cancel(job, at(9)).await.unwrap().finished, Some(at(5)));
}

/// What had not succeeded begins again; what was cancelled stays so.
#[tokio::test]
async fn where_the_journal_is_lost_unfinished_jobs_are_planned_and_pending() {
    let fixture = Fixture::new().await;
    let (running, cancelled) = (id(0, 1), id(0, 2));
    for job in [running, cancelled] {
        fixture.planned(job, 2).await;
        fixture.ledger.record_done(job, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
    }
    fixture.ledger.cancel(cancelled, at(5)).await.unwrap();
    fixture.store.delete(&keys_under(&fixture, "journal/").await).await.unwrap();
    let status = fixture.another().status(running).await.unwrap().unwrap();
    assert_eq!((status.state, status.started, status.tasks.pending), (State::Running, Some(at(2)), 2));
    assert_eq!(fixture.another().status(cancelled).await.unwrap().unwrap().state, State::Cancelled);
    let entered = keys_under(&fixture, "journal/").await;
    fixture.another().status(running).await.unwrap();
    assert_eq!(keys_under(&fixture, "journal/").await, entered);
}

/// Whoever enters what an earlier release wrote dies in the middle: the next look goes on.
#[tokio::test]
async fn a_job_of_an_earlier_release_that_is_half_entered_is_entered_whole() {
    let fixture = Fixture::new().await;
    let job = id(0, 1);
    fixture.planned_earlier(job, 3).await;
    for task in 0..2 {
        fixture.object(job, Name::Done { task }, &done(Outcome::Stored, 3)).await;
    }
    let key = keys::of(job, Name::Failed { task: 2, round: 0 });
    fixture.store.put(&key, "application/json", "{".into()).await.unwrap();
    assert_eq!(fixture.another().status(job).await.unwrap().unwrap().state, State::Damaged);
    // As far as it came.
    fixture.ledger.record_done(job, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
    fixture.store.delete(&[key]).await.unwrap();
    fixture.object(job, Name::Failed { task: 2, round: 0 }, &failure("gone", 5)).await;
    let status = fixture.another().status(job).await.unwrap().unwrap();
    assert_eq!((status.state, status.tasks.stored, status.tasks.failed), (State::Partial, 2, 1));
}

/// One that cannot be read does not keep a job, and all after it, for ever.
#[tokio::test]
async fn a_job_of_an_earlier_release_that_cannot_be_read_is_deleted() {
    let fixture = Fixture::new().await;
    let job = id(0, 1);
    fixture.planned_earlier(job, 1).await;
    fixture.object(job, Name::Done { task: 0 }, &json!({})).await;
    for day in 91..93 {
        fixture.another().expire(at(day * DAY)).await.unwrap();
    }
    assert_eq!(keys_under(&fixture, "jobs/").await, [""; 0]);
}

/// A client that waits for the end of a retry is not told the end of the round before.
#[tokio::test]
async fn a_retry_is_seen_at_once_by_every_process() {
    let fixture = Fixture::new().await;
    let job = id(0, 1);
    fixture.planned(job, 1).await;
    fixture.ledger.record_failure(job, 0, 0, &failure("gone", 4)).await.unwrap();
    let reader = fixture.looking_every(Duration::from_secs(3_600));
    assert_eq!(reader.status(job).await.unwrap().unwrap().state, State::Failed);
    fixture.ledger.retry(job, at(10)).await.unwrap();
    assert_eq!(reader.status(job).await.unwrap().unwrap().state, State::Running);
}

/// A process that remembers a job does not bring it back after another has deleted it.
#[tokio::test]
async fn a_deleted_job_stays_deleted() {
    let fixture = Fixture::new().await;
    let job = id(0, 1);
    fixture.planned(job, 1).await;
    let reader = fixture.another();
    assert_eq!(fixture.another().expire(at(91 * DAY)).await.unwrap(), 0);
    assert_eq!(reader.facts(job).await.unwrap().state(), State::Cancelled);
    assert_eq!(fixture.another().expire(at(92 * DAY)).await.unwrap(), 1);
    assert_eq!(keys_under(&fixture, "jobs/").await, [""; 0]);
    assert!(reader.tasks(job, None, 0, 10).await.unwrap().is_none());
    assert!(reader.status(job).await.unwrap().is_none());
    assert_eq!(keys_under(&fixture, "jobs/").await, [""; 0]);
}

#[tokio::test]
async fn outcomes_are_deleted_after_the_last_job_of_their_day() {
    let fixture = Fixture::new().await;
    let (old, young) = (id(0, 1), id(DAY, 2));
    for job in [old, young] {
        fixture.planned(job, 2).await;
        fixture.ledger.record_done(job, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
    }
    fixture.ledger.record_done(young, 1, 0, &done(Outcome::Stored, 3)).await.unwrap();
    let slots = async || fixture.ledger.journal_slots("buses").await.unwrap();
    // One task of the old one has not ended: it is cancelled, and there for some time yet.
    assert_eq!(fixture.another().expire(at(91 * DAY)).await.unwrap(), 0);
    assert_eq!(slots().await, ["2024-05-01T0800", "2024-05-02T0800"]);
    assert_eq!(fixture.another().expire(at(91 * DAY + 60)).await.unwrap(), 1);
    assert_eq!(slots().await, ["2024-05-02T0800"]);
    assert_eq!(fixture.another().expire(at(92 * DAY)).await.unwrap(), 1);
    assert_eq!(keys_under(&fixture, "journal/").await, [""; 0]);
}

/// However often a status is asked for, the journal is listed once in an interval; who decides by it sees all.
#[tokio::test]
async fn a_status_may_be_as_old_as_the_interval_and_a_cancellation_is_not() {
    let fixture = Fixture::new().await;
    let job = id(0, 1);
    fixture.planned(job, 1).await;
    let reader = fixture.looking_every(Duration::from_secs(3_600));
    let state = async || reader.status(job).await.unwrap().unwrap().state;
    assert_eq!(state().await, State::Running);
    fixture.ledger.record_done(job, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
    assert_eq!(state().await, State::Running, "it looked a moment ago");
    assert!(matches!(reader.cancel(job, at(5)).await, Err(CancelError::Finished(State::Succeeded))));
    assert_eq!(state().await, State::Succeeded);
    // Its own outcomes it knows at once.
    let own = id(0, 2);
    fixture.planned(own, 1).await;
    assert_eq!(reader.status(own).await.unwrap().unwrap().state, State::Running);
    reader.record_done(own, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
    assert_eq!(reader.status(own).await.unwrap().unwrap().state, State::Succeeded);
}

/// A poll of a job that waits, and of one that succeeded, makes no request of its own within the interval.
#[tokio::test]
async fn what_a_poll_found_is_good_enough_for_those_of_the_same_interval() {
    let fixture = Fixture::new().await;
    let (queued, ended) = (id(0, 1), id(0, 2));
    fixture.job(queued).await;
    fixture.planned(ended, 1).await;
    let (patient, fresh) = (fixture.looking_every(Duration::from_secs(3_600)), fixture.another());
    let states = async |ledger: &Ledger| {
        let state = async |job| ledger.status(job).await.unwrap().map(|status| status.state);
        (state(queued).await, state(ended).await)
    };
    assert_eq!(states(&patient).await, (Some(State::Queued), Some(State::Running)));
    fixture.ledger.record_done(ended, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
    assert_eq!(states(&fresh).await, (Some(State::Queued), Some(State::Succeeded)));
    assert!(matches!(patient.cancel(ended, at(5)).await, Err(CancelError::Finished(State::Succeeded))));
    assert_eq!(states(&patient).await, (Some(State::Queued), Some(State::Succeeded)));
    for job in [queued, ended] {
        fixture.store.delete(&keys_under(&fixture, &keys::folder(job)).await).await.unwrap();
    }
    assert_eq!(states(&patient).await, (Some(State::Queued), Some(State::Succeeded)));
    assert_eq!(states(&fresh).await, (None, None));
}

/// A worker that is behind: its job is gone.
#[tokio::test]
async fn an_outcome_without_a_job_is_not_kept() {
    let fixture = Fixture::new().await;
    fixture.ledger.record_done(id(0, 1), 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
    assert_eq!(keys_under(&fixture, "").await, [""; 0]);
}
