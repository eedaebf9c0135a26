//! What every queue promises about holds and about what waits, seen by two processes of one fleet.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, future::join_all};
use tokio::{sync::Barrier, time::sleep};
use waybill_queue::{Lock, QueueError};

use super::{SharedQueue, buses, consumer, next, send, task, within};

/// Tries until it has it.
pub(crate) async fn lock(queue: &SharedQueue, name: &str) -> Lock {
    within(async {
        loop {
            if let Ok(Some(lock)) = queue.try_lock(name).await {
                return lock;
            }
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

pub(crate) async fn one_process_holds_a_name(one: SharedQueue, other: SharedQueue) {
    let mine = within(one.try_lock("housekeeper")).await.unwrap().unwrap();
    assert_eq!((mine.name(), mine.is_held()), ("housekeeper", true));
    for queue in [&other, &one] {
        assert!(within(queue.try_lock("housekeeper")).await.unwrap().is_none());
    }
    // Another name is another matter.
    let theirs = lock(&other, "rate.buses").await;
    assert!(within(one.try_lock("rate.buses")).await.unwrap().is_none());
    assert!(mine.lost().now_or_never().is_none() && theirs.is_held());
}

pub(crate) async fn dropped_is_free_for_others(one: SharedQueue, other: SharedQueue) {
    let mine = lock(&one, "housekeeper").await;
    assert!(within(other.try_lock("housekeeper")).await.unwrap().is_none());
    drop(mine);
    let theirs = lock(&other, "housekeeper").await;
    assert!(within(one.try_lock("housekeeper")).await.unwrap().is_none());
    drop(theirs);
    // Also for the one who had it before.
    assert!(lock(&one, "housekeeper").await.is_held());
}

/// 200 rounds, each of them a name that four in two processes want at the same time, and each of the four gets.
pub(crate) async fn two_never_hold_the_same_name(one: SharedQueue, other: SharedQueue) {
    let lines = (0..20).map(|line| {
        let queues = [one.clone(), other.clone()];
        tokio::spawn(async move {
            for round in 0..10 {
                let (start, holders) = (Arc::new(Barrier::new(4)), Arc::new(AtomicUsize::new(0)));
                let name = format!("permit.buses.{line}.{round}");
                let wanting = (0..4).map(|n| {
                    let (queue, name) = (queues[n % 2].clone(), name.clone());
                    let (start, holders) = (start.clone(), holders.clone());
                    tokio::spawn(async move {
                        start.wait().await;
                        let lock = lock(&queue, &name).await;
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two hold {name}");
                        tokio::task::yield_now().await;
                        assert!(lock.is_held());
                        holders.fetch_sub(1, Ordering::SeqCst);
                    })
                });
                for held in join_all(wanting.collect::<Vec<_>>()).await {
                    held.unwrap();
                }
            }
        })
    });
    for line in join_all(lines.collect::<Vec<_>>()).await {
        line.unwrap();
    }
}

pub(crate) async fn a_try_that_is_cancelled_leaves_nothing_held(one: SharedQueue, other: SharedQueue) {
    let mut names = HashSet::new();
    for round in 0..40 {
        let name = format!("permit.buses.{round}");
        // So short that most are cancelled, at every point of the way.
        let patience = Duration::from_micros(fastrand::u64(0..4_000));
        let tried = tokio::time::timeout(patience, one.try_lock(&name)).await;
        drop(tried);
        names.insert(name);
    }
    join_all(names.iter().map(|name| lock(&other, name))).await;
}

pub(crate) async fn closing_takes_no_hold_away(one: SharedQueue, _: SharedQueue) {
    let mine = lock(&one, "housekeeper").await;
    within(one.close()).await;
    assert!(mine.is_held());
    assert!(matches!(within(one.try_lock("rate.buses")).await, Err(QueueError::Closed)));
}

pub(crate) async fn what_waits_is_counted(one: SharedQueue, other: SharedQueue) {
    assert_eq!(within(other.waiting(&buses())).await.unwrap(), 0);
    send(&one, 0..3).await;
    within(one.publish(&buses(), &task(3), Duration::from_secs(3_600))).await.unwrap();
    counts(&other, 3).await;
    // In hand is not waiting; given back it is.
    let mut consumer = consumer(&one).await;
    let in_hand = next(&mut consumer).await;
    counts(&other, 2).await;
    drop((consumer, in_hand));
    counts(&other, 3).await;
}

/// Waits until so many messages wait.
async fn counts(queue: &SharedQueue, expected: u64) {
    within(async {
        while queue.waiting(&buses()).await.unwrap() != expected {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
