//! Computation on the runtime's threads for blocking work. It runs to its end even where nobody awaits it any more.

use tracing::Span;

/// Runs `work` on a thread for blocking work. `None` where the runtime goes down.
pub(crate) async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let span = Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(result) => Some(result),
        // The panic goes on in the caller, where it is caught and counted.
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => None,
    }
}
