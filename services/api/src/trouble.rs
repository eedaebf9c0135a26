//! What goes wrong below, as problems: a client learns whether to try again, the log learns why.

use waybill_ledger::{LedgerError, SubmitError};
use waybill_web::Problem;

/// A fact that could not be read or written.
pub(crate) fn ledger(error: LedgerError) -> Problem {
    match &error {
        LedgerError::Store(cause) => Problem::unavailable("the object store", cause),
        LedgerError::Queue(cause) => Problem::unavailable("the message queue", cause),
        LedgerError::Damaged { .. } => Problem::internal(error),
    }
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
