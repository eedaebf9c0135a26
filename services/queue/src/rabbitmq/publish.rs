//! Publishing with confirms. One message is under way on a channel at a time: lapin matches returned messages to the wrong
//! confirm where several are, so a pool of channels makes up for it.

use std::{sync::Arc, time::Duration};

use lapin::{
    BasicProperties, Channel, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{FieldTable, ShortString},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

use crate::{
    QueueError,
    rabbitmq::{
        connection::{BLOCKED, Link, Session},
        topology::{self, Route, Topology},
    },
};

/// Messages under way at once, each on its own channel.
const CHANNELS: usize = 16;

/// How long a publisher waits for the broker to take charge of its message.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a channel waits for one answer before it is given up.
const ANSWER: Duration = Duration::from_secs(20);

/// How often a message is tried, and the pause in between. Two things want a pause: a new quorum queue refuses
/// messages until it has started, which those see who find it declared by somebody else; and a
/// deleted one must stay away for a moment, because RabbitMQ 3.10 tells its consumers of its end only
/// where it is not there again by then.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(300);

/// In AMQP's numbers: a message that survives a restart.
const PERSISTENT: u8 = 2;

/// Sends messages over a pool of channels.
pub(super) struct Publisher {
    link: Arc<Link>,
    topology: Topology,
    places: Arc<Semaphore>,
}

impl Publisher {
    pub(super) fn new(link: Link, topology: Topology) -> Self {
        Self { link: Arc::new(link), topology, places: Arc::new(Semaphore::new(CHANNELS)) }
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Publishes and waits until the broker has taken charge.
    ///
    /// The message is sent by a task of its own, which outlives our wait for it: a message handed to lapin
    /// cannot be taken back, so its channel is in use, and its place taken, until its fate is known. That
    /// is also what bounds the memory while the broker blocks us.
    pub(super) async fn publish(&self, route: Route, body: Vec<u8>, headers: FieldTable) -> Result<(), QueueError> {
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type("application/x-protobuf".into())
            .with_headers(headers);
        let sent = async {
            let sending = self.start(route, body, properties).await?;
            let sent = tokio::spawn(sending.send()).await;
            sent.unwrap_or_else(|error| Err(QueueError::Unavailable(error.to_string())))
        };
        timeout(PATIENCE, sent).await.unwrap_or_else(|_| {
            let reason = format!("the broker did not take the message within {} seconds", PATIENCE.as_secs());
            Err(QueueError::Unavailable(reason))
        })
    }

    /// Declares what a route needs, unless that is done on this connection.
    pub(super) async fn declare(&self, route: &Route) -> Result<lapin::Result<()>, QueueError> {
        let session = self.link.session().await?;
        Ok(declare(&session, &self.topology, route).await)
    }

    /// Whether there is a queue of this name, whoever owns it; it gets an empty message then. Not asked of a broker
    /// that blocks us. As with [`Publisher::publish`], a question outlives whoever stops waiting for its answer.
    pub(super) async fn queue_exists(&self, queue: ShortString) -> Result<bool, QueueError> {
        let sending = self.start(Route::to(queue), Vec::new(), BasicProperties::default()).await?;
        if sending.session.connection.status().blocked() {
            return Err(self.link.unavailable(BLOCKED));
        }
        let reached = tokio::spawn(sending.once()).await;
        reached.unwrap_or_else(|error| Err(QueueError::Unavailable(error.to_string())))
    }

    /// Waits for a place and a connection.
    async fn start(&self, route: Route, body: Vec<u8>, properties: BasicProperties) -> Result<Sending, QueueError> {
        let place = self.places.clone().acquire_owned().await.map_err(|_| QueueError::Closed)?;
        let session = self.link.session().await?;
        let (link, topology) = (self.link.clone(), self.topology.clone());
        Ok(Sending { link, topology, session, route, body, properties, _place: place })
    }
}

/// One message under way.
struct Sending {
    link: Arc<Link>,
    topology: Topology,
    session: Arc<Session>,
    route: Route,
    body: Vec<u8>,
    properties: BasicProperties,
    _place: OwnedSemaphorePermit,
}

/// How one attempt failed.
enum Failure {
    /// There is no such queue or exchange, not any more.
    NoRoute,
    /// The queue would not have it.
    Refused,
    Broker(QueueError),
}

impl Sending {
    /// Sends it. Where it has nowhere to go, somebody deleted what was declared: then it is declared anew.
    async fn send(self) -> Result<(), QueueError> {
        for left in (0..ATTEMPTS).rev() {
            match self.declare_and_attempt().await {
                Ok(()) => return Ok(()),
                Err(Failure::Broker(error)) => return Err(error),
                Err(Failure::NoRoute) => drop(self.session.declared().remove(&self.route.needs())),
                Err(Failure::Refused) => {}
            }
            if left > 0 {
                sleep(PAUSE).await;
            }
        }
        Err(QueueError::Unavailable(format!("{} takes no messages: it may be full", self.route.queue)))
    }

    /// Sends it once, as things are; `false` where it has nowhere to go.
    async fn once(self) -> Result<bool, QueueError> {
        match self.attempt().await {
            Ok(()) | Err(Failure::Refused) => Ok(true),
            Err(Failure::NoRoute) => Ok(false),
            Err(Failure::Broker(error)) => Err(error),
        }
    }

    async fn declare_and_attempt(&self) -> Result<(), Failure> {
        self.answered(declare(&self.session, &self.topology, &self.route)).await?;
        self.attempt().await
    }

    async fn attempt(&self) -> Result<(), Failure> {
        let idle = self.session.idle().pop();
        let channel = match idle {
            Some(channel) => channel,
            None => self.answered(self.open()).await?,
        };
        let (exchange, key) = (self.route.exchange.clone(), self.route.key.clone());
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let writing = channel.basic_publish(exchange, key, options, &self.body, self.properties.clone());
        // This ends when the message is written, or the connection dead. Without a limit of its own: the end
        // of a channel would overtake a message still unwritten, and cost us the whole connection.
        let confirm = writing.await.map_err(|error| self.failure(&error))?;
        let confirmation = self.answered(confirm).await?;
        self.session.idle().push(channel);
        match confirmation {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Err(Failure::NoRoute),
            Confirmation::Nack(None) => Err(Failure::Refused),
            Confirmation::NotRequested => Err(Failure::Broker(self.link.unavailable("the channel has no confirms"))),
        }
    }

    async fn open(&self) -> lapin::Result<Channel> {
        let channel = self.session.connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(channel)
    }

    /// What the broker answers, if it does in time.
    async fn answered<T>(&self, answer: impl Future<Output = lapin::Result<T>>) -> Result<T, Failure> {
        match timeout(ANSWER, answer).await {
            Ok(answer) => answer.map_err(|error| self.failure(&error)),
            Err(_) => Err(Failure::Broker(self.link.unavailable("the broker does not answer"))),
        }
    }

    fn failure(&self, error: &lapin::Error) -> Failure {
        if topology::is(error, topology::NOT_FOUND) {
            Failure::NoRoute
        } else {
            Failure::Broker(self.link.unavailable(error))
        }
    }
}

/// Declares what a route needs, unless that is done on this connection.
async fn declare(session: &Session, topology: &Topology, route: &Route) -> lapin::Result<()> {
    let needs = route.needs();
    if session.declared().contains(&needs) {
        return Ok(());
    }
    let _alone = session.declaring.lock().await;
    if !session.declared().contains(&needs) {
        let channel = session.connection.create_channel().await?;
        topology.declare(&channel, route).await?;
        session.declared().insert(needs);
    }
    Ok(())
}
