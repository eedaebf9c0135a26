//! Runs file operations on blocking threads, a bounded number at a time, and maps disk errors to S3 errors.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures::StreamExt;
use s3s::{
    S3Error, S3ErrorCode, S3Result,
    dto::{ContentLength, StreamingBlob},
    s3_error,
};
use tokio::sync::Semaphore;
use waybill_telemetry::LogLimit;

use crate::embedded::{object::Draft, tree::Tree};

/// Enough for writers to share an fsync.
const CALLS_AT_ONCE: usize = 64;
/// A body is written when this much of it has come.
const BATCH: usize = 4 * 1024 * 1024;

/// The tree, for those who cannot block. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    tree: Arc<Tree>,
    calls: Arc<Semaphore>,
}

impl Disk {
    pub(super) fn new(tree: Arc<Tree>) -> Self {
        Self { tree, calls: Arc::new(Semaphore::new(CALLS_AT_ONCE)) }
    }

    /// Runs `work` on a thread that may block. It runs to its end, also where nobody waits for it any more.
    pub(super) async fn run<T, F>(&self, work: F) -> S3Result<T>
    where
        F: FnOnce(&Tree) -> io::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.try_run(move |tree| work(tree).map_err(failure)).await
    }

    /// As [`Self::run`], for work that has errors of its own.
    pub(super) async fn try_run<T, F>(&self, work: F) -> S3Result<T>
    where
        F: FnOnce(&Tree) -> S3Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let permit = Arc::clone(&self.calls).acquire_owned().await.map_err(S3Error::internal_error)?;
        let tree = Arc::clone(&self.tree);
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&tree)
        });
        done.await.map_err(S3Error::internal_error)?
    }

    /// Spools a body, and calls `finish` with it if it has the announced length. A small body takes one trip
    /// to a blocking thread; of a large one, 4 MiB are in memory.
    pub(super) async fn receive<T, F>(
        &self,
        body: Option<StreamingBlob>,
        announced: Option<ContentLength>,
        finish: F,
    ) -> S3Result<T>
    where
        F: FnOnce(&Tree, Draft) -> S3Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let mut body = body;
        let mut draft: Option<Draft> = None;
        loop {
            let (batch, is_last) = next_batch(body.as_mut()).await?;
            let append = move |tree: &Tree| {
                let mut draft = draft.map_or_else(|| Draft::begin(&tree.drafts), Ok).map_err(failure)?;
                draft.append(&batch).map_err(failure)?;
                Ok(draft)
            };
            if !is_last {
                draft = Some(self.try_run(append).await?);
                continue;
            }
            let whole = move |tree: &Tree| {
                let draft = append(tree)?;
                match announced.map(u64::try_from) {
                    Some(announced) if announced != Ok(draft.size) => Err(s3_error!(IncompleteBody)),
                    _ => finish(tree, draft),
                }
            };
            return self.try_run(whole).await;
        }
    }
}

/// Chunks up to a batch, and whether the body ended.
async fn next_batch(body: Option<&mut StreamingBlob>) -> S3Result<(Vec<Bytes>, bool)> {
    let Some(body) = body else { return Ok((Vec::new(), true)) };
    let (mut batch, mut size) = (Vec::new(), 0);
    while size < BATCH {
        match body.next().await {
            Some(Ok(chunk)) => {
                size += chunk.len();
                batch.push(chunk);
            }
            // The connection broke or a checksum was wrong: what has come so far is dropped with the draft.
            Some(Err(error)) => return Err(S3Error::with_source(S3ErrorCode::IncompleteBody, error)),
            None => return Ok((batch, true)),
        }
    }
    Ok((batch, false))
}

/// What the disk says, as S3 would.
pub(super) fn failure(error: io::Error) -> S3Error {
    static LIMIT: LogLimit = LogLimit::new();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            if let Some(suppressed) = LIMIT.pass() {
                tracing::error!(%error, suppressed, "the embedded store is full");
            }
            let mut full = S3Error::with_message(S3ErrorCode::Custom("InsufficientStorage".into()), error.to_string());
            full.set_status_code(507.try_into().expect("507 is a status"));
            full
        }
        io::ErrorKind::InvalidFilename => s3_error!(error, KeyTooLongError),
        _ => {
            if let Some(suppressed) = LIMIT.pass() {
                tracing::error!(%error, suppressed, "the embedded store failed");
            }
            S3Error::with_message(S3ErrorCode::InternalError, error.to_string())
        }
    }
}
