//! Which records stand on which page.
//!
//! Records stand in slots, in order. Positions (offsets, cursors) count slots. A short or an empty page has slots that
//! hold no record, as where an API filters after it has paged.

use std::{collections::BTreeMap, ops::Range};

use super::collection::{Collection, LARGEST_PAGE, PagingFault};

/// The most records of a collection, so that no sum of positions overflows.
const MOST_RECORDS: u64 = 1 << 40;

/// Where records stand.
#[derive(Debug)]
pub(crate) struct Layout {
    records: u64,
    slots: u64,
    /// Slots without a record, in order; they do not overlap.
    holes: Vec<Range<u64>>,
}

impl Layout {
    pub(crate) fn of(collection: &Collection) -> Self {
        let size = collection.size.clamp(1, LARGEST_PAGE);
        let mut missing = BTreeMap::new();
        for fault in &collection.faults {
            let (page, count) = match fault {
                PagingFault::Short { page } => (*page, size / 2),
                PagingFault::Empty { page } => (*page, size),
                _ => continue,
            };
            let most = missing.entry(page.max(1)).or_default();
            *most = count.max(*most);
        }
        let records = collection.records.min(MOST_RECORDS);
        let (mut slots, mut holes) = (records, Vec::new());
        for (page, count) in missing {
            let end = page.saturating_mul(size);
            let hole = end - count..end;
            if hole.start < slots {
                slots = slots.saturating_add(count);
                holes.push(hole);
            }
        }
        Self { records, slots, holes }
    }

    /// How many records there are.
    pub(crate) fn total(&self) -> u64 {
        self.records
    }

    pub(crate) fn slots(&self) -> u64 {
        self.slots
    }

    /// The records in these slots, as numbers from 0.
    pub(crate) fn records(&self, slots: Range<u64>) -> impl Iterator<Item = u64> {
        let slots = slots.start..slots.end.min(self.slots);
        slots.filter(|slot| !self.holes.iter().any(|hole| hole.contains(slot))).map(|slot| {
            let before = |hole: &Range<u64>| hole.end.min(slot).saturating_sub(hole.start);
            slot - self.holes.iter().map(before).sum::<u64>()
        })
    }

    /// Where a record stands; none for one that there is not.
    pub(crate) fn slot(&self, record: u64) -> Option<u64> {
        let shift = |slot: u64, hole: &Range<u64>| if hole.start <= slot { slot + hole.end - hole.start } else { slot };
        (record < self.records).then(|| self.holes.iter().fold(record, shift))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is missing on pages, every record stands in one slot, in order, and can be found again.
        #[test]
        fn every_record_has_one_slot(
            records in 0u64..200, size in 1u64..20, short in 0u64..15, empty in 0u64..15, limit in 1u64..30,
        ) {
            let faults = vec![PagingFault::Short { page: short }, PagingFault::Empty { page: empty }];
            let layout = Layout::of(&Collection { records, size, faults, ..Collection::default() });
            let pages = (0..layout.slots()).step_by(limit as usize);
            let read: Vec<_> = pages.flat_map(|start| layout.records(start..start + limit)).collect();
            prop_assert_eq!(&read, &(0..records).collect::<Vec<_>>());
            for record in read {
                let slot = layout.slot(record).unwrap();
                prop_assert_eq!(layout.records(slot..slot + 1).collect::<Vec<_>>(), [record]);
            }
            prop_assert_eq!(layout.slot(records), None);
        }
    }
}
