//! Metrics of S3 requests, counted as they are sent, so that retries of the SDK are included. No label holds a key or
//! a bucket.

use std::time::{Duration, Instant};

use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef},
    },
    error::BoxError,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Upper bounds in seconds: a millisecond where the store is in this process, a minute for a part on a slow line.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0];

/// What this room calls; each is shown from the start.
const OPERATIONS: [&str; 12] = [
    "AbortMultipartUpload",
    "CompleteMultipartUpload",
    "CreateMultipartUpload",
    "DeleteObject",
    "DeleteObjects",
    "GetObject",
    "HeadBucket",
    "HeadObject",
    "ListMultipartUploads",
    "ListObjectsV2",
    "PutObject",
    "UploadPart",
];

/// How a request can end. The first three are how things should be.
const OUTCOMES: [&str; 7] = [
    "ok",
    // There is no such object; whoever asks for one has to expect it.
    "absent",
    // A create-only PUT or two at one instant found the object there.
    "exists",
    // 429 and 503: too much at once.
    "throttled",
    // Any other 4xx: wrong credentials, say.
    "refused",
    // Any other 5xx, or an answer that is none of S3's.
    "failed",
    // None within the time, or no connection.
    "unanswered",
];

/// The metrics of the store. A clone counts into the same.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: Family<Ended, Counter>,
    duration: Family<Taken, Histogram, fn() -> Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Taken {
    operation: &'static str,
}

impl Default for Metrics {
    /// Metrics that nobody reads, for tests.
    fn default() -> Self {
        Self { requests: Family::default(), duration: Family::new_with_constructor(|| Histogram::new(SECONDS)) }
    }
}

impl Metrics {
    /// Fresh metrics that `registry` shows.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for operation in OPERATIONS {
            for outcome in OUTCOMES {
                drop(metrics.requests.get_or_create(&Ended { operation, outcome }));
            }
            drop(metrics.duration.get_or_create(&Taken { operation }));
        }
        registry.register("s3_requests", "Requests to the object store, retries included", metrics.requests.clone());
        registry.register_with_unit(
            "s3_request_duration",
            "From a request to the object store to the head of its answer, or to the end of a small one",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        metrics
    }

    fn ended(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        self.requests.get_or_create(&Ended { operation, outcome }).inc();
        self.duration.get_or_create(&Taken { operation }).observe(took.as_secs_f64());
    }
}

/// When an attempt began.
#[derive(Debug)]
struct Began(Instant);

impl Storable for Began {
    type Storer = StoreReplace<Self>;
}

impl Intercept for Metrics {
    fn name(&self) -> &'static str {
        "waybill metrics"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        state: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        state.interceptor_state().store_put(Began(Instant::now()));
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        state: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(Began(began)) = state.load::<Began>() else { return Ok(()) };
        let operation = known(state.load::<Metadata>().map_or("", Metadata::name));
        let is_ok = matches!(context.output_or_error(), Some(Ok(_)));
        let status = context.response().map(|response| response.status().as_u16());
        self.ended(operation, outcome(operation, is_ok, status), began.elapsed());
        Ok(())
    }
}

fn known(operation: &str) -> &'static str {
    OPERATIONS.into_iter().find(|known| *known == operation).unwrap_or("other")
}

fn outcome(operation: &str, is_ok: bool, status: Option<u16>) -> &'static str {
    match status {
        _ if is_ok => "ok",
        None => "unanswered",
        Some(404) if matches!(operation, "GetObject" | "HeadObject") => "absent",
        Some(409 | 412) => "exists",
        Some(429 | 503) => "throttled",
        Some(400..500) => "refused",
        Some(_) => "failed",
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Embedded;

    #[tokio::test]
    async fn requests_are_counted_by_what_came_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Metrics::register(&mut Registry::default());
        let embedded = Embedded::open(folder.path()).await.unwrap();
        let store = embedded.store("bucket").unwrap().with_metrics(&metrics);
        store.put("a", "text/plain", Bytes::from_static(b"a")).await.unwrap();
        assert_eq!(store.get("none", 1).await.unwrap(), None);
        store.create("a", "text/plain", Bytes::from_static(b"b")).await.unwrap();
        let count = |operation, outcome| metrics.requests.get_or_create(&Ended { operation, outcome }).get();
        assert_eq!((count("PutObject", "ok"), count("PutObject", "exists")), (1, 1));
        assert_eq!((count("GetObject", "absent"), count("GetObject", "ok")), (1, 1));
        assert_eq!(count("HeadBucket", "ok"), 0);
    }

    #[test]
    fn what_is_expected_is_told_from_what_is_not() {
        assert_eq!(outcome("HeadBucket", false, Some(404)), "refused");
        assert_eq!(outcome("PutObject", false, Some(503)), "throttled");
        assert_eq!(outcome("PutObject", false, Some(500)), "failed");
        assert_eq!(outcome("ListObjectsV2", false, Some(200)), "failed");
        assert_eq!(outcome("PutObject", false, None), "unanswered");
        assert_eq!(known("SelectObjectContent"), "other");
    }
}
