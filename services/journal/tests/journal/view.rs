//! A view that is small, and whose every loss shows: amounts by unique id, and a map whose last writer wins.

use std::collections::BTreeMap;

use proptest::prelude::*;
use waybill_journal::{InvalidSnapshot, Options, View};

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Fact {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(uint32, tag = "2")]
    pub(crate) key: u32,
    #[prost(uint64, tag = "3")]
    pub(crate) amount: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Facts {
    #[prost(btree_map = "uint64, uint64", tag = "1")]
    pub(crate) amounts: BTreeMap<u64, u64>,
    #[prost(btree_map = "uint32, message", tag = "2")]
    pub(crate) last: BTreeMap<u32, Fact>,
}

#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Totals {
    pub(crate) amounts: BTreeMap<u64, u64>,
    last: BTreeMap<u32, Fact>,
}

impl Totals {
    pub(crate) fn of<'a>(facts: impl IntoIterator<Item = &'a Fact>) -> Self {
        let mut view = Self::default();
        for fact in facts {
            view.apply(fact);
        }
        view
    }

    pub(crate) fn has(&self, id: u64) -> bool {
        self.amounts.contains_key(&id)
    }
}

impl View for Totals {
    type Entry = Fact;
    type Snapshot = Facts;

    const SCHEMA: u16 = 3;

    fn apply(&mut self, fact: &Fact) {
        self.amounts.insert(fact.id, fact.amount);
        let last = self.last.entry(fact.key).or_insert(*fact);
        if (fact.amount, fact.id) > (last.amount, last.id) {
            *last = *fact;
        }
    }

    fn merge(&mut self, other: Self) {
        self.amounts.extend(other.amounts);
        for (key, fact) in other.last {
            let last = self.last.entry(key).or_insert(fact);
            if (fact.amount, fact.id) > (last.amount, last.id) {
                *last = fact;
            }
        }
    }

    fn to_snapshot(&self) -> Facts {
        Facts { amounts: self.amounts.clone(), last: self.last.clone() }
    }

    fn from_snapshot(snapshot: Facts) -> Result<Self, InvalidSnapshot> {
        if snapshot.last.iter().any(|(key, fact)| *key != fact.key) {
            return Err("a fact under another key".into());
        }
        Ok(Self { amounts: snapshot.amounts, last: snapshot.last })
    }
}

/// The fact with an id; the amount follows from it, as the same id must mean the same fact.
pub(crate) fn fact(id: u64) -> Fact {
    Fact { id, key: u32::try_from(id % 7).unwrap(), amount: id.wrapping_mul(0x9E37_79B9) % 1_000 }
}

pub(crate) fn facts(most: u64) -> impl Strategy<Value = Vec<Fact>> {
    proptest::collection::vec((0..most).prop_map(fact), 0..80)
}

/// Small bounds, so that few facts already meet them.
pub(crate) fn options() -> Options {
    Options {
        page: 2,
        parallel_reads: 1,
        compact_segments: 3,
        compact_inputs: 5,
        compact_fan_in: 2,
        collapse_factor: 0,
        tier_bytes: 200,
        clock: || {
            // Three machines, whose clocks are two hours apart.
            let hours = fastrand::u64(0..3) * 2;
            1_700_000_000_000 + hours * 3_600_000
        },
        ..Options::default()
    }
}
