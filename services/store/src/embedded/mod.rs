//! The embedded S3: an implementation of the `s3s` trait on a folder, one file per object.
//!
//! What lies where:
//! ```text
//! lock                the format's version; locked while a process has the store open
//! buckets/{bucket}/…  objects, see `path` for names and `object` for what is in a file
//! drafts/             files on their way to becoming objects; emptied when the store is opened
//! ```
//! Only this process writes: listings in memory are never compared with the disk again.

mod dir_index;
mod disk;
mod group_commit;
mod http;
mod in_process;
mod listing;
mod object;
mod path;
mod s3_protocol;
#[cfg(test)]
mod tests;
mod tree;
mod uploads;

use std::{
    fmt,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

use aws_sdk_s3::config::{
    Builder, Region, RequestChecksumCalculation, StalledStreamProtectionConfig, retry::RetryConfig,
};
use s3s::service::{S3Service, S3ServiceBuilder};

use crate::{
    Store, StoreError,
    embedded::{in_process::InProcess, s3_protocol::Service, tree::Tree},
    s3::behavior,
};

/// What the lock file says. Another format is another line, and refused.
const FORMAT: &str = "waybill embedded store, format 1\n";
/// No call within the process is that slow unless the disk is.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An embedded S3 on a folder that this process holds alone. Cheap to clone; the folder is let go when the
/// last clone is dropped, and the last [`Store`] that was made from one.
#[derive(Clone)]
pub struct Embedded {
    service: Service,
    tree: Arc<Tree>,
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").finish_non_exhaustive()
    }
}

impl Embedded {
    /// Opens or creates the folder; refused where another process holds it.
    ///
    /// # Errors
    /// [`StoreError::Folder`], with what is wrong with it.
    pub async fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.to_owned();
        let opened = tokio::task::spawn_blocking(move || open(&path)).await.map_err(io::Error::other).flatten();
        let tree = Arc::new(opened.map_err(|error| unusable(folder, &error))?);
        Ok(Self { service: Service::new(Arc::clone(&tree)), tree })
    }

    /// A client that reaches this store in process, without TCP. The bucket is created where missing, which
    /// blocks for a moment.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where S3 has no buckets of that name, [`StoreError::Folder`] where it cannot be
    /// created.
    pub fn store(&self, bucket: &str) -> Result<Store, StoreError> {
        if !s3s::path::check_bucket_name(bucket) {
            return Err(StoreError::Refused {
                operation: "CreateBucket",
                key: String::new(),
                reason: format!("{bucket} is no name for a bucket: 3 to 63 of a-z, 0-9, - and ."),
            });
        }
        self.tree.make_bucket(bucket).map_err(|error| unusable(Path::new(bucket), &error))?;
        Ok(Store::with_config(self.in_process(), bucket, TIMEOUT, Some(true)).unsigned())
    }

    fn in_process(&self) -> Builder {
        Builder::new()
            .behavior_version(behavior())
            .http_client(InProcess(S3ServiceBuilder::new(self.service.clone()).build()))
            // Nothing is signed: the service is reached by having it.
            .allow_no_auth()
            .region(Region::from_static("us-east-1"))
            .endpoint_url("http://embedded.invalid")
            .force_path_style(true)
            // What fails here fails for a reason that a retry does not change, such as a full disk.
            .retry_config(RetryConfig::disabled())
            // Its bytes do not leave the process, and the service would refuse what it does not verify.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
    }

    /// Answers HTTP requests that change nothing, for `aws s3 ls`, rclone or DuckDB: signed with the access key
    /// `waybill` and the secret `waybill`, or not signed. The connections are the caller's business.
    pub fn reader(&self) -> S3Service {
        http::read_only(self.service.clone())
    }
}

fn open(folder: &Path) -> io::Result<Tree> {
    std::fs::create_dir_all(folder)?;
    let lock = lock(folder)?;
    Tree::open(folder, lock)
}

fn lock(folder: &Path) -> io::Result<File> {
    let path = folder.join("lock");
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(io::Error::other("another process has this store open")),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let mut format = String::new();
    file.read_to_string(&mut format)?;
    if format.is_empty() {
        file.write_all(FORMAT.as_bytes())?;
        file.sync_all()?;
    } else if format != FORMAT {
        return Err(io::Error::other(format!("not a store that this version can read: {}", format.trim_end())));
    }
    Ok(file)
}

fn unusable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Folder { path: path.display().to_string(), reason: error.to_string() }
}
