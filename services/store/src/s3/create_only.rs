//! Create-only writes, and the probe that finds out whether the store honours them.
//!
//! The only condition that is ever asked of a store is `If-None-Match: *`; nothing else may be added.

use std::time::Duration;

use aws_sdk_s3::{error::ProvideErrorMetadata, primitives::ByteStream};
use bytes::Bytes;

use crate::{
    StoreError,
    s3::{
        Created, Store,
        error_mapping::{failed, status},
    },
};

const OPERATION: &str = "PutObject";
/// How often a 409, two writers at one instant, is tried again; waits double from 50 ms.
const CONFLICTS: u32 = 6;
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// What a PUT with `If-None-Match: *` came to.
enum Attempt {
    Written,
    /// 412: there is an object, perhaps our own from an attempt whose answer was lost.
    Refused,
    /// The store does not know the condition at all.
    Unknown,
}

impl Store {
    pub(super) async fn create_only(
        &self,
        key: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<Created, StoreError> {
        if !self.refuses_overwrites().await? {
            if self.read_head(key).await?.is_some() {
                return self.ours(key, &body).await;
            }
            self.put(key, content_type, body).await?;
            return Ok(Created::New);
        }
        match self.put_if_absent(key, content_type, &body).await? {
            Attempt::Written => Ok(Created::New),
            Attempt::Refused => self.ours(key, &body).await,
            Attempt::Unknown => Err(StoreError::Refused {
                operation: OPERATION,
                key: key.to_owned(),
                reason: "the store honoured If-None-Match when probed, and does not know it now".to_owned(),
            }),
        }
    }

    /// Whether the object that is there has our bytes.
    async fn ours(&self, key: &str, body: &Bytes) -> Result<Created, StoreError> {
        match self.read(key, body.len()).await {
            Ok(Some(found)) if found == *body => Ok(Created::New),
            // Deleted since, or longer than ours: it was there, and it was not this call's.
            Ok(_) | Err(StoreError::TooLarge { .. }) => Ok(Created::Exists),
            Err(error) => Err(error),
        }
    }

    async fn put_if_absent(&self, key: &str, content_type: &'static str, body: &Bytes) -> Result<Attempt, StoreError> {
        let mut wait = FIRST_WAIT;
        for left in (0..CONFLICTS).rev() {
            let call = self.inner.client.put_object().bucket(&self.inner.bucket).key(key).if_none_match("*");
            let call = call.content_type(content_type).body(ByteStream::from(body.clone())).customize();
            let Err(error) = call.config_override(self.timeouts_for(body.len() as u64)).send().await else {
                return Ok(Attempt::Written);
            };
            match status(&error) {
                Some(412) => return Ok(Attempt::Refused),
                Some(501) => return Ok(Attempt::Unknown),
                Some(409) if left > 0 => {
                    // Jitter keeps writers that met once from meeting again.
                    let jitter = u32::from(uuid::Uuid::now_v7().as_bytes()[15]);
                    tokio::time::sleep(wait + wait * jitter / 256).await;
                    wait *= 2;
                }
                _ if error.code() == Some("NotImplemented") => return Ok(Attempt::Unknown),
                _ => return Err(failed(OPERATION, key, &error)),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Creates one key twice. The key is new for every probe, so that processes that start together do not
    /// see each other's.
    pub(super) async fn probe(&self) -> Result<bool, StoreError> {
        let key = format!("probe/{}", uuid::Uuid::now_v7());
        let first = self.put_if_absent(&key, "text/plain", &Bytes::from_static(b"first")).await?;
        // A first attempt that is refused met its own lost success, so the condition is honoured.
        let honoured = match first {
            Attempt::Refused => Ok(true),
            Attempt::Unknown => Ok(false),
            Attempt::Written => {
                let second = self.put_if_absent(&key, "text/plain", &Bytes::from_static(b"second")).await;
                second.map(|attempt| matches!(attempt, Attempt::Refused))
            }
        };
        if let Err(error) = self.delete_objects(std::slice::from_ref(&key)).await {
            tracing::warn!(s3_key = key, %error, "the probe object could not be deleted");
        }
        let honoured = honoured?;
        if !honoured {
            tracing::warn!(
                bucket = self.inner.bucket,
                "the store ignores If-None-Match: duplicates are decided when they are read"
            );
        }
        Ok(honoured)
    }
}
