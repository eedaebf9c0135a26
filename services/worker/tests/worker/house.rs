//! The housekeeper, one at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use waybill_ledger::State;
use waybill_queue::{Consumer, Embedded, Lock, Message, Queue, QueueError, QueueName};

use crate::{
    support::{BUSES, PATIENCE, System, Upstream, eventually, until},
    versions::{fetched, id},
};

const SOON: Duration = Duration::from_millis(20);

#[tokio::test]
async fn superseded_objects_are_removed_by_the_housekeeper() {
    let mut system = System::stopped(BUSES, Upstream::with_cities(1).await, PATIENCE).await;
    system.worker.housekeeping = SOON;
    let hold = system.queue.try_lock("housekeeper").await.unwrap().unwrap();
    system.run();
    let mut keys = Vec::new();
    for second in [3, 1, 2] {
        let at = Timestamp::from_second(1_714_550_400 + second).unwrap();
        keys.push(fetched(&system, at, 10, Some(id(at))).await);
    }
    tokio::time::sleep(4 * SOON).await;
    assert_eq!(system.data().await.len(), 3, "another worker is the housekeeper");
    drop(hold);
    eventually("two are removed", async || system.data().await.len() == 1).await;
    assert_eq!(system.data().await[0].key, keys[0]);
}

#[tokio::test]
async fn tasks_that_the_queue_lost_are_republished() {
    let mut system = System::stopped(&BUSES.replace("= 16 ", "= 2 "), Upstream::with_cities(3).await, PATIENCE).await;
    system.worker.housekeeping = SOON;
    system.worker.lost_after = Duration::from_millis(100);
    // Nobody may run anything, until the queue has lost it.
    let mut permits = Vec::new();
    for number in 0..2 {
        permits.push(system.queue.try_lock(&format!("permit.buses.{number}")).await.unwrap().unwrap());
    }
    system.run();
    let job = system.submit().await;
    let mut thief = system.queue.consume(&QueueName::Source("buses".to_owned())).await.unwrap();
    for _ in 0..3 {
        thief.next().await.unwrap().ack().await;
    }
    drop(thief);
    drop(permits);
    let status = system.ended(job).await;
    assert_eq!((status.state, status.tasks.stored), (State::Succeeded, 3));
}

/// A queue that panics when the housekeeper asks it how much waits, the first few times.
#[derive(Debug)]
struct Panicking {
    queue: Embedded,
    asked: Arc<AtomicU32>,
}

#[async_trait]
impl Queue for Panicking {
    async fn publish(&self, name: &QueueName, message: &Message, delay: Duration) -> Result<(), QueueError> {
        self.queue.publish(name, message, delay).await
    }

    async fn consume(&self, name: &QueueName) -> Result<Box<dyn Consumer>, QueueError> {
        self.queue.consume(name).await
    }

    async fn dead_letter(&self, name: &QueueName, message: &Message, reason: &str) -> Result<(), QueueError> {
        self.queue.dead_letter(name, message, reason).await
    }

    async fn try_lock(&self, name: &str) -> Result<Option<Lock>, QueueError> {
        self.queue.try_lock(name).await
    }

    async fn waiting(&self, name: &QueueName) -> Result<u64, QueueError> {
        assert!(self.asked.fetch_add(1, Ordering::Relaxed) >= 3, "as a mistake in the housekeeper would");
        self.queue.waiting(name).await
    }

    async fn check(&self) -> Result<(), QueueError> {
        self.queue.check().await
    }

    fn is_durable(&self) -> bool {
        self.queue.is_durable()
    }

    async fn close(&self) {
        self.queue.close().await;
    }
}

#[tokio::test]
async fn a_housekeeper_that_panics_is_started_again_and_the_worker_goes_on() {
    let mut system = System::stopped(BUSES, Upstream::with_cities(1).await, PATIENCE).await;
    let asked = Arc::new(AtomicU32::new(0));
    system.worker.queue = Arc::new(Panicking { queue: system.queue.clone(), asked: asked.clone() });
    system.worker.housekeeping = SOON;
    system.run();
    // Three panics, and two whole looks at two queues each.
    until("the housekeeper works again", || asked.load(Ordering::Relaxed) >= 3 + 4).await;
    system.good_job().await;
    system.stop().await;
}
