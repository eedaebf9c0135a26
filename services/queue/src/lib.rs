//! Delivery: messages on queues, at least once, to competing consumers.
//!
//! The queue is never the truth: whoever loses it loses no job, because the ledger can send every
//! message again. Two implementations behind one trait: [`Embedded`] in process, [`RabbitMq`] between
//! processes; one contract suite runs on both. Nothing but this crate names lapin.

mod embedded;
mod headers;
mod lock;
mod message;
mod metrics;
mod rabbitmq;

use std::{fmt, time::Duration};

use async_trait::async_trait;

pub use embedded::{DeadLetter, Embedded};
pub use headers::Headers;
pub use lock::Lock;
pub use message::{DecodeError, FieldValue, ItemFields, Message, PlanJob, RunTask, TaskItem, field_value};
pub use metrics::Metrics;
pub use rabbitmq::{RabbitMq, RabbitMqSettings};

/// Where a message goes: one queue for plans, one per source for its tasks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum QueueName {
    /// [`PlanJob`] of every source.
    Plans,
    /// [`RunTask`] of one source.
    Source(String),
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plans => f.write_str("plans"),
            Self::Source(name) => write!(f, "tasks.{name}"),
        }
    }
}

/// A message that was not accepted by the queue; it may be delivered all the same.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The broker is away, blocked or did not confirm in time.
    #[error("the message broker is unavailable: {0}")]
    Unavailable(String),
    /// The queue is being closed.
    #[error("the queue is closed")]
    Closed,
}

/// A broker, or what stands for one in this process.
#[async_trait]
pub trait Queue: fmt::Debug + Send + Sync + 'static {
    /// Puts a message on a queue, after `delay`. `Ok` means that the queue has taken charge of it; an error
    /// means that nobody knows, so that it may come all the same. Takes at most a few seconds, save that
    /// [`Embedded`] waits for room on a full queue.
    ///
    /// A delay up to 15 minutes is never cut short. A longer one may be: whoever gets the message too early
    /// sends it on once more. [`RabbitMq`] rounds up to 1, 5 or 15 seconds, or 1, 5 or 15 minutes.
    async fn publish(&self, queue_name: &QueueName, message: &Message, delay: Duration) -> Result<(), QueueError>;

    /// A consumer of a queue. At most `prefetch` of its messages are unsettled at once, those included that the broker
    /// has sent ahead and nobody has taken; dropping the consumer gives the latter back. It outlives connections: it
    /// waits for as long as the broker is away. After a connection is lost, what was in hand on it is delivered again,
    /// maybe to the same process, while it is still worked on.
    async fn consume(&self, queue_name: &QueueName, prefetch: u16) -> Result<Box<dyn Consumer>, QueueError>;

    /// Puts a message that was given up beside the queues, for people to look at.
    async fn dead_letter(&self, queue_name: &QueueName, message: &Message, reason: &str) -> Result<(), QueueError>;

    /// Takes a name that one process in the fleet has at a time; `None` where another has it, or had it a moment
    /// ago. Tries once, and takes at most 3 seconds. Names are up to 100 bytes long.
    ///
    /// A refusal is remembered for 200 ms, in which no other try of this process reaches the broker. So whoever
    /// lets go to give others a turn stays away for longer than that.
    async fn try_lock(&self, name: &str) -> Result<Option<Lock>, QueueError>;

    /// How many messages wait on a queue: neither in hand, nor on their way to a consumer, nor delayed. At most 3
    /// seconds.
    async fn waiting(&self, queue_name: &QueueName) -> Result<u64, QueueError>;

    /// Whether messages can be published and consumed now: what `/ready` asks. At most 2 seconds.
    async fn check(&self) -> Result<(), QueueError>;

    /// Whether messages outlive this process. Where they do not, the ledger sends out every unfinished
    /// job's messages at start.
    fn is_durable(&self) -> bool;

    /// Ends every consumer: their `next` answers `None`, and `consume` and `try_lock` are refused. Deliveries in hand
    /// can still be settled, and locks last until they are dropped; publishing is possible still, or answers
    /// [`QueueError::Closed`].
    async fn close(&self);
}

/// One consumer of one queue.
#[async_trait]
pub trait Consumer: Send {
    /// The next message; `None` once the queue is closed. Cancel-safe.
    async fn next(&mut self) -> Option<Delivery>;
}

/// A message in hand. It must be settled; dropping it unsettled gives it back.
pub struct Delivery {
    /// What it says.
    pub message: Message,
    /// Whether it was, or may have been, delivered before.
    pub redelivered: bool,
    /// What came with it.
    pub headers: Headers,
    settle: Box<dyn Settle>,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("message", &self.message)
            .field("redelivered", &self.redelivered)
            .finish_non_exhaustive()
    }
}

impl Delivery {
    /// Says that the work is done, or handed on. `false` where the queue no longer knew this delivery: it
    /// will come again.
    pub async fn ack(self) -> bool {
        self.settle.settle(true).await
    }

    /// Gives it back, to be delivered to somebody else at once.
    pub async fn give_back(self) -> bool {
        self.settle.settle(false).await
    }
}

/// How an implementation settles a delivery. Dropping one unsettled gives the message back.
#[async_trait]
trait Settle: Send {
    async fn settle(self: Box<Self>, done: bool) -> bool;
}

/// The longest reason that is kept with a buried message, in bytes: it has to fit into one frame.
const REASON: usize = 4_096;

/// As much of a reason as is kept.
fn shortened(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON)]
}
