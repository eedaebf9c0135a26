//! `/live` and `/ready`.

use futures::future::BoxFuture;

/// Something that must work for this process to be of use: `("store", || store.check())`.
pub struct Check {
    /// What is checked, as `/ready` calls it.
    pub name: &'static str,
    /// Checks it, within 2 seconds; the error is for people.
    pub run: Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>,
}

/// All the checks of a process, and whether it is going down.
pub struct Probes {
    /// Run side by side at each `/ready`.
    pub checks: Vec<Check>,
    /// Once cancelled, `/ready` is 503.
    pub shutdown: tokio_util::sync::CancellationToken,
}
