//! A limit over a sliding window: so many items in any span of its length, by when they arrive.
//!
//! Nothing is tolerated, and nothing is smoothed: a client that is within the limit never meets it, and one
//! that is a nanosecond early does. No clock is read here.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// What passed within the last window. It holds no more entries than items may pass.
#[derive(Debug, Default)]
pub(crate) struct Window {
    passed: VecDeque<(Instant, u64)>,
    /// Of all items in `passed`.
    sum: u64,
}

impl Window {
    /// Lets `items` pass that arrive at `now`, which is never before an earlier one; or says how long it takes
    /// until they could. Those that do not pass do not count. A span holds its first moment, not its last.
    pub(crate) fn pass(&mut self, now: Instant, items: u64, limit: u64, length: Duration) -> Result<(), Duration> {
        while self.passed.front().is_some_and(|(at, _)| now.duration_since(*at) >= length) {
            self.sum -= self.passed.pop_front().map_or(0, |(_, items)| items);
        }
        let mut sum = self.sum.saturating_add(items);
        if sum <= limit {
            self.passed.push_back((now, items));
            self.sum = sum;
            return Ok(());
        }
        for (at, items) in &self.passed {
            sum -= items;
            if sum <= limit {
                return Err(length.saturating_sub(now.duration_since(*at)));
            }
        }
        Err(length)
    }
}

/// A wait as `Retry-After` says it: whole seconds, and never so few that the next request comes too early.
pub(crate) fn retry_after(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_limit_is_met_to_the_nanosecond() {
        let (mut window, start) = (Window::default(), Instant::now());
        let mut pass = |after: Duration, items| window.pass(start + after, items, 60, MINUTE);
        assert_eq!(pass(Duration::ZERO, 20), Ok(()));
        assert_eq!(pass(Duration::from_secs(10), 40), Ok(()));
        assert_eq!(pass(Duration::from_secs(20), 1), Err(Duration::from_secs(40)));
        assert_eq!(pass(Duration::from_secs(20), 21), Err(Duration::from_secs(50)));
        let nanosecond = Duration::from_nanos(1);
        assert_eq!(pass(MINUTE - nanosecond, 1), Err(nanosecond));
        assert_eq!(pass(MINUTE, 20), Ok(()));
        assert_eq!(pass(MINUTE, 1), Err(Duration::from_secs(10)));
        assert_eq!(pass(Duration::from_secs(300), 61), Err(MINUTE), "they never could");
        assert_eq!(pass(Duration::from_secs(300), 60), Ok(()));
    }

    #[test]
    fn no_limit_and_no_window() {
        let (mut window, now) = (Window::default(), Instant::now());
        assert_eq!(window.pass(now, 1, 0, MINUTE), Err(MINUTE));
        for _ in 0..10 {
            assert_eq!(window.pass(now, 1, 1, Duration::ZERO), Ok(()));
        }
    }

    proptest! {
        /// What passed is within the limit in every window, and what did not pass would not have been; after
        /// the wait that was named it passes.
        #[test]
        fn every_window_is_within_the_limit(asked in proptest::collection::vec((0u64..40, 1u64..12), 1..60)) {
            let (mut window, start, limit, length) = (Window::default(), Instant::now(), 20, Duration::from_secs(30));
            let (mut now, mut passed) = (start, Vec::<(Instant, u64)>::new());
            for (gap, items) in asked {
                now += Duration::from_secs(gap);
                let before = |now: Instant, passed: &[(Instant, u64)]| {
                    passed.iter().filter(|(at, _)| now < *at + length).map(|(_, items)| items).sum::<u64>()
                };
                match window.pass(now, items, limit, length) {
                    Ok(()) => {
                        prop_assert!(before(now, &passed) + items <= limit);
                        passed.push((now, items));
                    }
                    Err(wait) => {
                        prop_assert!(before(now, &passed) + items > limit);
                        prop_assert!(before(now + wait, &passed) + items <= limit);
                        prop_assert!(before(now + wait - Duration::from_nanos(1), &passed) + items > limit);
                    }
                }
            }
        }
    }
}
