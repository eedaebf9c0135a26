//! HTTP metrics, and the page that serves all metrics. No label holds a value that a client chose.

use std::{sync::Arc, time::Duration};

use poem::{Endpoint, Response, endpoint::make_sync, http::Method};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// OpenMetrics, which Prometheus asks for.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds in seconds: most answers take a few milliseconds, none more than half a minute.
const SECONDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// Why a request is refused; each is shown from the start, so that a rate begins with the first.
const REASONS: [&str; 5] = ["missing", "malformed", "unknown", "scope", "rate"];

/// The metrics of HTTP. A clone counts into the same.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: Family<Answered, Counter>,
    duration: Family<Taken, Histogram, fn() -> Histogram>,
    refusals: Family<Refused, Counter>,
    /// Connections that are open.
    pub(crate) connections: Gauge,
    /// When the TLS certificate ends, in seconds since 1970; 0 without one.
    pub(crate) certificate_expiry: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: Arc<str>,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Taken {
    route: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    reason: &'static str,
}

/// The pattern of the path that a response is of: `/v1/jobs/:id`.
#[derive(Debug, Clone)]
pub(crate) struct Pattern(pub(crate) Arc<str>);

impl Default for Metrics {
    /// Metrics that nobody reads, for tests.
    fn default() -> Self {
        Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            refusals: Family::default(),
            connections: Gauge::default(),
            certificate_expiry: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Fresh metrics that `registry` shows.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for reason in REASONS {
            drop(metrics.refusals.get_or_create(&Refused { reason }));
        }
        // The registry adds `_total` to counters, and the unit to the others.
        registry.register("http_requests", "Requests answered", metrics.requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "From a request's head to its answer's",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        registry.register_with_unit(
            "tls_certificate_expiry_timestamp",
            "When the certificate of this port ends, since 1970; 0 without TLS",
            Unit::Seconds,
            metrics.certificate_expiry.clone(),
        );
        registry.register("http_connections", "Connections open now", metrics.connections.clone());
        registry.register(
            "auth_failures",
            "Requests refused for want of a key that may: missing, malformed, unknown, scope, rate",
            metrics.refusals.clone(),
        );
        metrics
    }

    /// Counts a refused request.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&Refused { reason }).inc();
    }

    pub(crate) fn answered(&self, method: &Method, response: &Response, took: Duration) {
        let route = match response.data::<Pattern>() {
            Some(Pattern(route)) => Arc::clone(route),
            None => "none".into(),
        };
        self.duration.get_or_create(&Taken { route: Arc::clone(&route) }).observe(took.as_secs_f64());
        let labels = Answered { method: known(method), route, status: response.status().as_u16() };
        self.requests.get_or_create(&labels).inc();
    }
}

/// A client may invent methods; a label may not.
pub(crate) fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// All that `registry` has, as text.
pub(crate) fn page(registry: Arc<Registry>) -> impl Endpoint<Output = Response> {
    make_sync(move |_| {
        let mut text = String::new();
        encode(&mut text, &registry).expect("a String takes whatever is written to it");
        Response::builder().content_type(CONTENT_TYPE).body(text)
    })
}
