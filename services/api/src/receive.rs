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
use waybill_source::{Definition, UploadCheck};
use waybill_store::StoreError;
use waybill_web::Problem;

use crate::{error, id::Ids, load_check::LoadCheck};

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
    check: Check,
    sha256: Sha256,
}

/// What is known of a file that is whole.
struct Checked {
    rows: Option<u64>,
    sha256: String,
}

/// What a file is checked for.
enum Check {
    /// Its rows are sent.
    Rows(Box<UploadCheck>),
    Load(Box<LoadCheck>),
}

impl Check {
    fn new(definition: &Definition) -> Self {
        match definition.loads_upload() {
            Some(_) => Self::Load(Box::new(LoadCheck::new(definition))),
            None => Self::Rows(Box::new(UploadCheck::new(definition))),
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        match self {
            Self::Rows(check) => check.push(bytes).map_err(error::upload),
            Self::Load(check) => check.push(bytes).map_err(error::upload),
        }
    }

    /// Its rows, where they are counted.
    fn finish(self) -> Result<Option<u64>, Problem> {
        match self {
            Self::Rows(check) => Ok(Some(check.finish().map_err(error::upload)?.rows)),
            Self::Load(check) => check.finish().map(|()| None).map_err(error::upload),
        }
    }
}

impl Receiver {
    pub(crate) fn new(ledger: Ledger, ids: Arc<Ids>, now: fn() -> Timestamp) -> Self {
        Self { ledger, ids, now, slots: Arc::new(Semaphore::new(MAX_UPLOADS)) }
    }

    /// Receives a file for a source. Once this returns, a job may name the upload.
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
        let checking = Checking { chunks, check: Check::new(definition), sha256: Sha256::new() };
        let format = definition.upload_format().ok_or_else(|| error::upload_not_taken(definition.name()))?;
        // Boxed, since a stream that borrows makes a future that no route can be.
        let chunks = stream::unfold(Some(checking), |state| next(state, &checked)).boxed();
        let bytes = self.ledger.write_upload(id, format, chunks).boxed().await.map_err(|Refused(problem)| problem)?;
        let Some(Checked { rows, sha256 }) = checked.into_inner() else {
            return Err(Problem::internal("an upload was written that was not checked to its end"));
        };
        let upload = Upload { id, source: definition.name().to_owned(), format, bytes, rows, sha256, by };
        if let Err(error) = self.ledger.record_upload(&upload).await {
            // It may be recorded all the same, so both go.
            if let Err(error) = self.ledger.delete_upload(&upload).await {
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
            Err(wrong) => Some((Err(Refused(wrong)), None)),
        },
        Some(Err(problem)) => Some((Err(Refused(problem)), None)),
        None => match state.check.finish() {
            Ok(rows) => {
                let sha256 = base16ct::lower::encode_string(&state.sha256.finalize());
                drop(checked.set(Checked { rows, sha256 }));
                None
            }
            Err(wrong) => Some((Err(Refused(wrong)), None)),
        },
    }
}

/// A request's whole body as a file.
pub(crate) fn chunks(body: Body) -> Chunks {
    body.into_bytes_stream().map(|chunk| chunk.map_err(|error| Problem::unread_body(&error))).boxed()
}
