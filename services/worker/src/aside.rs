//! Work that is done beside the runtime's threads, on one for blocking work.
//!
//! Whoever stops waiting for it stops it, at its next await; what only computes runs to its end.

use std::future::Future;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::Span;

/// Computes something that takes longer than other tasks on the same thread should wait. `None` where the
/// runtime goes down.
pub(crate) async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let span = Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(result) => Some(result),
        // A panic is passed on to whoever runs the task, and counted there.
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => None,
    }
}

/// Awaits a future that cannot be moved between threads: those of the ledger that send out a plan's tasks
/// borrow in a way that the compiler cannot see to be `Send`. `None` where the runtime goes down.
pub(crate) async fn run<T, F>(make: impl FnOnce() -> F + Send + 'static) -> Option<T>
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let runtime = Handle::current();
    let abandoned = CancellationToken::new();
    let _guard = abandoned.clone().drop_guard();
    compute(move || runtime.block_on(abandoned.run_until_cancelled(make()))).await.flatten()
}

#[cfg(test)]
mod tests {
    use std::{rc::Rc, time::Duration};

    use super::*;

    #[tokio::test]
    async fn a_future_that_stays_on_its_thread_is_awaited() {
        let done = run(|| async {
            let here = Rc::new(7);
            tokio::task::yield_now().await;
            *here
        });
        assert_eq!(done.await, Some(7));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_stopped() {
        let (alive, mut gone) = tokio::sync::mpsc::channel::<()>(1);
        let endless = run(move || async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        });
        assert!(tokio::time::timeout(Duration::from_millis(20), endless).await.is_err());
        let ended = tokio::time::timeout(Duration::from_secs(5), gone.recv()).await;
        assert_eq!(ended, Ok(None), "the future was dropped, and its sender with it");
    }
}
