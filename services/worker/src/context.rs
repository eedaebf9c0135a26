//! State that all parts of a worker share, and the set of running work.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use waybill_ledger::{JobId, LedgerError, index::Index};
use waybill_source::Definition;

use crate::{
    Worker,
    download::client::Upstream,
    limits::throttle::Throttle,
    metrics::{Counts, UNKNOWN},
};

/// How often it is asked whether a job is cancelled, however many of its tasks run.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Loads of tables at once: each takes as much memory as it may.
const LOADS_AT_ONCE: usize = 1;

/// What planning and tasks need. One per worker.
#[derive(Debug)]
pub(crate) struct Context {
    /// The store, the ledger, the queue and the settings.
    pub(crate) worker: Worker,
    /// This worker's own name: another after every start.
    pub(crate) name: String,
    /// Where stored objects are entered.
    pub(crate) index: Index,
    /// The one HTTP client.
    pub(crate) upstream: Upstream,
    /// Cancelled when the process goes down: nothing new is begun, waits end.
    pub(crate) shutdown: CancellationToken,
    /// Cancelled some time after that: running work is interrupted, and its messages return to the queue.
    pub(crate) deadline: CancellationToken,
    /// Jobs that were not cancelled at that time.
    uncancelled: Mutex<HashMap<JobId, Instant>>,
    /// By source; of those alone that have an upstream.
    gates: HashMap<String, Arc<Throttle>>,
    /// By source.
    counts: HashMap<String, Arc<Counts>>,
    /// Of every other source.
    unknown: Arc<Counts>,
    /// Permits to load a table.
    pub(crate) loads: Semaphore,
    /// After a lost connection the broker redelivers work that this process still runs.
    in_flight: InFlight,
}

impl Context {
    pub(crate) fn new(worker: Worker, shutdown: CancellationToken) -> anyhow::Result<Self> {
        let upstream = Upstream::new(worker.base_urls.clone())?;
        let named = |it: &Arc<Definition>| (it.name().to_owned(), Arc::new(worker.metrics.of_source(it.name())));
        let counts: HashMap<_, _> = worker.catalog.iter().map(named).collect();
        let unknown = Arc::new(worker.metrics.of_source(UNKNOWN));
        let throttle = |it: &Definition| {
            let waits = counts.get(it.name()).unwrap_or(&unknown).limiter_wait.clone();
            Arc::new(Throttle::new(it.limit(), waits))
        };
        let is_asked = |it: &&Arc<Definition>| it.loads_upload().is_none();
        let gates = worker.catalog.iter().filter(is_asked).map(|it| (it.name().to_owned(), throttle(it))).collect();
        let name = Uuid::now_v7().to_string();
        let deadline = CancellationToken::new();
        let index = Index::new(worker.store.clone(), deadline.clone());
        Ok(Self {
            worker,
            name,
            index,
            upstream,
            shutdown,
            deadline,
            uncancelled: Mutex::default(),
            gates,
            counts,
            unknown,
            loads: Semaphore::new(LOADS_AT_ONCE),
            in_flight: InFlight::default(),
        })
    }

    /// The gate of a source that this worker serves.
    pub(crate) fn throttle(&self, source: &str) -> Option<&Arc<Throttle>> {
        self.gates.get(source)
    }

    /// Whether the items of a source that this worker serves are the rows of an upload.
    pub(crate) fn catalog_has_upload(&self, source: &str) -> bool {
        self.worker.catalog.get(source).is_some_and(|definition| definition.upload().is_some())
    }

    /// What is counted of a source.
    pub(crate) fn counts(&self, source: &str) -> &Arc<Counts> {
        self.counts.get(source).unwrap_or(&self.unknown)
    }

    /// Whether a job is cancelled; what is said of it may be a tenth of a second old, and older by the time that the next look
    /// takes. Small tasks would else ask more than they do.
    pub(crate) async fn is_cancelled(&self, job: JobId) -> Result<bool, LedgerError> {
        if self.is_known_uncancelled(job) {
            return Ok(false);
        }
        let asked = self.worker.ledger.is_cancelled(job).await;
        let mut uncancelled = self.uncancelled();
        match asked {
            Ok(false) => drop(uncancelled.insert(job, Instant::now())),
            // The next task asks again.
            Ok(true) | Err(_) => drop(uncancelled.remove(&job)),
        }
        asked
    }

    /// Of those who find that it is time to look again, the first is sent to look, and the others are told what is known.
    fn is_known_uncancelled(&self, job: JobId) -> bool {
        let now = Instant::now();
        let is_known = |seen: &Instant| now.duration_since(*seen) < BETWEEN_LOOKS;
        let mut uncancelled = self.uncancelled();
        match uncancelled.get_mut(&job) {
            Some(seen) if is_known(seen) => return true,
            Some(seen) => *seen = now,
            None => {}
        }
        uncancelled.retain(|_, seen| is_known(seen));
        false
    }

    fn uncancelled(&self) -> MutexGuard<'_, HashMap<JobId, Instant>> {
        self.uncancelled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a job's planning (`None`) or one of its tasks as running; `None` where this process runs it already.
    pub(crate) fn take(&self, job: JobId, task: Option<u32>) -> Option<InHand<'_>> {
        self.in_flight.take((job, task))
    }
}

type Piece = (JobId, Option<u32>);

#[derive(Debug, Default)]
struct InFlight(Mutex<HashSet<Piece>>);

impl InFlight {
    fn take(&self, piece: Piece) -> Option<InHand<'_>> {
        let is_new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(piece);
        // Made only where it is new: one that is made and dropped would let go of somebody else's.
        is_new.then(|| InHand { all: self, piece })
    }
}

/// Work that runs, until dropped.
#[derive(Debug)]
pub(crate) struct InHand<'a> {
    all: &'a InFlight,
    piece: Piece,
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_in_hand_once_until_it_is_let_go() {
        let all = InFlight::default();
        let job: JobId = "018f3253-7a40-7c21-9d5e-6b1f0a2c4e88".parse().unwrap();
        let first = all.take((job, Some(1)));
        assert!(first.is_some());
        assert!(all.take((job, Some(1))).is_none());
        assert!(all.take((job, Some(1))).is_none(), "to be refused lets go of nothing");
        assert!(all.take((job, Some(2))).is_some() && all.take((job, None)).is_some());
        drop(first);
        assert!(all.take((job, Some(1))).is_some());
    }
}
