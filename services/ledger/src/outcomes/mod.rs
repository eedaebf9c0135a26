//! How tasks ended: entries of journals, one for each source and hour of submission ([`hour_of`]), so that many jobs share
//! a segment, and nobody reads a month of jobs to look at one.

mod entry;
mod journal;
mod listing;
mod proto;
mod tally;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use entry::{End, Ended, Rank, entry, hour_of};
pub(crate) use journal::Outcomes;
pub use listing::{HourOutcomes, TaskOutcome};
pub(crate) use tally::tally;
pub(crate) use view::{Hour, JobOutcomes};
