//! What happened to jobs and their tasks: entries of journals, one for each source and slot, the five minutes of submission ([`slot_of`]), so
//! that many jobs share a segment, and nobody reads a month of jobs to look at one.

mod earlier;
mod entry;
mod facts;
mod journal;
mod listing;
mod outcome;
mod pieces;
mod proto;
mod sealed;
mod tally;
#[cfg(test)]
mod tests;
mod view;
pub(crate) mod work;

#[cfg(test)]
pub(crate) use entry::entries;
pub(crate) use entry::{Fact, SLOT, slot_at, slot_of};
pub(crate) use facts::Facts;
pub(crate) use journal::Jobs;
pub use listing::{JobFacts, SlotFacts, TaskOutcome, WorkFacts};
pub(crate) use outcome::{End, Ended, Rank};
pub(crate) use pieces::Piece;
pub use sealed::Sealed;
pub(crate) use tally::{Tallied, tally};
pub(crate) use view::{Job, JobOutcomes, Slot};
pub(crate) use work::Work;
