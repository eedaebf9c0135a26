//! How long to wait, and when to stop: the only room that names the `backoff` crate.

use std::time::Duration;

use backoff::{ExponentialBackoff, ExponentialBackoffBuilder, backoff::Backoff};
use tokio_util::sync::CancellationToken;

use crate::RetryPolicy;

/// The longest delay between two deliveries that is our own choice.
const LONGEST_DELAY: Duration = Duration::from_secs(15 * 60);

/// The longest `Retry-After` that is believed: an upstream that says a year by mistake must not park a
/// job for a year.
pub(crate) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// Why one try of a request gave nothing, in words. `Transient` is worth another try, and carries the
/// upstream's `Retry-After` where it sent one.
pub(crate) type Fault = backoff::Error<String>;

/// Why a request was not tried once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GaveUp {
    /// Not here and now, but later: after `after` at least, where the upstream said so.
    Later { after: Option<Duration>, reason: String },
    /// Trying again does not help.
    Never { reason: String },
    /// Another worker keeps the limit of this source.
    Elsewhere,
    /// Nobody wants it any more.
    Cancelled,
    /// The process goes down.
    Interrupted,
}

/// The waits between the tries of one request.
pub(crate) struct RetryBudget<'a> {
    policy: RetryPolicy,
    shutdown: &'a CancellationToken,
    waits: ExponentialBackoff,
    tries: u32,
}

impl<'a> RetryBudget<'a> {
    pub(crate) fn new(policy: RetryPolicy, shutdown: &'a CancellationToken) -> Self {
        Self { policy, shutdown, waits: exponential(policy.initial, policy.max_wait), tries: 0 }
    }

    /// Waits before the next try, or says why there is none.
    pub(crate) async fn wait(&mut self, fault: Fault) -> Result<(), GaveUp> {
        let (reason, after) = match fault {
            Fault::Permanent(reason) => return Err(GaveUp::Never { reason }),
            Fault::Transient { err, retry_after } => (err, retry_after.map(|after| after.min(LONGEST_RETRY_AFTER))),
        };
        self.tries += 1;
        if self.tries >= self.policy.tries || after.is_some_and(|after| after > self.policy.max_wait) {
            return Err(GaveUp::Later { after, reason });
        }
        let wait = after.or_else(|| self.waits.next_backoff()).unwrap_or(self.policy.max_wait);
        tracing::debug!(error = reason, tries = self.tries, wait_ms = wait.as_millis() as u64, "trying again");
        pause(wait, self.shutdown).await
    }
}

/// Waits, unless the process goes down.
pub(crate) async fn pause(wait: Duration, shutdown: &CancellationToken) -> Result<(), GaveUp> {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => Err(GaveUp::Interrupted),
        () = tokio::time::sleep(wait) => Ok(()),
    }
}

/// The delay before delivery `attempt + 1`: it begins where the waits in the worker end, and doubles.
pub(crate) fn delay(policy: RetryPolicy, attempt: u32) -> Duration {
    let doubled = policy.max_wait.saturating_mul(1 << attempt.saturating_sub(1).min(20)).min(LONGEST_DELAY);
    exponential(doubled, LONGEST_DELAY).next_backoff().unwrap_or(doubled)
}

fn exponential(initial: Duration, max: Duration) -> ExponentialBackoff {
    ExponentialBackoffBuilder::new()
        .with_initial_interval(initial)
        .with_max_interval(max)
        .with_multiplier(2.0)
        .with_randomization_factor(0.5)
        .with_max_elapsed_time(None)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy =
        RetryPolicy { initial: Duration::from_millis(1), max_wait: Duration::from_millis(4), tries: 3, attempts: 2 };

    #[tokio::test]
    async fn a_transient_fault_is_tried_so_many_times() {
        let shutdown = CancellationToken::new();
        let mut budget = RetryBudget::new(POLICY, &shutdown);
        assert_eq!(budget.wait(Fault::transient("a".into())).await, Ok(()));
        assert_eq!(budget.wait(Fault::retry_after("b".into(), Duration::from_millis(2))).await, Ok(()));
        let end = budget.wait(Fault::transient("c".into())).await;
        assert_eq!(end, Err(GaveUp::Later { after: None, reason: "c".into() }));
    }

    #[tokio::test]
    async fn a_permanent_fault_is_not_tried_again() {
        let shutdown = CancellationToken::new();
        let end = RetryBudget::new(POLICY, &shutdown).wait(Fault::permanent("no".into())).await;
        assert_eq!(end, Err(GaveUp::Never { reason: "no".into() }));
    }

    #[tokio::test]
    async fn a_long_retry_after_is_spent_in_the_queue_and_is_bounded() {
        let shutdown = CancellationToken::new();
        let a_year = Duration::from_secs(365 * 24 * 3600);
        let end = RetryBudget::new(POLICY, &shutdown).wait(Fault::retry_after("busy".into(), a_year)).await;
        assert_eq!(end, Err(GaveUp::Later { after: Some(LONGEST_RETRY_AFTER), reason: "busy".into() }));
    }

    #[tokio::test]
    async fn a_wait_ends_when_the_process_goes_down() {
        let shutdown = CancellationToken::new();
        let policy = RetryPolicy { initial: LONGEST_DELAY, max_wait: LONGEST_DELAY, ..POLICY };
        let mut budget = RetryBudget::new(policy, &shutdown);
        let (end, ()) = tokio::join!(budget.wait(Fault::transient("a".into())), async { shutdown.cancel() });
        assert_eq!(end, Err(GaveUp::Interrupted));
    }

    #[test]
    fn delays_double_and_are_bounded() {
        let policy = RetryPolicy { max_wait: Duration::from_secs(10), ..POLICY };
        for (attempt, expected) in [(1, 10), (2, 20), (3, 40), (50, LONGEST_DELAY.as_secs())] {
            let seconds = delay(policy, attempt).as_secs_f64();
            let expected = expected as f64;
            assert!((expected * 0.5 - 0.1..expected * 1.5 + 0.1).contains(&seconds), "{attempt}: {seconds}");
        }
    }
}
