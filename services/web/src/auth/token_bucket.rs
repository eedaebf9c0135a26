//! Rate limits of API keys: one token bucket per key and process.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Holds as many tokens as requests are allowed, and fills evenly over the time they are allowed in.
pub(crate) struct Bucket {
    requests: u32,
    per: Duration,
    /// Tokens, and when they were counted.
    level: Mutex<Option<(f64, Instant)>>,
}

/// What is left after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Requests in `per` seconds.
    pub(crate) requests: u32,
    pub(crate) per: u64,
    /// Requests that would be taken now.
    pub(crate) remaining: u32,
    /// Seconds, rounded up, until there is one more (where none is left), or all are there again.
    pub(crate) reset: u64,
    /// Whether this one was taken.
    pub(crate) taken: bool,
}

impl Bucket {
    pub(crate) fn new(requests: u32, per: Duration) -> Self {
        Self { requests, per, level: Mutex::default() }
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&self, now: Instant) -> Quota {
        let most = f64::from(self.requests);
        let per_second = most / self.per.as_secs_f64();
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, counted) = level.unwrap_or((most, now));
        let refilled = now.saturating_duration_since(counted).as_secs_f64() * per_second;
        let mut tokens = (tokens + refilled).min(most);
        let taken = tokens >= 1.0;
        if taken {
            tokens -= 1.0;
        }
        *level = Some((tokens, now.max(counted)));
        let missing = if tokens < 1.0 { 1.0 - tokens } else { most - tokens };
        Quota {
            requests: self.requests,
            per: self.per.as_secs(),
            remaining: tokens as u32,
            reset: (missing / per_second).ceil() as u64,
            taken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_allowed_then_one_for_each_that_has_come_again() {
        let bucket = Bucket::new(3, Duration::from_secs(30));
        let begin = Instant::now();
        let take = |second: f64| {
            let quota = bucket.take(begin + Duration::from_secs_f64(second));
            (quota.taken, quota.remaining, quota.reset)
        };
        assert_eq!(take(0.0), (true, 2, 10));
        assert_eq!(take(0.0), (true, 1, 20));
        assert_eq!(take(0.0), (true, 0, 10));
        assert_eq!(take(0.0), (false, 0, 10));
        assert_eq!(take(4.5), (false, 0, 6), "rounded up: who comes then is let in");
        assert_eq!(take(10.5), (true, 0, 10));
        assert_eq!(take(3.0), (false, 0, 10), "a clock that goes back gives nothing");
        assert_eq!(take(1_000.0), (true, 2, 10), "what is not used is not kept beyond the bucket");
    }
}
