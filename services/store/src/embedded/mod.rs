//! The embedded S3: an implementation of the `s3s` trait on a folder, one file per object.

use std::path::Path;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{Store, StoreError};

/// An embedded S3 on a folder that this process holds alone. Dropping it lets the folder go.
#[derive(Debug, Clone)]
pub struct Embedded {}

impl Embedded {
    /// Opens or creates the folder; refused where another process holds it.
    pub async fn open(folder: &Path) -> Result<Self, StoreError> {
        todo!()
    }

    /// A client that reaches this store in process, without TCP. The bucket is created where missing.
    pub fn store(&self, bucket: &str) -> Result<Store, StoreError> {
        todo!()
    }

    /// Serves it read-only over HTTP, for `aws s3 ls`, rclone or DuckDB: signed with the access key
    /// `waybill` and the secret `waybill`, or not signed. Returns when `shutdown` is cancelled.
    pub async fn serve(&self, listener: TcpListener, shutdown: CancellationToken) -> std::io::Result<()> {
        todo!()
    }
}
