//! Publishing with confirms. One message is under way on a channel at a time: lapin matches returned messages to the wrong
//! confirm where several are, so a pool of channels makes up for it.

use std::{sync::Arc, time::Duration};

use lapin::{
    BasicProperties, Channel, Confirmation, ErrorKind,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::FieldTable,
};
use tokio::{
    sync::Semaphore,
    time::{error::Elapsed, sleep, timeout},
};

use super::{
    link::{Link, Session},
    topology::{Route, Topology},
};
use crate::QueueError;

/// Messages under way at once, each on its own channel.
const CHANNELS: usize = 16;

/// How long a publisher waits for the broker to take charge of its message.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a channel waits for one answer before it is given up.
const ANSWER: Duration = Duration::from_secs(20);

/// How long a deleted queue is left alone before it is declared anew. RabbitMQ 3.10 tells the consumers of a
/// quorum queue of its end only where the queue is not there again by the time it looks.
const NOTICE: Duration = Duration::from_millis(300);

/// Persistent, in AMQP's numbers.
const PERSISTENT: u8 = 2;

/// Sends messages over a pool of channels.
pub(super) struct Publisher {
    link: Arc<Link>,
    topology: Topology,
    places: Arc<Semaphore>,
}

/// How one attempt failed.
enum Failure {
    /// There is no such queue or exchange; now or any more.
    NoRoute,
    Broker(QueueError),
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
    /// The message is sent by a task of its own, which outlives our patience: a message handed to lapin
    /// cannot be taken back, so its channel is in use, and its place taken, until its fate is known. That
    /// is also what bounds the memory while the broker blocks us.
    pub(super) async fn publish(&self, route: Route, body: Vec<u8>, headers: FieldTable) -> Result<(), QueueError> {
        let sent = async {
            let place = self.places.clone().acquire_owned().await.map_err(|_| QueueError::Closed)?;
            let session = self.link.session().await?;
            let (link, topology) = (self.link.clone(), self.topology.clone());
            let sending = tokio::spawn(async move {
                let _place = place;
                send(&link, &topology, &session, &route, &body, headers).await
            });
            sending.await.unwrap_or_else(|error| Err(QueueError::Unavailable(error.to_string())))
        };
        timeout(PATIENCE, sent).await.unwrap_or_else(|_| {
            let reason = format!("the broker did not take the message within {} seconds", PATIENCE.as_secs());
            Err(QueueError::Unavailable(reason))
        })
    }
}

/// Sends a message; where it has nowhere to go, somebody deleted what was declared: then, once again.
async fn send(
    link: &Link,
    topology: &Topology,
    session: &Session,
    route: &Route,
    body: &[u8],
    headers: FieldTable,
) -> Result<(), QueueError> {
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/x-protobuf".into())
        .with_headers(headers);
    for _ in 0..2 {
        match attempt(link, topology, session, route, body, properties.clone()).await {
            Ok(()) => return Ok(()),
            Err(Failure::NoRoute) => {
                session.declared().remove(&route.needs());
                sleep(NOTICE).await;
            }
            Err(Failure::Broker(error)) => return Err(error),
        }
    }
    Err(QueueError::Unavailable(format!("{} leads nowhere", route.needs())))
}

async fn attempt(
    link: &Link,
    topology: &Topology,
    session: &Session,
    route: &Route,
    body: &[u8],
    properties: BasicProperties,
) -> Result<(), Failure> {
    let failed = |error: lapin::Error| match error.kind() {
        ErrorKind::ProtocolError(error) if error.get_id() == 404 => Failure::NoRoute,
        _ => Failure::Broker(link.unavailable(error)),
    };
    let late = |_: Elapsed| Failure::Broker(link.unavailable("the broker does not answer"));

    if !session.declared().contains(&route.needs()) {
        let declared = timeout(ANSWER, async {
            let channel = session.connection.create_channel().await?;
            topology.declare(&channel, route).await
        });
        declared.await.map_err(late)?.map_err(failed)?;
        session.declared().insert(route.needs());
    }

    let idle = session.idle().pop();
    let channel = match idle {
        Some(channel) => channel,
        None => timeout(ANSWER, open(session)).await.map_err(late)?.map_err(failed)?,
    };
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let sending = channel.basic_publish(route.exchange.clone(), route.key.clone(), options, body, properties);
    // This ends when the message is written, or the connection dead. Without a limit of its own: a channel
    // that is closed with a message still unwritten would overtake it, and cost us the whole connection.
    let confirm = sending.await.map_err(failed)?;
    let confirmation = timeout(ANSWER, confirm).await.map_err(late)?.map_err(failed)?;
    session.idle().push(channel);
    match confirmation {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Err(Failure::NoRoute),
        Confirmation::Nack(None) => Err(Failure::Broker(link.unavailable(format!("{} is full", route.queue)))),
        Confirmation::NotRequested => Err(Failure::Broker(link.unavailable("the channel has no confirms"))),
    }
}

async fn open(session: &Session) -> lapin::Result<Channel> {
    let channel = session.connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}
