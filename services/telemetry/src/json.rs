//! A line of JSON for each event: flat, so that a field has one name wherever it comes from. The fields of the spans
//! around it are its own, the innermost's before the outer's, and the event's before all.

use std::fmt;

use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, format::Writer},
    registry::LookupSpan,
};

/// The format; the fields of spans must be formatted as JSON too.
#[derive(Debug)]
pub(crate) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let mut line = Line::default();
        line.set("timestamp", format!("{:.6}", Timestamp::now()));
        line.set("level", metadata.level().as_str());
        line.set("message", "");
        line.set("target", metadata.target());
        for span in context.event_scope().into_iter().flat_map(|spans| spans.from_root()) {
            line.set("span", span.name());
            let extensions = span.extensions();
            let Some(fields) = extensions.get::<FormattedFields<N>>() else { continue };
            for (name, value) in serde_json::from_str::<Map<String, Value>>(fields).unwrap_or_default() {
                line.set(&name, value);
            }
        }
        event.record(&mut line);
        writeln!(writer, "{}", serde_json::to_string(&line).map_err(|_| fmt::Error)?)
    }
}

/// Fields in the order in which they came; there are few.
#[derive(Debug, Default)]
struct Line(Vec<(String, Value)>);

impl Line {
    fn set(&mut self, name: &str, value: impl Into<Value>) {
        match self.0.iter_mut().find(|(there, _)| there == name) {
            Some((_, there)) => *there = value.into(),
            None => self.0.push((name.to_owned(), value.into())),
        }
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Line {
    /// What libraries log by way of the `log` crate says where it is from in fields of its own.
    fn record(&mut self, field: &Field, value: impl Into<Value>) {
        match field.name() {
            "log.target" => self.set("target", value),
            name if name.starts_with("log.") => {}
            name => self.set(name, value),
        }
    }
}

impl Visit for Line {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.record(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.record(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.record(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.record(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing::field::Empty;
    use tracing_subscriber::layer::SubscriberExt;

    use crate::logs;

    #[derive(Debug, Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(for_people: bool, log: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let layer = logs::lines(for_people, false, move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        // Without the time, which comes first.
        let cut = if for_people { text.find("Z").map(|at| at + 1) } else { text.find(",") };
        text[cut.unwrap()..].trim().to_owned()
    }

    fn log() {
        let outer = tracing::info_span!("request", request_id = "r1", key = Empty, trace_id = Empty);
        outer.record("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736");
        let _entered = outer.entered();
        let _inner = tracing::info_span!("submit", source = "buses", job = 1).entered();
        let error = "\"quoted\" and broken";
        tracing::warn!(%error, job = 2, share = 0.5, fresh = true, "job accepted");
    }

    #[test]
    fn a_line_has_the_fields_of_its_spans_once() {
        insta::assert_snapshot!(written(false, log), @r#","level":"WARN","message":"job accepted","target":"waybill_telemetry::json::tests","span":"submit","request_id":"r1","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","job":2,"source":"buses","error":"\"quoted\" and broken","share":0.5,"fresh":true}"#);
    }

    #[test]
    fn people_read_the_same() {
        insta::assert_snapshot!(written(true, log), @r#"WARN request{request_id="r1" trace_id="4bf92f3577b34da6a3ce929d0e0e4736"}:submit{source="buses" job=1}: job accepted error="quoted" and broken job=2 share=0.5 fresh=true"#);
    }
}
