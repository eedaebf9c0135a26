//! Work that is done beside the runtime's threads, on one for blocking work. It runs to its end, whoever waits.

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
