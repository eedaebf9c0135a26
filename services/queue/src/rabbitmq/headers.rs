//! Headers in AMQP's spelling. The broker keeps them in delay queues and among the dead.

use std::time::{Duration, SystemTime};

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use waybill_telemetry::TraceContext;

use crate::Headers;

/// Milliseconds since 1970.
const DUE: &str = "waybill-due-ms";

/// As they are sent.
pub(super) fn table(headers: &Headers) -> FieldTable {
    let mut table = FieldTable::default();
    let mut text = |name: &str, value: &str| {
        table.insert(name.into(), AMQPValue::LongString(value.into()));
    };
    if let Some(trace) = &headers.trace {
        text("traceparent", trace.traceparent());
        if let Some(state) = trace.tracestate() {
            text("tracestate", state);
        }
    }
    let due = headers.due.and_then(|due| due.duration_since(SystemTime::UNIX_EPOCH).ok());
    if let Some(due) = due.and_then(|due| i64::try_from(due.as_millis()).ok()) {
        table.insert(DUE.into(), AMQPValue::LongLongInt(due));
    }
    table
}

/// As they came, from anybody: what cannot be read is left out.
pub(super) fn read(properties: &BasicProperties) -> Headers {
    let Some(table) = properties.headers().as_ref().map(FieldTable::inner) else { return Headers::default() };
    let text = |name: &str| match table.get(name)? {
        AMQPValue::LongString(text) => str::from_utf8(text.as_bytes()).ok(),
        AMQPValue::ShortString(text) => Some(text.as_str()),
        _ => None,
    };
    let due = match table.get(DUE) {
        Some(AMQPValue::LongLongInt(due)) => u64::try_from(*due).ok(),
        _ => None,
    };
    Headers {
        trace: text("traceparent").and_then(|parent| TraceContext::new(parent, text("tracestate"))),
        due: due.and_then(|due| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(due))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_read() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let due = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(1_714_550_400_123));
        for state in [None, Some("a=1")] {
            let headers = Headers { trace: TraceContext::new(parent, state), due };
            assert_eq!(read(&BasicProperties::default().with_headers(table(&headers))), headers);
        }
        assert_eq!(read(&BasicProperties::default()), Headers::default());
    }

    #[test]
    fn what_others_sent_cannot_hurt() {
        let mut table = FieldTable::default();
        table.insert("traceparent".into(), AMQPValue::LongString(vec![0xff; 9].into()));
        table.insert("tracestate".into(), AMQPValue::Boolean(true));
        table.insert(DUE.into(), AMQPValue::LongLongInt(-1));
        assert_eq!(read(&BasicProperties::default().with_headers(table)), Headers::default());
        let mut table = FieldTable::default();
        table.insert(DUE.into(), AMQPValue::LongLongInt(i64::MAX));
        let headers = read(&BasicProperties::default().with_headers(table));
        assert!(headers.waited().is_none_or(|waited| waited.is_zero()));
    }
}
