//! RabbitMQ: quorum queues, confirms, and connections that are rebuilt for ever.

/// How to reach the broker.
#[derive(Clone)]
pub struct RabbitMqSettings {
    /// `amqp://user:password@host:5672/vhost`; never shown.
    pub url: String,
    /// Put before every queue's and exchange's name: `waybill`. Tests use a random one.
    pub prefix: String,
}

/// A connection for publishing and one for consuming, each rebuilt for as long as it takes.
#[derive(Debug, Clone)]
pub struct RabbitMq {}

impl RabbitMq {
    /// Starts connecting, in the background; returns at once. Refused only where the URL is none.
    pub fn new(settings: RabbitMqSettings) -> anyhow::Result<Self> {
        todo!()
    }
}
