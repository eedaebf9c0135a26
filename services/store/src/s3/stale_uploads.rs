//! Aborts multipart uploads that were abandoned.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::types::MultipartUpload;

use crate::{
    StoreError,
    s3::{Store, error_mapping::failed},
};

/// Uploads that S3 lists in a page, which is all that one call looks at: those that are aborted make room for others.
const PAGE: i32 = 1_000;
/// What is said to be older was begun at a time that the store does not know: moto 5.2 says 2010 of all of them.
const UNBELIEVABLE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

impl Store {
    pub(super) async fn abort_uploads(&self, older_than: Duration) -> Result<usize, StoreError> {
        let now = SystemTime::now();
        let inner = &self.inner;
        let call = inner.client.list_multipart_uploads().bucket(&inner.bucket).max_uploads(PAGE);
        let listed = call.send().await.map_err(|error| failed("ListMultipartUploads", "", &error))?;
        let is_stale = |upload: &&MultipartUpload| {
            let begun = upload.initiated.and_then(|at| SystemTime::try_from(at).ok());
            let age = begun.and_then(|begun| now.duration_since(begun).ok());
            age.is_some_and(|age| age > older_than && age < UNBELIEVABLE)
        };
        let mut aborted = 0;
        for upload in listed.uploads().iter().filter(is_stale) {
            let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) else { continue };
            let call = inner.client.abort_multipart_upload().bucket(&inner.bucket).key(key).upload_id(id);
            match call.send().await {
                Ok(_) => aborted += 1,
                // Completed or aborted meanwhile.
                Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_upload()) => {}
                Err(error) => return Err(failed("AbortMultipartUpload", key, &error)),
            }
        }
        Ok(aborted)
    }
}

#[cfg(test)]
mod tests {
    use crate::Embedded;

    use super::*;

    #[tokio::test]
    async fn what_was_begun_long_ago_is_aborted() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path()).await.unwrap().store("bucket").unwrap();
        let Store { inner } = &store;
        for key in ["data/a", "data/a", "data/b"] {
            inner.client.create_multipart_upload().bucket(&inner.bucket).key(key).send().await.unwrap();
        }
        assert_eq!(store.abort_stale_uploads(Duration::from_secs(3_600)).await.unwrap(), 0, "they are new");
        let deadline = SystemTime::now() + Duration::from_secs(10);
        let mut aborted = 0;
        // A store tells the second only.
        while aborted < 3 && SystemTime::now() < deadline {
            aborted += store.abort_stale_uploads(Duration::ZERO).await.unwrap();
        }
        let left = inner.client.list_multipart_uploads().bucket(&inner.bucket).send().await.unwrap();
        assert_eq!((aborted, left.uploads().len()), (3, 0));
    }
}
