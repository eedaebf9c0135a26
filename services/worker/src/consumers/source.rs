//! The loops that take tasks from a source's queue, as fast as its limit allows over all workers together.
//!
//! A message is taken only when its task may start. While it may not, there is no consumer: a broker sends a consumer messages
//! ahead, as many as its prefetch.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use waybill_queue::{Lock, QueueError, QueueName};
use waybill_source::{Definition, Limit};

use crate::{
    consumers::serial,
    context::Context,
    delivery::{run_delivery, work_delivery::WorkDelivery},
    limits::{
        distributed_semaphore::{DistributedSemaphore, Permit, jittered},
        spent::Spent,
        throttle::{SHORT_DOWNLOAD, Throttle},
    },
    retry,
};

/// Tasks in hand under one permit, while downloads are short: one downloads, the others store and commit what has come, so that
/// the upstream need not wait for the store, and commits share segments.
const AT_ONCE: u16 = 4;
/// Tasks of a source with a rate that run at once, at least: a slow answer must not hold up the next request.
const LEAST_AT_ONCE: u64 = 8;
/// At most: a task has a spool of up to 1 MiB in memory.
const MOST_AT_ONCE: u64 = 256;
/// Answers that take so long still keep up with the rate.
const SLOW_ANSWER: Duration = Duration::from_secs(2);
/// Tasks that start within this time are taken before they may start: getting a message takes a moment, too.
const TAKEN_AHEAD: Duration = Duration::from_millis(500);
/// Messages that the broker may send ahead are those of tasks that start within this time: far below its consumer
/// timeout of half an hour.
const SENT_AHEAD: Duration = Duration::from_secs(60);
/// How often a worker asks whether it can have a queue with a rate.
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

/// Starts the loops of a source, unless it lacks something.
pub(crate) fn serve(context: &Arc<Context>, definition: &Definition, loops: &mut JoinSet<()>) {
    if definition.loads_upload().is_some() {
        return serve_loads(context, definition, loops);
    }
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
            let items_per_request = if definition.upload().is_some() { 1 } else { definition.batch() };
            let pace = Pace::of(definition.limit(), definition.batch());
            loops.spawn(served.run_at_a_rate(definition.name().to_owned(), items_per_request, pace));
        }
    }
}

/// Starts the loop of a source whose uploads are loaded. It has no limit but that of one load at a time.
fn serve_loads(context: &Arc<Context>, definition: &Definition, loops: &mut JoinSet<()>) {
    if context.worker.loader.is_none() {
        tracing::warn!(source = definition.name(), "not served: this worker loads no tables");
        return;
    }
    let queue_name = QueueName::Source(definition.name().to_owned());
    tracing::info!(%queue_name, "serving");
    loops.spawn(serial::run(context.clone(), queue_name));
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

/// Why a loop takes no further messages.
enum Left {
    /// It may, after a pause or with another prefetch.
    Again,
    /// The permit is lost, or called back.
    Permit,
    Shutdown,
    Queue,
}

impl SourceConsumer {
    async fn run_with_permits(self, permits: DistributedSemaphore) {
        let shutdown = self.context.shutdown.clone();
        while let Some(permit) = shutdown.run_until_cancelled(permits.get()).await.flatten() {
            self.throttle.permit(permit.lock().clone());
            let ended = self.run_with(&permits, &permit).await;
            self.throttle.release(permit.lock()).await;
            if let Some(Err(QueueClosed)) = ended {
                return;
            }
        }
    }

    /// Runs tasks for as long as the permit is ours; `None` at shutdown. No task is in hand when it returns.
    async fn run_with(&self, permits: &DistributedSemaphore, permit: &Permit) -> Option<Result<(), QueueClosed>> {
        let Self { context, throttle, .. } = self;
        while permit.is_held() {
            tokio::select! {
                biased;
                () = context.shutdown.cancelled() => return None,
                () = permit.lost() => break,
                () = permits.called_back() => break,
                () = throttle.open(1) => {}
            }
            let mut tasks = JoinSet::new();
            let left = self.take_with(permits, permit, &mut tasks).await;
            while tasks.join_next().await.is_some() {}
            match left {
                Left::Again => {}
                Left::Permit => break,
                Left::Shutdown => return None,
                Left::Queue => return Some(Err(QueueClosed)),
            }
        }
        Some(Ok(()))
    }

    /// Takes messages and runs their tasks, until something is different. What was taken runs in `tasks`.
    async fn take_with(&self, permits: &DistributedSemaphore, permit: &Permit, tasks: &mut JoinSet<()>) -> Left {
        let Self { context, queue_name, throttle, .. } = self;
        let at_once = if throttle.are_downloads_short() { AT_ONCE } else { 1 };
        let Some(mut consumer) = run_delivery::consumer(context, queue_name, at_once).await else { return Left::Queue };
        let downloads = Arc::new(Semaphore::new(1));
        let mut last_end = Instant::now();
        loop {
            let next = async {
                let download = downloads.clone().acquire_owned().await.ok()?;
                Some((download, consumer.next().await?))
            };
            tokio::select! {
                biased;
                () = context.shutdown.cancelled() => return Left::Shutdown,
                () = permit.lost() => return Left::Permit,
                () = permits.called_back() => return Left::Permit,
                () = throttle.paused() => return Left::Again,
                Some(_) = tasks.join_next() => {
                    last_end = Instant::now();
                    if throttle.are_downloads_short() != (at_once > 1) {
                        return Left::Again;
                    }
                }
                // What the broker sent ahead is given back: another worker may have a permit for it.
                () = sleep_until(last_end + SHORT_DOWNLOAD * 2), if at_once > 1 && !tasks.is_empty() => {
                    throttle.forget_short_downloads();
                    return Left::Again;
                }
                next = next => match next {
                    Some((download, delivery)) => {
                        if tasks.is_empty() {
                            last_end = Instant::now();
                        }
                        let (context, queue_name) = (context.clone(), queue_name.clone());
                        let delivery = WorkDelivery::new(delivery).downloading_under(download);
                        tasks.spawn(async move { run_delivery::run_delivery(&context, &queue_name, delivery).await });
                    }
                    None => return Left::Queue,
                },
            }
        }
    }

    async fn run_at_a_rate(self, source: String, batch: usize, pace: Pace) {
        let context = &self.context;
        let (mut tasks, slots) = (JoinSet::new(), Arc::new(Semaphore::new(pace.at_once)));
        while let Some(lock) = self.lock(&format!("rate.{source}")).await {
            let lock = Arc::new(lock);
            let read = Spent::read(&context.worker.store, &source, &context.name).await;
            let Ok(spent) = read.inspect_err(|error| tracing::warn!(source, %error, "failed to read a rate's use"))
            else {
                drop(lock);
                if retry::pause(jittered(BETWEEN_TRIES), &context.shutdown).await.is_err() {
                    break;
                }
                continue;
            };
            tracing::info!(queue_name = %self.queue_name, "keeping the rate of this queue");
            self.throttle.take_over(lock.clone(), batch, Arc::new(spent));
            let taken = tokio::select! {
                () = lock.lost() => Ok(()),
                taken = self.take_at_a_rate(batch, pace, &slots, &mut tasks) => taken,
            };
            if context.shutdown.is_cancelled() || taken.is_err() {
                // Tasks in hand may send further requests while the process drains: the lock stays.
                while tasks.join_next().await.is_some() {}
                return;
            }
            // Tasks in hand may finish, but send no further requests.
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

    /// Takes messages, each when its first request may go out soon, until shutdown. Cancel-safe: what was taken runs in
    /// `tasks`.
    async fn take_at_a_rate(
        &self,
        batch: usize,
        pace: Pace,
        slots: &Arc<Semaphore>,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), QueueClosed> {
        let Self { context, queue_name, throttle, .. } = self;
        let starting = Arc::new(Semaphore::new(pace.taken_ahead));
        loop {
            tokio::select! {
                biased;
                () = context.shutdown.cancelled() => return Ok(()),
                () = throttle.open(batch) => {}
            }
            let mut consumer = run_delivery::consumer(context, queue_name, pace.prefetch).await.ok_or(QueueClosed)?;
            loop {
                while tasks.try_join_next().is_some() {}
                let permits = async { (slots.clone().acquire_owned().await, starting.clone().acquire_owned().await) };
                let next = async {
                    let (Ok(slot), Ok(start)) = permits.await else { return Err(QueueClosed) };
                    Ok((slot, start, consumer.next().await.ok_or(QueueClosed)?))
                };
                let (slot, start, delivery) = tokio::select! {
                    biased;
                    () = context.shutdown.cancelled() => return Ok(()),
                    () = throttle.paused() => break,
                    next = next => next?,
                };
                let (served, delivery) = (self.clone(), WorkDelivery::new(delivery).starting_under(start));
                tasks.spawn(async move {
                    let _slot = slot;
                    run_delivery::run_delivery(&served.context, &served.queue_name, delivery).await;
                });
                if pace.prefetch == 1 {
                    // Before the delivery is settled, so that the broker sends no other one ahead.
                    break;
                }
            }
            drop(consumer);
            // Where one start takes long, the next message is taken only when this one has started.
            drop(starting.acquire().await);
        }
    }
}

/// How many tasks of a source with a rate are in hand.
#[derive(Debug, Clone, Copy)]
struct Pace {
    at_once: usize,
    taken_ahead: usize,
    prefetch: u16,
}

impl Pace {
    fn of(limit: Limit, batch: usize) -> Self {
        let Limit::Rate { items, per } = limit else { return Self { at_once: 1, taken_ahead: 1, prefetch: 1 } };
        let starts = |within: Duration| {
            let starts = within.as_nanos() * u128::from(items) / (per.as_nanos() * batch.max(1) as u128).max(1);
            u64::try_from(starts).unwrap_or(u64::MAX)
        };
        let at_once = starts(SLOW_ANSWER).clamp(LEAST_AT_ONCE, MOST_AT_ONCE);
        Self {
            at_once: at_once as usize,
            taken_ahead: starts(TAKEN_AHEAD).clamp(1, at_once) as usize,
            prefetch: starts(SENT_AHEAD).clamp(1, at_once) as u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_hand_follows_from_the_rate() {
        let pace = |items, seconds, batch| {
            let pace = Pace::of(Limit::Rate { items, per: Duration::from_secs(seconds) }, batch);
            (pace.at_once, pace.taken_ahead, pace.prefetch)
        };
        assert_eq!(pace(100, 86_400, 1), (8, 1, 1));
        assert_eq!(pace(60, 60, 20), (8, 1, 3));
        assert_eq!(pace(7, 1, 1), (14, 3, 14));
        assert_eq!(pace(500, 1, 1), (256, 250, 256));
    }
}
