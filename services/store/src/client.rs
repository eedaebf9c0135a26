//! The one client: a bucket, and the dozen calls that Waybill makes.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use bytes::Bytes;

use crate::StoreError;

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
#[derive(Debug, Clone)]
pub struct Store {}

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
}

/// An object's headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Bytes.
    pub size: u64,
    /// As the store gives it, without quotes.
    pub etag: String,
    /// User metadata, decoded.
    pub metadata: HashMap<String, String>,
}

/// An object to be written with metadata. All of it is known before the upload starts.
#[derive(Debug)]
pub struct Upload {
    /// `application/json`, …
    pub content_type: &'static str,
    /// Any Unicode; encoded to ASCII on the wire. At most 2 KB encoded.
    pub metadata: Vec<(String, String)>,
    /// The bytes.
    pub body: UploadBody,
}

/// Where an upload's bytes come from.
#[derive(Debug)]
pub enum UploadBody {
    /// In memory.
    Bytes(Bytes),
    /// In a file, which may have no name any more; read by offset, in parallel parts.
    File {
        /// An open file; read with positioned reads only.
        file: std::sync::Arc<std::fs::File>,
        /// Its length in bytes.
        len: u64,
    },
}

impl Store {
    /// A client for the S3 that the standard `AWS_*` variables name. Asks the store nothing: a store that
    /// is away now may be there later. See [`Self::check`].
    pub async fn connect(settings: S3Settings) -> Result<Self, StoreError> {
        todo!()
    }

    /// Whether the bucket is there and answers: what `/ready` asks. At most 2 seconds.
    pub async fn check(&self) -> Result<(), StoreError> {
        todo!()
    }

    /// Whether the store honours create-only. Probed once, on first use, by creating one key twice under
    /// `probe/`; where it does not, that is logged once and readers decide ties by key order.
    pub async fn refuses_overwrites(&self) -> Result<bool, StoreError> {
        todo!()
    }

    /// Creates a small object unless its key exists. Safe against an SDK retry that meets its own
    /// success: on 412 the object is read back, and the same bytes count as ours. 409 is retried.
    pub async fn create(&self, key: &str, content_type: &'static str, body: Bytes) -> Result<Created, StoreError> {
        todo!()
    }

    /// Writes a small object, over whatever is there. Only for what is derived and can be made again.
    pub async fn put(&self, key: &str, content_type: &'static str, body: Bytes) -> Result<(), StoreError> {
        todo!()
    }

    /// Writes an object with metadata, in one request or in parallel parts. The key must be new: nothing
    /// in data/ is ever overwritten. A multipart upload that fails is aborted.
    pub async fn upload(&self, key: &str, upload: Upload) -> Result<(), StoreError> {
        todo!()
    }

    /// Reads an object whole; `None` where there is none.
    pub async fn get(&self, key: &str, limit: usize) -> Result<Option<Bytes>, StoreError> {
        todo!()
    }

    /// Reads an object's headers; `None` where there is none.
    pub async fn head(&self, key: &str) -> Result<Option<Head>, StoreError> {
        todo!()
    }

    /// At most `limit` objects under `prefix` in key order, after `start_after`.
    pub async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        todo!()
    }

    /// The names directly below `prefix` that have something below them: `jobs/` → `["2024-05-01", …]`.
    /// `prefix` ends with `/`. At most `limit`.
    pub async fn folders(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        todo!()
    }

    /// Deletes objects; one that is not there counts as deleted.
    pub async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        todo!()
    }
}

/// Only so that the embedded store can be named in settings.
#[derive(Debug, Clone)]
pub struct Folder(pub PathBuf);
