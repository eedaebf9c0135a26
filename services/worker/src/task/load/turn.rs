//! The turn of a load, or of maintenance: its table's lock, one in the fleet, and the one load that this process does at a time.

use std::time::Duration;

use tokio::sync::SemaphorePermit;
use waybill_queue::Lock;

use crate::{context::Context, delivery::outcome::TaskError, limits::distributed_semaphore::jittered, retry};

/// The longest that a message waits in hand, before another worker may have it: shorter than the half minute after which
/// a lease is taken, so that a wait writes nothing.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// How often a taken table is asked for.
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

/// Held while a table is written.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    lock: Lock,
    _slot: SemaphorePermit<'a>,
}

impl<'a> Turn<'a> {
    /// Waits for both, and never holds the one while it waits for the other.
    pub(crate) async fn take(context: &'a Context, table: &str) -> Result<Self, TaskError> {
        let name = format!("table.{table}");
        let taken = tokio::time::timeout(LONGEST_WAIT, Self::wait(context, &name));
        taken.await.unwrap_or(Err(TaskError::TableBusy))
    }

    async fn wait(context: &'a Context, name: &str) -> Result<Self, TaskError> {
        let Context { worker, shutdown, loads, .. } = context;
        loop {
            let slot = shutdown.run_until_cancelled(loads.acquire()).await;
            let slot = slot.and_then(Result::ok).ok_or(TaskError::Interrupted)?;
            match worker.queue.try_lock(name).await {
                Ok(Some(lock)) => return Ok(Self { lock, _slot: slot }),
                Ok(None) => {}
                Err(error) => tracing::debug!(name, %error, "the lock of the table is not to be had"),
            }
            drop(slot);
            retry::pause(jittered(BETWEEN_TRIES), shutdown).await?;
        }
    }

    /// Ends when another process may have the table.
    pub(crate) async fn lost(&self) {
        self.lock.lost().await;
    }
}
