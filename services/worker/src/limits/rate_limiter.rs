//! The arithmetic of a rate: in any window of its length, never more items start than it says, and they start
//! evenly. Pure: the clock is passed in, and whoever asks waits by itself.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// What the window is made longer by, because requests do not take equally long on their way: a fiftieth, at
/// least 50 ms, but never more than a tenth.
const MARGIN: u32 = 50;
const LEAST_MARGIN: Duration = Duration::from_millis(50);
const MOST_MARGIN: u32 = 10;

/// How far the even pace may be behind, because timers fire late, and is caught up.
const CATCH_UP: Duration = Duration::from_millis(100);

/// Starts so close together that they are remembered as one; it bounds the memory to some thousand entries.
const GRAIN: u32 = 1_024;

/// Lets items start at a rate.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    items: u64,
    /// With the margin.
    window: Duration,
    /// What started within the last window, the oldest first.
    started: VecDeque<Start>,
    /// Of all that is in `started`.
    sum: u64,
    /// Nothing starts before this, so that starts are even.
    next: Instant,
}

#[derive(Debug)]
struct Start {
    /// Of the first of those that are remembered as one.
    first: Instant,
    /// Of the last; it is this one that has to be a window old.
    last: Instant,
    items: u64,
}

impl RateLimiter {
    /// Another worker may have started whatever the rate allows until `spent_until`, in requests of at most `batch`
    /// items; nobody started anything where there is no such time.
    pub(crate) fn new(items: u32, per: Duration, batch: usize, spent_until: Option<Instant>, now: Instant) -> Self {
        let margin = (per / MARGIN).max(LEAST_MARGIN).min(per / MOST_MARGIN);
        let items = u64::from(items).max(1);
        let mut limiter = Self { items, window: per + margin, started: VecDeque::new(), sum: 0, next: now };
        let Some(spent_until) = spent_until else { return limiter };
        // Evenly paced, at most a batch and what the time between allows can have started within any time up to then,
        // each as late as what may be caught up. Steps are rounded to the wrong side for us, hence the second one at
        // the very end.
        let step = (batch as u64).max(items.div_ceil(u64::from(GRAIN))).clamp(1, items);
        let mut steps = 0;
        while limiter.sum < items {
            let ago = limiter.pace(step * u64::saturating_sub(steps, 1)).saturating_sub(CATCH_UP);
            let at = spent_until.checked_sub(ago).unwrap_or(spent_until);
            let items = step.min(items - limiter.sum);
            limiter.started.push_front(Start { first: at, last: at, items });
            limiter.sum += items;
            steps += 1;
        }
        limiter
    }

    /// The most items that can ever start at once.
    pub(crate) fn most(&self) -> u64 {
        self.items
    }

    /// When so many items may start, if nothing else does before; `now` where that is now. At most [`Self::most`].
    pub(crate) fn ready(&mut self, items: u64, now: Instant) -> Instant {
        while let Some(start) = self.started.pop_front_if(|start| start.last + self.window <= now) {
            self.sum -= start.items;
        }
        let mut sum = self.sum + items.min(self.items);
        let mut at = self.next.max(now);
        for start in &self.started {
            if sum <= self.items {
                break;
            }
            sum -= start.items;
            at = at.max(start.last + self.window);
        }
        at
    }

    /// Starts so many items now, or says when to ask again. Never with more than [`Self::most`].
    pub(crate) fn start(&mut self, items: u64, now: Instant) -> Result<(), Instant> {
        let at = self.ready(items, now);
        if at > now {
            return Err(at);
        }
        let grain = self.window / GRAIN;
        match self.started.back_mut().filter(|start| start.last <= now && now < start.first + grain) {
            Some(start) => {
                start.last = now;
                start.items += items;
            }
            None => self.started.push_back(Start { first: now, last: now, items }),
        }
        self.sum += items;
        // Timers fire late: what that cost is caught up, within bounds.
        let due = now.checked_sub(CATCH_UP).map_or(now, |earliest| self.next.max(earliest));
        self.next = due + self.pace(items);
        Ok(())
    }

    /// How long so many items take.
    fn pace(&self, items: u64) -> Duration {
        let nanoseconds = self.window.as_nanos() * u128::from(items) / u128::from(self.items);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// The most items that started in any window of this length.
    fn busiest(starts: &[(Instant, u64)], per: Duration) -> u64 {
        let from = |first: &(Instant, u64)| {
            starts.iter().filter(|(at, _)| *at >= first.0 && *at < first.0 + per).map(|(_, items)| items).sum()
        };
        starts.iter().map(from).max().unwrap_or(0)
    }

    #[test]
    fn batches_start_evenly_and_the_first_waits() {
        let begin = Instant::now();
        let mut limiter = RateLimiter::new(60, MINUTE, 20, Some(begin), begin);
        let mut now = begin;
        let mut waits = Vec::new();
        for _ in 0..5 {
            let before = now;
            while let Err(at) = limiter.start(20, now) {
                now = at;
            }
            waits.push((now - before).as_millis());
        }
        assert_eq!(waits, [40_900, 20_300, 20_400, 20_500, 20_300]);
    }

    #[test]
    fn an_idle_source_starts_at_once_and_then_evenly() {
        let begin = Instant::now();
        let mut limiter = RateLimiter::new(100, Duration::from_secs(86_400), 1, None, begin);
        assert_eq!(limiter.start(1, begin), Ok(()));
        let next = limiter.ready(1, begin) - begin;
        assert!(next > Duration::from_secs(864) && next < Duration::from_secs(900), "{next:?}");
    }

    #[test]
    fn late_timers_do_not_slow_a_fast_rate_down() {
        let begin = Instant::now();
        let mut limiter = RateLimiter::new(1_000, Duration::from_secs(1), 1, None, begin);
        let (mut now, mut started) = (begin, 0);
        while now < begin + Duration::from_secs(10) {
            match limiter.start(1, now) {
                Ok(()) => started += 1,
                // As late as a timer of a millisecond's resolution may be.
                Err(at) => now = at + Duration::from_millis(1),
            }
        }
        assert!((9_500..=10_000).contains(&started), "{started} of 10,000");
    }

    #[test]
    fn a_rate_of_single_items_is_nearly_used_up() {
        let begin = Instant::now();
        let mut limiter = RateLimiter::new(7, Duration::from_secs(1), 1, Some(begin), begin);
        let (mut now, mut started) = (begin, 0);
        while now < begin + MINUTE {
            match limiter.start(1, now) {
                Ok(()) => started += 1,
                Err(at) => now = at,
            }
        }
        assert!((395..=420).contains(&started), "{started} of 420");
    }

    #[test]
    fn a_large_rate_needs_little_memory() {
        let begin = Instant::now();
        let mut limiter = RateLimiter::new(1_000_000, Duration::from_secs(10), 1, None, begin);
        let mut now = begin;
        for _ in 0..200_000 {
            now += Duration::from_micros(100);
            let _ = limiter.start(1, now);
        }
        assert!(limiter.started.len() <= 2 * GRAIN as usize, "{}", limiter.started.len());
    }

    proptest! {
        /// Whoever asks, however much, after whatever time, and however often somebody new takes over.
        #[test]
        fn no_window_sees_more_than_the_rate(
            items in 1u32..80,
            batch in 1usize..30,
            per in 100u64..5_000,
            steps in prop::collection::vec((0u64..700, 1usize..30, 0u8..12), 1..120),
        ) {
            let (batch, per) = (batch.min(items as usize), Duration::from_millis(per));
            let mut now = Instant::now();
            let mut limiter = RateLimiter::new(items, per, batch, None, now);
            let mut starts = Vec::new();
            for (pause, size, fate) in steps {
                now += Duration::from_millis(pause);
                let size = size.min(batch) as u64;
                if fate == 0 {
                    limiter = RateLimiter::new(items, per, batch, Some(now), now);
                }
                let mut asked = 0;
                while let Err(at) = limiter.start(size, now) {
                    prop_assert!(at > now);
                    now = at;
                    asked += 1;
                    prop_assert!(asked < 100, "it never starts");
                }
                starts.push((now, size));
                if fate == 1 {
                    // Killed right after a start.
                    limiter = RateLimiter::new(items, per, batch, Some(now), now);
                }
                if fate == 2 {
                    // Killed; the next owner comes some time later, and knows of the last start.
                    let last = now;
                    now += Duration::from_millis(pause);
                    limiter = RateLimiter::new(items, per, batch, Some(last), now);
                }
            }
            prop_assert!(busiest(&starts, per) <= u64::from(items));
        }
    }
}
