//! RabbitMQ: the contract, and what happens when the broker, the network or an operator gets in the way.

#![expect(clippy::unwrap_used, reason = "what fails in a test is to be seen")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lapin::{
    BasicProperties, Channel,
    message::BasicGetMessage,
    options::{BasicGetOptions, BasicPublishOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
    uri::AMQPUri,
};
use waybill_queue::{Delivery, Message, Queue, QueueError};

mod broker;
#[macro_use]
mod contract;

use broker::{Mode, Proxy, with_prefix};
use contract::{SharedQueue, buses, consumer, locks::lock, next, number, send, task, within};

async fn on_a_fresh_queue<F: Future<Output = ()>>(promise: impl FnOnce(SharedQueue) -> F) {
    with_prefix(|prefix, _| promise(broker::queue(broker::url(), &prefix))).await;
}

async fn on_two<F: Future<Output = ()>>(promise: impl FnOnce(SharedQueue, SharedQueue) -> F) {
    with_prefix(|prefix, _| promise(broker::queue(broker::url(), &prefix), broker::queue(broker::url(), &prefix)))
        .await;
}

contract!(on_a_fresh_queue);
contract_of_two!(on_two);

/// Publishes until it is taken: while a connection is rebuilt it may be refused.
async fn send_whatever_it_takes(queue: &SharedQueue, number: u32) {
    within(async {
        while queue.publish(&buses(), &task(number), Duration::ZERO).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Takes deliveries until the one with this number is acknowledged; others may come again in between.
async fn take(consumer: &mut Box<dyn waybill_queue::Consumer>, expected: u32) {
    within(async {
        loop {
            let delivery = next(consumer).await;
            let number = number(&delivery);
            if delivery.ack().await && number == expected {
                return;
            }
        }
    })
    .await;
}

/// The first message among the dead.
async fn dead(admin: &Channel, prefix: &str) -> BasicGetMessage {
    let queue = format!("{prefix}.dead");
    within(async {
        loop {
            let options = BasicGetOptions { no_ack: true };
            if let Some(message) = admin.basic_get(queue.as_str().into(), options).await.unwrap() {
                return message;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

fn header(message: &BasicGetMessage, name: &str) -> Option<String> {
    match message.properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        other => panic!("{name} is {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_and_publishers_go_on_after_a_cut() {
    with_prefix(async |prefix, _| {
        let proxy = Proxy::start(Mode::Forward).await;
        let queue: SharedQueue = broker::queue(proxy.url.clone(), &prefix);
        let mut consumer = consumer(&queue).await;
        for round in 0..3 {
            send_whatever_it_takes(&queue, round).await;
            let in_hand = loop {
                let delivery = next(&mut consumer).await;
                if number(&delivery) == round {
                    break delivery;
                }
                delivery.ack().await;
            };
            proxy.cut();
            // Its connection is gone, so it comes again; the old delivery says so once that is known.
            let again = loop {
                let delivery = next(&mut consumer).await;
                if number(&delivery) == round {
                    break delivery;
                }
                delivery.ack().await;
            };
            assert!(again.redelivered);
            assert!(!within(in_hand.ack()).await);
            assert!(within(again.ack()).await);
        }
        send_whatever_it_takes(&queue, 9).await;
        take(&mut consumer, 9).await;
        queue.check().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_comes_late_is_waited_for() {
    with_prefix(async |prefix, _| {
        let proxy = Proxy::start(Mode::Refuse).await;
        let queue: SharedQueue = broker::queue(proxy.url.clone(), &prefix);
        let mut consumer = consumer(&queue).await;
        let first = tokio::spawn(async move { next(&mut consumer).await });
        // Meanwhile nothing hangs, and the reason is said.
        let refused = within(queue.publish(&buses(), &task(1), Duration::ZERO)).await;
        let Err(QueueError::Unavailable(reason)) = refused else { panic!("{refused:?}") };
        let secret = proxy.url.parse::<AMQPUri>().unwrap().authority.userinfo.password;
        assert!(reason.contains("127.0.0.1") && !reason.contains(&secret), "{reason}");
        assert!(matches!(queue.check().await, Err(QueueError::Unavailable(_))));
        proxy.set(Mode::Forward);
        send_whatever_it_takes(&queue, 1).await;
        let first: Delivery = within(first).await.unwrap();
        assert_eq!(number(&first), 1);
        assert!(first.ack().await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_says_nothing_fails_a_publisher_in_time() {
    with_prefix(async |prefix, _| {
        let proxy = Proxy::start(Mode::Forward).await;
        let queue: SharedQueue = broker::queue(proxy.url.clone(), &prefix);
        send_whatever_it_takes(&queue, 1).await;
        proxy.set(Mode::Stall);
        let begun = Instant::now();
        let publishers = (0..40).map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.publish(&buses(), &task(2), Duration::ZERO).await })
        });
        for publisher in publishers.collect::<Vec<_>>() {
            let published = publisher.await.unwrap();
            assert!(matches!(published, Err(QueueError::Unavailable(_))), "{published:?}");
        }
        assert!(matches!(queue.check().await, Err(QueueError::Unavailable(_))));
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
        // What was refused may come all the same, but no more of it than was under way.
        proxy.set(Mode::Forward);
        send_whatever_it_takes(&queue, 3).await;
        let mut consumer = consumer(&queue).await;
        let mut late = 0;
        loop {
            let delivery = next(&mut consumer).await;
            late += usize::from(number(&delivery) == 2);
            let last = number(&delivery) == 3;
            assert!(delivery.ack().await);
            if last {
                break;
            }
        }
        assert!(late <= 16, "{late}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_deleted_under_everyone_is_declared_anew() {
    with_prefix(async |prefix, admin| {
        let queue: SharedQueue = broker::queue(broker::url(), &prefix);
        send(&queue, [1]).await;
        let name = format!("{prefix}.tasks.buses");
        // Nobody consumes: the publisher notices.
        admin.queue_delete(name.as_str().into(), Default::default()).await.unwrap();
        send(&queue, [2]).await;
        let mut consumer = consumer(&queue).await;
        take(&mut consumer, 2).await;
        // With a consumer on it, and the exchange gone as well.
        admin.queue_delete(name.as_str().into(), Default::default()).await.unwrap();
        admin.exchange_delete(prefix.as_str().into(), Default::default()).await.unwrap();
        send(&queue, [3]).await;
        take(&mut consumer, 3).await;
        // The consumer alone.
        admin.queue_delete(name.as_str().into(), Default::default()).await.unwrap();
        let waiting = tokio::spawn(async move { take(&mut consumer, 4).await });
        send(&queue, [4]).await;
        within(waiting).await.unwrap();
        // A delay queue.
        let delay = Duration::from_secs(1);
        queue.publish(&buses(), &task(5), delay).await.unwrap();
        admin.queue_delete(format!("{prefix}.delay.1s").as_str().into(), Default::default()).await.unwrap();
        queue.publish(&buses(), &task(6), delay).await.unwrap();
        take(&mut self::consumer(&queue).await, 6).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_start_at_once_on_a_fresh_broker_do_not_hinder_each_other() {
    with_prefix(async |prefix, _| {
        let sending = (0..8).map(|number| {
            let queue: SharedQueue = broker::queue(broker::url(), &prefix);
            tokio::spawn(async move {
                let mut consumer = consumer(&queue).await;
                let first = tokio::spawn(async move { next(&mut consumer).await.ack().await });
                send_whatever_it_takes(&queue, number).await;
                assert!(within(first).await.unwrap());
            })
        });
        for sent in sending.collect::<Vec<_>>() {
            sent.await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_read_is_buried() {
    with_prefix(async |prefix, admin| {
        let queue: SharedQueue = broker::queue(broker::url(), &prefix);
        let mut consumer = consumer(&queue).await;
        send(&queue, [1]).await;
        take(&mut consumer, 1).await;
        admin.confirm_select(Default::default()).await.unwrap();
        let options = BasicPublishOptions::default();
        let properties = BasicProperties::default();
        let publish = admin.basic_publish(prefix.as_str().into(), "tasks.buses".into(), options, b"hello", properties);
        publish.await.unwrap().await.unwrap();
        send(&queue, [2]).await;
        let delivery = next(&mut consumer).await;
        assert_eq!(number(&delivery), 2);
        assert!(delivery.ack().await);
        let dead = dead(&admin, &prefix).await;
        assert_eq!(dead.data, b"hello");
        assert_eq!(header(&dead, "queue").as_deref(), Some("tasks.buses"));
        assert!(header(&dead, "reason").unwrap().starts_with("not a message: "));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_buried_lies_among_the_dead() {
    with_prefix(async |prefix, admin| {
        let queue = broker::queue(broker::url(), &prefix);
        assert!(queue.is_durable());
        within(queue.dead_letter(&buses(), &task(7), "no such city")).await.unwrap();
        let dead = dead(&admin, &prefix).await;
        assert_eq!(Message::decode(&dead.data), Ok(task(7)));
        assert_eq!(header(&dead, "reason").as_deref(), Some("no such city"));
        assert_eq!(*dead.properties.delivery_mode(), Some(2));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_nobody_ever_settles_is_put_aside_by_the_broker() {
    with_prefix(async |prefix, admin| {
        let queue: SharedQueue = broker::queue(broker::url(), &prefix);
        send(&queue, [1]).await;
        let mut consumer = consumer(&queue).await;
        let mut deliveries = 0;
        let dead = tokio::spawn(async move { dead(&admin, &prefix).await });
        while !dead.is_finished() {
            tokio::select! {
                delivery = consumer.next() => {
                    deliveries += 1;
                    assert!(deliveries <= 21);
                    drop(delivery);
                }
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
        assert_eq!(Message::decode(&within(dead).await.unwrap().data), Ok(task(1)));
        assert_eq!(deliveries, 21);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_another_shape_is_an_error_in_words() {
    with_prefix(async |prefix, admin| {
        let name = format!("{prefix}.tasks.buses");
        admin.queue_declare(name.as_str().into(), QueueDeclareOptions::durable(), FieldTable::default()).await.unwrap();
        let queue: SharedQueue = broker::queue(broker::url(), &prefix);
        let refused = within(queue.publish(&buses(), &task(1), Duration::ZERO)).await;
        assert!(refused.unwrap_err().to_string().contains("PRECONDITION_FAILED"));
        // Once somebody has put it right, the consumer goes on by itself.
        let mut consumer = consumer(&queue).await;
        let waiting = tokio::spawn(async move { take(&mut consumer, 2).await });
        let said = within(async {
            loop {
                if let Err(error) = queue.check().await {
                    return error.to_string();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let said = said.await;
        assert!(said.contains(&name) && said.contains("delete it"), "{said}");
        admin.queue_delete(name.as_str().into(), Default::default()).await.unwrap();
        send_whatever_it_takes(&queue, 2).await;
        within(waiting).await.unwrap();
        queue.check().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_consumers_says_that_the_queue_of_plans_has_another_shape() {
    with_prefix(async |prefix, admin| {
        let name = format!("{prefix}.plans");
        admin.queue_declare(name.as_str().into(), QueueDeclareOptions::durable(), FieldTable::default()).await.unwrap();
        let queue: SharedQueue = broker::queue(broker::url(), &prefix);
        for _ in 0..2 {
            let said = within(queue.check()).await.unwrap_err().to_string();
            let begin = format!("the message broker is unavailable: the queue {name} cannot be consumed: ");
            assert!(said.starts_with(&begin) && said.contains("PRECONDITION_FAILED"), "{said}");
            assert!(said.contains("; delete it, so that"), "{said}");
        }
        // Once somebody has put it right, so is this, though nothing was published.
        admin.queue_delete(name.as_str().into(), Default::default()).await.unwrap();
        within(async {
            while queue.check().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_is_told_without_the_password() {
    let mut uri: AMQPUri = broker::url().parse().unwrap();
    uri.authority.userinfo.password = "s3cret".into();
    let queue = broker::queue(uri.to_string(), &broker::prefix());
    let refused = within(queue.publish(&buses(), &task(1), Duration::ZERO)).await;
    let text = format!("{refused:?} {queue:?}");
    assert!(text.contains("correct the user or the password") && !text.contains("s3cret"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_ends_with_the_connection_of_its_holder() {
    with_prefix(async |prefix, _| {
        let proxy = Proxy::start(Mode::Forward).await;
        let cut_off: SharedQueue = broker::queue(proxy.url.clone(), &prefix);
        let other: SharedQueue = broker::queue(broker::url(), &prefix);
        for _ in 0..3 {
            let lost = lock(&cut_off, "housekeeper").await;
            assert!(other.try_lock("housekeeper").await.unwrap().is_none());
            proxy.cut();
            within(lost.lost()).await;
            assert!(!lost.is_held());
            // Whoever lost it may have it again, while the old hold is not yet dropped.
            let theirs = lock(&other, "housekeeper").await;
            drop(theirs);
            let again = lock(&cut_off, "housekeeper").await;
            drop(lost);
            assert!(again.is_held() && other.try_lock("housekeeper").await.unwrap().is_none());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_asks_a_broker_that_says_nothing_no_longer_than_it_said() {
    with_prefix(async |prefix, _| {
        let proxy = Proxy::start(Mode::Forward).await;
        let queue: SharedQueue = broker::queue(proxy.url.clone(), &prefix);
        queue.check().await.unwrap();
        proxy.set(Mode::Stall);
        let begun = Instant::now();
        let queue_name = buses();
        let (held, waiting) = tokio::join!(queue.try_lock("housekeeper"), queue.waiting(&queue_name));
        assert!(matches!(held, Err(QueueError::Unavailable(_))), "{held:?}");
        assert!(matches!(waiting, Err(QueueError::Unavailable(_))), "{waiting:?}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        // What was asked for arrives all the same; nobody wants it any more, so it is let go.
        proxy.set(Mode::Forward);
        let other: SharedQueue = broker::queue(broker::url(), &prefix);
        drop(lock(&other, "housekeeper").await);
        lock(&queue, "housekeeper").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_everything_closes_the_connections() {
    with_prefix(async |prefix, _| {
        let proxy = Proxy::start(Mode::Forward).await;
        let queue: SharedQueue = broker::queue(proxy.url.clone(), &prefix);
        send(&queue, [1]).await;
        let mut consumer = consumer(&queue).await;
        let in_hand = next(&mut consumer).await;
        let held = lock(&queue, "rate.buses").await;
        assert_eq!(proxy.connections(), 2);
        let alive = Arc::downgrade(&queue);
        queue.close().await;
        drop((queue, consumer));
        assert!(alive.upgrade().is_none());
        // The work in hand keeps its connection, so that it can still be settled; so does a hold.
        within(proxy.until(|connections| connections == 1)).await;
        assert!(in_hand.ack().await);
        assert_eq!((proxy.connections(), held.is_held()), (1, true));
        drop(held);
        within(proxy.until(|connections| connections == 0)).await;
    })
    .await;
}
