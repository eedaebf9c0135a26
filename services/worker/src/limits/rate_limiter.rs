//! The arithmetic of a rate: in any window of its length, never more items reach the upstream than it says, and they
//! start evenly. Pure: the clock is passed in, and whoever asks waits by itself.
//!
//! A request reaches the upstream between its start and the beginning of its answer. So its place in the window is free
//! a window after its answer began. One whose answer is slow, or never comes, counts as on its way for a while only.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// For how long a request without an answer counts as on its way: a fiftieth of the window, or what a new connection
/// with TLS to a server far away may take; but never more than a fifth, which a slow upstream costs of the rate.
const ON_ITS_WAY: u32 = 50;
const LEAST_ON_ITS_WAY: Duration = Duration::from_millis(300);
const MOST_ON_ITS_WAY: u32 = 5;

/// How late timers fire on a busy machine: so far the even pace may be behind, and is caught up.
const CATCH_UP: Duration = Duration::from_millis(100);

/// Starts so close together that they are remembered as one; it bounds the memory to some thousand entries.
const GRAIN: u32 = 1_024;

/// Lets items start at a rate.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    items: u64,
    window: Duration,
    /// For how long a request without an answer counts as on its way; shorter than the window.
    on_its_way: Duration,
    /// What has a place in the window, the oldest first.
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
    /// Of the last; it is this one that counts.
    last: Instant,
    /// None once their places are free, while older ones are not.
    items: u64,
    /// Requests whose answer has not begun.
    open: u32,
    /// When the last answer began.
    answered: Instant,
}

impl RateLimiter {
    /// Another worker may have started whatever the rate allows until `spent_until`, in requests of at most `batch`
    /// items; nobody started anything where there is no such time.
    pub(crate) fn new(items: u32, per: Duration, batch: usize, spent_until: Option<Instant>, now: Instant) -> Self {
        let items = u64::from(items).max(1);
        let on_its_way = (per / ON_ITS_WAY).max(LEAST_ON_ITS_WAY).min(per / MOST_ON_ITS_WAY);
        let mut limiter = Self { items, window: per, on_its_way, started: VecDeque::new(), sum: 0, next: now };
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
            // Nobody will say when these were answered.
            limiter.started.push_front(Start { first: at, last: at, items, open: u32::MAX, answered: at });
            limiter.sum += items;
            steps += 1;
        }
        limiter
    }

    /// The most items that can ever start at once.
    pub(crate) fn most(&self) -> u64 {
        self.items
    }

    /// `now` where so many items may start, and else when to ask again: no later than they may, if nothing else does
    /// before. At most [`Self::most`].
    pub(crate) fn ready(&mut self, items: u64, now: Instant) -> Instant {
        // By then everything is free.
        let mut next_free = now + self.window + self.on_its_way;
        for start in &mut self.started {
            let free = start.reached(self.on_its_way, now) + self.window;
            if free <= now {
                self.sum -= std::mem::take(&mut start.items);
            } else if start.items > 0 {
                next_free = next_free.min(free);
            }
            if start.last + self.window > now {
                // Nor is any younger one free.
                break;
            }
        }
        while self.started.pop_front_if(|start| start.items == 0).is_some() {}
        let paced = self.next.max(now);
        if self.sum + items.min(self.items) > self.items { paced.max(next_free) } else { paced }
    }

    /// Starts a request of so many items now, or says when to ask again. Never with more than [`Self::most`].
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
                start.open = start.open.saturating_add(1);
            }
            None => self.started.push_back(Start { first: now, last: now, items, open: 1, answered: now }),
        }
        // Timers fire late: what that cost is caught up, within bounds. A source that was idle lost nothing.
        let due = match now.checked_sub(CATCH_UP) {
            Some(earliest) if self.sum > 0 => self.next.max(earliest),
            _ => now,
        };
        self.next = due + self.pace(items);
        self.sum += items;
        Ok(())
    }

    /// The answer to a request that started at `started` begins now, or there will be none: it is no longer on its
    /// way. A request of which this is never said counts as on its way for as long as one can.
    pub(crate) fn answered(&mut self, started: Instant, now: Instant) {
        let behind = self.started.partition_point(|start| start.first <= started);
        let start = behind.checked_sub(1).and_then(|at| self.started.get_mut(at));
        if let Some(start) = start.filter(|start| started <= start.last) {
            start.open = start.open.saturating_sub(1);
            start.answered = start.answered.max(now);
        }
    }

    /// How long so many items take.
    fn pace(&self, items: u64) -> Duration {
        let nanoseconds = self.window.as_nanos() * u128::from(items) / u128::from(self.items);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

impl Start {
    /// The latest time at which one of these requests reached the upstream; the earliest that it can turn out to be,
    /// while answers are awaited: that is known before a window is over.
    fn reached(&self, on_its_way: Duration, now: Instant) -> Instant {
        let latest = self.last + on_its_way;
        match self.open {
            0 => self.answered.min(latest),
            _ if now < latest => self.last,
            _ => latest,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// The most items that came in any window of this length.
    fn busiest(arrivals: &[(Instant, u64)], per: Duration) -> u64 {
        let from = |first: &(Instant, u64)| {
            arrivals.iter().filter(|(at, _)| *at >= first.0 && *at < first.0 + per).map(|(_, items)| items).sum()
        };
        arrivals.iter().map(from).max().unwrap_or(0)
    }

    /// How many single items start in this time, where each is answered after `answer`, or never, and every timer is
    /// late.
    fn kept(limiter: &mut RateLimiter, begin: Instant, within: Duration, answer: Option<Duration>) -> u32 {
        let (mut now, mut started, mut open) = (begin, 0, VecDeque::new());
        while now < begin + within {
            match limiter.start(1, now) {
                Ok(()) => {
                    started += 1;
                    open.extend(answer.map(|answer| (now, now + answer)));
                }
                // As late as a timer of a millisecond's resolution may be.
                Err(at) => now = at + Duration::from_millis(1),
            }
            while let Some((start, answered)) = open.pop_front_if(|(_, answered)| *answered <= now) {
                limiter.answered(start, answered);
            }
        }
        started
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
            limiter.answered(now, now + Duration::from_millis(100));
            waits.push((now - before).as_millis());
        }
        assert_eq!(waits, [41_300, 19_900, 20_000, 20_200, 19_900]);
    }

    #[test]
    fn an_idle_source_starts_at_once_and_then_evenly() {
        let begin = Instant::now();
        let mut limiter = RateLimiter::new(100, Duration::from_secs(86_400), 1, None, begin);
        let now = begin + MINUTE;
        assert_eq!(limiter.start(1, now), Ok(()));
        assert_eq!(limiter.ready(1, now) - now, Duration::from_secs(864));
    }

    #[test]
    fn places_are_free_a_window_after_all_answers_or_after_the_longest_way() {
        let (begin, ms) = (Instant::now(), Duration::from_millis);
        for (answers, free) in [
            ([Some(30), Some(50)], 1_050),
            ([Some(50), Some(30)], 1_050),
            ([Some(30), Some(700)], 1_201),
            ([Some(30), None], 1_201),
            ([None, Some(30)], 1_201),
            ([None, None], 1_201),
        ] {
            let mut limiter = RateLimiter::new(2_000, Duration::from_secs(1), 2_000, None, begin);
            // So close together that they are remembered as one.
            let starts = [begin, begin + Duration::from_micros(500)];
            assert_eq!(limiter.start(1, starts[0]), Ok(()));
            assert_eq!(limiter.start(1_999, starts[1]), Ok(()));
            for (started, answer) in starts.into_iter().zip(answers) {
                answer.into_iter().for_each(|answer| limiter.answered(started, begin + ms(answer)));
            }
            // Of an earlier owner's.
            limiter.answered(begin - ms(1), begin);
            limiter.answered(begin + ms(1), begin + ms(1));
            assert!(limiter.start(2_000, begin + ms(free - 1)).is_err(), "{answers:?}");
            assert_eq!(limiter.start(2_000, begin + ms(free)), Ok(()), "{answers:?}");
        }
    }

    #[test]
    fn an_upstream_that_answers_fast_costs_next_to_nothing() {
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        for (answer, least) in [(Some(2), 9_850), (Some(50), 9_450), (Some(10_000), 8_250), (None, 8_250)] {
            let mut limiter = RateLimiter::new(1_000, second, 1, None, begin);
            let started = kept(&mut limiter, begin, 10 * second, answer.map(Duration::from_millis));
            assert!((least..=10_000).contains(&started), "{started} of 10,000, answered after {answer:?} ms");
        }
    }

    #[test]
    fn a_slow_answer_holds_no_place_but_its_own() {
        let (begin, ms) = (Instant::now(), Duration::from_millis);
        let mut limiter = RateLimiter::new(2, Duration::from_secs(1), 1, None, begin);
        assert_eq!(limiter.start(1, begin), Ok(()));
        assert_eq!(limiter.start(1, begin + ms(500)), Ok(()));
        limiter.answered(begin + ms(500), begin + ms(501));
        assert_eq!(limiter.start(1, begin + ms(1_200)), Ok(()), "the slow one's");
        assert_eq!(limiter.start(1, begin + ms(1_700)), Ok(()), "the fast one's");
        limiter.answered(begin + ms(1_700), begin + ms(1_701));
        assert!(limiter.start(1, begin + ms(2_399)).is_err());
        assert_eq!(limiter.start(1, begin + ms(2_400)), Ok(()));
    }

    #[test]
    fn a_rate_of_single_items_is_nearly_used_up() {
        let begin = Instant::now();
        let mut limiter = RateLimiter::new(7, Duration::from_secs(1), 1, Some(begin), begin);
        let started = kept(&mut limiter, begin, MINUTE, Some(Duration::from_millis(5)));
        assert!((405..=420).contains(&started), "{started} of 420");
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

    /// A process that keeps the rate, and the upstream that it asks.
    struct Asking {
        now: Instant,
        limiter: RateLimiter,
        /// When requests under way started, and when their answers begin.
        open: Vec<(Instant, Instant)>,
    }

    impl Asking {
        /// Time passes, and answers come, in their order.
        fn go_on_to(&mut self, now: Instant) {
            self.now = now;
            self.open.sort_by_key(|(_, answered)| *answered);
            let come = self.open.partition_point(|(_, answered)| *answered <= now);
            for (started, answered) in self.open.drain(..come) {
                self.limiter.answered(started, answered);
            }
        }
    }

    proptest! {
        /// Whoever asks, however much, after whatever time, however long each request and its answer travel, and
        /// however often somebody new takes over.
        #[test]
        fn no_window_of_the_upstream_sees_more_than_the_rate(
            items in 1u32..80,
            batch in 1usize..30,
            per in 100u64..5_000,
            steps in prop::collection::vec(
                (
                    prop_oneof![Just(0), 0u64..700],
                    1usize..30,
                    0u8..16,
                    prop_oneof![Just(0), Just(100), 0u32..=100],
                    prop_oneof![0u64..20, 0u64..2_000],
                ),
                1..200,
            ),
        ) {
            let (batch, per) = (batch.min(items as usize), Duration::from_millis(per));
            let now = Instant::now();
            let new = |spent_until: Option<Instant>, now| RateLimiter::new(items, per, batch, spent_until, now);
            let mut it = Asking { now, limiter: new(None, now), open: Vec::new() };
            let mut arrivals = Vec::new();
            for (pause, size, fate, way, answer) in steps {
                it.go_on_to(it.now + Duration::from_millis(pause));
                let size = size.min(batch) as u64;
                if fate == 0 {
                    it.limiter = new(Some(it.now), it.now);
                }
                let mut asked = 0;
                while let Err(at) = it.limiter.start(size, it.now) {
                    prop_assert!(at > it.now);
                    it.go_on_to(at);
                    asked += 1;
                    prop_assert!(asked < 200, "it never starts");
                }
                let started = it.now;
                let arrival = started + it.limiter.on_its_way * way / 100;
                arrivals.push((arrival, size));
                match fate {
                    // Killed right after a start; the next owner hears of the answer all the same.
                    1 => it.limiter = new(Some(started), started),
                    2 => {
                        // Killed; the next owner comes some time later, and knows of the last start.
                        it.go_on_to(started + Duration::from_millis(pause));
                        it.limiter = new(Some(started), it.now);
                    }
                    // Dropped before its answer.
                    3 | 4 => continue,
                    _ => {}
                }
                it.open.push((started, arrival + Duration::from_millis(answer)));
            }
            prop_assert!(busiest(&arrivals, per) <= u64::from(items));
        }
    }
}
