//! Which of a day's files count: the one rule that readers and mergers share.
//!
//! - Of two files of all processes that cover the same batch, the one with the greater name counts, and the other as a
//!   whole does not: a file cannot be counted in part.
//! - A file of a process does not count where such a file covers it, or a wider one of the same process.

use std::{cmp::Reverse, collections::HashMap};

use crate::files::{
    covers::Covers,
    name::{FileName, Kind},
};

/// A file, and what it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) name: FileName,
    pub(crate) size: u64,
    pub(crate) covers: Covers,
}

/// A day's files.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    /// Their counts add up to the day's.
    pub(crate) visible: Vec<Listed>,
    /// Their counts are in others; they may be deleted once nobody can be reading them.
    pub(crate) covered: Vec<Listed>,
}

impl Sorted {
    pub(crate) fn of(files: Vec<Listed>) -> Self {
        let (mut days, mut parts): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|file| matches!(file.name.kind, Kind::All { .. }));
        let mut sorted = Self::default();
        let mut covers = Covers::default();
        days.sort_by_key(|file| Reverse(file.name));
        for file in days {
            let counts = !covers.intersects(&file.covers);
            if counts {
                covers.add(&file.covers);
            }
            sorted.push(file, counts);
        }
        // The widest of those that begin together comes first.
        parts.sort_by_key(|file| match file.name.kind {
            Kind::Process { boot, from, to } => (boot, from, Reverse(to)),
            Kind::All { id, .. } => (id, 0, Reverse(0)),
        });
        let mut ends = HashMap::new();
        for file in parts {
            let Kind::Process { boot, to, .. } = file.name.kind else { continue };
            let is_within = ends.get(&boot).is_some_and(|end| to <= *end);
            let counts = !is_within && !covers.contains(&file.covers);
            if !is_within {
                ends.insert(boot, to);
            }
            sorted.push(file, counts);
        }
        sorted
    }

    fn push(&mut self, file: Listed, counts: bool) {
        if counts { &mut self.visible } else { &mut self.covered }.push(file);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn part(boot: u128, from: u64, to: u64) -> Listed {
        let boot = Uuid::from_u128(boot);
        let name = FileName { day: "2024-05-01".parse().unwrap(), kind: Kind::Process { boot, from, to } };
        Listed { name, size: 1, covers: Covers::of(boot, from, to) }
    }

    fn all(generation: u32, id: u128, of: &[&Listed]) -> Listed {
        let kind = Kind::All { generation, id: Uuid::from_u128(id) };
        let mut covers = Covers::default();
        of.iter().for_each(|file| covers.add(&file.covers));
        Listed { name: FileName { day: "2024-05-01".parse().unwrap(), kind }, size: 1, covers }
    }

    #[track_caller]
    fn check(files: &[&Listed], visible: &[&Listed]) {
        let sorted = Sorted::of(files.iter().copied().cloned().collect());
        assert_eq!(sorted.visible.iter().collect::<Vec<_>>(), visible);
        assert_eq!(sorted.visible.len() + sorted.covered.len(), files.len());
    }

    #[test]
    fn parts_of_a_wider_file_do_not_count() {
        let (a, b, c, wide, other) = (part(1, 0, 0), part(1, 1, 1), part(1, 2, 2), part(1, 0, 1), part(2, 1, 1));
        check(&[&a, &b, &c, &other], &[&a, &b, &c, &other]);
        check(&[&a, &wide, &b, &c, &other], &[&wide, &c, &other]);
        check(&[&b, &wide], &[&wide]);
    }

    #[test]
    fn a_file_of_all_processes_covers_its_inputs_and_what_those_covered() {
        let (a, b, wide, late) = (part(1, 0, 0), part(1, 1, 1), part(1, 0, 1), part(1, 2, 2));
        let day = all(1, 9, &[&wide]);
        check(&[&a, &b, &wide, &day], &[&day]);
        check(&[&a, &day, &late], &[&day, &late]);
        let next = all(2, 3, &[&day, &late]);
        check(&[&late, &day, &next, &a], &[&next]);
    }

    #[test]
    fn of_two_that_overlap_the_greater_name_counts() {
        let (a, b, c) = (part(1, 0, 0), part(2, 0, 0), part(3, 0, 0));
        let (one, two) = (all(1, 1, &[&a, &b]), all(1, 2, &[&b, &c]));
        check(&[&a, &b, &c, &one, &two], &[&two, &a]);
        // A third that overlaps only the one that lost counts beside the winner.
        let three = all(0, 3, &[&a]);
        check(&[&a, &b, &c, &one, &two, &three], &[&two, &three]);
    }
}
