//! Limits the number of connections. When one more arrives, the connection that has been idle longest is closed. A
//! connection whose request is being answered is never closed for another.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The connections of a listener.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    limit: usize,
    state: Mutex<State>,
    /// Somebody left or waits for their client, so that there may be room.
    changed: Notify,
    open: Gauge,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// Asked to go, not gone yet.
    leaving: usize,
    tickets: u64,
    /// Connections that wait for their client, by ticket, which is by time.
    waiting: BTreeMap<u64, CancellationToken>,
}

/// A connection's place, until dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    limit: Arc<ConnectionLimit>,
    ticket: AtomicU64,
    /// Even while the head of a request is awaited, odd from its end to the answer's head.
    turn: AtomicU64,
    /// Whether its latest request has a body that may be a file.
    takes_file: AtomicBool,
    /// Cancelled when it has to go.
    evicted: CancellationToken,
}

impl ConnectionLimit {
    pub(crate) fn new(limit: usize, open: Gauge) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default(), changed: Notify::new(), open })
    }

    /// A connection, as soon as there is one.
    pub(crate) async fn take(self: &Arc<Self>) -> Arc<Connection> {
        loop {
            if let Some(connection) = self.try_take() {
                return connection;
            }
            self.changed.notified().await;
        }
    }

    fn try_take(self: &Arc<Self>) -> Option<Arc<Connection>> {
        let mut state = self.state();
        if state.taken >= self.limit {
            state.make_room();
            return None;
        }
        state.taken += 1;
        self.open.inc();
        let evicted = CancellationToken::new();
        let ticket = state.wait(evicted.clone()).into();
        let (turn, takes_file) = (AtomicU64::new(0), AtomicBool::new(false));
        Some(Arc::new(Connection { limit: Arc::clone(self), ticket, turn, takes_file, evicted }))
    }

    /// Closes the connection that has waited longest: the system has no more to give.
    pub(crate) fn make_room(&self) {
        self.state().make_room();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wait(&mut self, evicted: CancellationToken) -> u64 {
        self.tickets += 1;
        self.waiting.insert(self.tickets, evicted);
        self.tickets
    }

    fn make_room(&mut self) {
        if self.leaving == 0
            && let Some((_, evicted)) = self.waiting.pop_first()
        {
            self.leaving += 1;
            evicted.cancel();
        }
    }
}

impl Connection {
    /// The head of a request is complete. Its body may not be: the client can still be one that dawdles.
    pub(crate) fn head_complete(&self) {
        self.takes_file.store(false, Ordering::Relaxed);
        self.turn.fetch_add(1, Ordering::Relaxed);
    }

    /// The request's body may be a file.
    pub(crate) fn take_file(&self) {
        self.takes_file.store(true, Ordering::Relaxed);
    }

    /// Whether the body of the connection's latest request may be a file.
    pub(crate) fn takes_file(&self) -> bool {
        self.takes_file.load(Ordering::Relaxed)
    }

    /// The whole request is here: it is our turn, and the connection stays.
    pub(crate) fn request_complete(&self) {
        self.limit.state().waiting.remove(&self.ticket.load(Ordering::Relaxed));
    }

    /// The answer is ready: from here on the client is waited for, to take it and to ask again.
    pub(crate) fn answered(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
        if self.evicted.is_cancelled() {
            return;
        }
        let mut state = self.limit.state();
        state.waiting.remove(&self.ticket.load(Ordering::Relaxed));
        self.ticket.store(state.wait(self.evicted.clone()), Ordering::Relaxed);
        self.limit.changed.notify_one();
    }

    /// Counts heads of requests and of answers; see the field.
    pub(crate) fn turn(&self) -> u64 {
        self.turn.load(Ordering::Relaxed)
    }

    /// Ends when the connection has to go.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut state = self.limit.state();
        state.waiting.remove(&self.ticket.load(Ordering::Relaxed));
        state.taken -= 1;
        if self.evicted.is_cancelled() {
            state.leaving -= 1;
        }
        self.limit.open.dec();
        self.limit.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_has_waited_longest_goes_and_nobody_whose_request_is_answered() {
        let limit = ConnectionLimit::new(3, Gauge::default());
        let (first, second, third) = (limit.take().await, limit.take().await, limit.take().await);
        first.request_complete();
        assert!(limit.take().now_or_never().is_none());
        assert!(limit.take().now_or_never().is_none(), "one leaves for one that comes");
        assert!(second.evicted().now_or_never().is_some());
        assert!(first.evicted().now_or_never().is_none() && third.evicted().now_or_never().is_none());
        drop(second);
        let fourth = limit.take().now_or_never().expect("there is room");
        third.request_complete();
        fourth.request_complete();
        assert!(limit.take().now_or_never().is_none());
        first.answered();
        assert!(limit.take().now_or_never().is_none());
        assert!(first.evicted().now_or_never().is_some(), "it waits for its client again");
        assert_eq!(limit.open.get(), 3);
        drop((first, third, fourth));
        assert_eq!(limit.open.get(), 0);
        assert!(limit.state().waiting.is_empty());
    }
}
