//! Plans jobs and runs their tasks; one worker in the fleet is the housekeeper, too.
//!
//! A task goes fetch → spool → check every record and add up → store with metadata → outcome →
//! acknowledge, in that order, so that a crash anywhere only repeats work.
//!
//! Nothing here knows which store or queue is behind the traits, or names an upstream: addresses come from a
//! definition or from the operator.

mod blocking;
mod consumers;
mod context;
mod delivery;
mod download;
mod limits;
mod maintenance;
mod metrics;
mod plan;
mod retry;
mod runner;
mod task;

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use waybill_ledger::Ledger;
use waybill_queue::Queue;
use waybill_source::{Catalog, Env};
use waybill_store::Store;

pub use metrics::Metrics;
pub use task::load::{Load, LoadError, Loaded, Loader, RejectedRow};

/// What a worker needs.
#[derive(Debug, Clone)]
pub struct Worker {
    /// The state of jobs.
    pub ledger: Ledger,
    /// Where objects go.
    pub store: Store,
    /// Where messages come from.
    pub queue: Arc<dyn Queue>,
    /// The sources whose queues are served. A task runs by the definition that its job was submitted with.
    pub catalog: Arc<Catalog>,
    /// Upstream addresses that the operator set, by source; they outrank the definition's.
    pub base_urls: HashMap<String, String>,
    /// What the definitions' requests are made of, by the names that they use. Secret: shown nowhere. A source
    /// that lacks one is not served.
    pub env: Env,
    /// What loads tables; none where this worker loads none, and leaves that to others.
    pub loader: Option<Arc<dyn Loader>>,
    /// How often and how patiently a failed request is tried again.
    pub retry: RetryPolicy,
    /// How often the housekeeper looks.
    pub housekeeping: Duration,
    /// How long nothing may happen to a job before its tasks count as lost: [`waybill_ledger::LOST_AFTER`].
    pub lost_after: Duration,
    /// How often the lease of a running task is renewed, and after how long it is first taken: half a minute.
    pub lease: Duration,
    /// The message of a task that runs longer than this is requeued: a quarter of an hour, well below RabbitMQ's
    /// consumer timeout, which is half an hour by default.
    pub requeue_after: Duration,
    /// What is counted.
    pub metrics: Metrics,
}

/// Waits between attempts: exponential with jitter, in the worker while short, in the queue when long.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// The first wait.
    pub initial: Duration,
    /// The longest wait in a worker; a longer one (`Retry-After`) is spent in the queue.
    pub max_wait: Duration,
    /// Tries of one request while the worker holds the task.
    pub tries: u32,
    /// Deliveries of one task, each with so many tries, before it is given up; also where each of them ended
    /// with its worker.
    pub attempts: u32,
}

/// Serves every queue until `shutdown`; then takes nothing new, and finishes what runs within
/// `deadline` or gives it back.
///
/// # Errors
/// Where a base URL cannot be used, or the HTTP client cannot be made. A store, a broker or an upstream
/// that is away is no error: the worker waits for it.
pub async fn run(worker: Worker, shutdown: CancellationToken, deadline: Duration) -> anyhow::Result<()> {
    let context = Arc::new(context::Context::new(worker, shutdown)?);
    runner::serve(context, deadline).await;
    Ok(())
}
