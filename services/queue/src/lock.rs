//! What one process in the fleet has, and no other: a name that is held. Nothing here knows by what means.

use std::{
    any::Any,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

/// How long a confirmation is good for. A broker takes a lock from a process that is silent for twice the heartbeat
/// of 10 seconds, and not before.
const CONFIRMED_FOR: Duration = Duration::from_secs(10);

/// When the broker was last asked whether a lock is there still, and said yes.
#[derive(Clone)]
pub(crate) struct Confirmed(Arc<Mutex<Instant>>);

impl Confirmed {
    pub(crate) fn at(asked: Instant) -> Self {
        Self(Arc::new(Mutex::new(asked)))
    }

    /// The broker said yes to a question that was sent then.
    pub(crate) fn again(&self, asked: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = asked;
    }

    fn is_fresh(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed() < CONFIRMED_FOR
    }
}

/// A name that nobody else holds; dropped, it is free for others, a moment later.
///
/// It may be lost meanwhile, with the connection to the broker: [`Lock::is_held`] and [`Lock::lost`] tell, as soon
/// as this process knows. Others may know sooner, and it is not fencing: a holder that was cut off may still
/// be finishing what it has in hand while the next one starts. So whatever is done under a hold must be harmless when
/// done twice.
pub struct Lock {
    name: String,
    lost: CancellationToken,
    /// None where nothing can take it away.
    confirmed: Option<Confirmed>,
    /// Lets go when dropped.
    _grip: Box<dyn Any + Send + Sync>,
}

impl Lock {
    /// `lost` is cancelled when it is lost; dropping `grip` lets go.
    pub(crate) fn new(
        name: &str,
        lost: CancellationToken,
        confirmed: Option<Confirmed>,
        grip: impl Any + Send + Sync,
    ) -> Self {
        Self { name: name.to_owned(), lost, confirmed, _grip: Box::new(grip) }
    }

    /// What is held.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is held still, as far as this process knows. Once lost it does not come back.
    pub fn is_held(&self) -> bool {
        !self.lost.is_cancelled()
    }

    /// Whether it is held still, and the broker said so within the last 10 seconds, by a clock that a stopped process
    /// cannot stop. Where it did not, another process may have it by now: nothing is to be begun under it.
    pub fn is_confirmed(&self) -> bool {
        self.is_held() && self.confirmed.as_ref().is_none_or(Confirmed::is_fresh)
    }

    /// Ends when it is lost. Cancel-safe.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("name", &self.name).field("is_held", &self.is_held()).finish_non_exhaustive()
    }
}
