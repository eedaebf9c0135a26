//! What a process says of itself while it runs: lines in a log, and the spans of a trace, by OTLP.
//!
//! The one room that names OpenTelemetry; the others make spans and events of `tracing`, and hand a
//! [`TraceContext`] on where a trace leaves the process. Nothing here may slow or fail what is traced, and no
//! value of a setting is ever shown: endpoints and headers carry secrets.

mod client;
mod context;
mod export;
mod json;
mod log_limit;
mod logs;
mod spans;

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::{Layer as _, layer::SubscriberExt, util::SubscriberInitExt};

pub use context::{TraceContext, begin};
pub use log_limit::LogLimit;

/// How long the last spans of a process may take.
const FLUSH: Duration = Duration::from_secs(2);

/// What a process is, and how much it says.
#[derive(Debug, Clone, Copy)]
pub struct Process<'a> {
    /// Its name in traces, unless `OTEL_SERVICE_NAME` gives another; `None` for one that is never traced.
    pub service: Option<&'a str>,
    /// Whether it logs only what is wrong, unless `WAYBILL_LOG` says otherwise.
    pub quiet: bool,
}

/// Logs and traces of this process, for as long as it runs.
#[derive(Debug)]
pub struct Telemetry(Option<SdkTracerProvider>);

impl Telemetry {
    /// Starts logging, and tracing where `OTEL_EXPORTER_OTLP_ENDPOINT` is set. Once in a process; spans are sent
    /// from `runtime`. Refused where a setting cannot be used, which the error names.
    pub fn start(process: Process<'_>, runtime: &tokio::runtime::Handle) -> anyhow::Result<Self> {
        let provider = match process.service {
            Some(service) => export::provider(service, runtime)?,
            None => None,
        };
        let traces = provider.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("waybill"))
                .with_location(false)
                .with_threads(false)
                .with_target(false)
                .with_tracked_inactivity(false)
                .with_filter(spans::ours())
        });
        tracing_subscriber::registry().with(traces).with(logs::layer(process.quiet)?).try_init()?;
        Ok(Self(provider))
    }

    /// Sends what was not sent yet, for at most 2 seconds. Not to be called from the runtime.
    pub fn end(self) {
        if let Some(provider) = self.0
            && let Err(error) = provider.shutdown_with_timeout(FLUSH)
        {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}
