//! Trouble on our own side: a queue that refuses, code that panics. No task is lost, and no loop ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use waybill_ledger::Ledger;
use waybill_queue::{Consumer, Lock, Message, Queue, QueueError, QueueName};

use crate::support::{BUSES, PATIENCE, Reply, System, Upstream, buses, file, until};

/// What goes wrong with a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Messages for a source's queue are refused.
    Refuses,
    /// Publishing them panics.
    Panics,
    /// Counting what waits panics.
    CountPanics,
}

/// A queue with trouble, so many times.
#[derive(Debug)]
struct Troubled {
    queue: Arc<dyn Queue>,
    left: AtomicUsize,
    trouble: Trouble,
}

impl Troubled {
    fn new(queue: &Arc<dyn Queue>, times: usize, trouble: Trouble) -> Arc<Self> {
        Arc::new(Self { queue: queue.clone(), left: times.into(), trouble })
    }

    fn is_due(&self) -> bool {
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

#[async_trait]
impl Queue for Troubled {
    async fn publish(&self, queue_name: &QueueName, message: &Message, delay: Duration) -> Result<(), QueueError> {
        if self.trouble != Trouble::CountPanics && *queue_name != QueueName::Plans && self.is_due() {
            assert!(self.trouble == Trouble::Refuses, "as the test wants it");
            return Err(QueueError::Unavailable("as the test wants it".to_owned()));
        }
        self.queue.publish(queue_name, message, delay).await
    }

    async fn consume(&self, queue_name: &QueueName, prefetch: u16) -> Result<Box<dyn Consumer>, QueueError> {
        self.queue.consume(queue_name, prefetch).await
    }

    async fn dead_letter(&self, queue_name: &QueueName, message: &Message, reason: &str) -> Result<(), QueueError> {
        self.queue.dead_letter(queue_name, message, reason).await
    }

    async fn try_lock(&self, name: &str) -> Result<Option<Lock>, QueueError> {
        self.queue.try_lock(name).await
    }

    async fn waiting(&self, queue_name: &QueueName) -> Result<u64, QueueError> {
        assert!(!(self.trouble == Trouble::CountPanics && self.is_due()), "as the test wants it");
        self.queue.waiting(queue_name).await
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

async fn planned_through(times: usize, trouble: Trouble) -> (System, Arc<Troubled>) {
    let mut system = System::stopped(BUSES, Upstream::with_cities(3).await, PATIENCE).await;
    let troubled = Troubled::new(&system.worker.queue, times, trouble);
    system.worker.ledger = Ledger::new(system.store.clone(), troubled.clone());
    system.run();
    (system, troubled)
}

#[tokio::test]
async fn tasks_that_could_not_be_sent_out_are_sent_again() {
    let (system, troubled) = planned_through(1, Trouble::Refuses).await;
    assert_eq!(system.good_job().await.tasks.stored, 3);
    assert_eq!(troubled.left.load(Ordering::SeqCst), 0);
    assert_eq!(system.upstream.asked("/cities").len(), 1, "the plan was there already");
}

#[tokio::test]
async fn a_panic_costs_one_attempt_and_no_loop() {
    let (system, troubled) = planned_through(1, Trouble::Panics).await;
    assert_eq!(system.good_job().await.tasks.stored, 3);
    assert_eq!(troubled.left.load(Ordering::SeqCst), 0);
    assert_eq!(system.good_job().await.tasks.unchanged, 3);
}

#[tokio::test]
async fn a_copy_that_the_queue_refuses_leaves_the_original_where_it_was() {
    let upstream = Upstream::with_cities(1).await;
    let given_up = PATIENCE.tries as usize;
    upstream.on(&file(0), move |asked| if asked.nth < given_up { Reply::status(503) } else { Reply::body(buses(10)) });
    let mut system = System::stopped(BUSES, upstream, PATIENCE).await;
    let troubled = Troubled::new(&system.worker.queue, 1, Trouble::Refuses);
    // Only the worker's own copies meet with trouble; the ledger's messages do not.
    system.worker.queue = troubled.clone();
    system.run();
    let status = system.good_job().await;
    assert_eq!(troubled.left.load(Ordering::SeqCst), 0);
    let done = system.tasks(&status).await[0].done.clone().unwrap();
    assert_eq!(done.attempts, 1, "the delivery that came again is the one that was given back");
}

#[tokio::test]
async fn a_housekeeper_that_panics_is_started_again_and_the_worker_goes_on() {
    let mut system = System::stopped(BUSES, Upstream::with_cities(1).await, PATIENCE).await;
    let troubled = Troubled::new(&system.worker.queue, 3, Trouble::CountPanics);
    system.worker.queue = troubled.clone();
    system.worker.housekeeping = Duration::from_millis(20);
    let metrics = &mut prometheus_client::registry::Registry::default();
    system.worker.metrics = waybill_worker::Metrics::register(metrics);
    system.run();
    until("the housekeeper works again", || {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, metrics).unwrap();
        text.lines().any(|line| line.contains("looked") && !line.ends_with(" 0"))
    })
    .await;
    assert_eq!(troubled.left.load(Ordering::SeqCst), 0);
    system.good_job().await;
    system.stop().await;
}
