//! The door of one source's upstream: no request of a task goes out but through here.
//!
//! It keeps the source's rate, where it has one, and stays shut for as long as the upstream asks for; both for
//! this source alone. A listing is no request of a task, and is not counted.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::metrics::histogram::Histogram;
use tokio::{sync::watch, time::sleep_until};
use tokio_util::sync::CancellationToken;
use waybill_source::Limit;

use crate::{
    limits::rate_limiter::RateLimiter,
    retry::{GaveUp, LONGEST_RETRY_AFTER},
};

/// One source's.
#[derive(Debug)]
pub(crate) struct Throttle {
    limit: Limit,
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
    /// Where there is a rate, only while this worker has the queue.
    limiter: Option<RateLimiter>,
    paused_until: Option<Instant>,
    /// How long it took to open for the next request.
    opening: Duration,
}

/// Why a request cannot go through now.
enum Shut {
    Until(Instant),
    /// Another worker keeps the rate.
    LeasedElsewhere,
    /// Not with this limit.
    Never(u64),
}

impl Throttle {
    /// What requests wait is told to `waits`.
    pub(crate) fn new(limit: Limit, waits: Histogram) -> Self {
        let state = Mutex::new(State { limiter: None, paused_until: None, opening: Duration::ZERO });
        Self { limit, waits, state, changed: watch::Sender::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Begins to keep the rate, with nothing allowed yet: another worker kept it until now.
    pub(crate) fn take_over(&self, batch: usize) {
        if let Limit::Rate { items, per } = self.limit {
            self.lock().limiter = Some(RateLimiter::new(items, per, batch, Instant::now()));
            self.changed.send_replace(());
        }
    }

    /// Lets nothing through any more: another worker may keep the rate by now.
    pub(crate) fn let_go(&self) {
        self.lock().limiter = None;
        self.changed.send_replace(());
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

    pub(crate) fn is_paused(&self) -> bool {
        self.lock().paused_until.is_some_and(|until| until > Instant::now())
    }

    /// Waits until a request of so many items could go through. Cancel-safe.
    pub(crate) async fn open(&self, items: usize) {
        let _turn = self.turn.lock().await;
        let began = Instant::now();
        let mut changed = self.changed.subscribe();
        loop {
            let shut = self.shut(items as u64, Instant::now(), false);
            match shut {
                Ok(()) => {
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

    /// Waits until a request of so many items may go out, which it has to do at once, and says how long that
    /// took. Where the rate is no longer kept here, the work is interrupted.
    pub(crate) async fn pass(&self, items: usize, shutdown: &CancellationToken) -> Result<Duration, GaveUp> {
        if !matches!(self.limit, Limit::Rate { .. }) {
            return Ok(Duration::ZERO);
        }
        let began = Instant::now();
        let passed = async {
            let _turn = self.turn.lock().await;
            let mut changed = self.changed.subscribe();
            loop {
                match self.shut(items as u64, Instant::now(), true) {
                    Ok(()) => return Ok(began.elapsed()),
                    Err(Shut::LeasedElsewhere) => return Err(GaveUp::Interrupted),
                    Err(Shut::Never(most)) => {
                        let reason = format!("a request of {items} items never fits into a rate of {most}");
                        return Err(GaveUp::Never { reason });
                    }
                    Err(until) => wait(until, &mut changed).await,
                }
            }
        };
        let passed = shutdown.run_until_cancelled(passed).await.unwrap_or(Err(GaveUp::Interrupted));
        if let Ok(waited) = passed {
            let opening = std::mem::take(&mut self.lock().opening);
            self.waits.observe((opening + waited).as_secs_f64());
        }
        passed
    }

    fn shut(&self, items: u64, now: Instant, start: bool) -> Result<(), Shut> {
        let mut state = self.lock();
        if let Some(until) = state.paused_until.filter(|until| *until > now) {
            return Err(Shut::Until(until));
        }
        match (&mut state.limiter, self.limit) {
            (_, Limit::Concurrency(_)) => Ok(()),
            (None, Limit::Rate { .. }) => Err(Shut::LeasedElsewhere),
            (Some(limiter), _) if items > limiter.most() => Err(Shut::Never(limiter.most())),
            (Some(limiter), _) if start => limiter.start(items, now).map_err(Shut::Until),
            (Some(limiter), _) => match limiter.ready(items, now) {
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
    let Shut::Until(until) = shut else {
        let _ = changed.changed().await;
        return;
    };
    tokio::select! {
        () = sleep_until(until.into()) => {}
        _ = changed.changed() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Limit = Limit::Rate { items: 10, per: Duration::from_millis(100) };

    fn throttle(limit: Limit) -> Throttle {
        Throttle::new(limit, Histogram::new([]))
    }

    #[tokio::test]
    async fn what_is_kept_elsewhere_lets_nothing_through() {
        let (throttle, running) = (throttle(RATE), CancellationToken::new());
        assert_eq!(throttle.pass(1, &running).await, Err(GaveUp::Interrupted));
        throttle.take_over(5);
        let waited = throttle.pass(5, &running).await.unwrap();
        assert!(waited >= Duration::from_millis(100), "{waited:?}");
        assert!(matches!(throttle.pass(11, &running).await, Err(GaveUp::Never { .. })));
        let (waiting, ()) = tokio::join!(throttle.pass(10, &running), async { throttle.let_go() });
        assert_eq!(waiting, Err(GaveUp::Interrupted));
    }

    #[tokio::test]
    async fn a_pause_holds_for_its_own_source_alone() {
        let (throttle, other) = (throttle(Limit::Concurrency(4)), throttle(Limit::Concurrency(4)));
        let began = Instant::now();
        let ((), ()) = tokio::join!(throttle.paused(), async { throttle.pause(Duration::from_millis(60)) });
        throttle.pause(Duration::from_millis(1));
        assert!(throttle.is_paused() && !other.is_paused());
        other.open(1).await;
        throttle.open(1).await;
        assert!(began.elapsed() >= Duration::from_millis(60) && !throttle.is_paused());
    }

    #[tokio::test]
    async fn a_pause_reaches_who_waits_already() {
        let throttle = throttle(RATE);
        throttle.take_over(1);
        let began = Instant::now();
        let running = CancellationToken::new();
        let (passed, ()) =
            tokio::join!(throttle.pass(1, &running), async { throttle.pause(Duration::from_millis(300)) });
        assert!(passed.unwrap() >= Duration::from_millis(300) && began.elapsed() < Duration::from_secs(3));
    }
}
