//! The state of jobs, kept in the bucket: what was asked, planned, done and failed.
//!
//! There is no database. A job is an object that is created once, and what happens to it is written down in journals, so that
//! any process may die at any instruction, and a reader needs one LIST to know the state of every job that was submitted in
//! the same five minutes. The only derived object is the summary, which may be written again at any time.
//!
//! Times come in as arguments: nothing here reads a clock.

mod cache;
mod changes;
pub mod data;
mod errors;
pub mod index;
mod jobs;
pub mod journals;
mod layout;
mod ledger;
mod metrics;
mod recovery;
mod rows;
#[cfg(test)]
mod testing;
mod views;

pub use cache::Cache;
pub use changes::cancel::CancelError;
pub use changes::retry::{Retried, RetryError};
pub use changes::submit::{Submission, SubmitError, Submitted};
pub use changes::task_items;
pub use errors::LedgerError;
pub use jobs::work::{Lease, Wait};
pub use jobs::{JobFacts, Sealed, SlotFacts, TaskOutcome, WorkFacts};
pub use layout::id::{JobId, JobIdError};
pub use layout::job::{Done, Failure, MissingItem, Outcome, Plan, Request, RowTally};
pub use layout::upload::{Upload, UploadId};
pub use ledger::Ledger;
pub use metrics::Metrics;
pub use recovery::{LOST_AFTER, Recovery};
pub use rows::{EarlierRecords, RowLog, RowRecord};
pub use views::listing::{JobFilter, JobPage};
pub use views::status::{State, Status, TaskError, TaskTally};
pub use views::tasks::{TaskState, TaskStatus};
pub use views::unfinished::Unfinished;
