//! A broker in trouble: out of memory, restarted, impatient, and with nothing left of what it knew. In each case
//! what is asked of it meanwhile fails in time and in words, and everything goes on by itself afterwards.

use std::time::{Duration, Instant};

use futures::FutureExt;
use tokio::time::sleep;
use waybill_queue::QueueError;

use super::private::PrivateBroker;
use crate::{
    contract::{SharedQueue, buses, consumer, locks::lock, next, number, send, task, within},
    take,
};

/// One broker for all of it, since starting one takes seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_broker_in_trouble_is_outlived() {
    let broker = PrivateBroker::start();
    a_hold_is_lost_with_its_queue(&broker).await;
    blocked_by_a_memory_alarm(&broker).await;
    restarted(&broker).await;
    impatient_with_who_works_long(&broker).await;
    everything_lost(&broker).await;
}

fn queue(broker: &PrivateBroker) -> SharedQueue {
    super::queue(broker.url.clone(), "waybill")
}

/// Publishes, and says how it went; it takes no longer than it may.
async fn publish(queue: &SharedQueue, number: u32) -> Result<(), QueueError> {
    let begun = Instant::now();
    let published = queue.publish(&buses(), &task(number), Duration::ZERO).await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(matches!(published, Ok(()) | Err(QueueError::Unavailable(_))), "{published:?}");
    published
}

/// Publishes again and again until it is taken, and all is well.
async fn publish_at_last(queue: &SharedQueue, number: u32) {
    within(async {
        while publish(queue, number).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
        // The other connection may take its time to come back.
        while queue.check().await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

async fn a_hold_is_lost_with_its_queue(broker: &PrivateBroker) {
    let (one, other) = (queue(broker), queue(broker));
    let mine = lock(&one, "housekeeper").await;
    assert!(other.try_lock("housekeeper").await.unwrap().is_none());
    broker.ctl(&["delete_queue", "waybill.hold.housekeeper"]);
    within(mine.lost()).await;
    let theirs = lock(&other, "housekeeper").await;
    // Dropping what was lost takes nothing from the new holder.
    drop(mine);
    assert!(one.try_lock("housekeeper").await.unwrap().is_none());
    assert!(theirs.is_held());
    // A refusal is no error to the broker: asked for often, names would fill its log.
    let log = broker.log();
    assert!(log.contains("waybill") && !log.contains("[error]"), "{log}");
}

async fn blocked_by_a_memory_alarm(broker: &PrivateBroker) {
    let queue = queue(broker);
    send(&queue, [1, 2]).await;
    let mut consumer = consumer(&queue).await;
    let in_hand = next(&mut consumer).await;
    broker.ctl(&["set_vm_memory_high_watermark", "absolute", "1"]);
    // More at once than may be under way.
    let publishers = (0..30).map(|_| {
        let queue = queue.clone();
        tokio::spawn(async move { publish(&queue, 10).await })
    });
    for published in publishers.collect::<Vec<_>>() {
        assert!(published.await.unwrap().is_err());
    }
    // On a busy machine a publisher gives up before the broker has said why it takes nothing.
    within(async {
        while !queue.check().await.is_err_and(|error| error.to_string().contains("memory")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    // Work goes on all the while.
    assert!(within(in_hand.ack()).await);
    take(&mut consumer, 2).await;
    let held = lock(&queue, "housekeeper").await;
    assert!(within(self::queue(broker).try_lock("housekeeper")).await.unwrap().is_none());
    assert!(held.is_held());
    assert_eq!(within(queue.waiting(&buses())).await.unwrap(), 0);
    broker.ctl(&["set_vm_memory_high_watermark", "absolute", "512MB"]);
    publish_at_last(&queue, 3).await;
    take(&mut consumer, 3).await;
}

async fn restarted(broker: &PrivateBroker) {
    let queue = queue(broker);
    let mut consumer = consumer(&queue).await;
    send(&queue, [1]).await;
    let in_hand = next(&mut consumer).await;
    send(&queue, [2]).await;
    let held = lock(&queue, "housekeeper").await;
    broker.ctl(&["stop_app"]);
    within(held.lost()).await;
    assert!(publish(&queue, 3).await.is_err());
    assert!(matches!(within(queue.check()).await, Err(QueueError::Unavailable(_))));
    assert!(matches!(within(queue.try_lock("housekeeper")).await, Err(QueueError::Unavailable(_))));
    assert!(matches!(within(queue.waiting(&buses())).await, Err(QueueError::Unavailable(_))));
    assert!(!within(in_hand.ack()).await);
    assert!(next(&mut consumer).now_or_never().is_none());
    broker.ctl(&["start_app"]);
    // What it had confirmed it has still, also what was in hand.
    take(&mut consumer, 1).await;
    take(&mut consumer, 2).await;
    publish_at_last(&queue, 4).await;
    take(&mut consumer, 4).await;
    assert!(lock(&queue, "housekeeper").await.is_held());
}

async fn impatient_with_who_works_long(broker: &PrivateBroker) {
    // Both are read when a channel is opened; the second is how often the first is looked at.
    broker.set("consumer_timeout", "2000");
    broker.set("channel_tick_interval", "500");
    let queue = queue(broker);
    send(&queue, [1, 2]).await;
    let held = lock(&queue, "housekeeper").await;
    let mut consumer = consumer(&queue).await;
    let long = next(&mut consumer).await;
    assert_eq!(number(&long), 1);
    // The channel was closed under it, so it comes again; the old delivery is no longer known.
    let again = next(&mut consumer).await;
    assert_eq!((number(&again), again.redelivered), (1, true));
    assert!(!within(long.ack()).await);
    assert!(within(again.ack()).await);
    take(&mut consumer, 2).await;
    // Nobody else is disturbed, and a hold is no delivery.
    assert!(held.is_held());
    publish_at_last(&queue, 3).await;
    take(&mut consumer, 3).await;
    broker.set("consumer_timeout", "1800000");
}

async fn everything_lost(broker: &PrivateBroker) {
    let queue = queue(broker);
    let mut consumer = consumer(&queue).await;
    send(&queue, [1, 2]).await;
    let in_hand = next(&mut consumer).await;
    let held = lock(&queue, "housekeeper").await;
    for command in ["stop_app", "reset", "start_app"] {
        broker.ctl(&[command]);
    }
    within(held.lost()).await;
    // Who has lost its messages sends them again: everything is declared anew on the way.
    publish_at_last(&queue, 3).await;
    let first = next(&mut consumer).await;
    assert_eq!((number(&first), first.redelivered), (3, false));
    assert!(!within(in_hand.ack()).await);
    assert!(first.ack().await);
    within(queue.publish(&buses(), &task(4), Duration::from_millis(100))).await.unwrap();
    take(&mut consumer, 4).await;
    assert!(lock(&queue, "housekeeper").await.is_held());
}
