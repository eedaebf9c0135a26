//! The embedded queue: the contract, and its bounds.

#![expect(clippy::unwrap_used, reason = "what fails in a test is to be seen")]

use std::{future::Future, sync::Arc, time::Duration};

use waybill_queue::{Embedded, Queue, QueueError};

#[macro_use]
mod contract;

use contract::{SharedQueue, buses, consumer, next, number, send, task, within};

async fn on_a_fresh_queue<F: Future<Output = ()>>(promise: impl FnOnce(SharedQueue) -> F) {
    promise(Arc::new(Embedded::new(100))).await;
}

async fn on_two<F: Future<Output = ()>>(promise: impl FnOnce(SharedQueue, SharedQueue) -> F) {
    let queue = Embedded::new(100);
    promise(Arc::new(queue.clone()), Arc::new(queue)).await;
}

contract!(on_a_fresh_queue);
contract_of_two!(on_two);

#[tokio::test]
async fn a_publisher_waits_for_room() {
    let queue: SharedQueue = Arc::new(Embedded::new(2));
    send(&queue, [1, 2]).await;
    let third = tokio::spawn({
        let queue = queue.clone();
        async move { queue.publish(&buses(), &task(3), Duration::ZERO).await }
    });
    let mut consumer = consumer(&queue).await;
    tokio::task::yield_now().await;
    assert!(!third.is_finished());
    // Taken makes room; given back takes none away, or nobody could give back to a full queue.
    let first = next(&mut consumer).await;
    within(third).await.unwrap().unwrap();
    assert!(first.give_back().await);
    for expected in [1, 2, 3] {
        let delivery = next(&mut consumer).await;
        assert_eq!((number(&delivery), delivery.redelivered), (expected, expected == 1));
        assert!(delivery.ack().await);
    }
    assert!(!queue.is_durable());
}

#[tokio::test]
async fn closing_lets_a_waiting_publisher_go() {
    let queue: SharedQueue = Arc::new(Embedded::new(1));
    send(&queue, [1]).await;
    let (queue_name, second) = (buses(), task(2));
    let (published, ()) = tokio::join!(queue.publish(&queue_name, &second, Duration::ZERO), queue.close());
    assert!(matches!(published, Err(QueueError::Closed)), "{published:?}");
    assert!(matches!(queue.check().await, Err(QueueError::Closed)));
}

#[tokio::test]
async fn delayed_messages_are_bounded_and_never_wait_for_others() {
    let queue: SharedQueue = Arc::new(Embedded::new(1));
    send(&queue, [1]).await;
    let later = Duration::from_secs(3_600);
    within(queue.publish(&buses(), &task(2), later)).await.unwrap();
    let full = within(queue.publish(&buses(), &task(3), later)).await;
    assert!(matches!(full, Err(QueueError::Unavailable(_))), "{full:?}");
}

#[tokio::test]
async fn the_last_thousand_buried_are_kept_with_their_reasons() {
    let queue = Embedded::default();
    for n in 0..1_001 {
        queue.dead_letter(&buses(), &task(n), &format!("reason {n}")).await.unwrap();
    }
    let dead_letters = queue.dead_letters();
    assert_eq!(dead_letters.len(), 1_000);
    assert_eq!((dead_letters[0].message.clone(), dead_letters[0].reason.as_str()), (task(1), "reason 1"));
    assert_eq!(dead_letters[999].queue_name, buses());
}

#[tokio::test]
async fn consumers_are_served_in_the_order_in_which_they_asked() {
    let queue: SharedQueue = Arc::new(Embedded::new(10));
    let mut consumers = [consumer(&queue).await, consumer(&queue).await, consumer(&queue).await];
    let mut asking: Vec<_> = consumers.iter_mut().map(|consumer| consumer.next()).collect();
    for next in &mut asking {
        assert!(futures::poll!(next).is_pending());
    }
    // The second no longer asks.
    drop(asking.remove(1));
    send(&queue, [1, 2]).await;
    for (next, expected) in asking.into_iter().zip([1, 2]) {
        let delivery = within(next).await.unwrap();
        assert_eq!(number(&delivery), expected);
        assert!(delivery.ack().await);
    }
}
