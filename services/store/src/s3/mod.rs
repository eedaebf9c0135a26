//! The S3 client: one bucket, and the dozen operations that Waybill uses.
//!
//! Calls are in the files below by what they do. None of them may retry what is not safe to repeat, and
//! none may return an error that names a credential.

mod config;
mod create_only;
mod error_mapping;
mod file_range;
mod health;
mod multipart;
mod read;
mod stale_uploads;
mod write;

pub(crate) use self::config::behavior;

use std::{
    collections::HashMap,
    fmt,
    ops::Range,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, SystemTime},
};

use aws_sdk_s3::Client;
use bytes::Bytes;
use futures::{FutureExt, Stream, stream};
use tokio::sync::OnceCell;

use crate::{Metrics, StoreError};

/// Which bucket, and what the standard `AWS_*` variables do not say.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// The bucket; it must exist.
    pub bucket: String,
    /// Path-style addresses, for stores without a name per bucket (moto, Garage, MinIO). On where an
    /// endpoint is set by `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`.
    pub force_path_style: Option<bool>,
    /// For one attempt of a small call; uploads get more by their size.
    pub attempt_timeout: Duration,
}

/// A bucket. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    bucket: String,
    attempt_timeout: Duration,
    /// Whether the store honours create-only; empty until it has been probed.
    refuses_overwrites: OnceCell<bool>,
    /// Set once the store has let us; see [`Store::check`].
    can_list: OnceCell<()>,
    can_write: OnceCell<()>,
    /// Whether the last write failed, as on a full disk: then [`Store::check_writes`] writes again.
    write_failed: AtomicBool,
    /// Whether requests are signed, and so by a hash of what they carry.
    signs: bool,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("bucket", &self.inner.bucket).finish_non_exhaustive()
    }
}

/// Whether a create-only PUT made the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// This call made it.
    New,
    /// It was there already, made by somebody else; it was not touched.
    Exists,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The whole key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// As the store gives it, without quotes.
    pub etag: String,
    /// When it was written, by the store's clock.
    pub modified: SystemTime,
}

/// An object's headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Bytes.
    pub size: u64,
    /// As the store gives it, without quotes.
    pub etag: String,
    /// User metadata, decoded; names in lower case.
    pub metadata: HashMap<String, String>,
}

/// An object to be written with metadata. All of it is known before the upload starts.
#[derive(Debug)]
pub struct Upload {
    /// `application/json`, …
    pub content_type: &'static str,
    /// Any Unicode; encoded to ASCII on the wire. At most 2 KB encoded. Names are kept in lower case.
    pub metadata: Vec<(String, String)>,
    /// The bytes.
    pub body: UploadBody,
}

/// Where an upload's bytes come from.
#[derive(Debug)]
pub enum UploadBody {
    /// In memory.
    Bytes(Bytes),
    /// In memory, and hashed. A store that gets other bytes refuses them.
    Hashed {
        /// The bytes.
        bytes: Bytes,
        /// Their SHA-256 in lower-case hexadecimal digits. The request is signed by it.
        sha256: String,
    },
    /// In a file, which may have no name any more; read by offset, in parallel parts.
    File {
        /// An open file; read with positioned reads only.
        file: Arc<std::fs::File>,
        /// Its length in bytes.
        len: u64,
    },
}

// The futures of requests are boxed: the SDK's are so deep that callers' would overflow the compiler's recursion limit.
impl Store {
    /// A client for the S3 that the standard `AWS_*` variables name. Asks the store nothing: a store that
    /// is away now may be there later. See [`Self::check`].
    ///
    /// # Errors
    /// [`StoreError::Refused`] where a variable cannot be read, by its name.
    pub async fn connect(settings: S3Settings) -> Result<Self, StoreError> {
        let config = config::from_environment(settings.force_path_style).await?;
        Ok(Self::with_config(config, &settings.bucket, settings.attempt_timeout, None))
    }

    /// The same bucket, counted in `metrics`.
    #[must_use]
    pub fn with_metrics(&self, metrics: &Metrics) -> Self {
        self.counted(metrics)
    }

    /// Whether the bucket is there and can be read: what `/ready` asks. At most 2 seconds.
    ///
    /// # Errors
    /// In one line, with what to change: [`StoreError::Refused`] where there is no such bucket, no access, or no S3,
    /// else [`StoreError::Unavailable`].
    pub async fn check(&self) -> Result<(), StoreError> {
        self.look(false).boxed().await
    }

    /// [`Self::check`], and whether the bucket can be written: an object under `probe/` is written and deleted, until
    /// that has worked once, and again after a write that failed.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub async fn check_writes(&self) -> Result<(), StoreError> {
        self.look(true).boxed().await
    }

    /// Whether the store honours create-only. Probed once, on first use, by creating one key twice under
    /// `probe/`; where it does not, that is logged once and readers decide ties by key order.
    ///
    /// # Errors
    /// As any call; the next call probes again.
    pub async fn refuses_overwrites(&self) -> Result<bool, StoreError> {
        self.inner.refuses_overwrites.get_or_try_init(|| self.probe().boxed()).await.copied()
    }

    /// Creates a small object unless its key exists. Safe against an SDK retry that meets its own
    /// success: on 412 the object is read back, and the same bytes count as ours. 409 is retried.
    ///
    /// Where the store does not honour create-only, an object that can be seen is not touched, but two
    /// callers at the same instant may both be told [`Created::New`].
    ///
    /// # Errors
    /// As any call.
    pub async fn create(&self, key: &str, content_type: &'static str, body: Bytes) -> Result<Created, StoreError> {
        self.noted(self.create_only(key, content_type, body).boxed().await)
    }

    /// Writes a small object, over whatever is there. Only for what is derived and can be made again.
    ///
    /// # Errors
    /// As any call.
    pub async fn put(&self, key: &str, content_type: &'static str, body: Bytes) -> Result<(), StoreError> {
        self.upload(key, Upload { content_type, metadata: Vec::new(), body: UploadBody::Bytes(body) }).await
    }

    /// Writes an object with metadata, in one request or in parallel parts. The key must be new: nothing
    /// in data/ is ever overwritten. A multipart upload that fails, or whose future is dropped, is aborted.
    ///
    /// Memory: files are read in parts, and at most 32 MiB of them are in memory at once over all uploads of
    /// this store and its clones.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where the metadata is over 2 KB encoded; else as any call.
    pub async fn upload(&self, key: &str, upload: Upload) -> Result<(), StoreError> {
        self.noted(self.write(key, upload).boxed().await)
    }

    /// Writes an object of unknown length from what arrives, at most 80 GB. The key must be new. An upload that fails, or whose
    /// future is dropped, leaves nothing; so does an error among the chunks, which is returned. Returns the length in
    /// bytes.
    ///
    /// Memory: two parts of 8 MiB.
    ///
    /// # Errors
    /// As any call.
    pub async fn upload_stream<E: From<StoreError>>(
        &self,
        key: &str,
        content_type: &'static str,
        chunks: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<u64, E> {
        self.write_stream(key, content_type, chunks).await
    }

    /// Reads `len` bytes of an object from `offset` on, fewer where it ends before; `None` where there is no object.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where the object ends before `offset`; else as any call.
    pub async fn get_range(&self, key: &str, offset: u64, len: usize) -> Result<Option<Bytes>, StoreError> {
        self.read_part(key, offset, len).boxed().await
    }

    /// Reads an object whole; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] where it is over `limit` bytes; else as any call.
    pub async fn get(&self, key: &str, limit: usize) -> Result<Option<Bytes>, StoreError> {
        self.read(key, limit).boxed().await
    }

    /// Reads a range of an object, or all of it, and what a listing would say of the object; `None` where there is none.
    /// The range may end after the object does.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] where it is over `limit` bytes, [`StoreError::Refused`] where the object ends before the
    /// range begins; else as any call.
    pub async fn get_entry(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        limit: usize,
    ) -> Result<Option<(Entry, Bytes)>, StoreError> {
        self.read_entry(key, range, limit).boxed().await
    }

    /// Reads an object's headers; `None` where there is none.
    ///
    /// # Errors
    /// As any call. A HEAD has no body, so a bucket that is gone reads as `None` too.
    pub async fn head(&self, key: &str) -> Result<Option<Head>, StoreError> {
        self.read_head(key).boxed().await
    }

    /// At most `limit` objects under `prefix` in key order, after the key `start_after`.
    ///
    /// # Errors
    /// As any call.
    pub async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.list_objects(prefix, start_after, limit).boxed().await
    }

    /// All objects under `prefix` in key order, a page of S3's at a time; none where there are none.
    ///
    /// # Errors
    /// As any call.
    pub fn pages(&self, prefix: &str) -> impl Stream<Item = Result<Vec<Entry>, StoreError>> {
        stream::try_unfold(Some(None::<String>), async move |start_after| {
            let Some(start_after) = start_after else { return Ok(None) };
            let page = self.list(prefix, start_after.as_deref(), read::PAGE).await?;
            // A page that is not full is the last.
            let next = page.get(read::PAGE - 1).map(|last| Some(last.key.clone()));
            Ok((!page.is_empty()).then_some((page, next)))
        })
    }

    /// The names directly below `prefix` that have something below them: `jobs/` → `["2024-05-01", …]`.
    /// `prefix` is empty or ends with `/`. At most `limit`, after the name `start_after`. The order is that
    /// of the keys below them: `a-b` comes before `a`, as `a-b/` does before `a/`.
    ///
    /// # Errors
    /// As any call.
    pub async fn folders(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        self.list_folders(prefix, start_after, limit).boxed().await
    }

    /// Aborts multipart uploads that were begun longer ago than `older_than` and never completed: what a process
    /// that died leaves behind, and what a bucket is charged for. At most 1,000 in one call; returns how many.
    ///
    /// # Errors
    /// As any call; some may be aborted then, and the call can be repeated.
    pub async fn abort_stale_uploads(&self, older_than: Duration) -> Result<usize, StoreError> {
        self.abort_uploads(older_than).boxed().await
    }

    /// Deletes objects; one that is not there counts as deleted.
    ///
    /// # Errors
    /// As any call; some of the objects may be gone then, and the call can be repeated.
    pub async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        self.delete_objects(keys).boxed().await
    }
}
