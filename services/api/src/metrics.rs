//! Metrics of submissions. No label may contain a job id.

use std::sync::Arc;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// The metrics of submissions. A clone counts into the same. The default is not registered.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    submitted: Family<OfSource, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSource {
    source: Arc<str>,
}

impl Metrics {
    /// Fresh metrics that `registry` shows, of these sources from the start.
    pub fn register<'a>(registry: &mut Registry, sources: impl IntoIterator<Item = &'a str>) -> Self {
        let metrics = Self::default();
        for source in sources {
            drop(metrics.submitted.get_or_create(&OfSource { source: source.into() }));
        }
        let help = "Jobs accepted; a submission that was answered with a job that was there already is none";
        registry.register("jobs_submitted", help, metrics.submitted.clone());
        metrics
    }

    /// A source that is not in the catalog has no jobs.
    pub(crate) fn submitted(&self, source: &str) {
        self.submitted.get_or_create(&OfSource { source: source.into() }).inc();
    }
}
