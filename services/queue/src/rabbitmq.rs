//! RabbitMQ: quorum queues, confirms, and connections that are rebuilt for ever. The only room that
//! names lapin. Nothing here, no error and no log line, ever shows the password.

mod address;
mod connect;
mod connect_error;
mod connection;
mod consume;
mod headers;
mod lock;
mod publish;
mod topology;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use lapin::types::AMQPValue;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    Consumer, Headers, Lock, Message, Metrics, Queue, QueueError, QueueName,
    rabbitmq::{
        address::Address, connection::Link, consume::RabbitMqConsumer, lock::LocalLocks, publish::Publisher,
        topology::Topology,
    },
    shortened,
};

/// How long `/ready` waits for the broker.
const CHECK: Duration = Duration::from_secs(2);

/// How long counting the messages of a queue may take.
const COUNT: Duration = Duration::from_secs(3);

/// How to reach the broker.
#[derive(Clone)]
pub struct RabbitMqSettings {
    /// `amqp://user:password@host:5672/vhost`, or `amqps://`; never shown. Without a path it is the virtual
    /// host `/`. A heartbeat of 10 seconds is asked for unless it says otherwise (`?heartbeat=20`).
    pub url: String,
    /// Put before every queue's and exchange's name: `waybill`. Tests use a random one. At most 100 of
    /// ASCII letters, digits, `.`, `_` and `-`.
    pub prefix: String,
}

/// A connection for publishing and one for consuming, each rebuilt for as long as it takes.
///
/// Cheap to clone. After [`Queue::close`] the last clone can still publish, so that work in hand can be
/// finished; the connections close once every clone, consumer and delivery is dropped.
#[derive(Clone)]
pub struct RabbitMq(Arc<Broker>);

struct Broker {
    address: Address,
    topology: Topology,
    publishing: Publisher,
    consuming: Link,
    locks: LocalLocks,
    /// Queues that cannot be consumed though the broker is there, and why.
    unusable: Mutex<BTreeMap<String, String>>,
    closed: CancellationToken,
}

impl fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMq").field("address", &self.0.address).field("topology", &self.0.topology).finish()
    }
}

impl RabbitMq {
    /// Starts connecting, in the background; returns at once. Refused only where the URL is none, or the
    /// prefix cannot be one. It needs a Tokio runtime around it.
    pub fn new(settings: RabbitMqSettings, metrics: &Metrics) -> anyhow::Result<Self> {
        let address: Address = settings.url.parse()?;
        let topology = Topology::new(settings.prefix)?;
        let publishing = Publisher::new(Link::start(address.clone(), "publish", metrics), topology.clone());
        let consuming = Link::start(address.clone(), "consume", metrics);
        let (locks, closed) = (LocalLocks::default(), CancellationToken::new());
        Ok(Self(Arc::new(Broker {
            address,
            topology,
            publishing,
            consuming,
            locks,
            unusable: Mutex::default(),
            closed,
        })))
    }
}

#[async_trait]
impl Queue for RabbitMq {
    async fn publish(&self, queue_name: &QueueName, message: &Message, delay: Duration) -> Result<(), QueueError> {
        let route = self.0.topology.queue_name(queue_name, delay)?;
        let headers = headers::table(&Headers::now(route.delay()));
        self.0.publishing.publish(route, message.encode(), headers).await
    }

    async fn consume(&self, queue_name: &QueueName, prefetch: u16) -> Result<Box<dyn Consumer>, QueueError> {
        if self.0.closed.is_cancelled() {
            return Err(QueueError::Closed);
        }
        let route = self.0.topology.queue_name(queue_name, Duration::ZERO)?;
        Ok(Box::new(RabbitMqConsumer::new(self.0.clone(), queue_name.clone(), route, prefetch)))
    }

    async fn dead_letter(&self, queue_name: &QueueName, message: &Message, reason: &str) -> Result<(), QueueError> {
        self.0.dead_letter(queue_name, message.encode(), &Headers::now(Duration::ZERO), reason).await
    }

    async fn try_lock(&self, name: &str) -> Result<Option<Lock>, QueueError> {
        if self.0.closed.is_cancelled() {
            return Err(QueueError::Closed);
        }
        let links = (&self.0.consuming, &self.0.publishing);
        self.0.locks.try_lock(links, name, self.0.topology.lock(name)?).await
    }

    async fn waiting(&self, queue_name: &QueueName) -> Result<u64, QueueError> {
        let route = self.0.topology.queue_name(queue_name, Duration::ZERO)?;
        let counted = timeout(COUNT, async {
            let session = self.0.consuming.session().await?;
            let counted = topology::waiting(&session.connection, &route).await;
            counted.map_err(|error| self.0.consuming.unavailable(error))
        });
        counted.await.unwrap_or_else(|_| Err(self.0.consuming.unavailable("the broker does not answer")))
    }

    async fn check(&self) -> Result<(), QueueError> {
        let checked = timeout(CHECK, async {
            tokio::try_join!(self.0.publishing.link().probe(), self.0.consuming.probe())?;
            self.0.check_plans().await?;
            self.0.check_queues()
        });
        match checked.await {
            Ok(result) => result,
            Err(_) => Err(QueueError::Unavailable(format!("{:?} did not answer in time", self.0.address))),
        }
    }

    fn is_durable(&self) -> bool {
        true
    }

    async fn close(&self) {
        self.0.closed.cancel();
    }
}

impl Broker {
    /// Whether the queue that every process needs is as we declare it: one that only publishes has no consumer that
    /// would say so. Where it is, the broker is asked once a connection.
    async fn check_plans(&self) -> Result<(), QueueError> {
        let route = self.topology.queue_name(&QueueName::Plans, Duration::ZERO)?;
        let declared = self.publishing.declare(&route).await?;
        declared.map_err(|error| unusable(route.queue.as_str(), &self.reason(&error)))
    }

    /// Whether every queue that is consumed can be.
    fn check_queues(&self) -> Result<(), QueueError> {
        let unusable_queues = self.unusable.lock().unwrap_or_else(PoisonError::into_inner);
        unusable_queues.iter().next().map_or(Ok(()), |(queue, reason)| Err(unusable(queue, reason)))
    }

    /// Why a queue cannot be declared or consumed, and what to change, where it is known.
    fn reason(&self, error: &lapin::Error) -> String {
        let reason = self.address.reason(error);
        if topology::is(error, topology::PRECONDITION_FAILED) {
            return format!("{reason}; delete it, so that it is declared anew and its messages are published again");
        }
        reason
    }

    /// Remembers whether a queue can be consumed.
    fn note_queue(&self, queue: &str, reason: Option<&str>) {
        let mut unusable = self.unusable.lock().unwrap_or_else(PoisonError::into_inner);
        match reason {
            Some(reason) => unusable.insert(queue.to_owned(), reason.to_owned()),
            None => unusable.remove(queue),
        };
    }

    async fn dead_letter(
        &self,
        queue_name: &QueueName,
        body: Vec<u8>,
        headers: &Headers,
        reason: &str,
    ) -> Result<(), QueueError> {
        let reason = shortened(reason);
        let mut headers = headers::table(headers);
        headers.insert("queue".into(), AMQPValue::LongString(queue_name.to_string().into()));
        headers.insert("reason".into(), AMQPValue::LongString(reason.into()));
        self.publishing.publish(self.topology.dead(queue_name)?, body, headers).await?;
        Ok(())
    }
}

fn unusable(queue: &str, reason: &str) -> QueueError {
    QueueError::Unavailable(format!("the queue {queue} cannot be consumed: {reason}"))
}
