//! The loops that take tasks from a source's lane, as fast as its limit allows over all workers together.
//!
//! A message is taken only when its task may start. So a loop that may not, has no consumer: a broker sends a
//! consumer one message ahead.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;
use waybill_queue::{Hold, Lane, QueueError};
use waybill_source::{Definition, Limit};

use crate::{
    context::Context,
    delivery::work_delivery::Parcel,
    limits::{
        distributed_semaphore::{Permit, Permits, jittered},
        throttle::Gate,
    },
    retry, runner,
};

/// Tasks of a source with a rate that run at once: a slow answer must not hold up the next request.
const AT_ONCE: usize = 8;
/// How often a worker asks whether it can have a lane with a rate.
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

/// Starts the loops of a source, unless it lacks something.
pub(crate) fn serve(context: &Arc<Context>, definition: &Definition, loops: &mut JoinSet<()>) {
    let missing: Vec<_> = definition.missing_env(&context.worker.env).collect();
    let Some(gate) = context.gate(definition.name()).filter(|_| missing.is_empty()) else {
        tracing::warn!(source = definition.name(), ?missing, "not served: environment variables are not set");
        return;
    };
    let served =
        Served { context: context.clone(), lane: Lane::Source(definition.name().to_owned()), gate: gate.clone() };
    tracing::info!(lane = %served.lane, limit = ?definition.limit(), "serving");
    match definition.limit() {
        Limit::Concurrency(requests) => {
            let queue = context.worker.queue.clone();
            let (permits, acquirer) = Permits::new(queue, definition.name(), requests);
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

/// A lane that is served.
#[derive(Debug, Clone)]
struct Served {
    context: Arc<Context>,
    lane: Lane,
    gate: Arc<Gate>,
}

/// The lane will have no more messages for this process.
struct Over;

impl Served {
    async fn run_with_permits(self, permits: Permits) {
        let shutdown = self.context.shutdown.clone();
        while let Some(permit) = shutdown.run_until_cancelled(permits.get()).await.flatten() {
            if let Some(Err(Over)) = self.run_with(&permits, &permit).await {
                return;
            }
        }
    }

    /// Runs tasks for as long as the permit is ours; `None` at shutdown.
    async fn run_with(&self, permits: &Permits, permit: &Permit) -> Option<Result<(), Over>> {
        let Self { context, lane, gate } = self;
        let mut let_go = false;
        while !let_go && permit.is_held() {
            tokio::select! {
                biased;
                () = context.shutdown.cancelled() => return None,
                () = permit.lost() => break,
                () = permits.called_back() => break,
                () = gate.open(1) => {}
            }
            let Some(mut consumer) = runner::consumer(context, lane).await else { return Some(Err(Over)) };
            loop {
                let delivery = tokio::select! {
                    biased;
                    () = context.shutdown.cancelled() => return None,
                    () = permit.lost() => break,
                    () = permits.called_back() => { let_go = true; break }
                    () = gate.paused() => break,
                    delivery = consumer.next() => match delivery {
                        Some(delivery) => delivery,
                        None => return Some(Err(Over)),
                    },
                };
                let_go = permits.is_called_back();
                if let_go {
                    // Before the delivery is settled, so that the broker sends no other one ahead.
                    drop(consumer);
                    runner::run(context, lane, Parcel::new(delivery)).await;
                    break;
                }
                runner::run(context, lane, Parcel::new(delivery)).await;
            }
        }
        Some(Ok(()))
    }

    async fn run_at_a_rate(self, source: String, batch: usize) {
        let (mut tasks, slots) = (JoinSet::new(), Arc::new(Semaphore::new(AT_ONCE)));
        while let Some(hold) = self.hold(&format!("rate.{source}")).await {
            tracing::info!(lane = %self.lane, "keeping the rate of this lane");
            self.gate.take_over(batch);
            let taken = tokio::select! {
                () = hold.lost() => Ok(()),
                taken = self.take_at_a_rate(batch, &slots, &mut tasks) => taken,
            };
            if self.context.shutdown.is_cancelled() || taken.is_err() {
                // What is in hand may send further requests while the process drains: the hold stays.
                while tasks.join_next().await.is_some() {}
                return;
            }
            // What is in hand may finish, but sends no further requests.
            tracing::warn!(lane = %self.lane, "another worker may keep the rate of this lane now");
            self.gate.let_go();
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Waits until the name is ours; `None` at shutdown.
    async fn hold(&self, name: &str) -> Option<Hold> {
        loop {
            match self.context.worker.queue.try_hold(name).await {
                Ok(Some(hold)) => return Some(hold),
                Ok(None) => {}
                Err(QueueError::Closed) => return None,
                Err(error) => tracing::debug!(lane = %self.lane, %error, "the lane is not to be had"),
            }
            retry::pause(jittered(BETWEEN_TRIES), &self.context.shutdown).await.ok()?;
        }
    }

    /// Takes messages, each when its first request may go out, until shutdown. Cancel-safe: what was taken runs
    /// in `tasks`.
    async fn take_at_a_rate(&self, batch: usize, slots: &Arc<Semaphore>, tasks: &mut JoinSet<()>) -> Result<(), Over> {
        let Self { context, lane, gate } = self;
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
                () = gate.open(batch) => {}
            }
            let mut consumer = runner::consumer(context, lane).await.ok_or(Over)?;
            let delivery = tokio::select! {
                biased;
                () = context.shutdown.cancelled() => return Ok(()),
                () = gate.paused() => continue,
                delivery = consumer.next() => delivery.ok_or(Over)?,
            };
            // Before the delivery is settled, so that the broker sends no other one ahead.
            drop(consumer);
            let (served, started) = (self.clone(), CancellationToken::new());
            let parcel = Parcel::new(delivery).with_start(started.clone().drop_guard());
            tasks.spawn(async move {
                let _slot = slot;
                runner::run(&served.context, &served.lane, parcel).await;
            });
            // What it takes of the rate is not known before.
            started.cancelled().await;
        }
    }
}
