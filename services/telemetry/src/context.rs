//! Where in a trace something happens, as it travels between processes: the headers of W3C Trace Context.

use std::collections::HashMap;

use opentelemetry::{
    Context,
    propagation::TextMapPropagator,
    trace::{SpanContext, TraceContextExt},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The longest `tracestate` that is handed on, in bytes; the specification asks for at least so many.
const TRACESTATE: usize = 512;

/// A place in a trace: `traceparent` and `tracestate`, known to be well formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    traceparent: String,
    tracestate: Option<String>,
}

impl TraceContext {
    /// What somebody sent; `None` where it is not well formed. A `tracestate` that is too long or malformed is left
    /// out.
    pub fn new(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let tracestate = tracestate.filter(|state| !state.is_empty() && state.len() <= TRACESTATE);
        let headers = [("traceparent", Some(traceparent)), ("tracestate", tracestate)];
        let headers = headers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        let context =
            TraceContextPropagator::new().extract_with_context(&Context::new(), &headers.collect::<HashMap<_, _>>());
        // Written anew, so that nothing is handed on but what was understood.
        Self::of(&context)
    }

    /// The current span's; `None` where nothing is traced.
    pub fn current() -> Option<Self> {
        Self::of(&Span::current().context())
    }

    fn of(context: &Context) -> Option<Self> {
        let mut headers = HashMap::new();
        TraceContextPropagator::new().inject_context(context, &mut headers);
        let traceparent = headers.remove("traceparent")?;
        Some(Self { traceparent, tracestate: headers.remove("tracestate").filter(|state| !state.is_empty()) })
    }

    /// `00-{trace}-{span}-{flags}`
    pub fn traceparent(&self) -> &str {
        &self.traceparent
    }

    /// What others in the trace want to hand on, if anything.
    pub fn tracestate(&self) -> Option<&str> {
        self.tracestate.as_deref()
    }

    fn to_context(&self) -> Context {
        let headers = [("traceparent", Some(&self.traceparent)), ("tracestate", self.tracestate.as_ref())];
        let headers = headers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.clone())));
        TraceContextPropagator::new().extract_with_context(&Context::new(), &headers.collect::<HashMap<_, _>>())
    }
}

/// Makes a span, before it is entered, a child of `parent`, which may be in another process; and records its
/// `trace_id`, where it declares such a field and is traced, for the lines that are logged in it.
pub fn begin(span: &Span, parent: Option<&TraceContext>) {
    if let Some(parent) = parent {
        // Fails where nothing is traced.
        let _ = span.set_parent(parent.to_context());
    }
    let context = span.context();
    let context: &SpanContext = &context.span().span_context().clone();
    if context.is_valid() {
        span.record("trace_id", field::display(context.trace_id()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_well_formed_is_handed_on() {
        let context = TraceContext::new(PARENT, Some("rojo=1,congo=2")).unwrap();
        assert_eq!((context.traceparent(), context.tracestate()), (PARENT, Some("rojo=1,congo=2")));
        let unsampled = PARENT.replace("-01", "-00");
        assert_eq!(TraceContext::new(&unsampled, None).unwrap().traceparent(), unsampled);
    }

    #[test]
    fn what_is_malformed_is_as_if_it_was_not_sent() {
        for traceparent in ["", "hello", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", &PARENT[..50]] {
            assert_eq!(TraceContext::new(traceparent, None), None, "{traceparent}");
        }
        let long = format!("a={}", "x".repeat(600));
        assert_eq!(TraceContext::new(PARENT, Some(&long)).unwrap().tracestate(), None);
    }

    #[test]
    fn where_nothing_is_traced_there_is_no_context() {
        assert_eq!(TraceContext::current(), None);
        let span = tracing::info_span!("task", trace_id = field::Empty);
        begin(&span, TraceContext::new(PARENT, None).as_ref());
        assert_eq!(span.in_scope(TraceContext::current), None);
    }
}
