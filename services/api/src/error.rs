//! Maps the ledger's errors to HTTP problems.

use std::fmt;

use poem::http::StatusCode;
use waybill_ledger::{CancelError, JobId, LedgerError, RetryError, SubmitError, UploadId};
use waybill_source::Definition;
use waybill_web::Problem;

/// The type of the problem where an idempotency key came before, with another body.
pub(crate) const KEY_REUSED: &str = "/problems/idempotency-key-reused";

/// There is no such job.
pub(crate) fn unknown(job: JobId) -> Problem {
    Problem::not_found(format!("there is no job {job}")).at("id")
}

/// A fact that could not be read or written.
pub(crate) fn ledger(error: LedgerError) -> Problem {
    match &error {
        LedgerError::Store(cause) => Problem::unavailable("the object store", cause),
        LedgerError::Read(cause) => Problem::unavailable("the object store", cause),
        LedgerError::Commit(cause) => Problem::unavailable("the object store", cause),
        LedgerError::Compact(cause) => Problem::unavailable("the object store", cause),
        LedgerError::Queue(cause) => Problem::unavailable("the message queue", cause),
        LedgerError::Damaged { .. } => {
            tracing::error!(%error, "a job's object in the bucket is damaged");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "damaged-object", error.to_string())
                .expecting("the object as it was written: an operator can restore it, or delete the job's folder")
        }
    }
}

/// A job of a source that cannot be asked for anything: an operator has to set the variable.
pub(crate) fn lacking(source: &str, variable: &str) -> Problem {
    let detail = format!("the source `{source}` needs the environment variable `{variable}`, which is not set here");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "source-not-configured", detail).at("source")
}

/// A file that is not what its source takes.
pub(crate) fn upload(error: impl fmt::Display) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-upload", error.to_string())
}

/// A job without the file that its source takes.
pub(crate) fn upload_required(definition: &Definition) -> Problem {
    let source = definition.name();
    if definition.loads_upload().is_some() {
        let detail = format!("a job of the source `{source}` loads a file, and this one comes without");
        return Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "upload-required", detail)
            .at("upload")
            .expecting("the id of an upload, as `POST /v1/uploads` answers it");
    }
    let detail = format!("the items of the source `{source}` are the rows of a CSV, and this job comes without one");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "upload-required", detail).at("upload").expecting(format!(
        "the CSV as the body (`Content-Type: text/csv`, `?source={source}`), or the id of an upload"
    ))
}

/// A file for a source that takes none.
pub(crate) fn upload_not_taken(source: &str) -> Problem {
    let detail =
        format!("the source `{source}` takes no file: leave it out (`--file`, `upload`), and submit its job in JSON");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "upload-not-taken", detail).at("source")
}

/// An upload that no job may name.
pub(crate) fn unknown_upload(upload: UploadId) -> Problem {
    let detail = format!("there is no upload {upload} that a job may name: it waits for its job for a day");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown-upload", detail).at("upload")
}

/// An upload that was checked for another source.
pub(crate) fn upload_of_another_source(upload: UploadId, its: &str, wanted: &str) -> Problem {
    let detail = format!("upload {upload} was sent for the source `{its}`, and this job is of `{wanted}`");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown-upload", detail).at("upload")
}

/// A job with a file that may exist or not.
pub(crate) fn unconfirmed(job: JobId) -> Problem {
    let detail = format!(
        "the object store did not confirm job {job}, which may exist: look for it at /v1/jobs/{job} in a minute, before \
         the file is sent again and its rows with it"
    );
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unconfirmed-job", detail)
}

/// A job that was not accepted.
pub(crate) fn submit(error: SubmitError) -> Problem {
    match error {
        SubmitError::KeyReused(job) => Problem::idempotency_key_reused(format!(
            "this Idempotency-Key belongs to job {job}, which was asked for something else; \
             expected a fresh key, or the same body as before"
        )),
        SubmitError::Ledger(error) => ledger(error),
    }
}

/// A job of which nothing is tried again.
pub(crate) fn retry(job: JobId, error: RetryError) -> Problem {
    let (kind, detail, expected) = match error {
        RetryError::Unknown => return unknown(job),
        RetryError::Ledger(error) => return ledger(error),
        RetryError::NotFinished(state) => (
            "job-not-finished",
            format!("job {job} is {state}; what fails of it can be retried once it has ended"),
            "a job that is partial or failed",
        ),
        RetryError::NothingFailed => (
            "nothing-to-retry",
            format!("nothing of job {job} failed, and no item is known to be missing"),
            "a job that is partial or failed",
        ),
        RetryError::Cancelled => (
            "job-cancelled",
            format!("job {job} was cancelled, for good; submit a new one instead"),
            "a job that was not cancelled",
        ),
    };
    conflict(kind, detail, expected)
}

/// A job that was not cancelled.
pub(crate) fn cancel(job: JobId, error: CancelError) -> Problem {
    match error {
        CancelError::Unknown => unknown(job),
        CancelError::Ledger(error) => ledger(error),
        CancelError::Finished(state) => {
            let detail = format!("job {job} has ended, as {state}; there is nothing left to cancel");
            conflict("job-finished", detail, "a job that is queued, planning or running")
        }
    }
}

/// 409: the job stands otherwise than the request needs.
fn conflict(kind: &str, detail: String, expected: &str) -> Problem {
    Problem::new(StatusCode::CONFLICT, kind, detail).at("id").expecting(expected)
}
