//! Adds up counts by path.

use std::{fs::File, io, iter::Peekable, mem};

use crate::{
    PathCount,
    counter::Counts,
    totals::run::{self, ByPath, Merge, Order},
};

/// Bytes of paths in memory, from which they go to a run: some 150,000 paths.
const BUDGET: usize = 16 << 20;

/// Counts by path, of which the largest part may lie in runs.
#[derive(Debug)]
pub(crate) struct Totals {
    counts: Counts,
    bytes: usize,
    budget: usize,
    runs: Vec<File>,
}

impl Default for Totals {
    fn default() -> Self {
        Self::with_budget(BUDGET)
    }
}

impl Totals {
    /// With another bound on memory, in bytes.
    pub(crate) fn with_budget(budget: usize) -> Self {
        Self { counts: Counts::default(), bytes: 0, budget, runs: Vec::new() }
    }

    pub(crate) fn add(&mut self, row: PathCount) -> io::Result<()> {
        let bytes = row.bytes();
        let PathCount { path, count } = row;
        if let Some(total) = self.counts.get_mut(&path) {
            *total = total.saturating_add(count);
            return Ok(());
        }
        self.bytes += bytes;
        self.counts.insert(path, count);
        if self.bytes >= self.budget {
            let rows = self.take();
            self.runs.push(run::write(&rows)?);
        }
        Ok(())
    }

    fn take(&mut self) -> Vec<PathCount> {
        self.bytes = 0;
        sorted(mem::take(&mut self.counts))
    }

    /// The total of each path, by path.
    pub(crate) fn finish(mut self) -> io::Result<Summed> {
        let rows = self.take();
        Ok(Summed(Merge::new(self.runs, rows)?.peekable()))
    }
}

/// Counts in the order of their paths.
pub(crate) fn sorted(counts: Counts) -> Vec<PathCount> {
    let mut rows: Vec<_> = counts.into_iter().map(|(path, count)| PathCount { path, count }).collect();
    rows.sort_unstable_by(ByPath::compare);
    rows
}

/// Each path once.
#[derive(Debug)]
pub(crate) struct Summed(Peekable<Merge<ByPath>>);

impl Iterator for Summed {
    type Item = io::Result<PathCount>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut row = match self.0.next()? {
            Ok(row) => row,
            Err(error) => return Some(Err(error)),
        };
        while let Some(Ok(same)) = self.0.next_if(|next| next.as_ref().is_ok_and(|next| next.path == row.path)) {
            row.count = row.count.saturating_add(same.count);
        }
        Some(Ok(row))
    }
}
