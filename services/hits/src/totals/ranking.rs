//! Orders paths by count, the most requested first.

use std::{fs::File, io, mem};

use tokio::sync::OwnedSemaphorePermit;

use crate::{
    PathCount,
    totals::{
        Summed,
        run::{self, ByCount, Merge, Order},
    },
};

/// Bytes of paths in memory, from which they go to a run, as for [`super::sum`].
const BUDGET: usize = 16 << 20;

/// Paths and their counts, the most requested first; of equally many the lesser path. Reads temporary files, so it is for
/// a thread that may block.
#[derive(Debug)]
pub struct Ranking {
    rows: Merge<ByCount>,
    left: usize,
    /// Held for as long as this takes memory.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Ranking {
    pub(crate) fn with_permit(self, permit: Option<OwnedSemaphorePermit>) -> Self {
        Self { _permit: permit, ..self }
    }
}

impl Iterator for Ranking {
    type Item = io::Result<PathCount>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        self.rows.next()
    }
}

/// The first `limit` of `summed` by count; `None` for all.
pub(crate) fn rank(summed: Summed, limit: Option<usize>) -> io::Result<Ranking> {
    rank_within(summed, limit, BUDGET)
}

fn rank_within(summed: Summed, limit: Option<usize>, budget: usize) -> io::Result<Ranking> {
    let limit = limit.unwrap_or(usize::MAX);
    let (mut rows, mut bytes, mut runs): (Vec<PathCount>, usize, Vec<File>) = Default::default();
    for row in summed {
        let row = row?;
        bytes += row.bytes();
        rows.push(row);
        if bytes < budget {
            continue;
        }
        rows.sort_unstable_by(ByCount::compare);
        // What is not among the first here is not among the first of all.
        rows.truncate(limit);
        bytes = rows.iter().map(PathCount::bytes).sum();
        if bytes >= budget / 2 {
            runs.push(run::write(&mem::take(&mut rows))?);
            bytes = 0;
        }
    }
    rows.sort_unstable_by(ByCount::compare);
    Ok(Ranking { rows: Merge::new(runs, rows)?, left: limit, _permit: None })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::totals::Totals;

    proptest! {
        /// Whatever the bounds on memory are, and however rows are spread over runs.
        #[test]
        fn totals_are_those_of_a_naive_count(
            rows in proptest::collection::vec(("/[a-c]{0,3}", 1_u64..50), 0..200),
            budget in 1_usize..4_000,
            limit in proptest::option::of(0_usize..40),
        ) {
            let mut naive: BTreeMap<String, u64> = BTreeMap::new();
            let mut totals = Totals::with_budget(budget);
            for (path, count) in rows {
                totals.add(PathCount { path: path.as_str().into(), count }).unwrap();
                *naive.entry(path).or_default() += count;
            }
            let mut expected: Vec<_> = naive.into_iter().collect();
            expected.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            expected.truncate(limit.unwrap_or(usize::MAX));
            let ranking = rank_within(totals.finish().unwrap(), limit, budget).unwrap();
            let found: Vec<_> = ranking.map(|row| row.map(|row| (row.path.into_string(), row.count)).unwrap()).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_hundred_thousand_paths_pass_through_a_tiny_memory() {
        let mut totals = Totals::with_budget(64 * 1024);
        for n in 0..200_000_u64 {
            let path = format!("/{:05}", n % 100_000).into();
            totals.add(PathCount { path, count: n % 7 }).unwrap();
        }
        let ranking = rank_within(totals.finish().unwrap(), None, 64 * 1024).unwrap();
        let counts: Vec<u64> = ranking.map(|row| row.unwrap().count).collect();
        assert_eq!(counts.len(), 100_000);
        assert!(counts.is_sorted_by(|a, b| a >= b));
        assert_eq!(counts.iter().sum::<u64>(), (0..200_000_u64).map(|n| n % 7).sum::<u64>());
    }
}
