//! The four calls that a journal makes of a store. The tests have one of their own, whose every call is a step.

use async_trait::async_trait;
use bytes::Bytes;
use waybill_store::{Entry, Store, StoreError};

/// A store's calls, as [`Store`] promises them.
#[async_trait]
pub trait Bucket: Send + Sync + 'static {
    /// At most `limit` objects under `prefix` in byte order of their keys, after the key `start_after`. Fewer only at
    /// the end.
    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// An object; `None` where there is none, [`StoreError::TooLarge`] where it is over `limit` bytes.
    async fn get(&self, key: &str, limit: usize) -> Result<Option<Bytes>, StoreError>;

    /// Writes an object, whole or not at all.
    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError>;

    /// Deletes objects; one that is not there counts as deleted.
    async fn delete(&self, keys: &[String]) -> Result<(), StoreError>;
}

#[async_trait]
impl Bucket for Store {
    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        Self::list(self, prefix, start_after, limit).await
    }

    async fn get(&self, key: &str, limit: usize) -> Result<Option<Bytes>, StoreError> {
        Self::get(self, key, limit).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        Self::put(self, key, "application/octet-stream", body).await
    }

    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        Self::delete(self, keys).await
    }
}
