//! What is declared on the broker: names, arguments, bindings; see the README for the table. Everything
//! is durable, and declaring it again changes nothing. Queues are never mirrored, never transient: newer brokers refuse both.

use std::time::Duration;

use lapin::{
    Channel, Connection, ErrorKind, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};

use crate::{QueueError, QueueName};

/// How long delayed messages can wait, in seconds. A queue gives up its messages at the head only, so each
/// step has a queue of its own.
const STEPS: [u32; 6] = [1, 5, 15, 60, 300, 900];

/// Deliveries of a message that nobody settled, before the broker puts it aside by itself. There is no
/// default before RabbitMQ 4.0; this is the default since.
const DELIVERIES: i32 = 20;

/// Messages in one queue. Refusing to take more is what at-least-once dead-lettering asks for.
const LENGTH: i32 = 1_000_000;

/// Dead messages kept, the newest.
const DEAD: i32 = 100_000;

/// In AMQP's numbers: the errors for what one may not, for what is not there, for a queue that another connection has,
/// and for a virtual host that is none of ours.
pub(super) const ACCESS_REFUSED: u16 = 403;
pub(super) const NOT_FOUND: u16 = 404;
pub(super) const RESOURCE_LOCKED: u16 = 405;
pub(super) const PRECONDITION_FAILED: u16 = 406;
pub(super) const NOT_ALLOWED: u16 = 530;

/// The names that belong to one prefix.
#[derive(Debug, Clone)]
pub(super) struct Topology {
    prefix: String,
}

/// Where a message goes, and what has to be declared for it.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) exchange: ShortString,
    /// The queue, also in a delay queue and among the dead.
    pub(super) key: ShortString,
    /// The queue on the broker.
    pub(super) queue: ShortString,
    /// Whether there is a queue for the key: the dead go to one that is there in any case.
    queue_name: bool,
    /// The step of the delay, in seconds.
    step: Option<u32>,
}

impl Topology {
    pub(super) fn new(prefix: String) -> anyhow::Result<Self> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if prefix.is_empty() || prefix.len() > 100 || !prefix.chars().all(fits) {
            anyhow::bail!("the queue prefix {prefix:?} is not 1 to 100 of ASCII letters, digits, '.', '_' and '-'");
        }
        Ok(Self { prefix })
    }

    /// The way to a queue.
    pub(super) fn queue_name(&self, queue_name: &QueueName, delay: Duration) -> Result<Route, QueueError> {
        let step = step(delay);
        let exchange = step.map_or_else(|| self.prefix.clone(), |step| self.delay(step));
        self.route(queue_name, exchange, true, step)
    }

    /// The way to the dead.
    pub(super) fn dead(&self, queue_name: &QueueName) -> Result<Route, QueueError> {
        self.route(queue_name, format!("{}.dead", self.prefix), false, None)
    }

    /// The queue whose owner holds a name.
    pub(super) fn lock(&self, name: &str) -> Result<ShortString, QueueError> {
        short(format!("{}.hold.{name}", self.prefix))
    }

    fn route(
        &self,
        queue_name: &QueueName,
        exchange: String,
        is_lane: bool,
        step: Option<u32>,
    ) -> Result<Route, QueueError> {
        let (key, queue) = (short(queue_name.to_string())?, short(format!("{}.{queue_name}", self.prefix))?);
        Ok(Route { exchange: short(exchange)?, key, queue, queue_name: is_lane, step })
    }

    fn delay(&self, step: u32) -> String {
        format!("{}.delay.{step}s", self.prefix)
    }

    /// Declares what a route needs. An error closes the channel.
    pub(super) async fn declare(&self, channel: &Channel, route: &Route) -> lapin::Result<()> {
        let work = self.prefix.as_str();
        let dead = format!("{work}.dead");
        exchange(channel, &dead, ExchangeKind::Fanout).await?;
        queue(channel, &dead, &dead, "", quorum([("x-max-length", DEAD.into()), ("x-delivery-limit", LENGTH.into())]))
            .await?;
        if !route.queue_name {
            return Ok(());
        }
        exchange(channel, work, ExchangeKind::Direct).await?;
        let arguments = [("x-delivery-limit", DELIVERIES.into())].into_iter().chain(handing_on(&dead));
        queue(channel, route.queue.as_str(), work, route.key.as_str(), quorum(arguments)).await?;
        if let Some(step) = route.step {
            let delay = self.delay(step);
            exchange(channel, &delay, ExchangeKind::Fanout).await?;
            // Without a key of its own, a message keeps the queue's.
            let arguments = [("x-message-ttl", AMQPValue::LongLongInt(i64::from(step) * 1_000))];
            queue(channel, &delay, &delay, "", quorum(arguments.into_iter().chain(handing_on(work)))).await?;
        }
        Ok(())
    }
}

impl Route {
    /// How long a message that takes it is on its way: a step, or no time.
    pub(super) fn delay(&self) -> Duration {
        Duration::from_secs(self.step.unwrap_or_default().into())
    }

    /// The way to one queue, whatever it is for: every queue has it, and nothing is declared.
    pub(super) fn to(queue: ShortString) -> Self {
        Self { exchange: "".into(), key: queue.clone(), queue, queue_name: false, step: None }
    }

    /// What [`Topology::declare`] declares, as a name to remember it by.
    pub(super) fn needs(&self) -> String {
        format!("{} {}", self.exchange, self.key)
    }
}

/// How many messages the queue of a queue has ready; a queue that is not there has none.
pub(super) async fn waiting(connection: &Connection, route: &Route) -> lapin::Result<u64> {
    // Asking for a queue that is not there closes the channel, so it is one of its own.
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    match channel.queue_declare(route.queue.clone(), options, FieldTable::default()).await {
        Ok(queue) => Ok(queue.message_count().into()),
        Err(error) if is(&error, NOT_FOUND) => Ok(0),
        Err(error) => Err(error),
    }
}

/// Whether the broker closed the channel with this error.
pub(super) fn is(error: &lapin::Error, number: u16) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if error.get_id() == number)
}

fn short(name: String) -> Result<ShortString, QueueError> {
    ShortString::try_new(name).map_err(|_| QueueError::Unavailable("a name over 255 bytes".into()))
}

/// The shortest step that is no shorter than the delay; the longest for what is longer still.
fn step(delay: Duration) -> Option<u32> {
    if delay.is_zero() {
        return None;
    }
    let fits = |step: &&u32| Duration::from_secs(u64::from(**step)) >= delay;
    STEPS.iter().find(fits).or(STEPS.last()).copied()
}

/// The arguments with which a queue hands every message on at least once. Two of them are conditions: where one is
/// missing, the broker silently makes it at most once.
fn handing_on(exchange: &str) -> [(&'static str, AMQPValue); 4] {
    [
        ("x-dead-letter-exchange", AMQPValue::LongString(exchange.into())),
        ("x-dead-letter-strategy", AMQPValue::LongString("at-least-once".into())),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
        ("x-max-length", LENGTH.into()),
    ]
}

fn quorum(arguments: impl IntoIterator<Item = (&'static str, AMQPValue)>) -> FieldTable {
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    for (name, value) in arguments {
        table.insert(name.into(), value);
    }
    table
}

async fn exchange(channel: &Channel, name: &str, kind: ExchangeKind) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await
}

/// A queue, bound to an exchange.
async fn queue(channel: &Channel, name: &str, exchange: &str, key: &str, arguments: FieldTable) -> lapin::Result<()> {
    channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments).await?;
    let options = QueueBindOptions::default();
    channel.queue_bind(name.into(), exchange.into(), key.into(), options, FieldTable::default()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_rounded_up_to_the_next_step() {
        let steps = [(0, None), (1, Some(1)), (1_000, Some(1)), (1_001, Some(5)), (60_000, Some(60))];
        for (delay, expected) in steps.into_iter().chain([(300_001, Some(900)), (86_400_000, Some(900))]) {
            assert_eq!(step(Duration::from_millis(delay)), expected, "{delay} ms");
        }
    }

    #[test]
    fn names_are_checked_before_the_broker_sees_them() {
        for prefix in ["", "a b", "größe", &"x".repeat(101)] {
            assert!(Topology::new(prefix.into()).is_err(), "{prefix}");
        }
        let topology = Topology::new("waybill".into()).unwrap();
        let route = topology.queue_name(&QueueName::Source("buses".into()), Duration::from_secs(2)).unwrap();
        let names = (route.exchange.as_str(), route.key.as_str(), route.queue.as_str());
        assert_eq!(names, ("waybill.delay.5s", "tasks.buses", "waybill.tasks.buses"));
        assert!(topology.queue_name(&QueueName::Source("x".repeat(250)), Duration::ZERO).is_err());
    }
}
