//! What travels with a message beside what it says: whoever cannot read it loses nothing but a line in a trace or a
//! measurement.

use std::time::{Duration, SystemTime};

use waybill_telemetry::TraceContext;

/// The headers of a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers {
    /// The span that published it, where that was traced.
    pub trace: Option<TraceContext>,
    /// From when on it could be taken: when it was published, and its delay was over. By the publisher's clock;
    /// `None` for what another release published.
    pub due: Option<SystemTime>,
}

impl Headers {
    /// Those of a message that is published now, by the current span.
    pub(crate) fn now(delay: Duration) -> Self {
        Self { trace: TraceContext::current(), due: SystemTime::now().checked_add(delay) }
    }

    /// How long it has waited for somebody to take it. Nothing where it is not due by our clock.
    pub fn waited(&self) -> Option<Duration> {
        self.due.map(|due| due.elapsed().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_waits_for_less_than_no_time() {
        assert_eq!(Headers::default().waited(), None);
        assert_eq!(Headers::now(Duration::from_secs(60)).waited(), Some(Duration::ZERO));
        let due = SystemTime::now().checked_sub(Duration::from_secs(7));
        let waited = Headers { due, ..Headers::default() }.waited().unwrap();
        assert!((7..60).contains(&waited.as_secs()), "{waited:?}");
    }
}
