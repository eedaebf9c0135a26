//! The state of jobs, kept in the bucket: what was asked, planned, done and failed.
//!
//! There is no database. Every fact is an object that is created once and never changed, so that any
//! process may die at any instruction, and a reader needs one LIST to know a job's state. The only
//! derived object is the summary, which may be written again at any time.
//!
//! Times come in as arguments: nothing here reads a clock.

mod errors;
mod job;
mod ledger;
mod listing;
mod status;
mod submit;

pub use errors::LedgerError;
pub use job::{Done, Failure, JobId, Outcome, Plan, Request};
pub use ledger::Ledger;
pub use listing::{JobFilter, JobPage};
pub use status::{State, Status, Tally, TaskError, TaskState, TaskStatus};
pub use submit::{Submission, SubmitError, Submitted};
