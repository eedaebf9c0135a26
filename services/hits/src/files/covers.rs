//! Which batches of which processes a file has the counts of.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

/// Batches by process: ranges, both ends included, in order, none of them adjacent to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Covers(BTreeMap<Uuid, Vec<(u64, u64)>>);

impl Covers {
    pub(crate) fn of(boot: Uuid, from: u64, to: u64) -> Self {
        Self([(boot, vec![(from, to)])].into())
    }

    /// Adds all that `other` covers.
    pub(crate) fn add(&mut self, other: &Self) {
        for (boot, ranges) in &other.0 {
            let mine = self.0.entry(*boot).or_default();
            mine.extend(ranges);
            mine.sort_unstable();
            let mut joined: Vec<(u64, u64)> = Vec::with_capacity(mine.len());
            for &(from, to) in mine.iter() {
                match joined.last_mut() {
                    Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
                    _ => joined.push((from, to)),
                }
            }
            *mine = joined;
        }
    }

    /// Whether all that `other` covers is covered.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        other
            .ranges()
            .all(|(boot, from, to)| self.of_boot(boot).iter().any(|(first, last)| *first <= from && to <= *last))
    }

    /// Whether both cover some batch.
    pub(crate) fn intersects(&self, other: &Self) -> bool {
        other
            .ranges()
            .any(|(boot, from, to)| self.of_boot(boot).iter().any(|(first, last)| *first <= to && from <= *last))
    }

    fn of_boot(&self, boot: Uuid) -> &[(u64, u64)] {
        self.0.get(&boot).map_or(&[], Vec::as_slice)
    }

    fn ranges(&self) -> impl Iterator<Item = (Uuid, u64, u64)> {
        self.0.iter().flat_map(|(boot, ranges)| ranges.iter().map(|(from, to)| (*boot, *from, *to)))
    }

    /// As a footer has it: `{"{boot id}": [[0, 63], [128, 128]]}`.
    pub(crate) fn to_json(&self) -> String {
        let boots = self.0.iter().map(|(boot, ranges)| (boot.to_string(), Value::from_iter(ranges.iter().map(pair))));
        Value::Object(boots.collect()).to_string()
    }

    pub(crate) fn from_json(text: &str) -> Option<Self> {
        let boots: BTreeMap<String, Vec<(u64, u64)>> = serde_json::from_str(text).ok()?;
        let mut covers = Self::default();
        for (boot, ranges) in boots {
            let boot = boot.parse().ok()?;
            ranges.into_iter().for_each(|(from, to)| covers.add(&Self::of(boot, from, to)));
        }
        Some(covers)
    }
}

fn pair((from, to): &(u64, u64)) -> Value {
    [*from, *to].into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjacent_ranges_become_one() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut covers = Covers::of(a, 5, 9);
        for (from, to) in [(0, 3), (12, 12), (4, 4), (11, 11)] {
            covers.add(&Covers::of(a, from, to));
        }
        covers.add(&Covers::of(b, 1, 1));
        assert_eq!(covers.of_boot(a), [(0, 9), (11, 12)]);
        assert_eq!(Covers::from_json(&covers.to_json()), Some(covers.clone()));

        assert!(covers.contains(&Covers::of(a, 2, 9)) && !covers.contains(&Covers::of(a, 9, 11)));
        assert!(covers.intersects(&Covers::of(a, 9, 20)) && !covers.intersects(&Covers::of(a, 10, 10)));
        assert!(!covers.contains(&Covers::of(Uuid::nil(), 2, 2)) && !covers.intersects(&Covers::of(b, 2, 2)));
        assert_eq!(Covers::from_json("[]"), None);
    }
}
