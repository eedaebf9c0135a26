//! Checks whether the bucket is usable, and says in one line what to change if not. The line holds no credential, no
//! address, and of the store's answer only its code.

use std::{error::Error, sync::atomic::Ordering, time::Duration};

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
};

use crate::{
    StoreError,
    s3::{
        Store,
        error_mapping::{failed, innermost, status},
    },
};

/// What a probe of a load balancer can wait for.
const WITHIN: Duration = Duration::from_secs(2);

/// What is tried, in words, and the permission that it takes.
const LIST: (&str, &str) = ("list", "s3:ListBucket");
const WRITE: (&str, &str) = ("write to", "s3:PutObject");

impl Store {
    /// The first time it lists, because only a body says what is wrong; from then on a HEAD does.
    pub(super) async fn look(&self, writes: bool) -> Result<(), StoreError> {
        let looked = async {
            match self.inner.can_list.initialized() {
                true => self.head_bucket().await?,
                false => self.inner.can_list.get_or_try_init(|| self.try_to_list()).await.map(drop)?,
            }
            if writes && self.inner.write_failed.load(Ordering::Relaxed) {
                self.noted(self.try_to_write().await)?;
            } else if writes {
                self.inner.can_write.get_or_try_init(|| self.try_to_write()).await?;
            }
            Ok(())
        };
        tokio::time::timeout(WITHIN, looked).await.unwrap_or_else(|_| {
            let reason = format!("no answer within {} seconds", WITHIN.as_secs());
            Err(StoreError::Unavailable { operation: "HeadBucket", key: String::new(), reason })
        })
    }

    /// Remembers whether a write failed.
    pub(super) fn noted<T>(&self, written: Result<T, StoreError>) -> Result<T, StoreError> {
        self.inner.write_failed.store(written.is_err(), Ordering::Relaxed);
        written
    }

    async fn head_bucket(&self) -> Result<(), StoreError> {
        let call = self.inner.client.head_bucket().bucket(&self.inner.bucket).send().await;
        call.map(drop).map_err(|error| self.explain("HeadBucket", LIST, &error))
    }

    async fn try_to_list(&self) -> Result<(), StoreError> {
        let call = self.inner.client.list_objects_v2().bucket(&self.inner.bucket).prefix("probe/").max_keys(1);
        call.send().await.map(drop).map_err(|error| self.explain("ListObjectsV2", LIST, &error))
    }

    async fn try_to_write(&self) -> Result<(), StoreError> {
        let key = format!("probe/{}", uuid::Uuid::now_v7());
        let call = self.inner.client.put_object().bucket(&self.inner.bucket).key(&key);
        let written = call.content_type("text/plain").body(ByteStream::from_static(b"probe")).send().await;
        written.map_err(|error| self.explain("PutObject", WRITE, &error))?;
        if let Err(error) = self.delete_objects(std::slice::from_ref(&key)).await {
            tracing::warn!(s3_key = key, %error, "the probe object could not be deleted");
        }
        Ok(())
    }

    fn explain<E>(
        &self,
        operation: &'static str,
        (tried, permission): (&str, &str),
        error: &SdkError<E, HttpResponse>,
    ) -> StoreError
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        let bucket = &self.inner.bucket;
        let refused = |reason: String| StoreError::Refused { operation, key: String::new(), reason };
        let (code, status) = (error.code(), status(error));
        let in_words = match code {
            Some(code) => code.to_owned(),
            None => status.map_or_else(String::new, |status| format!("HTTP status {status}")),
        };
        match (code, status) {
            (None, _) if is_a_page(error) => refused(
                "the endpoint answers with a web page, so it is no S3: set AWS_ENDPOINT_URL_S3 to the store's S3 port"
                    .to_owned(),
            ),
            (None, Some(200..=299)) => refused(
                "the endpoint does not answer as S3 does: set AWS_ENDPOINT_URL_S3 to the store's S3 port".to_owned(),
            ),
            (Some("NoSuchBucket"), _) | (None | Some("NotFound"), Some(404)) => {
                refused(format!("bucket {bucket} does not exist: create it, or set WAYBILL_S3_BUCKET to one that does"))
            }
            (Some("InvalidAccessKeyId"), _) => {
                refused(format!("the store does not know the access key: set AWS_ACCESS_KEY_ID ({in_words})"))
            }
            (Some("SignatureDoesNotMatch"), _) => {
                refused(format!("the secret does not belong to the access key: set AWS_SECRET_ACCESS_KEY ({in_words})"))
            }
            (Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired"), _) => {
                refused(format!("the session's credentials have expired: renew AWS_SESSION_TOKEN ({in_words})"))
            }
            (Some("RequestTimeTooSkewed"), _) => refused(format!("this machine's clock is wrong: set it ({in_words})")),
            (Some("PermanentRedirect" | "AuthorizationHeaderMalformed"), _) | (_, Some(301 | 307)) => {
                refused(format!("bucket {bucket} is in another region: set AWS_REGION to it ({in_words})"))
            }
            (_, Some(401 | 403)) => refused(format!(
                "these credentials may not {tried} bucket {bucket}: allow them {permission}, or use others ({in_words})"
            )),
            (_, None) if lacks_credentials(error) => refused(
                "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this process a \
                 role"
                    .to_owned(),
            ),
            (_, None) if innermost(error).contains("invalid peer certificate") => StoreError::Unavailable {
                operation,
                key: String::new(),
                reason: format!(
                    "{}: let SSL_CERT_FILE name the authority that signed the store's certificate",
                    innermost(error)
                ),
            },
            (_, None) if matches!(error, SdkError::DispatchFailure(_)) => StoreError::Unavailable {
                operation,
                key: String::new(),
                reason: format!("{}: is the store up, and AWS_ENDPOINT_URL_S3 right?", innermost(error)),
            },
            _ => failed(operation, "", error),
        }
    }
}

fn is_a_page<E>(error: &SdkError<E, HttpResponse>) -> bool {
    let kind = error.raw_response().and_then(|response| response.headers().get("content-type"));
    kind.is_some_and(|kind| kind.contains("html"))
}

/// The SDK has no type for it that can be told from here.
fn lacks_credentials<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> bool {
    innermost(error).contains("credentials")
}
