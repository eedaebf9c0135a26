//! Reading, listing, deleting.

use std::{ops::Range, time::SystemTime};

use aws_sdk_s3::{
    error::{ProvideErrorMetadata, SdkError},
    operation::list_objects_v2::ListObjectsV2Output,
    primitives::DateTime,
    types::{Delete, EncodingType, ObjectIdentifier},
};
use bytes::{Bytes, BytesMut};
use percent_encoding::percent_decode_str;

use crate::{
    StoreError, metadata,
    s3::{
        Entry, Head, Store,
        error_mapping::{failed, innermost, status},
    },
};

/// What S3 lists in a page, and deletes in a call, at most.
pub(super) const PAGE: usize = 1_000;

impl Store {
    pub(super) async fn read(&self, key: &str, limit: usize) -> Result<Option<Bytes>, StoreError> {
        Ok(self.read_body(key, None, limit).await?.map(|(_, bytes)| bytes))
    }

    pub(super) async fn read_entry(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        limit: usize,
    ) -> Result<Option<(Entry, Bytes)>, StoreError> {
        let range = range.map(|range| format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        self.read_body(key, range, limit).await
    }

    pub(super) async fn read_part(&self, key: &str, offset: u64, len: usize) -> Result<Option<Bytes>, StoreError> {
        if len == 0 {
            return Ok(Some(Bytes::new()));
        }
        let range = format!("bytes={offset}-{}", offset.saturating_add(len as u64 - 1));
        Ok(self.read_body(key, Some(range), len).await?.map(|(_, bytes)| bytes))
    }

    async fn read_body(
        &self,
        key: &str,
        range: Option<String>,
        limit: usize,
    ) -> Result<Option<(Entry, Bytes)>, StoreError> {
        const OPERATION: &str = "GetObject";
        let too_large = || StoreError::TooLarge { key: key.to_owned(), limit };
        let call = self.inner.client.get_object().bucket(&self.inner.bucket).key(key).set_range(range);
        let mut object = match call.send().await {
            Ok(object) => object,
            Err(error) if error.code() == Some("NoSuchKey") => return Ok(None),
            Err(error) => return Err(failed(OPERATION, key, &error)),
        };
        let size = usize::try_from(object.content_length().unwrap_or(0)).unwrap_or(0);
        if size > limit {
            return Err(too_large());
        }
        // `bytes 0-9/100`: of a range, the length is that of the range.
        let whole = object.content_range().and_then(|range| range.rsplit('/').next()?.parse().ok());
        let entry = Entry {
            key: key.to_owned(),
            size: whole.unwrap_or(size as u64),
            etag: unquoted(object.e_tag.take()),
            modified: time(object.last_modified),
        };
        let unavailable =
            |reason: String| StoreError::Unavailable { operation: OPERATION, key: key.to_owned(), reason };
        let collect = async {
            let mut bytes = BytesMut::new();
            while let Some(chunk) = object.body.try_next().await.map_err(|error| unavailable(innermost(&error)))? {
                if bytes.len() + chunk.len() > limit {
                    return Err(too_large());
                }
                if bytes.is_empty() && chunk.len() == size {
                    // Whole in one piece, as small objects are: no copy.
                    return Ok(chunk);
                }
                bytes.reserve(size.saturating_sub(bytes.len()).max(chunk.len()));
                bytes.extend_from_slice(&chunk);
            }
            Ok(bytes.freeze())
        };
        // The SDK's timeouts end with the headers.
        let bytes = tokio::time::timeout(self.time_for(size as u64), collect)
            .await
            .map_err(|_| unavailable("the body did not come in time".to_owned()))??;
        if bytes.len() < size {
            return Err(unavailable(format!("the body ended after {} of {size} bytes", bytes.len())));
        }
        Ok(Some((entry, bytes)))
    }

    pub(super) async fn read_head(&self, key: &str) -> Result<Option<Head>, StoreError> {
        let head = match self.inner.client.head_object().bucket(&self.inner.bucket).key(key).send().await {
            Ok(head) => head,
            Err(error) if status(&error) == Some(404) => return Ok(None),
            Err(error) => return Err(failed("HeadObject", key, &error)),
        };
        Ok(Some(Head {
            size: u64::try_from(head.content_length.unwrap_or(0)).unwrap_or(0),
            etag: unquoted(head.e_tag),
            metadata: metadata::decode(head.metadata.unwrap_or_default()),
        }))
    }

    pub(super) async fn list_objects(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        let mut token = None;
        while entries.len() < limit {
            let left = limit - entries.len();
            let page = self.page(prefix, start_after.map(str::to_owned), token, false, left).await?;
            let decode = decoder(&page);
            entries.extend(page.contents.unwrap_or_default().into_iter().map(|object| Entry {
                key: decode(object.key.unwrap_or_default()),
                size: u64::try_from(object.size.unwrap_or(0)).unwrap_or(0),
                etag: unquoted(object.e_tag),
                modified: time(object.last_modified),
            }));
            token = page.next_continuation_token;
            if token.is_none() {
                break;
            }
        }
        entries.truncate(limit);
        Ok(entries)
    }

    pub(super) async fn list_folders(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        // `0` is the character after `/`: everything below the folder comes before it, and a folder of the
        // name with a `0` behind it has a `/` behind that, so comes after.
        let start_after = start_after.map(|name| format!("{prefix}{name}0"));
        let mut folders: Vec<String> = Vec::new();
        let mut token = None;
        while folders.len() < limit {
            // Objects directly below count into a page too, so a page may bring fewer folders than asked for.
            let page = self.page(prefix, start_after.clone(), token, true, limit - folders.len()).await?;
            let decode = decoder(&page);
            let found = page.common_prefixes.unwrap_or_default().into_iter().filter_map(|common| common.prefix);
            folders.extend(found.filter_map(|found| {
                let found = decode(found);
                found.strip_prefix(prefix).and_then(|name| name.strip_suffix('/')).map(str::to_owned)
            }));
            token = page.next_continuation_token;
            if token.is_none() {
                break;
            }
        }
        folders.truncate(limit);
        Ok(folders)
    }

    async fn page(
        &self,
        prefix: &str,
        start_after: Option<String>,
        token: Option<String>,
        folders: bool,
        limit: usize,
    ) -> Result<ListObjectsV2Output, StoreError> {
        let call = self.inner.client.list_objects_v2().bucket(&self.inner.bucket).prefix(prefix);
        // One before the prefix changes nothing; but Garage 2.5 ends its listing at the first key after it that
        // is outside the prefix.
        let start_after = start_after.filter(|after| token.is_none() && after.as_str() >= prefix);
        let call = call.set_start_after(start_after).set_continuation_token(token);
        let call = call.set_delimiter(folders.then(|| "/".to_owned()));
        // XML cannot carry every character that a key can.
        let call = call.encoding_type(EncodingType::Url);
        let call = call.max_keys(i32::try_from(limit.min(PAGE)).expect("a page is far below 2^31"));
        call.send().await.map_err(|error| failed("ListObjectsV2", prefix, &error))
    }

    pub(super) async fn delete_objects(&self, keys: &[String]) -> Result<(), StoreError> {
        if let [key] = keys {
            let call = self.inner.client.delete_object().bucket(&self.inner.bucket).key(key);
            return match call.send().await {
                Ok(_) => Ok(()),
                Err(error) if error.code() == Some("NoSuchKey") => Ok(()),
                Err(error) => Err(failed("DeleteObject", key, &error)),
            };
        }
        for batch in keys.chunks(PAGE) {
            self.delete_batch(batch).await?;
        }
        Ok(())
    }

    async fn delete_batch(&self, keys: &[String]) -> Result<(), StoreError> {
        const OPERATION: &str = "DeleteObjects";
        let first = keys.first().map_or("", String::as_str);
        let objects = keys.iter().map(|key| ObjectIdentifier::builder().key(key).build());
        let objects: Result<Vec<_>, _> = objects.collect();
        let delete = objects.and_then(|objects| Delete::builder().set_objects(Some(objects)).quiet(true).build());
        let delete =
            delete.map_err(|error| failed(OPERATION, first, &SdkError::<Never, _>::construction_failure(error)))?;
        let call = self.inner.client.delete_objects().bucket(&self.inner.bucket).delete(delete);
        let answer = call.send().await.map_err(|error| failed(OPERATION, first, &error))?;
        let refused = answer.errors().iter().find(|error| error.code() != Some("NoSuchKey"));
        let Some(error) = refused else { return Ok(()) };
        let (code, key) = (error.code().unwrap_or("no code"), error.key().unwrap_or_default().to_owned());
        let reason = format!("{code}: {}", error.message().unwrap_or_default());
        Err(match code {
            "InternalError" | "SlowDown" | "ServiceUnavailable" => {
                StoreError::Unavailable { operation: OPERATION, key, reason }
            }
            _ => StoreError::Refused { operation: OPERATION, key, reason },
        })
    }
}

/// Stands where an operation's own error cannot occur.
type Never = aws_sdk_s3::operation::delete_objects::DeleteObjectsError;

/// Keys come back encoded where the store understood that they were asked for so.
fn decoder(page: &ListObjectsV2Output) -> impl Fn(String) -> String + use<> {
    let encoded = page.encoding_type == Some(EncodingType::Url);
    move |key| {
        if !encoded {
            return key;
        }
        // AWS writes a space as `+`, and a plus as `%2B`.
        percent_decode_str(&key.replace('+', " ")).decode_utf8_lossy().into_owned()
    }
}

/// S3 always says when an object was written; without that it is as old as can be.
fn time(modified: Option<DateTime>) -> SystemTime {
    modified.and_then(|modified| modified.try_into().ok()).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn unquoted(etag: Option<String>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_owned()
}
