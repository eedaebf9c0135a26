//! What one process in the fleet has, and no other: a name that is held. Nothing here knows by what means.

use std::{any::Any, fmt};

use tokio_util::sync::CancellationToken;

/// A name that nobody else holds; dropped, it is free for others, a moment later.
///
/// It may be lost meanwhile, with the connection to the broker: [`Lock::is_held`] and [`Lock::lost`] tell, as soon
/// as this process knows. Others may know sooner, and it is not fencing: a holder that was cut off may still
/// be finishing what it has in hand while the next one starts. So whatever is done under a hold must be harmless when
/// done twice.
pub struct Lock {
    name: String,
    lost: CancellationToken,
    /// Lets go when dropped.
    _grip: Box<dyn Any + Send + Sync>,
}

impl Lock {
    /// `lost` is cancelled when it is lost; dropping `grip` lets go.
    pub(crate) fn new(name: &str, lost: CancellationToken, grip: impl Any + Send + Sync) -> Self {
        Self { name: name.to_owned(), lost, _grip: Box::new(grip) }
    }

    /// What is held.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is held still, as far as this process knows. Once lost it does not come back.
    pub fn is_held(&self) -> bool {
        !self.lost.is_cancelled()
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
