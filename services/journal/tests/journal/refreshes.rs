//! How often a follower asks the store, and who shares an answer.

use std::time::Duration;

use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use waybill_journal::{Committer, Compactor, Follower, Journal, Options, ReadError};

use crate::{
    model::Model,
    view::{Totals, fact, options},
};

fn journal(model: &Model) -> Journal<Totals> {
    Journal::new(model.clone(), "buses", Options { page: 1_000, ..options() })
}

async fn commit(journal: &Journal<Totals>, id: u64) {
    let (committer, task) = Committer::new(journal, None, CancellationToken::new());
    tokio::spawn(task.run());
    committer.commit(fact(id)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn recent_lists_once_a_second() {
    let model = Model::default();
    let follower = Follower::new(&journal(&model));
    assert_eq!(model.lists(), 0, "nobody asked");
    for _ in 0..100 {
        for result in join_all((0..50).map(|_| follower.recent())).await {
            result.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(model.lists(), 10);
}

#[tokio::test(start_paused = true)]
async fn fresh_lists_always_and_shares_what_began_later() {
    let model = Model::default();
    let journal = journal(&model);
    let follower = Follower::new(&journal);
    follower.fresh().await.unwrap();
    commit(&journal, 1).await;
    follower.fresh().await.unwrap();
    follower.read(|view| assert!(view.has(1)));
    assert_eq!(model.lists(), 2);

    let model = Model::stepped();
    let follower = Follower::new(&self::journal(&model));
    for result in join_all((0..100).map(|_| follower.fresh())).await {
        result.unwrap();
    }
    assert_eq!(model.lists(), 2, "one for the first, and one for those who called while it ran");
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_shared_and_not_kept() {
    let model = Model::default();
    let follower = Follower::new(&journal(&model));
    model.refuse(true);
    for result in join_all((0..100).map(|_| follower.recent())).await {
        assert!(matches!(result, Err(ReadError::Store(_))));
    }
    assert_eq!(model.lists(), 1);
    model.refuse(false);
    assert!(follower.recent().await.is_err(), "at most one listing a second");
    tokio::time::sleep(Duration::from_secs(1)).await;
    follower.recent().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_stops_nobody() {
    let model = Model::stepped();
    let follower = Follower::new(&journal(&model));
    let mut gone = Box::pin(follower.fresh());
    assert!(futures::poll!(gone.as_mut()).is_pending());
    let waits = follower.fresh();
    drop(gone);
    waits.await.unwrap();
    assert_eq!(model.lists(), 2);
}

#[tokio::test(start_paused = true)]
async fn only_what_is_new_is_read() {
    let model = Model::default();
    let journal = journal(&model);
    let fed = Follower::new(&journal);
    let other = Follower::new(&journal);
    for id in 0..6 {
        commit(&journal, id).await;
    }
    fed.fresh().await.unwrap();
    other.fresh().await.unwrap();
    assert_eq!(model.gets(), 12);
    commit(&journal, 6).await;
    fed.fresh().await.unwrap();
    assert_eq!(model.gets(), 13);

    // Feeds a follower that has read the inputs; for others the snapshot is new.
    while Compactor::new(&journal, Some(&fed)).compact().await.unwrap().is_some() {}
    let gets = model.gets();
    fed.fresh().await.unwrap();
    assert_eq!(model.gets(), gets, "the follower beside the compactor reads nothing");
    other.fresh().await.unwrap();
    assert!(model.gets() > gets);
    other.read(|view| assert_eq!(*view, Totals::of(&(0..7).map(fact).collect::<Vec<_>>())));
}
