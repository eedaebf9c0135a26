//! The embedded queue: lanes in memory. Nothing here survives the process; the ledger makes up for it.

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
    Consumer, Delivery, Headers, Hold, Lane, Message, Metrics, Queue, QueueError,
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

/// Waiting messages per lane where nobody says otherwise.
const CAPACITY: usize = 10_000;

/// Lanes in this process. Cheap to clone; clones share the lanes.
///
/// In process there is nobody to time out, so [`Queue::publish`] waits until the lane has room, or the
/// queue is closed: a planner is slowed down to the speed of the workers. A consumer must therefore not
/// publish to its own lane without a delay while nobody else takes from it. Delayed messages have room of
/// their own, as much again per lane, and a publisher waits at most 3 seconds for it: the consumers of a
/// lane send them to their own lane, and would otherwise wait for each other for ever.
#[derive(Debug, Clone)]
pub struct Embedded(Arc<Lanes>);

#[derive(Debug)]
struct Lanes {
    capacity: usize,
    lanes: Mutex<HashMap<Lane, Arc<Waiting>>>,
    buried: Mutex<VecDeque<Buried>>,
    held: Held,
    closed: CancellationToken,
}

/// A message that was given up.
#[derive(Debug, Clone, PartialEq)]
pub struct Buried {
    /// Where it came from.
    pub lane: Lane,
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
    /// Lanes that hold at most `capacity` waiting messages each; a publisher beyond that waits.
    pub fn new(capacity: usize) -> Self {
        Self(Arc::new(Lanes {
            capacity: capacity.max(1),
            lanes: Mutex::default(),
            buried: Mutex::default(),
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
    pub fn buried(&self) -> Vec<Buried> {
        lock(&self.0.buried).iter().cloned().collect()
    }

    fn lane(&self, lane: &Lane) -> Arc<Waiting> {
        let mut lanes = lock(&self.0.lanes);
        match lanes.get(lane) {
            Some(waiting) => waiting.clone(),
            None => lanes.entry(lane.clone()).or_insert_with(|| Arc::new(Waiting::new(self.0.capacity))).clone(),
        }
    }

    fn open(&self) -> Result<(), QueueError> {
        if self.0.closed.is_cancelled() { Err(QueueError::Closed) } else { Ok(()) }
    }
}

#[async_trait]
impl Queue for Embedded {
    async fn publish(&self, lane: &Lane, message: &Message, delay: Duration) -> Result<(), QueueError> {
        self.open()?;
        let waiting = self.lane(lane);
        let closed = &self.0.closed;
        if delay.is_zero() {
            let room = closed.run_until_cancelled(waiting.room()).await.ok_or(QueueError::Closed)?;
            waiting.push(message.clone(), Headers::now(delay), room);
            return Ok(());
        }
        let room = tokio::time::timeout(DELAYED_ROOM, closed.run_until_cancelled(waiting.delayed_room()));
        let room = room.await.map_err(|_| QueueError::Unavailable(format!("{lane} is full of delayed messages")))?;
        let room = room.ok_or(QueueError::Closed)?;
        let (message, headers, closed) = (message.clone(), Headers::now(delay), closed.clone());
        tokio::spawn(async move {
            if closed.run_until_cancelled(tokio::time::sleep(delay)).await.is_some() {
                waiting.push(message, headers, room);
            }
        });
        Ok(())
    }

    async fn consume(&self, lane: &Lane) -> Result<Box<dyn Consumer>, QueueError> {
        self.open()?;
        Ok(Box::new(LaneConsumer { waiting: self.lane(lane), closed: self.0.closed.clone() }))
    }

    async fn bury(&self, lane: &Lane, message: &Message, reason: &str) -> Result<(), QueueError> {
        let reason = shortened(reason).to_owned();
        tracing::warn!(%lane, error = reason, "message buried");
        let mut buried = lock(&self.0.buried);
        if buried.len() == BURIED {
            buried.pop_front();
        }
        buried.push_back(Buried { lane: lane.clone(), message: message.clone(), reason });
        Ok(())
    }

    async fn try_hold(&self, name: &str) -> Result<Option<Hold>, QueueError> {
        self.open()?;
        Ok(self.0.held.try_hold(name))
    }

    async fn waiting(&self, lane: &Lane) -> Result<u64, QueueError> {
        let waiting = lock(&self.0.lanes).get(lane).cloned();
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

struct LaneConsumer {
    waiting: Arc<Waiting>,
    closed: CancellationToken,
}

#[async_trait]
impl Consumer for LaneConsumer {
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
