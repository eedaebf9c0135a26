//! What all queries of a process share: memory, scratch space, threads, and how many run at once.

use std::{io, num::NonZeroUsize, path::Path, sync::Arc, time::Duration};

use datafusion::execution::{
    disk_manager::{DiskManagerBuilder, DiskManagerMode},
    memory_pool::{FairSpillPool, TrackConsumersPool},
    runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
};
use tokio::{
    runtime::{Handle, Runtime},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::sql::{NamedTables, QueryError, Session};

/// Memory of all queries together. What sorts, joins and groups hold is counted, and little else: a process with 1 GiB
/// has as much again for the rest.
pub(super) const MEMORY: usize = 512 * 1024 * 1024;

/// Scratch space of all queries together, for what sorts and groups do not hold in memory.
pub(super) const SCRATCH: u64 = 4 * 1024 * 1024 * 1024;

/// Queries at once. Each gets a fair share of the memory, so that more of them would all fail.
const QUERIES: usize = 8;

/// The most cores that a query computes on.
const CORES: usize = 4;

/// How long a query waits for its turn.
const TURN: Duration = Duration::from_secs(5);

/// Plans are walked by recursion, hundreds of operators deep. The usual 2 MiB are too few; what is not used costs nothing.
const STACK: usize = 64 * 1024 * 1024;

/// Runs queries, on threads of its own: a query that computes for long must not keep a process from renewing its leases
/// and answering its probes.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    environment: Arc<RuntimeEnv>,
    turns: Arc<Semaphore>,
    /// `None` only while it is dropped.
    threads: Option<Runtime>,
}

impl Engine {
    /// Queries put what they cannot hold in memory into `scratch`, a folder that exists.
    ///
    /// # Errors
    /// The system gives no threads, or the folder cannot be used.
    pub fn new(scratch: &Path) -> io::Result<Self> {
        Self::with_memory(scratch, MEMORY)
    }

    pub(super) fn with_memory(scratch: &Path, memory: usize) -> io::Result<Self> {
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![scratch.to_owned()]))
            .with_max_temp_directory_size(SCRATCH);
        let pool = TrackConsumersPool::new(FairSpillPool::new(memory), NonZeroUsize::MIN);
        let environment = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(pool))
            .with_disk_manager_builder(disk)
            .build_arc()
            .map_err(io::Error::other)?;
        let mut threads = tokio::runtime::Builder::new_multi_thread();
        // A join computes for long without a pause. Where each has its thread, the system shares the cores out.
        let threads = threads.worker_threads(QUERIES * cores()).thread_name("query").thread_stack_size(STACK);
        let threads = Some(threads.enable_all().build()?);
        Ok(Self(Arc::new(Shared { environment, turns: Arc::new(Semaphore::new(QUERIES)), threads })))
    }

    /// A session over these tables.
    pub fn session(&self, tables: Arc<dyn NamedTables>) -> Session {
        Session::new(self.clone(), tables)
    }

    pub(super) fn environment(&self) -> &Arc<RuntimeEnv> {
        &self.0.environment
    }

    pub(super) fn threads(&self) -> &Handle {
        self.0.threads.as_ref().expect("only drop takes it").handle()
    }

    /// Waits until fewer queries run, within `time`.
    pub(super) async fn turn(&self, time: Duration) -> Result<OwnedSemaphorePermit, QueryError> {
        let turn = tokio::time::timeout(TURN.min(time), Arc::clone(&self.0.turns).acquire_owned()).await;
        turn.map_err(|_| QueryError::Busy)?.map_err(|_| QueryError::Busy)
    }

    /// Waits until nothing runs.
    #[cfg(test)]
    pub(super) async fn all_turns(&self) {
        drop(self.0.turns.acquire_many(QUERIES as u32).await);
    }

    #[cfg(test)]
    pub(super) fn free_turns(&self) -> usize {
        self.0.turns.available_permits()
    }
}

/// Cores that each query computes on.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(CORES)
}

impl Drop for Shared {
    fn drop(&mut self) {
        // To wait for a query that computes would block the thread that drops this.
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}
