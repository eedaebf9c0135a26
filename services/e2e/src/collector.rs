//! A collector of traces: takes what OTLP sends over HTTP, and keeps it for a test to look at.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{KeyValue, any_value::Value},
};
use poem::{Endpoint, Request, Response, Result, Server, http::StatusCode, listener::TcpAcceptor};
use prost::Message;
use tokio::{net::TcpListener, task::JoinHandle};

/// A span that arrived. Ids are in hex; a root's parent is empty.
#[derive(Debug, Clone)]
pub struct Span {
    /// What it is called.
    pub name: String,
    /// Of the process that it is from: `service.name`.
    pub service: String,
    /// The trace.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// Its parent's id.
    pub parent: String,
    /// As OTLP numbers them: 2 is a server's, 3 a client's, 5 a consumer's.
    pub kind: i32,
    /// As text.
    pub attributes: BTreeMap<String, String>,
}

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Collector {
    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is set to.
    pub url: String,
    spans: Arc<Mutex<Vec<Span>>>,
    serving: JoinHandle<()>,
}

struct Traces(Arc<Mutex<Vec<Span>>>);

impl Collector {
    /// Starts on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("a listener has an address"));
        let spans = Arc::default();
        let traces = Traces(Arc::clone(&spans));
        let acceptor = TcpAcceptor::from_tokio(listener).expect("a listener can be taken over");
        let serving = tokio::spawn(async move {
            // Ends with the test.
            let _ = Server::new_with_acceptor(acceptor).run(traces).await;
        });
        Self { url, spans, serving }
    }

    /// What arrived so far.
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Endpoint for Traces {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        if request.uri().path() != "/v1/traces" || request.content_type() != Some("application/x-protobuf") {
            return Ok(StatusCode::NOT_FOUND.into());
        }
        let Ok(export) = ExportTraceServiceRequest::decode(request.into_body().into_bytes().await?) else {
            return Ok(StatusCode::BAD_REQUEST.into());
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(read(export));
        let answer = ExportTraceServiceResponse::default().encode_to_vec();
        Ok(Response::builder().content_type("application/x-protobuf").body(answer))
    }
}

fn read(export: ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource in export.resource_spans {
        let about = attributes(resource.resource.unwrap_or_default().attributes);
        let service = about.get("service.name").cloned().unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Span {
                name: span.name,
                service: service.clone(),
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                kind: span.kind,
                attributes: attributes(span.attributes),
            });
        }
    }
    spans
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    pairs.into_iter().filter_map(|pair| Some((pair.key, text(pair.value?.value?)))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
