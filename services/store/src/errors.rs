//! Errors of a store, in words for people. No error holds a credential.

/// A call to the store that failed for good, after the SDK's own retries.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store could not be reached, was overloaded or timed out: the same call may succeed later.
    #[error("the object store is unavailable ({operation}{}{key}): {reason}", gap(.key))]
    Unavailable {
        /// `PutObject`, …
        operation: &'static str,
        /// The key or prefix; empty for the bucket.
        key: String,
        /// The innermost cause.
        reason: String,
    },
    /// The store refused: no such bucket, access denied, a bad request. Trying again does not help.
    #[error("the object store refused {operation}{}{key}: {reason}", gap(.key))]
    Refused {
        /// `PutObject`, …
        operation: &'static str,
        /// The key or prefix; empty for the bucket.
        key: String,
        /// The store's code and message.
        reason: String,
    },
    /// An object is larger than the caller is ready to read.
    #[error("{key} is larger than {limit} bytes")]
    TooLarge {
        /// The key.
        key: String,
        /// The caller's limit.
        limit: usize,
    },
    /// The embedded store's folder cannot be used.
    #[error("{path}: {reason}")]
    Folder {
        /// Which folder or file.
        path: String,
        /// Why.
        reason: String,
    },
}

/// Between an operation and its key, where it has one.
fn gap(key: &str) -> &'static str {
    if key.is_empty() { "" } else { " " }
}
