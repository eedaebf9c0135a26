//! The way of spans to a collector: a bounded queue, batches, a thread that sends them. What does not fit is
//! dropped, and told once; whoever is traced never waits.

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context as _, bail};
use opentelemetry::KeyValue;
use opentelemetry_otlp::WithHttpConfig;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use tokio::runtime::Handle;

use crate::{client::Client, spans};

/// How long one batch may take where no variable says otherwise, as the specification has it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where spans go, if anywhere: the standard `OTEL_*` variables say so.
pub(crate) fn provider(service: &str, runtime: &Handle) -> anyhow::Result<Option<SdkTracerProvider>> {
    if !is_wanted()? {
        return Ok(None);
    }
    let timeout = variable(["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]);
    let timeout = timeout.and_then(|(_, text)| text.parse().ok()).map_or(TIMEOUT, Duration::from_millis);
    let client = Client::new(timeout, runtime).context("the client of the trace collector")?;
    let otlp = opentelemetry_otlp::SpanExporter::builder().with_http().with_http_client(client).build()?;
    let exporter = Exporter { otlp, lost: AtomicU64::new(0) };
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource(service));
    Ok(Some(provider.build()))
}

/// Refuses what would silently lead nowhere. Values are not shown: an address may hold a password.
fn is_wanted() -> anyhow::Result<bool> {
    let says = |name, value: &str| env::var(name).is_ok_and(|text| text.trim().eq_ignore_ascii_case(value));
    let endpoint = variable(["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]);
    let Some((name, endpoint)) = endpoint else { return Ok(false) };
    if says("OTEL_SDK_DISABLED", "true") || says("OTEL_TRACES_EXPORTER", "none") {
        return Ok(false);
    }
    let url = reqwest::Url::parse(&endpoint).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    if !url.is_some_and(|url| url.has_host()) {
        bail!("{name}: expected the address of a collector, such as http://localhost:4318");
    }
    let protocol = variable(["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]);
    if let Some((name, protocol)) = protocol.filter(|(_, protocol)| protocol != "http/protobuf") {
        bail!("{name}: {protocol:?} is not spoken here; set http/protobuf, which collectors offer at port 4318");
    }
    Ok(true)
}

/// The first of these variables that is set, and not empty.
fn variable(names: [&'static str; 2]) -> Option<(&'static str, String)> {
    names.into_iter().find_map(|name| env::var(name).ok().filter(|text| !text.is_empty()).map(|text| (name, text)))
}

/// What the process is; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` have the last word.
fn resource(service: &str) -> Resource {
    let said = Resource::builder().build();
    let is_said =
        |key: &'static str| said.get(&key.into()).filter(|value| !value.as_str().starts_with("unknown_service"));
    let ours = [("service.name", service), ("service.version", env!("CARGO_PKG_VERSION"))];
    let ours = ours.into_iter().filter(|(key, _)| is_said(key).is_none());
    let ours: Vec<_> = ours.map(|(key, value)| KeyValue::new(key, value.to_owned())).collect();
    Resource::builder().with_attributes(ours).build()
}

/// Sends batches, and says once when that begins to fail and when it ends to.
#[derive(Debug)]
struct Exporter {
    otlp: opentelemetry_otlp::SpanExporter,
    /// Spans that could not be sent since the last that could.
    lost: AtomicU64,
}

impl SpanExporter for Exporter {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        batch.retain(spans::is_of_use);
        if batch.is_empty() {
            return Ok(());
        }
        let spans = batch.len() as u64;
        batch.iter_mut().for_each(spans::dress);
        match self.otlp.export(batch).await {
            Ok(()) => match self.lost.swap(0, Ordering::Relaxed) {
                0 => {}
                lost => tracing::info!(lost, "spans reach the trace collector again"),
            },
            Err(error) if self.lost.fetch_add(spans, Ordering::Relaxed) == 0 => {
                tracing::warn!(%error, "spans do not reach the trace collector, and are lost until they do");
            }
            Err(_) => {}
        }
        // It is told above; the SDK would tell it for every batch.
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.otlp.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.otlp.set_resource(resource);
    }
}
