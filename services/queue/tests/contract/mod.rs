//! What every queue promises: one list of tests, run on each implementation. Nothing here knows which.

pub(crate) mod locks;

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures::future::join_all;
use tokio::{sync::Barrier, time::timeout};
use waybill_queue::{Consumer, Delivery, Message, PlanJob, Queue, QueueError, QueueName, RunTask};

pub(crate) type SharedQueue = Arc<dyn Queue>;

/// Nothing in here takes longer, unless it hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(15);

/// Writes one test per promise; `$on` is an async function that is given a promise and runs it on a fresh queue.
macro_rules! contract {
    ($on:path: $($promise:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            $on(contract::$promise).await;
        }
    )*};
    ($on:path) => {
        contract!($on:
            what_is_published_is_consumed_once,
            messages_come_in_order,
            lanes_are_apart,
            consumers_share_the_work,
            given_back_is_delivered_again,
            dropped_is_delivered_again,
            a_delayed_message_comes_no_sooner,
            it_is_known_since_when_a_message_waits,
            closing_ends_consumers_but_not_work_in_hand,
            a_closed_queue_does_not_hang,
            burying_takes_nothing_from_the_lane,
            a_large_message_arrives_whole,
            a_thousand_messages_arrive_once,
            no_message_is_lost_when_next_is_cancelled,
            it_can_be_checked,
        );
    };
}

/// The same for promises between two processes; `$on` hands each promise two of one fresh queue.
macro_rules! contract_of_two {
    ($on:path: $($promise:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            $on(contract::locks::$promise).await;
        }
    )*};
    ($on:path) => {
        contract_of_two!($on:
            one_process_holds_a_name,
            dropped_is_free_for_others,
            two_never_hold_the_same_name,
            a_try_that_is_cancelled_leaves_nothing_held,
            closing_takes_no_hold_away,
            what_waits_is_counted,
        );
    };
}

pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(DEADLINE, what).await.expect("not within its deadline")
}

pub(crate) fn buses() -> QueueName {
    QueueName::Source("buses".into())
}

pub(crate) fn task(number: u32) -> Message {
    Message::RunTask(RunTask { task: number, source: "buses".into(), attempt: 1, ..RunTask::default() })
}

pub(crate) fn number(delivery: &Delivery) -> u32 {
    match &delivery.message {
        Message::RunTask(task) => task.task,
        Message::PlanJob(plan) => panic!("a plan on a source's queue: {plan:?}"),
    }
}

pub(crate) async fn send(queue: &SharedQueue, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        within(queue.publish(&buses(), &task(number), Duration::ZERO)).await.unwrap();
    }
}

pub(crate) async fn consumer(queue: &SharedQueue) -> Box<dyn Consumer> {
    within(queue.consume(&buses(), 1)).await.unwrap()
}

pub(crate) async fn next(consumer: &mut Box<dyn Consumer>) -> Delivery {
    within(consumer.next()).await.expect("the queue is open")
}

pub(crate) async fn what_is_published_is_consumed_once(queue: SharedQueue) {
    let plan =
        Message::PlanJob(PlanJob { job_id: "018f3f6e".into(), source: "büses".into(), attempt: 1, requeued: true });
    within(queue.publish(&QueueName::Plans, &plan, Duration::ZERO)).await.unwrap();
    let mut plans = within(queue.consume(&QueueName::Plans, 1)).await.unwrap();
    let delivery = next(&mut plans).await;
    assert_eq!(delivery.message, plan);
    assert!(!delivery.redelivered);
    assert!(within(delivery.ack()).await);
    // What comes next is the next one.
    let second = Message::PlanJob(PlanJob::default());
    within(queue.publish(&QueueName::Plans, &second, Duration::ZERO)).await.unwrap();
    assert_eq!(next(&mut plans).await.message, second);
}

pub(crate) async fn it_is_known_since_when_a_message_waits(queue: SharedQueue) {
    let before = SystemTime::now() - Duration::from_millis(1);
    let delay = Duration::from_secs(1);
    within(queue.publish(&buses(), &task(1), delay)).await.unwrap();
    let mut consumer = consumer(&queue).await;
    let delivery = next(&mut consumer).await;
    // A delay is no wait.
    let due = delivery.headers.due.unwrap();
    assert!(due >= before + delay && due <= SystemTime::now() + delay, "{due:?}");
    assert!(delivery.headers.waited().unwrap() < DEADLINE);
    assert!(delivery.give_back().await);
    let again = next(&mut consumer).await;
    assert_eq!(again.headers.due, Some(due));
    assert!(again.ack().await);
}

pub(crate) async fn messages_come_in_order(queue: SharedQueue) {
    send(&queue, 0..20).await;
    let mut consumer = consumer(&queue).await;
    for expected in 0..20 {
        let delivery = next(&mut consumer).await;
        assert_eq!(number(&delivery), expected);
        assert!(delivery.ack().await);
    }
}

pub(crate) async fn lanes_are_apart(queue: SharedQueue) {
    let other = QueueName::Source("weather".into());
    let mut others = within(queue.consume(&other, 1)).await.unwrap();
    send(&queue, [1]).await;
    within(queue.publish(&other, &task(2), Duration::ZERO)).await.unwrap();
    assert_eq!(number(&next(&mut others).await), 2);
    assert_eq!(number(&next(&mut consumer(&queue).await).await), 1);
}

pub(crate) async fn consumers_share_the_work(queue: SharedQueue) {
    let all_have_one = Arc::new(Barrier::new(3));
    let workers = (0..3).map(|_| {
        let (queue, all_have_one) = (queue.clone(), all_have_one.clone());
        tokio::spawn(async move {
            let mut consumer = consumer(&queue).await;
            let first = next(&mut consumer).await;
            // Nobody goes on before each has one in hand: they compete, and none is left out.
            within(all_have_one.wait()).await;
            let mut seen = vec![number(&first)];
            assert!(first.ack().await);
            while let Some(delivery) = within(consumer.next()).await {
                seen.push(number(&delivery));
                assert!(!delivery.redelivered);
                assert!(delivery.ack().await);
                // The last message is for whoever comes to it.
                if seen.last() == Some(&29) {
                    queue.close().await;
                }
            }
            seen
        })
    });
    let workers: Vec<_> = workers.collect();
    send(&queue, 0..30).await;
    let mut seen: Vec<u32> = within(join_all(workers)).await.into_iter().flat_map(Result::unwrap).collect();
    seen.sort_unstable();
    // The others may have been closed with one still on its way to them; none came twice.
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), seen.len(), "{seen:?}");
    assert!(seen.contains(&29) && seen.len() >= 26, "{seen:?}");
}

pub(crate) async fn given_back_is_delivered_again(queue: SharedQueue) {
    send(&queue, [1, 2]).await;
    let mut consumer = consumer(&queue).await;
    let delivery = next(&mut consumer).await;
    assert!(!delivery.redelivered);
    assert!(within(delivery.give_back()).await);
    let mut seen = HashMap::new();
    for _ in 0..2 {
        let delivery = next(&mut consumer).await;
        seen.insert(number(&delivery), delivery.redelivered);
        assert!(delivery.ack().await);
    }
    assert_eq!(seen, HashMap::from([(1, true), (2, false)]));
}

pub(crate) async fn dropped_is_delivered_again(queue: SharedQueue) {
    send(&queue, [1]).await;
    let (mut first, mut second) = (consumer(&queue).await, consumer(&queue).await);
    let delivery = tokio::select! {
        delivery = next(&mut first) => delivery,
        delivery = next(&mut second) => delivery,
    };
    drop(delivery);
    let again = within(async {
        tokio::select! {
            delivery = next(&mut first) => delivery,
            delivery = next(&mut second) => delivery,
        }
    });
    let again = again.await;
    assert_eq!((number(&again), again.redelivered), (1, true));
    assert!(again.ack().await);

    // Also where the whole consumer goes, with a message in hand.
    send(&queue, [2]).await;
    drop(second);
    let delivery = next(&mut first).await;
    drop(first);
    drop(delivery);
    let again = next(&mut consumer(&queue).await).await;
    assert_eq!((number(&again), again.redelivered), (2, true));
}

pub(crate) async fn a_delayed_message_comes_no_sooner(queue: SharedQueue) {
    let delay = Duration::from_secs(1);
    let before = Instant::now();
    within(queue.publish(&buses(), &task(1), delay)).await.unwrap();
    send(&queue, [2]).await;
    let mut consumer = consumer(&queue).await;
    let first = next(&mut consumer).await;
    assert_eq!(number(&first), 2);
    assert!(first.ack().await);
    let delayed = next(&mut consumer).await;
    assert!(before.elapsed() >= delay, "after {:?}", before.elapsed());
    assert_eq!((number(&delayed), delayed.redelivered), (1, false));
    assert!(delayed.ack().await);
}

pub(crate) async fn closing_ends_consumers_but_not_work_in_hand(queue: SharedQueue) {
    send(&queue, [1, 2]).await;
    let mut busy = consumer(&queue).await;
    let in_hand = next(&mut busy).await;
    let mut idle = within(queue.consume(&QueueName::Plans, 1)).await.unwrap();
    let idle = tokio::spawn(async move { idle.next().await.is_none() });
    within(queue.close()).await;
    assert!(within(idle).await.unwrap());
    assert!(within(busy.next()).await.is_none());
    assert!(within(in_hand.ack()).await);
    assert!(within(busy.next()).await.is_none());
}

pub(crate) async fn a_closed_queue_does_not_hang(queue: SharedQueue) {
    send(&queue, [1]).await;
    within(queue.close()).await;
    within(queue.close()).await;
    assert!(matches!(within(queue.consume(&buses(), 1)).await, Err(QueueError::Closed)));
    let published = within(queue.publish(&buses(), &task(2), Duration::ZERO)).await;
    assert!(matches!(published, Ok(()) | Err(QueueError::Closed)), "{published:?}");
}

pub(crate) async fn burying_takes_nothing_from_the_lane(queue: SharedQueue) {
    send(&queue, [1, 2]).await;
    let mut consumer = consumer(&queue).await;
    let bad = next(&mut consumer).await;
    // A reason of any length.
    within(queue.dead_letter(&buses(), &bad.message, &"unheard of ä".repeat(20_000))).await.unwrap();
    assert!(bad.ack().await);
    let next = next(&mut consumer).await;
    assert_eq!((number(&next), next.redelivered), (2, false));
}

pub(crate) async fn a_large_message_arrives_whole(queue: SharedQueue) {
    let source = "0123456789abcdef".repeat(65_536);
    let large = Message::RunTask(RunTask { source, ..RunTask::default() });
    within(queue.publish(&buses(), &large, Duration::ZERO)).await.unwrap();
    let delivery = next(&mut consumer(&queue).await).await;
    assert_eq!(delivery.message, large);
    assert!(delivery.ack().await);
}

pub(crate) async fn a_thousand_messages_arrive_once(queue: SharedQueue) {
    let begun = Instant::now();
    let publishers = (0..20).map(|part| {
        let queue = queue.clone();
        tokio::spawn(async move { send(&queue, part * 50..(part + 1) * 50).await })
    });
    let publishers: Vec<_> = publishers.collect();
    let (seen, mut found) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..4 {
        let (queue, seen) = (queue.clone(), seen.clone());
        tokio::spawn(async move {
            let mut consumer = consumer(&queue).await;
            while let Some(delivery) = consumer.next().await {
                let number = number(&delivery);
                assert!(delivery.ack().await);
                let _ = seen.send(number);
            }
        });
    }
    let mut numbers = HashSet::new();
    while numbers.len() < 1_000 {
        assert!(numbers.insert(within(found.recv()).await.unwrap()), "one came twice");
    }
    for published in within(join_all(publishers)).await {
        published.unwrap();
    }
    queue.close().await;
    println!("1,000 messages in {:?}", begun.elapsed());
}

pub(crate) async fn no_message_is_lost_when_next_is_cancelled(queue: SharedQueue) {
    let mut consumer = consumer(&queue).await;
    let sender = tokio::spawn({
        let queue = queue.clone();
        async move { send(&queue, 0..50).await }
    });
    let mut seen = HashSet::new();
    within(async {
        while seen.len() < 50 {
            // So short that most are cancelled, at every point of the way.
            let patience = Duration::from_micros(fastrand::u64(0..2_000));
            if let Ok(delivery) = timeout(patience, consumer.next()).await {
                let delivery = delivery.expect("the queue is open");
                assert!(!delivery.redelivered);
                assert!(seen.insert(number(&delivery)), "one came twice");
                assert!(delivery.ack().await);
            }
        }
    })
    .await;
    within(sender).await.unwrap();
}

pub(crate) async fn it_can_be_checked(queue: SharedQueue) {
    let begun = Instant::now();
    queue.check().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3));
}
