//! A connection that comes back: one task rebuilds it with a growing, jittered delay and no last try.
//! lapin's own recovery is not used: it gives up for good after some minutes, silently.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backoff::{ExponentialBackoff, backoff::Backoff as _};
use futures::StreamExt;
use lapin::{Channel, Connection, Event};
use prometheus_client::metrics::gauge::Gauge;
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info, warn};

use crate::{
    Metrics, QueueError,
    rabbitmq::{address::Address, connect::connect},
};

/// How often a connection's state is looked at, beside its events: one that failed before we listened to
/// them sends none.
const LOOK: Duration = Duration::from_secs(1);

/// What a broker that takes no messages is said to have.
pub(super) const BLOCKED: &str = "the broker has blocked us: a memory or disk alarm";

/// A connection, for as long as it lives, and what was made on it.
pub(super) struct Session {
    pub(super) connection: Connection,
    idle: Mutex<Vec<Channel>>,
    declared: Mutex<HashSet<String>>,
    /// Held by whoever declares, so that a new queue's first publishers do not all do it at once.
    pub(super) declaring: tokio::sync::Mutex<()>,
}

impl Session {
    /// Publishing channels that nobody uses now.
    pub(super) fn idle(&self) -> MutexGuard<'_, Vec<Channel>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was declared on this connection and is there, as far as we know.
    pub(super) fn declared(&self) -> MutexGuard<'_, HashSet<String>> {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
enum State {
    /// At first, and when a connection was just lost: worth waiting for.
    Connecting,
    /// The last try failed, for this reason.
    Down(String),
    Up(Arc<Session>),
}

/// A connection for one purpose. It closes with the last channel once this is dropped.
pub(super) struct Link {
    state: watch::Receiver<State>,
    address: Address,
    _task: DropGuard,
}

impl Link {
    /// Starts connecting in the background.
    pub(super) fn start(address: Address, purpose: &'static str, metrics: &Metrics) -> Self {
        let (sender, state) = watch::channel(State::Connecting);
        let dropped = CancellationToken::new();
        let supervised = dropped.clone().run_until_cancelled_owned(supervise(
            address.clone(),
            purpose,
            sender,
            metrics.connection(purpose),
        ));
        tokio::spawn(supervised);
        Self { state, address, _task: dropped.drop_guard() }
    }

    /// The connection; waits while it is worth it, and says why there is none.
    pub(super) async fn session(&self) -> Result<Arc<Session>, QueueError> {
        let mut state = self.state.clone();
        let state = state.wait_for(|state| !matches!(state, State::Connecting)).await;
        match state.as_deref() {
            Ok(State::Up(session)) => Ok(session.clone()),
            Ok(State::Down(reason)) => Err(QueueError::Unavailable(reason.clone())),
            Ok(State::Connecting) | Err(_) => Err(QueueError::Closed),
        }
    }

    /// The connection, whenever it comes.
    pub(super) async fn up(&self) -> Arc<Session> {
        let mut states = self.state.clone();
        let found = states.wait_for(|state| matches!(state, State::Up(_))).await.map(|state| state.clone());
        match found {
            Ok(State::Up(session)) => session,
            // Its task ends with us only.
            _ => std::future::pending().await,
        }
    }

    /// A cheap round trip.
    pub(super) async fn probe(&self) -> Result<(), QueueError> {
        let session = self.session().await?;
        if session.connection.status().blocked() {
            return Err(self.unavailable(BLOCKED));
        }
        session.connection.create_channel().await.map(drop).map_err(|error| self.unavailable(error))
    }

    /// An error with its reason, and without the password.
    pub(super) fn unavailable(&self, reason: impl std::fmt::Display) -> QueueError {
        QueueError::Unavailable(self.address.reason(reason))
    }
}

/// 100 ms, growing to 10 s, each by up to half more or less, for ever.
pub(super) fn new_backoff() -> ExponentialBackoff {
    ExponentialBackoff {
        current_interval: Duration::from_millis(100),
        initial_interval: Duration::from_millis(100),
        max_interval: Duration::from_secs(10),
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    }
}

/// Waits before the next try.
pub(super) async fn pause(backoff: &mut ExponentialBackoff) {
    // None would mean that it is time to give up, which never comes.
    sleep(backoff.next_backoff().unwrap_or(backoff.max_interval)).await;
}

async fn supervise(address: Address, purpose: &'static str, state: watch::Sender<State>, connected: Gauge) {
    let mut backoff = new_backoff();
    let mut told = false;
    loop {
        match connect(&address, purpose).await {
            Ok(connection) => {
                info!(broker = ?address, purpose, "connected to the message broker");
                (backoff, told) = (new_backoff(), false);
                connected.set(1);
                let lost = watch_over(connection, &state).await;
                connected.set(0);
                warn!(broker = ?address, purpose, error = address.reason(lost), "lost the message broker");
                state.send_replace(State::Connecting);
            }
            Err(reason) => {
                if told {
                    debug!(broker = ?address, purpose, error = reason, "the message broker is still unavailable");
                } else {
                    warn!(broker = ?address, purpose, error = reason, "the message broker is unavailable; trying on");
                }
                told = true;
                state.send_replace(State::Down(format!("{address:?}: {reason}")));
            }
        }
        // Also after a connection that was made and lost: a broker that drops us at once is not to be
        // flooded by a whole fleet.
        pause(&mut backoff).await;
    }
}

/// Hands the connection out until it is lost; answers why.
async fn watch_over(connection: Connection, state: &watch::Sender<State>) -> String {
    let mut events = Box::pin(connection.events_listener());
    let status = connection.status().clone();
    let session =
        Session { connection, idle: Mutex::default(), declared: Mutex::default(), declaring: Default::default() };
    state.send_replace(State::Up(Arc::new(session)));
    let mut reason = String::from("it was closed");
    while status.connected() {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(alarm)) => warn!(alarm, "the message broker has blocked us"),
                Some(Event::ConnectionUnblocked) => info!("the message broker takes messages again"),
                Some(Event::Error(error)) => reason = error.to_string(),
                Some(_) => {}
                None => break,
            },
            () = sleep(LOOK) => {}
        }
    }
    reason
}
