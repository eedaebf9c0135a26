//! A source's concurrency over all workers: as many locks as requests may be open at once.
//!
//! A worker keeps its permits for as long as no other worker is without one. A worker that is without says so by a lock
//! of its own. Every other worker that sees it lets go of half of its permits, and stays away for a while; a worker
//! with a single permit lets go of it later. So permits stay where they are while all workers have some, and a worker
//! alone has all of them. A worker that was cut off may still finish a request while another worker starts one.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use waybill_queue::{Lock, Queue, QueueError};

/// The wait after a refusal.
const AFTER_REFUSAL: Duration = Duration::from_millis(500);
/// How often a worker asks whether another is without.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// So many looks in a row have to find one that is: two workers that look at the same moment find each other.
const LOOKS: u32 = 3;
/// So many where this worker has only one: it goes round among workers that each need one, to plan for example.
const LOOKS_FOR_THE_LAST: u32 = 10;
/// How long it leaves to others what it let go of.
const AWAY: Duration = Duration::from_secs(5);

/// One source's permits, as one worker's loops see them.
#[derive(Debug, Clone)]
pub(crate) struct DistributedSemaphore {
    asks: mpsc::UnboundedSender<oneshot::Sender<Permit>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Permits that this worker has.
    held: AtomicUsize,
    /// One for each permit that is to be let go.
    calls: Semaphore,
    /// The names that this worker does not have, in the order in which they are tried.
    names: Mutex<VecDeque<String>>,
}

impl Shared {
    fn names(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to have one request open; dropped, it is another's.
#[derive(Debug)]
pub(crate) struct Permit {
    lock: Arc<Lock>,
    shared: Arc<Shared>,
}

impl DistributedSemaphore {
    /// The permits of a source that allows so many requests at once, and what has to run for them to be given out.
    pub(crate) fn new(queue: Arc<dyn Queue>, source: &str, concurrency: u32) -> (Self, Acquirer) {
        let (asks, asked) = mpsc::unbounded_channel();
        let mut names: VecDeque<_> = (0..concurrency).map(|number| format!("permit.{source}.{number}")).collect();
        fastrand::shuffle(names.make_contiguous());
        let shared = Arc::new(Shared { held: AtomicUsize::new(0), calls: Semaphore::new(0), names: Mutex::new(names) });
        let acquirer = Acquirer {
            queue,
            wanted: format!("wanted.{source}"),
            asked,
            waiting: VecDeque::new(),
            shared: shared.clone(),
            hand: None,
            found: 0,
            next_try: Instant::now(),
            next_look: Instant::now(),
        };
        (Self { asks, shared }, acquirer)
    }

    /// The next permit that is to be had; `None` once there will be no more.
    pub(crate) async fn get(&self) -> Option<Permit> {
        let (give, given) = oneshot::channel();
        self.asks.send(give).ok()?;
        given.await.ok()
    }

    /// Ends when a permit is to be let go: by whoever waited. Cancel-safe.
    pub(crate) async fn called_back(&self) {
        match self.shared.calls.acquire().await {
            Ok(call) => call.forget(),
            Err(_) => std::future::pending().await,
        }
    }
}

impl Permit {
    pub(crate) fn is_held(&self) -> bool {
        self.lock.is_held()
    }

    /// What it stands for.
    pub(crate) fn lock(&self) -> &Arc<Lock> {
        &self.lock
    }

    /// Ends when it is lost. Cancel-safe.
    pub(crate) async fn lost(&self) {
        self.lock.lost().await;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.held.fetch_sub(1, Ordering::Relaxed);
        // The one that is likeliest to be free.
        self.shared.names().push_front(self.lock.name().to_owned());
    }
}

/// Gets permits for the loops that have none.
#[derive(Debug)]
pub(crate) struct Acquirer {
    queue: Arc<dyn Queue>,
    wanted: String,
    asked: mpsc::UnboundedReceiver<oneshot::Sender<Permit>>,
    waiting: VecDeque<oneshot::Sender<Permit>>,
    shared: Arc<Shared>,
    /// Held to say that this worker has none.
    hand: Option<Lock>,
    /// Looks in a row that found another worker without.
    found: u32,
    next_try: Instant,
    next_look: Instant,
}

impl Acquirer {
    /// Runs until shutdown, or until the queue is closed.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let went_on = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                asked = self.asked.recv() => match asked {
                    Some(ask) => { self.waiting.push_back(ask); Ok(()) }
                    None => return,
                },
                () = sleep_until(self.next_look) => self.look().await,
                () = sleep_until(self.next_try), if !self.waiting.is_empty() => self.try_one().await,
            };
            match went_on {
                Ok(()) => {}
                Err(QueueError::Closed) => return,
                Err(error) => {
                    tracing::debug!(%error, "no permits to be had");
                    self.hand = None;
                    self.refused();
                    self.next_look = Instant::now() + jittered(BETWEEN_LOOKS);
                }
            }
        }
    }

    /// Tries one name. Only refusals cost time: what is free is taken at once.
    async fn try_one(&mut self) -> Result<(), QueueError> {
        let name = self.shared.names().pop_front();
        let Some(name) = name else {
            // All are ours already; one that is let go will be tried then.
            self.refused();
            return Ok(());
        };
        let tried = self.queue.try_lock(&name).await;
        let Ok(Some(lock)) = tried else {
            self.shared.names().push_back(name);
            self.refused();
            return tried.map(drop);
        };
        self.hand = None;
        self.shared.held.fetch_add(1, Ordering::Relaxed);
        let mut permit = Permit { lock: Arc::new(lock), shared: self.shared.clone() };
        while let Some(ask) = self.waiting.pop_front() {
            match ask.send(permit) {
                Ok(()) => break,
                // Nobody waits for that one any more.
                Err(unwanted) => permit = unwanted,
            }
        }
        Ok(())
    }

    fn refused(&mut self) {
        self.next_try = Instant::now() + jittered(AFTER_REFUSAL);
    }

    /// Looks whether another worker is without a permit, and says so where this one is.
    async fn look(&mut self) -> Result<(), QueueError> {
        self.next_look = Instant::now() + jittered(BETWEEN_LOOKS);
        let held = self.shared.held.load(Ordering::Relaxed);
        let is_without = held == 0 && !self.waiting.is_empty();
        if self.hand.as_ref().is_some_and(|hand| is_without && hand.is_held()) {
            return Ok(());
        }
        self.hand = None;
        if !is_without && held == 0 {
            return Ok(());
        }
        match self.queue.try_lock(&self.wanted).await? {
            Some(hand) => {
                self.hand = is_without.then_some(hand);
                self.found = 0;
            }
            None if is_without => self.found = 0,
            None => self.found += 1,
        }
        if self.found >= if held < 2 { LOOKS_FOR_THE_LAST } else { LOOKS } {
            tracing::debug!(permits = held, "another worker has none: half of them are let go");
            self.found = 0;
            // What was called back and is still held is not called back twice.
            self.shared.calls.forget_permits(held);
            self.shared.calls.add_permits((held / 2).max(1));
            self.next_try = Instant::now() + jittered(AWAY);
            self.next_look = self.next_try;
        }
        Ok(())
    }
}

/// As long, or up to half as long again: so that workers do not keep step.
pub(crate) fn jittered(wait: Duration) -> Duration {
    wait + wait.mul_f64(fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use std::time::Instant;

    use waybill_queue::Embedded;

    use super::*;

    fn worker(queue: &Embedded, concurrency: u32, shutdown: &CancellationToken) -> DistributedSemaphore {
        let (permits, acquirer) = DistributedSemaphore::new(Arc::new(queue.clone()), "buses", concurrency);
        tokio::spawn(acquirer.run(shutdown.clone()));
        permits
    }

    #[tokio::test]
    async fn a_worker_alone_has_all_of_them_at_once_and_never_more() {
        let (queue, shutdown) = (Embedded::new(1), CancellationToken::new());
        let (permits, began) = (worker(&queue, 16, &shutdown), Instant::now());
        let mut held = Vec::new();
        for _ in 0..16 {
            held.push(permits.get().await.unwrap());
        }
        assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
        let more = tokio::time::timeout(Duration::from_millis(50), permits.get()).await;
        assert!(more.is_err(), "there are sixteen");
        drop(held.pop());
        assert!(permits.get().await.is_some(), "one that was let go is to be had again");
        shutdown.cancel();
        assert!(permits.get().await.is_none());
    }

    #[tokio::test]
    async fn one_that_has_none_is_given_some() {
        let (queue, shutdown) = (Embedded::new(1), CancellationToken::new());
        let first = worker(&queue, 4, &shutdown);
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(first.get().await.unwrap());
        }
        let second = worker(&queue, 4, &shutdown);
        let (given, ()) = tokio::join!(second.get(), async {
            first.called_back().await;
            held.pop();
            first.called_back().await;
            held.pop();
        });
        assert!(given.is_some());
        assert!(first.called_back().now_or_never().is_none(), "half of them, no more");
    }
}
