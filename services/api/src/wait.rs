//! Requests that wait for their job to end.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use waybill_ledger::{JobId, Ledger, Status};

/// Requests that wait at once, each of which looks at its job once a second; one more is answered at once.
const MOST: usize = 100;
/// Between the first looks, and the longest time between two.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(1);

/// Those who wait.
#[derive(Debug, Clone)]
pub(crate) struct Waits {
    room: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl Default for Waits {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(MOST)), shutdown: CancellationToken::new() }
    }
}

impl Waits {
    pub(crate) fn until(self, shutdown: CancellationToken) -> Self {
        Self { shutdown, ..self }
    }

    /// A job's status once it has ended; `None` where it has not within this time, or cannot be waited for: that is no
    /// error, since the job exists.
    pub(crate) async fn for_end(&self, ledger: &Ledger, job: JobId, wait: Duration) -> Option<Status> {
        let _room = self.room.try_acquire().ok()?;
        let end = Instant::now() + wait;
        let mut pause = FIRST;
        loop {
            match ledger.status(job).await {
                Ok(status) => {
                    if let Some(status) = status.filter(|status| status.state.is_terminal()) {
                        return Some(status);
                    }
                }
                Err(error) => tracing::debug!(%job, %error, "failed to look at a job that is waited for"),
            }
            if Instant::now() >= end {
                return None;
            }
            tokio::select! {
                () = sleep_until((Instant::now() + pause).min(end)) => {}
                () = self.shutdown.cancelled() => return None,
            }
            pause = (pause * 2).min(LONGEST);
        }
    }
}
