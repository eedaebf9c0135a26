//! A job is submitted: the one moment at which it comes to exist.

use jiff::Timestamp;
use uuid::Uuid;
use waybill_source::{Definition, Params};

use crate::{LedgerError, Request};

/// What is submitted, checked already.
#[derive(Debug)]
pub struct Submission<'a> {
    /// The definition as it is now.
    pub definition: &'a Definition,
    /// Bound parameters.
    pub params: Params,
    /// The client's own name for the request, at most 255 characters; the same one twice is one job.
    pub idempotency_key: Option<String>,
    /// A fresh UUIDv7 of `now`.
    pub id: Uuid,
    /// The time.
    pub now: Timestamp,
}

/// A job that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Its request, which is the earlier one where the key was known.
    pub request: Request,
    /// Whether this call made it.
    pub is_new: bool,
}

/// Why a job was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The idempotency key belongs to a job with another body.
    #[error("the idempotency key belongs to job {0}, which was asked for something else")]
    KeyReused(crate::JobId),
    /// The bucket is away: nothing was accepted, or nobody knows.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}
