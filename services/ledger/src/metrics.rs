//! Metrics of jobs. No label may contain a job id.

use std::sync::Arc;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use crate::State;

/// The metrics of the ledger. A clone counts into the same. The default is not registered.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    ended: Family<Ended, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    source: Arc<str>,
    state: &'static str,
}

impl Metrics {
    /// Fresh metrics that `registry` shows, of these sources from the start.
    pub fn register<'a>(registry: &mut Registry, sources: impl IntoIterator<Item = &'a str>) -> Self {
        let metrics = Self::default();
        for source in sources {
            let source: Arc<str> = source.into();
            for state in ["succeeded", "partial", "failed", "cancelled"] {
                drop(metrics.ended.get_or_create(&Ended { source: Arc::clone(&source), state }));
            }
        }
        let help = "Jobs that were first seen to have ended, once more after a retry; \
                    where two processes see it at one moment, one too many";
        registry.register("jobs_ended", help, metrics.ended.clone());
        metrics
    }

    pub(crate) fn ended(&self, source: &str, state: State) {
        let state = match state {
            State::Succeeded => "succeeded",
            State::Partial => "partial",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
            State::Queued | State::Planning | State::Running | State::Damaged => return,
        };
        self.ended.get_or_create(&Ended { source: source.into(), state }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Outcome,
        testing::{Fixture, at, done, id},
    };

    #[tokio::test]
    async fn an_ended_job_is_counted_once() {
        let fixture = Fixture::new().await;
        let metrics = Metrics::register(&mut Registry::default(), ["buses"]);
        let ledger = fixture.ledger.with_metrics(metrics.clone());
        let job = id(0, 1);
        fixture.planned(job, 1).await;
        let count = || metrics.ended.get_or_create(&Ended { source: "buses".into(), state: "succeeded" }).get();
        ledger.status(job).await.unwrap();
        let looked = ledger.recover_within(at(1), false, crate::LOST_AFTER).await.unwrap();
        assert_eq!((count(), looked.unfinished.get("buses")), (0, Some(&1)));
        ledger.record_done(job, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
        for _ in 0..2 {
            ledger.status(job).await.unwrap();
            let looked = ledger.recover_within(at(5), false, crate::LOST_AFTER).await.unwrap();
            assert_eq!((count(), looked.unfinished.len()), (1, 0));
        }
    }
}
