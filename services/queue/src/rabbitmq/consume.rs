//! Consuming: one channel per consumer, a bounded number of messages in hand, and everything built anew when the
//! channel or its connection is lost.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use backoff::ExponentialBackoff;
use futures::{FutureExt, StreamExt, future::BoxFuture};
use lapin::{
    Acker, Channel,
    options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, warn};

use crate::{
    Consumer, Delivery, Headers, Message, QueueName, Settle,
    rabbitmq::{
        Broker,
        connection::{Session, new_backoff, pause},
        headers,
        topology::Route,
    },
};

/// How long one consumer may take to be set up.
const SET_UP: Duration = Duration::from_secs(20);

/// How long settling may take: an acknowledgement on a dead connection waits for its heartbeat.
const SETTLE: Duration = Duration::from_secs(5);

/// After so many seconds without a message a consumer is built anew, to be sure that it still is one: RabbitMQ 3.10
/// does not tell the consumers of a quorum queue that it was deleted where it was declared again at once.
/// At random, so that a fleet does not do it all at the same time.
const IDLE: std::ops::Range<u64> = 30..60;

/// A consumer that lived this long was a good one; the next try need not wait longer for its end.
const GOOD: Duration = Duration::from_secs(10);

/// Consumes one queue, for as long as the queue is open.
pub(super) struct RabbitMqConsumer {
    broker: Arc<Broker>,
    queue_name: QueueName,
    route: Route,
    prefetch: u16,
    state: State,
}

enum State {
    /// Kept here and not in `next`, so that whoever asks often and briefly gets there all the same.
    Building(BoxFuture<'static, Box<Live>>),
    Live(Box<Live>),
    Closed,
}

/// A consumer that the broker knows.
struct Live {
    channel: Channel,
    deliveries: lapin::Consumer,
    since: Instant,
    /// When it will have been idle for too long; set by the first wait after a delivery.
    idle: Option<Instant>,
    backoff: ExponentialBackoff,
}

impl RabbitMqConsumer {
    pub(super) fn new(broker: Arc<Broker>, queue_name: QueueName, route: Route, prefetch: u16) -> Self {
        let state = State::Building(build(broker.clone(), route.clone(), prefetch, new_backoff()).boxed());
        Self { broker, queue_name, route, prefetch, state }
    }

    /// One step towards a delivery. Cancel-safe: what is awaited lives in `self`, except for burying,
    /// where a message in hand goes back when dropped.
    async fn step(&mut self) -> Option<Delivery> {
        match &mut self.state {
            State::Building(building) => self.state = State::Live(building.await),
            State::Live(live) => match timeout_at(*live.idle.get_or_insert_with(idle), live.deliveries.next()).await {
                Err(_) => self.rebuild("it was idle for long"),
                Ok(Some(Ok(delivery))) => {
                    live.idle = None;
                    let in_hand = Box::new(InHand { acker: Some(delivery.acker), _channel: live.channel.clone() });
                    let redelivered = delivery.redelivered || delivery_count(&delivery.properties) > 0;
                    let headers = headers::read(&delivery.properties);
                    match Message::decode(&delivery.data) {
                        Ok(message) => return Some(Delivery { message, redelivered, headers, settle: in_hand }),
                        Err(error) => self.put_aside(in_hand, delivery.data, &headers, &error.to_string()).await,
                    }
                }
                // The channel or the connection failed; or the queue was deleted, or the consumer
                // cancelled. In each case a new one is the answer.
                Ok(Some(Err(error))) => self.rebuild(&error.to_string()),
                Ok(None) => self.rebuild("the broker cancelled the consumer"),
            },
            State::Closed => std::future::pending().await,
        }
        None
    }

    fn rebuild(&mut self, reason: &str) {
        debug!(queue_name = %self.queue_name, error = reason, "the consumer is built anew");
        if let State::Live(live) = std::mem::replace(&mut self.state, State::Closed) {
            let mut backoff = if live.since.elapsed() > GOOD { new_backoff() } else { live.backoff.clone() };
            let (broker, route, prefetch) = (self.broker.clone(), self.route.clone(), self.prefetch);
            let rebuilt = async move {
                // Also the first time: where the queue was deleted, its other consumers are to be told
                // before it is there again.
                pause(&mut backoff).await;
                build(broker, route, prefetch, backoff).await
            };
            self.state = State::Building(rebuilt.boxed());
        }
    }

    /// Buries what is no message, so that it does not come again and again.
    async fn put_aside(&mut self, in_hand: Box<InHand>, bytes: Vec<u8>, headers: &Headers, reason: &str) {
        match self.broker.dead_letter(&self.queue_name, bytes, headers, reason).await {
            Ok(()) => {
                warn!(queue_name = %self.queue_name, error = reason, "dead-lettered a message that cannot be read");
                in_hand.settle(true).await;
            }
            // Then the broker itself puts it among the dead, without the reason.
            Err(error) => {
                let error = format!("{reason}; dead-lettering it failed: {error}");
                warn!(queue_name = %self.queue_name, error, "rejected a message that cannot be read");
                in_hand.refuse().await;
            }
        }
    }
}

#[async_trait]
impl Consumer for RabbitMqConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        let closed = self.broker.closed.clone();
        loop {
            tokio::select! {
                biased;
                () = closed.cancelled() => {
                    // Cancels the consumer; a delivery in hand keeps the channel until it is settled.
                    self.state = State::Closed;
                    return None;
                }
                delivery = self.step() => if delivery.is_some() { return delivery },
            }
        }
    }
}

/// What the broker has sent ahead goes back at once, and not with the channel, which lives as long as what is in hand.
impl Drop for Live {
    fn drop(&mut self) {
        while let Some(Some(Ok(ahead))) = self.deliveries.next().now_or_never() {
            // Given back in good order: newer brokers do not count this as a failed delivery.
            let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
            let _ = ahead.acker.nack(options).now_or_never();
        }
    }
}

/// Sets up a consumer, for as long as it takes.
async fn build(broker: Arc<Broker>, route: Route, prefetch: u16, mut backoff: ExponentialBackoff) -> Box<Live> {
    loop {
        let session = broker.consuming.up().await;
        let reason = match timeout(SET_UP, open(&broker, &session, &route, prefetch)).await {
            Ok(Ok((channel, deliveries))) => {
                broker.note_queue(route.queue.as_str(), None);
                return Box::new(Live { channel, deliveries, since: Instant::now(), idle: None, backoff });
            }
            Ok(Err(error)) => broker.reason(&error),
            Err(_) => "the broker does not answer".to_owned(),
        };
        if session.connection.status().connected() {
            broker.note_queue(route.queue.as_str(), Some(&reason));
            warn!(queue = %route.queue, error = reason, "the queue cannot be consumed; trying on");
        }
        pause(&mut backoff).await;
    }
}

fn idle() -> Instant {
    Instant::now() + Duration::from_secs(fastrand::u64(IDLE))
}

async fn open(
    broker: &Broker,
    session: &Session,
    route: &Route,
    prefetch: u16,
) -> lapin::Result<(Channel, lapin::Consumer)> {
    let channel = session.connection.create_channel().await?;
    broker.topology.declare(&channel, route).await?;
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let deliveries = channel.basic_consume(route.queue.clone(), "".into(), options, FieldTable::default()).await?;
    Ok((channel, deliveries))
}

/// How often a quorum queue gave this message out before.
fn delivery_count(properties: &lapin::BasicProperties) -> i64 {
    let header = properties.headers().as_ref().and_then(|headers| headers.inner().get("x-delivery-count"));
    match header {
        Some(AMQPValue::LongLongInt(count)) => *count,
        Some(AMQPValue::LongInt(count)) => (*count).into(),
        _ => 0,
    }
}

/// A delivery that is not settled yet; it keeps its channel open.
struct InHand {
    acker: Option<Acker>,
    _channel: Channel,
}

impl InHand {
    async fn refuse(mut self: Box<Self>) {
        if let Some(acker) = self.acker.take() {
            let refused = acker.reject(BasicRejectOptions { requeue: false });
            // Where this fails, the connection is lost, and the message comes again.
            let _ = timeout(SETTLE, refused).await;
        }
    }
}

#[async_trait]
impl Settle for InHand {
    async fn settle(mut self: Box<Self>, done: bool) -> bool {
        let Some(acker) = self.acker.take() else { return false };
        let settled = timeout(SETTLE, async {
            if done {
                acker.ack(BasicAckOptions::default()).await
            } else {
                // Given back in good order: newer brokers do not count this as a failed delivery.
                acker.nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() }).await
            }
        });
        // After a reconnect the channel no longer knows the delivery, and says so in the bool.
        matches!(settled.await, Ok(Ok(true)))
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        if let Some(acker) = self.acker.take() {
            // Dropped unsettled, as in a panic: every broker counts this return, and puts the message aside
            // after too many. The first poll hands the command over; nobody waits for the rest.
            let _ = acker.reject(BasicRejectOptions { requeue: true }).now_or_never();
        }
    }
}
