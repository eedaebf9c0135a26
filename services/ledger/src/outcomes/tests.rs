//! Outcomes in the bucket, and those that earlier releases left there as objects.

use std::time::Duration;

use futures::{StreamExt, stream};

use crate::{
    CancelError, Outcome, State, TaskState,
    layout::{
        keys::{self, Name},
        objects::SMALL,
    },
    testing::{Fixture, at, done, failure, id, partial},
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
    let prefix = "journal/buses/jobs/2024-05-01T08/";
    let shared = keys_under(&fixture, prefix).await.len();
    assert!(shared < 100, "{shared} segments for 200 tasks");
    // Said once more by others, each in a segment of its own.
    for job in &jobs {
        fixture.another().record_done(*job, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
    }
    assert!(keys_under(&fixture, "jobs/").await.iter().all(|key| !key.contains("/tasks/")));
    while fixture.another().compact_outcomes("buses", "2024-05-01T08").await.unwrap() {}
    assert_eq!(keys_under(&fixture, prefix).await.len(), 1);
    for job in jobs {
        let status = fixture.another().status(job).await.unwrap().unwrap();
        assert_eq!((status.state, status.tasks.stored, status.bytes), (State::Succeeded, 5, 5_000));
    }
    let listed = fixture.another().outcomes("buses", "2024-05-01T08").await.unwrap();
    assert_eq!((listed.outcomes.len(), listed.unreadable.len()), (200, 0));
    assert_eq!(fixture.ledger.outcome_hours("buses").await.unwrap(), ["2024-05-01T08"]);
}

/// A job that was begun before an update, half of it by each release, in one round and the next.
#[tokio::test]
async fn what_earlier_releases_wrote_counts_and_is_entered() {
    let fixture = Fixture::new().await;
    let job = id(0, 1);
    fixture.planned(job, 4).await;
    let object = async |name: Name, fact: &serde_json::Value| {
        fixture.ledger.create(&keys::of(job, name), fact, SMALL).await.unwrap();
    };
    let json = |fact| serde_json::to_value(fact).unwrap();
    object(Name::Done { task: 0 }, &json(done(Outcome::Stored, 3))).await;
    object(Name::Partial { task: 1, round: 0 }, &json(partial(4))).await;
    object(Name::Failed { task: 2, round: 0 }, &serde_json::to_value(failure("gone", 5)).unwrap()).await;
    let status = fixture.another().status(job).await.unwrap().unwrap();
    assert_eq!((status.state, status.tasks.pending, status.tasks.incomplete), (State::Running, 1, 1));
    fixture.ledger.record_done(job, 3, 0, &done(Outcome::Unchanged, 6)).await.unwrap();
    let status = fixture.another().status(job).await.unwrap().unwrap();
    assert_eq!((status.state, status.tasks.stored, status.tasks.failed), (State::Partial, 2, 1));
    let failed = fixture.another().tasks(job, Some(TaskState::Failed), 0, 10).await.unwrap().unwrap();
    assert_eq!(failed[0].failure.as_ref().map(|it| it.reason.as_str()), Some("gone"));
    // Each once, however many look.
    let entered = keys_under(&fixture, "journal/").await.len();
    fixture.another().status(job).await.unwrap();
    assert_eq!(keys_under(&fixture, "journal/").await.len(), entered);

    fixture.ledger.retry(job, at(10)).await.unwrap();
    // A worker of the earlier release, while the newer one is rolled out.
    object(Name::Done { task: 1 }, &json(done(Outcome::Stored, 11))).await;
    object(Name::Failed { task: 2, round: 1 }, &serde_json::to_value(failure("still gone", 12)).unwrap()).await;
    let status = fixture.another().status(job).await.unwrap().unwrap();
    assert_eq!((status.state, status.errors[0].failure.reason.as_str()), (State::Partial, "still gone"));
    assert!(fixture.ledger.has_task_ended(job, 1, 7).await.unwrap());
    assert!(!fixture.ledger.has_task_ended(job, 2, 2).await.unwrap());
}

#[tokio::test]
async fn an_object_of_an_earlier_release_that_cannot_be_read_is_named() {
    let fixture = Fixture::new().await;
    let job = id(0, 1);
    fixture.planned(job, 1).await;
    let key = keys::of(job, Name::Done { task: 0 });
    fixture.store.put(&key, "application/json", "{}".into()).await.unwrap();
    let status = fixture.ledger.status(job).await.unwrap().unwrap();
    assert_eq!(status.state, State::Damaged);
    assert!(status.errors[0].failure.reason.starts_with(&key), "{:?}", status.errors);
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
    let hours = async || fixture.ledger.outcome_hours("buses").await.unwrap();
    // One task of the old one has not ended: it is cancelled, and there for some time yet.
    assert_eq!(fixture.another().expire(at(91 * DAY)).await.unwrap(), 0);
    assert_eq!(hours().await, ["2024-05-01T08", "2024-05-02T08"]);
    assert_eq!(fixture.another().expire(at(91 * DAY + 60)).await.unwrap(), 1);
    assert_eq!(hours().await, ["2024-05-02T08"]);
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

/// A worker that is behind: its job is gone.
#[tokio::test]
async fn an_outcome_without_a_job_is_not_kept() {
    let fixture = Fixture::new().await;
    fixture.ledger.record_done(id(0, 1), 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
    assert_eq!(keys_under(&fixture, "").await, [""; 0]);
}
