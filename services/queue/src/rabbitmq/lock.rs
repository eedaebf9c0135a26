//! Locks: an exclusive queue belongs to the connection that declared it, and ends with it. To the broker this whole
//! process is one owner, so locks within this process are tracked in memory. Messages in such a queue mean nothing.
//!
//! Declaring a queue that another connection has closes the channel, and is an error in the broker's log. So we
//! first send an empty message, which tells whether the queue is there for next to nothing.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use lapin::{
    Channel,
    options::{BasicConsumeOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::{FieldTable, ShortString},
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    Lock, QueueError,
    lock::Confirmed,
    rabbitmq::{
        connection::{Link, Session, new_backoff, pause},
        publish::Publisher,
        topology::{RESOURCE_LOCKED, is},
    },
};

/// After a name was refused, this process does not ask for it again for so long.
const APART: Duration = Duration::from_millis(200);

/// How long one try may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Between two questions whether a lock is there still: three of them within the time that one is good for.
const BETWEEN_CONFIRMATIONS: Duration = Duration::from_secs(3);

/// How long the empty message may take. Without an answer the queue is declared all the same: a broker that takes no
/// messages still tells who has what.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// The names that this process holds, is trying for, or was refused just now.
#[derive(Clone, Default)]
pub(super) struct LocalLocks(Arc<Mutex<HashMap<String, State>>>);

enum State {
    /// Held, or on the way to it or from it.
    Ours,
    /// Somebody else had it; not to be asked for before this.
    Refused(Instant),
}

impl LocalLocks {
    /// Tries once. What comes when nobody waits for it any more is let go.
    pub(super) async fn try_lock(
        &self,
        (consuming, publishing): (&Link, &Publisher),
        name: &str,
        queue: ShortString,
    ) -> Result<Option<Lock>, QueueError> {
        let tried = timeout(TIMEOUT, async {
            let session = consuming.session().await?;
            let Some(mut claim) = self.claim(name) else { return Ok(None) };
            if let Ok(Ok(true)) = timeout(PROBE_TIMEOUT, publishing.queue_exists(queue.clone())).await {
                claim.refused = true;
                return Ok(None);
            }
            // In a task of its own: once asked for, the queue may be declared even if nobody waits any more.
            let taken = tokio::spawn(take(session, claim, queue)).await;
            taken.map_err(|error| consuming.unavailable(error))?.map_err(|error| consuming.unavailable(error))
        });
        tried.await.unwrap_or_else(|_| Err(consuming.unavailable("the broker does not answer")))
    }

    /// Takes the name in this process, unless it is taken, or was refused just now.
    fn claim(&self, name: &str) -> Option<Claim> {
        let mut names = self.lock();
        let now = Instant::now();
        names.retain(|_, state| !matches!(state, State::Refused(until) if *until <= now));
        if names.contains_key(name) {
            return None;
        }
        names.insert(name.to_owned(), State::Ours);
        Some(Claim { locks: self.clone(), name: name.to_owned(), refused: false })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name that nobody else in this process has.
struct Claim {
    locks: LocalLocks,
    name: String,
    refused: bool,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut names = self.locks.lock();
        if self.refused {
            names.insert(self.name.clone(), State::Refused(Instant::now() + APART));
        } else {
            names.remove(&self.name);
        }
    }
}

/// Declares the queue, unless another connection has it. Without a limit in time, and so is letting go: where the
/// broker does not answer, nobody knows what became of it, until the heartbeat ends the connection and the queue.
async fn take(session: Arc<Session>, mut claim: Claim, queue: ShortString) -> lapin::Result<Option<Lock>> {
    let channel = session.connection.create_channel().await?;
    // It closes the channel. Whatever the error, asking again at once would not help.
    claim.refused = true;
    let asked = std::time::Instant::now();
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    match channel.queue_declare(queue.clone(), options, FieldTable::default()).await {
        Ok(_) => claim.refused = false,
        Err(error) if is(&error, RESOURCE_LOCKED) => return Ok(None),
        Err(error) => return Err(error),
    }
    // The consumer is how we hear of the end, also where an operator deletes the queue.
    let options = BasicConsumeOptions { no_ack: true, exclusive: true, ..BasicConsumeOptions::default() };
    let end = match channel.basic_consume(queue.clone(), "".into(), options, FieldTable::default()).await {
        Ok(end) => end,
        Err(error) => {
            let_go(&session, channel, queue).await;
            return Err(error);
        }
    };
    let (lost, released, confirmed) = (CancellationToken::new(), CancellationToken::new(), Confirmed::at(asked));
    let lock = Lock::new(&claim.name, lost.clone(), Some(confirmed.clone()), released.clone().drop_guard());
    tokio::spawn(async move {
        tokio::select! {
            () = released.cancelled() => {}
            never = confirm(&channel, &queue, &confirmed) => match never {},
            () = ended(end) => {
                debug!(lock = claim.name, "the hold is lost");
                lost.cancel();
            }
        }
        let_go(&session, channel, queue).await;
        drop(claim);
    });
    Ok(Some(lock))
}

/// Asks the broker for as long as it is polled whether the queue is there still. Where it is not, the channel ends.
async fn confirm(channel: &Channel, queue: &ShortString, confirmed: &Confirmed) -> Infallible {
    loop {
        tokio::time::sleep(BETWEEN_CONFIRMATIONS).await;
        let asked = std::time::Instant::now();
        let passive = QueueDeclareOptions { passive: true, exclusive: true, ..QueueDeclareOptions::default() };
        if channel.queue_declare(queue.clone(), passive, FieldTable::default()).await.is_ok() {
            confirmed.again(asked);
        }
    }
}

/// Ends with the queue, its channel or its connection. What comes before are knocks of others.
async fn ended(mut consumer: lapin::Consumer) {
    while let Some(Ok(_)) = consumer.next().await {}
}

/// Deletes the queue, unless the connection ends before, which does so too.
async fn let_go(session: &Session, mut channel: Channel, queue: ShortString) {
    let mut backoff = new_backoff();
    loop {
        match channel.queue_delete(queue.clone(), QueueDeleteOptions::default()).await {
            Ok(_) => return,
            Err(error) if is(&error, RESOURCE_LOCKED) || !session.connection.status().connected() => return,
            Err(_) => pause(&mut backoff).await,
        }
        match session.connection.create_channel().await {
            Ok(fresh) => channel = fresh,
            Err(_) if !session.connection.status().connected() => return,
            // The old one fails again, and then this is tried again.
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_remembered_for_a_moment() {
        let locks = LocalLocks::default();
        let mut claim = locks.claim("housekeeper").unwrap();
        assert!(locks.claim("housekeeper").is_none() && locks.claim("rate.buses").is_some());
        // What was let go may be had again at once.
        drop(claim);
        claim = locks.claim("housekeeper").unwrap();
        claim.refused = true;
        let before = Instant::now();
        drop(claim);
        while locks.claim("housekeeper").is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(before.elapsed() >= APART);
        // And nothing is remembered for ever.
        assert!(locks.lock().is_empty());
    }
}
