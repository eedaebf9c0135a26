//! Receives uploads: each chunk is checked, hashed and written as it arrives. What is not whole, or fails its check, leaves
//! nothing.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream, stream::BoxStream};
use jiff::Timestamp;
use poem::{Body, http::StatusCode};
use sha2::{Digest, Sha256};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use waybill_ledger::{Ledger, Upload, UploadId};
use waybill_source::{Definition, UploadCheck, UploadSummary};
use waybill_store::StoreError;
use waybill_web::Problem;

use crate::{error, id::Ids};

/// Uploads at once in this process. Each takes two parts of 8 MiB.
const MAX_UPLOADS: usize = 4;
/// Seconds after which a client that found all of them taken may try again.
const RETRY_AFTER: u64 = 10;

/// A file as it arrives.
pub(crate) type Chunks = BoxStream<'static, Result<Bytes, Problem>>;

/// The uploads of a process. Clones share its limit.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    ledger: Ledger,
    ids: Arc<Ids>,
    now: fn() -> Timestamp,
    slots: Arc<Semaphore>,
}

/// Why an upload was not written.
struct Refused(Problem);

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self(Problem::unavailable("the object store", error))
    }
}

/// An upload's check and hash so far.
struct Checking {
    chunks: Chunks,
    check: UploadCheck,
    sha256: Sha256,
}

/// What is known of a file that is whole.
struct Checked {
    found: UploadSummary,
    sha256: String,
}

impl Receiver {
    pub(crate) fn new(ledger: Ledger, ids: Arc<Ids>, now: fn() -> Timestamp) -> Self {
        Self { ledger, ids, now, slots: Arc::new(Semaphore::new(MAX_UPLOADS)) }
    }

    /// Receives a file of rows for a source. Once this returns, a job may name the upload.
    ///
    /// # Errors
    /// 503 where too many uploads are under way, 422 where the file is not what the source takes, and whatever is wrong
    /// with the body.
    pub(crate) async fn receive(
        &self,
        definition: &Definition,
        by: Option<String>,
        chunks: Chunks,
    ) -> Result<Upload, Problem> {
        let _slot = self.slot()?;
        let begun = Instant::now();
        let id = UploadId::new(self.ids.fresh((self.now)()));
        let checked = OnceLock::new();
        let checking = Checking { chunks, check: UploadCheck::new(definition), sha256: Sha256::new() };
        // Boxed, since a stream that borrows makes a future that no route can be.
        let chunks = stream::unfold(Some(checking), |state| next(state, &checked)).boxed();
        let bytes = self.ledger.write_upload(id, chunks).boxed().await.map_err(|Refused(problem)| problem)?;
        let Some(Checked { found, sha256 }) = checked.into_inner() else {
            return Err(Problem::internal("an upload was written that was not checked to its end"));
        };
        let upload = Upload { id, source: definition.name().to_owned(), bytes, rows: found.rows, sha256, by };
        if let Err(error) = self.ledger.record_upload(&upload).await {
            // It may be recorded all the same, so both go.
            if let Err(error) = self.ledger.delete_upload(id).await {
                tracing::warn!(upload = %id, %error, "failed to delete an upload that could not be recorded");
            }
            return Err(error::ledger(error));
        }
        tracing::info!(
            upload = %id,
            source = upload.source,
            size_bytes = bytes,
            rows = upload.rows,
            duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "upload received"
        );
        Ok(upload)
    }

    fn slot(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.slots).try_acquire_owned().map_err(|_| {
            let detail = format!("{MAX_UPLOADS} uploads are under way here, which is as many as are taken at once");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-uploads", detail).after(RETRY_AFTER)
        })
    }
}

/// The next chunk, checked. The check's last word comes before the end, so that a bad file is not completed.
async fn next(
    state: Option<Checking>,
    checked: &OnceLock<Checked>,
) -> Option<(Result<Bytes, Refused>, Option<Checking>)> {
    let mut state = state?;
    match state.chunks.next().await {
        Some(Ok(chunk)) => match state.check.push(&chunk) {
            Ok(()) => {
                state.sha256.update(&chunk);
                Some((Ok(chunk), Some(state)))
            }
            Err(wrong) => Some((Err(Refused(error::upload(&wrong))), None)),
        },
        Some(Err(problem)) => Some((Err(Refused(problem)), None)),
        None => match state.check.finish() {
            Ok(found) => {
                let sha256 = base16ct::lower::encode_string(&state.sha256.finalize());
                drop(checked.set(Checked { found, sha256 }));
                None
            }
            Err(wrong) => Some((Err(Refused(error::upload(&wrong))), None)),
        },
    }
}

/// A request's whole body as a file.
pub(crate) fn chunks(body: Body) -> Chunks {
    body.into_bytes_stream().map(|chunk| chunk.map_err(|error| Problem::unread_body(&error))).boxed()
}
