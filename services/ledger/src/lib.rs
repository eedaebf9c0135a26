//! The state of jobs, kept in the bucket: what was asked, planned, done and failed.
//!
//! There is no database. Every fact is an object that is created once and never changed, so that any
//! process may die at any instruction, and a reader needs one LIST to know a job's state. The only
//! derived object is the summary, which may be written again at any time.
//!
//! Times come in as arguments: nothing here reads a clock.

mod attempts;
mod cache;
mod cancel;
mod errors;
mod expire;
mod facts;
mod id;
mod job;
mod keys;
mod ledger;
mod listing;
mod lost;
mod metrics;
mod objects;
mod plan;
mod progress;
mod publish;
mod recover;
mod retry;
mod status;
mod submit;
mod tasks;
#[cfg(test)]
mod testing;
mod walk;

pub use attempts::Lease;
pub use cancel::CancelError;
pub use errors::LedgerError;
pub use id::{JobId, JobIdError};
pub use job::{Done, Failure, Outcome, Plan, Request};
pub use ledger::Ledger;
pub use listing::{JobFilter, JobPage};
pub use metrics::Metrics;
pub use recover::{PATIENCE, Recovery};
pub use retry::{Retried, RetryError};
pub use status::{State, Status, Tally, TaskError};
pub use submit::{Submission, SubmitError, Submitted};
pub use tasks::{TaskState, TaskStatus};
