//! One queue in memory: a bounded row of messages, first in, first out. Never awaits while it holds its lock.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Headers, Message, Settle, embedded::lock};

/// The messages of a queue that nobody has in hand.
#[derive(Debug)]
pub(super) struct Waiting {
    row: Mutex<VecDeque<Entry>>,
    /// One permit per message in the row. Tokio's semaphores are fair, so consumers are served in the order
    /// in which they asked, and one that stops asking leaves its permit to the next.
    arrived: Semaphore,
    room: Arc<Semaphore>,
    /// The same for messages that are delayed, or were.
    delayed_room: Arc<Semaphore>,
}

/// A message of the row.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) message: Message,
    pub(super) headers: Headers,
    /// Whether it was out before.
    pub(super) redelivered: bool,
    /// The place it takes; none for a message given back, of which there are no more than consumers.
    _room: Option<OwnedSemaphorePermit>,
}

impl Waiting {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            row: Mutex::default(),
            arrived: Semaphore::new(0),
            room: Arc::new(Semaphore::new(capacity)),
            delayed_room: Arc::new(Semaphore::new(capacity)),
        }
    }

    /// Waits for a place in the row.
    pub(super) async fn room(&self) -> OwnedSemaphorePermit {
        self.room.clone().acquire_owned().await.expect("it is never closed")
    }

    /// Waits for a place among the delayed messages.
    pub(super) async fn delayed_room(&self) -> OwnedSemaphorePermit {
        self.delayed_room.clone().acquire_owned().await.expect("it is never closed")
    }

    /// Puts a message at the end.
    pub(super) fn push(&self, message: Message, headers: Headers, room: OwnedSemaphorePermit) {
        lock(&self.row).push_back(Entry { message, headers, redelivered: false, _room: Some(room) });
        self.arrived.add_permits(1);
    }

    /// How many messages are in the row.
    pub(super) fn len(&self) -> u64 {
        lock(&self.row).len() as u64
    }

    fn give_back(&self, message: Message, headers: Headers) {
        lock(&self.row).push_front(Entry { message, headers, redelivered: true, _room: None });
        self.arrived.add_permits(1);
    }

    /// Waits for a message. Cancel-safe: it awaits once, and takes after that.
    pub(super) async fn take(&self) -> Entry {
        self.arrived.acquire().await.expect("it is never closed").forget();
        lock(&self.row).pop_front().expect("there is one message per permit")
    }
}

/// A message that a consumer has in hand; dropped, it goes back.
pub(super) struct InHand {
    waiting: Arc<Waiting>,
    message: Option<(Message, Headers)>,
}

impl InHand {
    pub(super) fn new(waiting: Arc<Waiting>, message: Message, headers: Headers) -> Self {
        Self { waiting, message: Some((message, headers)) }
    }
}

#[async_trait]
impl Settle for InHand {
    async fn settle(mut self: Box<Self>, done: bool) -> bool {
        if done {
            self.message = None;
        }
        true
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        if let Some((message, headers)) = self.message.take() {
            self.waiting.give_back(message, headers);
        }
    }
}
