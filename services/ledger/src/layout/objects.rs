//! Reads and writes facts as JSON objects, and deletes what is past its time. Only derived objects are ever overwritten.

use std::pin::pin;

use bytes::Bytes;
use futures::TryStreamExt;
use serde::{Serialize, de::DeserializeOwned};
use waybill_store::{Created, StoreError};

use crate::{Ledger, LedgerError};

/// The most that is read of most objects.
pub(crate) const SMALL: usize = 1 << 20;
/// The most that is read of a plan, which is about a million items.
pub(crate) const PLAN: usize = 256 << 20;
/// The most that is read of a summary; it repeats the keys of ten tasks' items.
pub(crate) const SUMMARY: usize = 64 << 20;

const JSON: &str = "application/json";

impl Ledger {
    /// Reads a fact; `None` where there is none. Of the objects larger than [`SMALL`], one at a time is in memory.
    pub(crate) async fn read<T: DeserializeOwned>(&self, key: &str, limit: usize) -> Result<Option<T>, LedgerError> {
        let _turn;
        let mut body = self.store.get(key, limit.min(SMALL)).await;
        if limit > SMALL && matches!(body, Err(StoreError::TooLarge { .. })) {
            _turn = self.memory.large_reads.lock().await;
            body = self.store.get(key, limit).await;
        }
        let Some(body) = within(key, body)? else { return Ok(None) };
        serde_json::from_slice(&body).map(Some).map_err(|error| LedgerError::damaged(key, error))
    }

    /// Reads an object that is not needed: a damaged one counts as absent.
    pub(crate) async fn read_intact<T: DeserializeOwned>(
        &self,
        key: &str,
        limit: usize,
    ) -> Result<Option<T>, LedgerError> {
        match self.read(key, limit).await {
            Err(LedgerError::Damaged { key, reason }) => {
                tracing::warn!(s3_key = key, error = reason, "ignored a damaged object");
                Ok(None)
            }
            read => read,
        }
    }

    /// Writes a fact, unless it is there.
    pub(crate) async fn create<T: Serialize>(&self, key: &str, fact: &T, limit: usize) -> Result<Created, LedgerError> {
        Ok(self.store.create(key, JSON, to_json(key, fact, limit)?).await?)
    }

    /// Writes a fact, unless it is there, and returns the one that counts.
    ///
    /// Where the store does not refuse overwrites, two callers at the same instant may still both write;
    /// reading it back makes all agree who read after the later write.
    pub(crate) async fn create_or_read<T>(&self, key: &str, fact: T, limit: usize) -> Result<T, LedgerError>
    where
        T: Serialize + DeserializeOwned,
    {
        match self.create(key, &fact, limit).await? {
            Created::New if self.store.refuses_overwrites().await? => Ok(fact),
            Created::New | Created::Exists => {
                self.read(key, limit).await?.ok_or_else(|| LedgerError::damaged(key, "it was there, and is gone"))
            }
        }
    }

    /// Writes, or overwrites, a derived object.
    pub(crate) async fn put<T: Serialize>(&self, key: &str, derived: &T, limit: usize) -> Result<(), LedgerError> {
        Ok(self.store.put(key, JSON, to_json(key, derived, limit)?).await?)
    }

    /// Deletes every object below a prefix, a page at a time, in no order that counts.
    pub(crate) async fn delete_below(&self, prefix: &str) -> Result<(), LedgerError> {
        let mut pages = pin!(self.store.pages(prefix));
        while let Some(page) = pages.try_next().await? {
            self.store.delete(&page.into_iter().map(|entry| entry.key).collect::<Vec<_>>()).await?;
        }
        Ok(())
    }
}

/// What was read of an object; one that is too large is damaged.
pub(crate) fn within(key: &str, body: Result<Option<Bytes>, StoreError>) -> Result<Option<Bytes>, LedgerError> {
    match body {
        Err(StoreError::TooLarge { limit, .. }) => {
            Err(LedgerError::damaged(key, format!("it is larger than {limit} bytes")))
        }
        body => Ok(body?),
    }
}

/// One line, for people who look with `cat`. What could not be read again is not written.
fn to_json<T: Serialize>(key: &str, value: &T, limit: usize) -> Result<Bytes, LedgerError> {
    let mut json = serde_json::to_vec(value).expect("facts are maps with text keys and finite numbers");
    json.push(b'\n');
    if json.len() > limit {
        return Err(StoreError::TooLarge { key: key.to_owned(), limit }.into());
    }
    Ok(json.into())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::testing::Fixture;

    #[tokio::test]
    async fn an_object_beyond_its_limit_is_damaged_and_others_are_read() {
        let fixture = Fixture::new().await;
        let text = |len: usize| format!("\"{}\"", "x".repeat(len - 2));
        for (len, limit, is_read) in [
            (SMALL, SMALL, true),
            (SMALL + 1, SMALL, false),
            (SMALL + 1, 2 * SMALL, true),
            (2 * SMALL + 1, 2 * SMALL, false),
        ] {
            fixture.store.put("jobs/x", JSON, text(len).into()).await.unwrap();
            let read: Result<Option<Value>, _> = fixture.ledger.read("jobs/x", limit).await;
            match read {
                Ok(Some(Value::String(value))) => assert!(is_read && value.len() == len - 2),
                Err(error @ LedgerError::Damaged { .. }) => {
                    assert!(!is_read);
                    assert_eq!(error.to_string(), format!("jobs/x is damaged: it is larger than {limit} bytes"));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
