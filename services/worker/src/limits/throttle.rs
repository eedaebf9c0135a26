//! What every request to an upstream passes: tasks' requests, listings, redirects and further tries alike.
//!
//! It keeps the source's limit, and the pauses that the upstream asks for; both for this source alone. Nothing passes
//! under a lock that the broker has not confirmed within its heartbeat: another worker may have it by now.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use prometheus_client::metrics::histogram::Histogram;
use reqwest::{StatusCode, header::HeaderMap};
use tokio::{sync::watch, time::sleep_until};
use tokio_util::sync::CancellationToken;
use waybill_queue::Lock;
use waybill_source::Limit;

use crate::{
    limits::{ahead::Ahead, rate_limiter::RateLimiter, retry_after::asks_for_a_pause, spent::Spent},
    retry::{Fault, GaveUp, LONGEST_RETRY_AFTER},
};

/// How often a waiter looks whether a lock is confirmed again.
const CONFIRMATION: Duration = Duration::from_millis(200);

/// How long a request waits for a lock of its source before it is left to another worker.
const ELSEWHERE: Duration = Duration::from_secs(30);

/// A download that holds up no other worker's: messages may be taken ahead of it.
pub(crate) const SHORT_DOWNLOAD: Duration = Duration::from_secs(1);
/// So many in a row have to be short.
const SHORT_IN_A_ROW: u32 = 8;

/// One source's.
#[derive(Debug)]
pub(crate) struct Throttle {
    limit: Limit,
    /// Rows that are written down before they pass.
    pub(crate) ahead: Ahead,
    /// What each request waited, in seconds.
    waits: Histogram,
    state: Mutex<State>,
    /// Told of every change that a waiter must know of.
    changed: watch::Sender<()>,
    /// Requests go through in the order in which they came.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    /// The locks of the source that this worker has: that of its rate, or as many as it may have requests open.
    locks: Vec<Arc<Lock>>,
    /// Requests under way, where there is a concurrency.
    open: usize,
    /// Where there is a rate, only while this worker has its lock.
    rate: Option<Rate>,
    paused_until: Option<Instant>,
    /// How long it took to open for the next request.
    opening: Duration,
    /// Short downloads since the last long one.
    short_downloads: u32,
}

#[derive(Debug)]
struct Rate {
    limiter: RateLimiter,
    spent: Arc<Spent>,
}

/// A request that passed, until it is dropped: its answer has come whole, or will not.
#[derive(Debug)]
pub(crate) struct Passed<'a> {
    throttle: &'a Throttle,
    items: usize,
    started: Instant,
    /// How long it waited.
    pub(crate) waited: Duration,
}

impl Passed<'_> {
    /// Its answer has begun, or there will be none: it is not on its way to the upstream any more. Where it is dropped
    /// before, it may be still.
    pub(crate) fn answered(&self) {
        if let Some(rate) = &mut self.throttle.lock().rate {
            rate.limiter.answered(self.started, Instant::now());
        }
    }

    /// Passes once more, for the next request of the same work, and says how long it waited: it takes its part of a rate.
    /// With a concurrency the work keeps its place, and waits only where nobody may go on.
    pub(crate) async fn again(&mut self, shutdown: &CancellationToken) -> Result<Duration, GaveUp> {
        match self.throttle.limit {
            Limit::Concurrency(_) => self.throttle.reopened(shutdown).await,
            Limit::Rate { .. } => {
                let passed = self.throttle.pass(self.items, shutdown).await?;
                self.started = passed.started;
                Ok(passed.waited)
            }
        }
    }

    /// Passes once more, to follow a redirect: it takes its part of a rate. With a concurrency the request is open
    /// still.
    pub(crate) async fn redirected(&mut self, shutdown: &CancellationToken) -> Result<(), Fault> {
        if matches!(self.throttle.limit, Limit::Rate { .. }) {
            let passed = self.throttle.pass(self.items, shutdown).await;
            let passed =
                passed.map_err(|_| Fault::transient("another worker keeps the limit of the source".to_owned()))?;
            self.started = passed.started;
        }
        Ok(())
    }
}

impl Drop for Passed<'_> {
    fn drop(&mut self) {
        if matches!(self.throttle.limit, Limit::Concurrency(_)) {
            self.throttle.lock().open -= 1;
            self.throttle.changed.send_replace(());
        }
    }
}

/// Why a request cannot go through now.
enum Shut {
    Until(Instant),
    /// As many requests are open as may be.
    Full,
    /// The broker has not confirmed the lock lately.
    Unconfirmed,
    /// Another worker has the source's lock.
    Elsewhere,
    /// Not with this limit.
    Never(u64),
}

impl Throttle {
    /// What requests wait is told to `waits`.
    pub(crate) fn new(limit: Limit, waits: Histogram) -> Self {
        let (locks, rate, paused_until) = (Vec::new(), None, None);
        let state =
            Mutex::new(State { locks, open: 0, rate, paused_until, opening: Duration::ZERO, short_downloads: 0 });
        Self {
            limit,
            ahead: Ahead::of(limit),
            waits,
            state,
            changed: watch::Sender::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// One more request may be open, for as long as the lock is held and [`Self::release`] is not called.
    pub(crate) fn permit(&self, lock: Arc<Lock>) {
        self.lock().locks.push(lock);
        self.changed.send_replace(());
    }

    /// Takes back what [`Self::permit`] gave: returns once no more requests are open than there are other locks. Tasks under those
    /// may have taken this one's place.
    pub(crate) async fn release(&self, lock: &Arc<Lock>) {
        let mut changed = self.changed.subscribe();
        {
            let mut state = self.lock();
            if let Some(at) = state.locks.iter().position(|held| Arc::ptr_eq(held, lock)) {
                state.locks.swap_remove(at);
            }
        }
        while self.is_over() {
            // The sender is in here.
            let _ = changed.changed().await;
        }
    }

    fn is_over(&self) -> bool {
        let state = self.lock();
        state.open > state.locks.len()
    }

    /// Begins to keep the rate, under its lock. What earlier owners may have started is known from `spent`.
    pub(crate) fn take_over(&self, lock: Arc<Lock>, batch: usize, spent: Arc<Spent>) {
        if let Limit::Rate { items, per } = self.limit {
            let now = Instant::now();
            let limiter = RateLimiter::new(items, per, batch, spent.before(now), now);
            let mut state = self.lock();
            state.rate = Some(Rate { limiter, spent });
            state.locks = vec![lock];
            self.changed.send_replace(());
        }
    }

    /// Lets nothing through any more: another worker may keep the rate by now.
    pub(crate) fn let_go(&self) {
        let mut state = self.lock();
        state.rate = None;
        state.locks.clear();
        self.changed.send_replace(());
    }

    /// Shuts it where an answer asks for a pause.
    pub(crate) fn pause_as_asked(&self, status: StatusCode, headers: &HeaderMap, now: Timestamp) {
        if let Some(wait) = asks_for_a_pause(status, headers, now) {
            let wait = wait.min(LONGEST_RETRY_AFTER);
            let until = now + wait;
            tracing::warn!(%status, %until, "the upstream asks for a pause");
            self.pause(wait);
        }
    }

    /// Shuts it for as long as the upstream asks for, but an hour at most.
    pub(crate) fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait.min(LONGEST_RETRY_AFTER);
        {
            let mut state = self.lock();
            state.paused_until = state.paused_until.max(Some(until));
        }
        self.changed.send_replace(());
    }

    /// Notes how long a download took.
    pub(crate) fn downloaded(&self, took: Duration) {
        let mut state = self.lock();
        state.short_downloads = if took < SHORT_DOWNLOAD { state.short_downloads.saturating_add(1) } else { 0 };
    }

    /// Notes that no task ends, as when a download takes long.
    pub(crate) fn forget_short_downloads(&self) {
        self.lock().short_downloads = 0;
    }

    pub(crate) fn are_downloads_short(&self) -> bool {
        self.lock().short_downloads >= SHORT_IN_A_ROW
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.lock().paused_until.is_some_and(|until| until > Instant::now())
    }

    /// Waits until no pause and no rate keeps a request of so many items from going through. Cancel-safe.
    pub(crate) async fn open(&self, items: usize) {
        let _turn = self.turn.lock().await;
        let began = Instant::now();
        let mut changed = self.changed.subscribe();
        loop {
            let shut = self.shut(items as u64, Instant::now());
            match shut {
                Ok(()) | Err(Shut::Full) => {
                    self.lock().opening += began.elapsed();
                    return;
                }
                Err(shut) => wait(shut, &mut changed).await,
            }
        }
    }

    /// Waits until it is paused. Cancel-safe.
    pub(crate) async fn paused(&self) {
        let mut changed = self.changed.subscribe();
        while !self.is_paused() {
            // The sender is in here.
            let _ = changed.changed().await;
        }
    }

    /// Waits until a request of so many items may go out, which it has to do at once. Where another worker has the
    /// source's lock, the request is left to it.
    pub(crate) async fn pass(&self, items: usize, shutdown: &CancellationToken) -> Result<Passed<'_>, GaveUp> {
        let began = Instant::now();
        let passed = async {
            let _turn = self.turn.lock().await;
            let mut changed = self.changed.subscribe();
            loop {
                match self.shut(items as u64, Instant::now()) {
                    Ok(()) => {
                        self.reserve().await;
                        if let Some(started) = self.start(items as u64) {
                            return Ok(Passed { throttle: self, items, started, waited: began.elapsed() });
                        }
                    }
                    Err(Shut::Never(most)) => {
                        let reason = format!("a request of {items} items never fits into a rate of {most}");
                        return Err(GaveUp::Never { reason });
                    }
                    Err(Shut::Elsewhere) if matches!(self.limit, Limit::Rate { .. }) || began.elapsed() > ELSEWHERE => {
                        return Err(GaveUp::Elsewhere);
                    }
                    Err(until) => wait(until, &mut changed).await,
                }
            }
        };
        let passed = shutdown.run_until_cancelled(passed).await.unwrap_or(Err(GaveUp::Interrupted));
        if let Ok(passed) = &passed
            && matches!(self.limit, Limit::Rate { .. })
        {
            let opening = std::mem::take(&mut self.lock().opening);
            self.waits.observe((opening + passed.waited).as_secs_f64());
        }
        passed
    }

    /// Waits until work that has a place may go on: while the upstream asks for a pause, and while no lock is confirmed, it
    /// may not.
    async fn reopened(&self, shutdown: &CancellationToken) -> Result<Duration, GaveUp> {
        let began = Instant::now();
        let opened = async {
            let mut changed = self.changed.subscribe();
            loop {
                match self.shut(1, Instant::now()) {
                    // This work is one of those that are open.
                    Ok(()) | Err(Shut::Full) => return Ok(began.elapsed()),
                    Err(Shut::Elsewhere) if began.elapsed() > ELSEWHERE => return Err(GaveUp::Elsewhere),
                    Err(shut) => wait(shut, &mut changed).await,
                }
            }
        };
        shutdown.run_until_cancelled(opened).await.unwrap_or(Err(GaveUp::Interrupted))
    }

    /// Writes down that requests go out now, before they do. Where that fails, nothing starts.
    async fn reserve(&self) {
        let spent = self.lock().rate.as_ref().map(|rate| rate.spent.clone());
        if let Some(spent) = spent {
            spent.reserve().await;
        }
    }

    /// Starts a request, if nothing has changed since [`Self::shut`] said that it may go; the time of its start.
    fn start(&self, items: u64) -> Option<Instant> {
        let now = Instant::now();
        self.shut(items, now).ok()?;
        let mut state = self.lock();
        let has_started = match (&mut state.rate, self.limit) {
            (_, Limit::Concurrency(_)) => {
                state.open += 1;
                true
            }
            (Some(rate), _) => rate.spent.is_reserved(now) && rate.limiter.start(items, now).is_ok(),
            (None, _) => false,
        };
        has_started.then_some(now)
    }

    fn shut(&self, items: u64, now: Instant) -> Result<(), Shut> {
        let mut state = self.lock();
        if let Some(until) = state.paused_until.filter(|until| *until > now) {
            return Err(Shut::Until(until));
        }
        state.locks.retain(|lock| lock.is_held());
        if state.locks.is_empty() {
            return Err(Shut::Elsewhere);
        }
        let confirmed = state.locks.iter().filter(|lock| lock.is_confirmed()).count();
        if confirmed == 0 {
            return Err(Shut::Unconfirmed);
        }
        let is_full = state.open >= confirmed;
        match (&mut state.rate, self.limit) {
            (_, Limit::Concurrency(_)) if is_full => Err(Shut::Full),
            (_, Limit::Concurrency(_)) => Ok(()),
            (None, Limit::Rate { .. }) => Err(Shut::Elsewhere),
            (Some(rate), _) if items > rate.limiter.most() => Err(Shut::Never(rate.limiter.most())),
            (Some(rate), _) => match rate.limiter.ready(items, now) {
                at if at > now => Err(Shut::Until(at)),
                _ => Ok(()),
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until it is worth asking again.
async fn wait(shut: Shut, changed: &mut watch::Receiver<()>) {
    let until = match shut {
        Shut::Until(until) => until,
        _ => Instant::now() + CONFIRMATION,
    };
    tokio::select! {
        () = sleep_until(until.into()) => {}
        _ = changed.changed() => {}
    }
}

#[cfg(test)]
mod tests {
    use waybill_queue::{Embedded, Queue};

    use super::*;

    const RATE: Limit = Limit::Rate { items: 10, per: Duration::from_millis(100) };

    fn throttle(limit: Limit) -> Throttle {
        Throttle::new(limit, Histogram::new([]))
    }

    async fn lock(name: &str) -> Arc<Lock> {
        Arc::new(Embedded::new(1).try_lock(name).await.unwrap().unwrap())
    }

    /// What an owner of a rate's lock reads where nobody was before, and the folder that it lies in.
    async fn spent() -> (Arc<Spent>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let store = waybill_store::Embedded::open(folder.path()).await.unwrap().store("bucket").unwrap();
        (Arc::new(Spent::read(&store, "weather", "one").await.unwrap()), folder)
    }

    #[tokio::test]
    async fn work_keeps_its_place_and_waits_only_for_a_pause() {
        let throttle = throttle(Limit::Concurrency(1));
        let shutdown = CancellationToken::new();
        throttle.permit(lock("a").await);
        let mut passed = throttle.pass(1, &shutdown).await.unwrap();
        // Another one may not begin, and this one may go on.
        let other = tokio::time::timeout(Duration::from_millis(20), throttle.pass(1, &shutdown)).await;
        assert!(other.is_err());
        assert!(passed.again(&shutdown).await.unwrap() < Duration::from_millis(50));
        throttle.pause(Duration::from_millis(60));
        assert!(passed.again(&shutdown).await.unwrap() >= Duration::from_millis(50));
        shutdown.cancel();
        throttle.pause(Duration::from_secs(60));
        assert_eq!(passed.again(&shutdown).await.unwrap_err(), GaveUp::Interrupted);
        drop(passed);
        assert_eq!(throttle.lock().open, 0);
    }

    #[test]
    fn downloads_are_short_after_some_and_until_a_long_one() {
        let throttle = throttle(Limit::Concurrency(2));
        let download = |milliseconds| throttle.downloaded(Duration::from_millis(milliseconds));
        for _ in 0..SHORT_IN_A_ROW {
            assert!(!throttle.are_downloads_short());
            download(999);
        }
        assert!(throttle.are_downloads_short());
        download(1_000);
        assert!(!throttle.are_downloads_short());
    }

    #[tokio::test]
    async fn a_rate_is_kept_under_its_lock_alone() {
        let (throttle, running, (spent, _folder)) = (throttle(RATE), CancellationToken::new(), spent().await);
        assert_eq!(throttle.pass(1, &running).await.err(), Some(GaveUp::Elsewhere));
        throttle.take_over(lock("rate").await, 5, spent);
        drop(throttle.pass(5, &running).await.unwrap());
        assert!(matches!(throttle.pass(11, &running).await.err(), Some(GaveUp::Never { .. })));
        let (waiting, ()) = tokio::join!(throttle.pass(10, &running), async { throttle.let_go() });
        assert_eq!(waiting.err(), Some(GaveUp::Elsewhere));
    }

    #[tokio::test]
    async fn an_answer_that_has_begun_makes_room_and_a_dropped_request_does_not() {
        let (running, per) = (CancellationToken::new(), Duration::from_secs(3_600));
        for has_answer in [true, false] {
            let (throttle, (spent, _folder)) = (throttle(Limit::Rate { items: 10, per }), spent().await);
            throttle.take_over(lock("rate").await, 10, spent);
            let passed = throttle.pass(10, &running).await.unwrap();
            if has_answer {
                passed.answered();
            }
            drop(passed);
            let a_window_later = Instant::now() + per + Duration::from_secs(1);
            assert_eq!(throttle.shut(10, a_window_later).is_ok(), has_answer);
        }
    }

    #[tokio::test]
    async fn no_more_requests_are_open_than_permits_are_held() {
        let (throttle, running) = (throttle(Limit::Concurrency(4)), CancellationToken::new());
        let locks = [lock("one").await, lock("two").await];
        locks.iter().for_each(|lock| throttle.permit(lock.clone()));
        let open = [throttle.pass(1, &running).await.unwrap(), throttle.pass(1, &running).await.unwrap()];
        let mut third = std::pin::pin!(throttle.pass(1, &running));
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut third).await.is_err(), "two are open");
        drop(open);
        let third = third.await.unwrap();
        throttle.release(&locks[0]).await;
        let mut releasing = std::pin::pin!(throttle.release(&locks[1]));
        let wait = Duration::from_millis(50);
        assert!(tokio::time::timeout(wait, &mut releasing).await.is_err(), "another worker may not have it yet");
        let fourth = tokio::time::timeout(wait, throttle.pass(1, &running)).await;
        assert!(fourth.is_err(), "no permit is held");
        drop(third);
        releasing.await;
    }

    #[tokio::test]
    async fn a_pause_holds_every_request_of_its_own_source_and_no_other() {
        for limit in [Limit::Concurrency(4), RATE] {
            let ((throttle, other), running) = ((throttle(limit), throttle(limit)), CancellationToken::new());
            let ((spent, _folder), (others, _other_folder)) = (spent().await, spent().await);
            for (throttle, spent) in [(&throttle, spent), (&other, others)] {
                throttle.permit(lock("permit").await);
                throttle.take_over(lock("rate").await, 1, spent);
            }
            let began = Instant::now();
            let ((), ()) = tokio::join!(throttle.paused(), async { throttle.pause(Duration::from_millis(300)) });
            throttle.pause(Duration::from_millis(1));
            assert!(throttle.is_paused() && !other.is_paused());
            drop(other.pass(1, &running).await.unwrap());
            assert!(began.elapsed() < Duration::from_millis(300));
            drop(throttle.pass(1, &running).await.unwrap());
            assert!(began.elapsed() >= Duration::from_millis(300) && !throttle.is_paused());
        }
    }

    #[tokio::test]
    async fn a_pause_reaches_a_request_that_waits_already() {
        let (throttle, running, (spent, _folder)) = (throttle(RATE), CancellationToken::new(), spent().await);
        throttle.take_over(lock("rate").await, 1, spent);
        drop(throttle.pass(10, &running).await.unwrap());
        let began = Instant::now();
        let pause = async { throttle.pause(Duration::from_millis(300)) };
        let (passed, ()) = tokio::join!(throttle.pass(1, &running), pause);
        drop(passed.unwrap());
        assert!(began.elapsed() >= Duration::from_millis(300) && began.elapsed() < Duration::from_secs(3));
    }
}
