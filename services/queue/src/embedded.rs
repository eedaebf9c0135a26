//! The embedded queue: queues in memory. Nothing here survives the process; the ledger makes up for it.

mod locks;
mod queue;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::{
    Consumer, Delivery, Headers, Lock, Message, Metrics, Queue, QueueError, QueueName,
    embedded::{
        locks::Held,
        queue::{Entry, InHand, Waiting},
    },
    shortened,
};

/// How many buried messages are kept, the newest.
const BURIED: usize = 1_000;

/// How long a publisher waits for room for a delayed message.
const DELAYED_ROOM: Duration = Duration::from_secs(3);

/// Waiting messages per queue where nobody says otherwise.
const CAPACITY: usize = 10_000;

/// Queues in this process. Cheap to clone; clones share the queues.
///
/// In process there is nobody to time out, so [`Queue::publish`] waits until the queue has room, or the
/// queue is closed: a planner is slowed down to the speed of the workers. A consumer must therefore not
/// publish to its own queue without a delay while nobody else takes from it. Delayed messages have room of
/// their own, as much again per queue, and a publisher waits at most 3 seconds for it: the consumers of a
/// queue send them to their own queue, and would otherwise wait for each other for ever.
#[derive(Debug, Clone)]
pub struct Embedded(Arc<Queues>);

#[derive(Debug)]
struct Queues {
    capacity: usize,
    queues: Mutex<HashMap<QueueName, Arc<Waiting>>>,
    dead_letters: Mutex<VecDeque<DeadLetter>>,
    held: Held,
    closed: CancellationToken,
}

/// A message that was given up.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Where it came from.
    pub queue_name: QueueName,
    /// What it said.
    pub message: Message,
    /// Why it was given up.
    pub reason: String,
}

impl Default for Embedded {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

impl Embedded {
    /// Queues that hold at most `capacity` waiting messages each; a publisher beyond that waits.
    pub fn new(capacity: usize) -> Self {
        Self(Arc::new(Queues {
            capacity: capacity.max(1),
            queues: Mutex::default(),
            dead_letters: Mutex::default(),
            held: Held::default(),
            closed: CancellationToken::new(),
        }))
    }

    /// Says in `metrics` that it is to be had, as it always is.
    #[must_use]
    pub fn with_metrics(self, metrics: &Metrics) -> Self {
        metrics.connection("in_process").set(1);
        self
    }

    /// The last thousand messages that were buried, the oldest first.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        lock(&self.0.dead_letters).iter().cloned().collect()
    }

    fn queue_name(&self, queue_name: &QueueName) -> Arc<Waiting> {
        let mut queues = lock(&self.0.queues);
        match queues.get(queue_name) {
            Some(waiting) => waiting.clone(),
            None => queues.entry(queue_name.clone()).or_insert_with(|| Arc::new(Waiting::new(self.0.capacity))).clone(),
        }
    }

    fn open(&self) -> Result<(), QueueError> {
        if self.0.closed.is_cancelled() { Err(QueueError::Closed) } else { Ok(()) }
    }
}

#[async_trait]
impl Queue for Embedded {
    async fn publish(&self, queue_name: &QueueName, message: &Message, delay: Duration) -> Result<(), QueueError> {
        self.open()?;
        let waiting = self.queue_name(queue_name);
        let closed = &self.0.closed;
        if delay.is_zero() {
            let room = closed.run_until_cancelled(waiting.room()).await.ok_or(QueueError::Closed)?;
            waiting.push(message.clone(), Headers::now(delay), room);
            return Ok(());
        }
        let room = tokio::time::timeout(DELAYED_ROOM, closed.run_until_cancelled(waiting.delayed_room()));
        let room =
            room.await.map_err(|_| QueueError::Unavailable(format!("{queue_name} is full of delayed messages")))?;
        let room = room.ok_or(QueueError::Closed)?;
        let (message, headers, closed) = (message.clone(), Headers::now(delay), closed.clone());
        tokio::spawn(async move {
            if closed.run_until_cancelled(tokio::time::sleep(delay)).await.is_some() {
                waiting.push(message, headers, room);
            }
        });
        Ok(())
    }

    async fn consume(&self, queue_name: &QueueName, _prefetch: u16) -> Result<Box<dyn Consumer>, QueueError> {
        self.open()?;
        Ok(Box::new(EmbeddedConsumer { waiting: self.queue_name(queue_name), closed: self.0.closed.clone() }))
    }

    async fn dead_letter(&self, queue_name: &QueueName, message: &Message, reason: &str) -> Result<(), QueueError> {
        let reason = shortened(reason).to_owned();
        let mut dead_letters = lock(&self.0.dead_letters);
        if dead_letters.len() == BURIED {
            dead_letters.pop_front();
        }
        dead_letters.push_back(DeadLetter { queue_name: queue_name.clone(), message: message.clone(), reason });
        Ok(())
    }

    async fn try_lock(&self, name: &str) -> Result<Option<Lock>, QueueError> {
        self.open()?;
        Ok(self.0.held.try_lock(name))
    }

    async fn waiting(&self, queue_name: &QueueName) -> Result<u64, QueueError> {
        let waiting = lock(&self.0.queues).get(queue_name).cloned();
        Ok(waiting.map_or(0, |waiting| waiting.len()))
    }

    async fn check(&self) -> Result<(), QueueError> {
        self.open()
    }

    fn is_durable(&self) -> bool {
        false
    }

    async fn close(&self) {
        self.0.closed.cancel();
    }
}

struct EmbeddedConsumer {
    waiting: Arc<Waiting>,
    closed: CancellationToken,
}

#[async_trait]
impl Consumer for EmbeddedConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        // A closed queue gives out nothing more, also where messages wait.
        let Entry { message, headers, redelivered, .. } = tokio::select! {
            biased;
            () = self.closed.cancelled() => return None,
            taken = self.waiting.take() => taken,
        };
        let settle = Box::new(InHand::new(self.waiting.clone(), message.clone(), headers.clone()));
        Some(Delivery { message, redelivered, headers, settle })
    }
}

/// Nothing panics while it holds one of these locks, and what they guard is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
