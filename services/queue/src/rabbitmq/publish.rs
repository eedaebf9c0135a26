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

/// How often a message is tried, and the pause in between. Two things want a pause: a new quorum queue refuses
/// messages until it has started, which those see who find it declared by somebody else; and a
/// deleted one must stay away for a moment, because RabbitMQ 3.10 tells its consumers of its end only
/// where it is not there again by then.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(300);

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
    /// There is no such queue or exchange, not any more.
    NoRoute,
    /// The queue would not have it.
    Refused,
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

/// Sends a message. Where it has nowhere to go, somebody deleted what was declared: then it is declared anew.
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
    for left in (0..ATTEMPTS).rev() {
        match attempt(link, topology, session, route, body, properties.clone()).await {
            Ok(()) => return Ok(()),
            Err(Failure::Broker(error)) => return Err(error),
            Err(Failure::NoRoute) => drop(session.declared().remove(&route.needs())),
            Err(Failure::Refused) => {}
        }
        if left > 0 {
            sleep(PAUSE).await;
        }
    }
    Err(QueueError::Unavailable(format!("{} takes no messages: it may be full", route.queue)))
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

    timeout(ANSWER, declare(topology, session, route)).await.map_err(late)?.map_err(failed)?;
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
        Confirmation::Nack(None) => Err(Failure::Refused),
        Confirmation::NotRequested => Err(Failure::Broker(link.unavailable("the channel has no confirms"))),
    }
}

/// Declares what the route needs, unless that is done.
async fn declare(topology: &Topology, session: &Session, route: &Route) -> lapin::Result<()> {
    if session.declared().contains(&route.needs()) {
        return Ok(());
    }
    let _alone = session.declaring.lock().await;
    if !session.declared().contains(&route.needs()) {
        let channel = session.connection.create_channel().await?;
        topology.declare(&channel, route).await?;
        session.declared().insert(route.needs());
    }
    Ok(())
}

async fn open(session: &Session) -> lapin::Result<Channel> {
    let channel = session.connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}
