//! The loops that take tasks from a source's queue, as fast as its limit allows over all workers together.
//!
//! A message is taken only when its task may start. So a loop that may not, has no consumer: a broker sends a
//! consumer one message ahead.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;
use waybill_queue::{Lock, QueueError, QueueName};
use waybill_source::{Definition, Limit};

use crate::{
    context::Context,
    delivery::work_delivery::WorkDelivery,
    limits::{
        distributed_semaphore::{DistributedSemaphore, Permit, jittered},
        throttle::Throttle,
    },
    retry, runner,
};

/// Tasks of a source with a rate that run at once: a slow answer must not hold up the next request.
const AT_ONCE: usize = 8;
/// How often a worker asks whether it can have a queue with a rate.
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

/// Starts the loops of a source, unless it lacks something.
pub(crate) fn serve(context: &Arc<Context>, definition: &Definition, loops: &mut JoinSet<()>) {
    let missing: Vec<_> = definition.missing_env(&context.worker.env).collect();
    let Some(throttle) = context.throttle(definition.name()).filter(|_| missing.is_empty()) else {
        tracing::warn!(source = definition.name(), ?missing, "not served: environment variables are not set");
        return;
    };
    let served = SourceConsumer {
        context: context.clone(),
        queue_name: QueueName::Source(definition.name().to_owned()),
        throttle: throttle.clone(),
    };
    tracing::info!(queue_name = %served.queue_name, limit = ?definition.limit(), "serving");
    match definition.limit() {
        Limit::Concurrency(requests) => {
            let queue = context.worker.queue.clone();
            let (permits, acquirer) = DistributedSemaphore::new(queue, definition.name(), requests);
            loops.spawn(acquirer.run(context.shutdown.clone()));
            for _ in 0..requests {
                loops.spawn(served.clone().run_with_permits(permits.clone()));
            }
        }
        Limit::Rate { .. } => {
            loops.spawn(served.run_at_a_rate(definition.name().to_owned(), definition.batch()));
        }
    }
}

/// A queue that is served.
#[derive(Debug, Clone)]
struct SourceConsumer {
    context: Arc<Context>,
    queue_name: QueueName,
    throttle: Arc<Throttle>,
}

/// The queue will have no more messages for this process.
struct QueueClosed;

impl SourceConsumer {
    async fn run_with_permits(self, permits: DistributedSemaphore) {
        let shutdown = self.context.shutdown.clone();
        while let Some(permit) = shutdown.run_until_cancelled(permits.get()).await.flatten() {
            if let Some(Err(QueueClosed)) = self.run_with(&permits, &permit).await {
                return;
            }
        }
    }

    /// Runs tasks for as long as the permit is ours; `None` at shutdown.
    async fn run_with(&self, permits: &DistributedSemaphore, permit: &Permit) -> Option<Result<(), QueueClosed>> {
        let Self { context, queue_name, throttle } = self;
        let mut let_go = false;
        while !let_go && permit.is_held() {
            tokio::select! {
                biased;
                () = context.shutdown.cancelled() => return None,
                () = permit.lost() => break,
                () = permits.called_back() => break,
                () = throttle.open(1) => {}
            }
            let Some(mut consumer) = runner::consumer(context, queue_name).await else { return Some(Err(QueueClosed)) };
            loop {
                let delivery = tokio::select! {
                    biased;
                    () = context.shutdown.cancelled() => return None,
                    () = permit.lost() => break,
                    () = permits.called_back() => { let_go = true; break }
                    () = throttle.paused() => break,
                    delivery = consumer.next() => match delivery {
                        Some(delivery) => delivery,
                        None => return Some(Err(QueueClosed)),
                    },
                };
                let_go = permits.is_called_back();
                if let_go {
                    // Before the delivery is settled, so that the broker sends no other one ahead.
                    drop(consumer);
                    runner::run(context, queue_name, WorkDelivery::new(delivery)).await;
                    break;
                }
                runner::run(context, queue_name, WorkDelivery::new(delivery)).await;
            }
        }
        Some(Ok(()))
    }

    async fn run_at_a_rate(self, source: String, batch: usize) {
        let (mut tasks, slots) = (JoinSet::new(), Arc::new(Semaphore::new(AT_ONCE)));
        while let Some(lock) = self.lock(&format!("rate.{source}")).await {
            tracing::info!(queue_name = %self.queue_name, "keeping the rate of this queue");
            self.throttle.take_over(batch);
            let taken = tokio::select! {
                () = lock.lost() => Ok(()),
                taken = self.take_at_a_rate(batch, &slots, &mut tasks) => taken,
            };
            if self.context.shutdown.is_cancelled() || taken.is_err() {
                // What is in hand may send further requests while the process drains: the hold stays.
                while tasks.join_next().await.is_some() {}
                return;
            }
            // What is in hand may finish, but sends no further requests.
            tracing::warn!(queue_name = %self.queue_name, "another worker may keep the rate of this queue now");
            self.throttle.let_go();
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Waits until the name is ours; `None` at shutdown.
    async fn lock(&self, name: &str) -> Option<Lock> {
        loop {
            match self.context.worker.queue.try_lock(name).await {
                Ok(Some(lock)) => return Some(lock),
                Ok(None) => {}
                Err(QueueError::Closed) => return None,
                Err(error) => tracing::debug!(queue_name = %self.queue_name, %error, "the queue is not to be had"),
            }
            retry::pause(jittered(BETWEEN_TRIES), &self.context.shutdown).await.ok()?;
        }
    }

    /// Takes messages, each when its first request may go out, until shutdown. Cancel-safe: what was taken runs
    /// in `tasks`.
    async fn take_at_a_rate(
        &self,
        batch: usize,
        slots: &Arc<Semaphore>,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), QueueClosed> {
        let Self { context, queue_name, throttle } = self;
        loop {
            while tasks.try_join_next().is_some() {}
            let slot = tokio::select! {
                biased;
                () = context.shutdown.cancelled() => return Ok(()),
                slot = slots.clone().acquire_owned() => slot,
            };
            tokio::select! {
                biased;
                () = context.shutdown.cancelled() => return Ok(()),
                () = throttle.open(batch) => {}
            }
            let mut consumer = runner::consumer(context, queue_name).await.ok_or(QueueClosed)?;
            let delivery = tokio::select! {
                biased;
                () = context.shutdown.cancelled() => return Ok(()),
                () = throttle.paused() => continue,
                delivery = consumer.next() => delivery.ok_or(QueueClosed)?,
            };
            // Before the delivery is settled, so that the broker sends no other one ahead.
            drop(consumer);
            let (served, started) = (self.clone(), CancellationToken::new());
            let delivery = WorkDelivery::new(delivery).with_start(started.clone().drop_guard());
            tasks.spawn(async move {
                let _slot = slot;
                runner::run(&served.context, &served.queue_name, delivery).await;
            });
            // What it takes of the rate is not known before.
            started.cancelled().await;
        }
    }
}
