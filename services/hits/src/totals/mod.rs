//! Adds up counts by path, and orders paths by count, in bounded memory: what is too much lies in temporary files that have
//! no name, in runs that are sorted, which are merged as they are read.

mod ranking;
mod run;
mod sum;

pub use ranking::Ranking;
pub(crate) use ranking::rank;
pub(crate) use sum::{Summed, Totals, sorted};

/// How often a path was requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathCount {
    /// As it was received, without the query; over 2,048 bytes cut and marked with `…`.
    pub path: Box<str>,
    /// Requests.
    pub count: u64,
}

impl PathCount {
    /// What it takes in memory, about.
    fn bytes(&self) -> usize {
        self.path.len() + crate::counter::ENTRY
    }
}
