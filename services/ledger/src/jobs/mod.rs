//! What happened to jobs and their tasks: entries of journals, one for each source and hour of submission ([`hour_of`]), so
//! that many jobs share a segment, and nobody reads a month of jobs to look at one.

mod earlier;
mod entry;
mod facts;
mod journal;
mod listing;
mod outcome;
mod proto;
mod tally;
#[cfg(test)]
mod tests;
mod view;
pub(crate) mod work;

#[cfg(test)]
pub(crate) use entry::entries;
pub(crate) use entry::{Fact, hour_of};
pub(crate) use facts::Facts;
pub(crate) use journal::Jobs;
pub use listing::{HourFacts, JobFacts, TaskOutcome, WorkFacts};
pub(crate) use outcome::{End, Ended, Rank};
pub(crate) use tally::{Tallied, tally};
pub(crate) use view::{Hour, Job, JobOutcomes};
pub(crate) use work::Work;
