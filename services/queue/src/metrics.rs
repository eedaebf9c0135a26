//! What is counted of the queue: whether it is to be had. What waits, and for how long, is counted by who takes it.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

/// The metrics of a queue. A clone counts into the same. The default is read by nobody.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    connected: Family<Connection, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Connection {
    connection: &'static str,
}

impl Metrics {
    /// Fresh metrics that `registry` shows.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "1 while the connection to the message broker stands, else 0; in process it always does";
        registry.register("queue_connected", help, metrics.connected.clone());
        metrics
    }

    /// Of one connection, which does not stand yet.
    pub(crate) fn connection(&self, connection: &'static str) -> Gauge {
        self.connected.get_or_create_owned(&Connection { connection })
    }
}
