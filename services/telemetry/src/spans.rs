//! Which spans are traced, and what they are called outside: the conventions of OpenTelemetry, so that the rooms
//! need not know them.

use opentelemetry::{
    Value,
    trace::{SpanKind, Status},
};
use opentelemetry_sdk::trace::SpanData;
use tracing_subscriber::filter::{LevelFilter, Targets};

/// Those of our own rooms. Libraries make many, of fields that nobody has looked at.
pub(crate) fn ours() -> Targets {
    Targets::new().with_target("waybill", LevelFilter::INFO)
}

/// Whether somebody may want to see it: those who ask every few seconds whether a process is well do not.
pub(crate) fn is_of_use(span: &SpanData) -> bool {
    let route = span.attributes.iter().find(|attribute| attribute.key.as_str() == "route");
    !route.is_some_and(|route| ["/live", "/ready", "/metrics"].contains(&route.value.as_str().as_ref()))
}

/// Gives a span its kind, a request the name of its route, and a failure its status.
pub(crate) fn dress(span: &mut SpanData) {
    span.span_kind = match span.name.as_ref() {
        "request" => SpanKind::Server,
        "plan" | "task" => SpanKind::Consumer,
        "fetch" | "store" => SpanKind::Client,
        _ => SpanKind::Internal,
    };
    let text = |name: &str| {
        let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
        found.map(|attribute| attribute.value.as_str().into_owned())
    };
    let (method, route, error) = (text("method"), text("route"), text("error"));
    let failed = text("status").and_then(|status| status.parse().ok()).is_some_and(|status: u16| status >= 500);
    if span.name == "request"
        && let Some(method) = method
    {
        span.name = route.map_or(method.clone(), |route| format!("{method} {route}")).into();
    }
    if let Some(error) = error {
        span.status = Status::error(error);
    } else if failed {
        span.status = Status::error("");
    }
    for attribute in &mut span.attributes {
        let conventional = match attribute.key.as_str() {
            "method" => "http.request.method",
            "route" => "http.route",
            "status" => {
                if let Ok(status) = attribute.value.as_str().parse::<i64>() {
                    attribute.value = Value::I64(status);
                }
                "http.response.status_code"
            }
            _ => continue,
        };
        attribute.key = conventional.into();
    }
    // The trace says it already.
    span.attributes.retain(|attribute| attribute.key.as_str() != "trace_id");
}
