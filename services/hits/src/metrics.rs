//! What is counted of counting.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

/// Metrics of this process's hits. A clone counts into the same; the default is shown nowhere.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Files of counts that were written.
    pub(crate) files: Counter,
    /// Writes that failed, each of which is tried again.
    pub(crate) failures: Counter,
    /// Hits whose path there was no memory for.
    pub(crate) overflow: Counter,
}

impl Metrics {
    /// Fresh metrics that `registry` shows.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let files = "Files of counts of requests written, merged ones included";
        registry.register("hits_files", files, metrics.files.clone());
        registry.register("hits_write_failures", "Writes of such files that failed", metrics.failures.clone());
        let overflow = "Requests counted as (other), because the store takes no counts and their paths are too many";
        registry.register("hits_overflow", overflow, metrics.overflow.clone());
        metrics
    }
}
