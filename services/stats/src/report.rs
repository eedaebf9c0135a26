//! Totals of a range, and what they lack.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde_json::{Value, json};
use waybill_source::Totals;

/// Totals by day.
pub(crate) type Days = BTreeMap<Date, Totals>;

/// Totals of a range.
#[derive(Debug, Default)]
pub struct Report {
    /// By group (the partition's values before the date), then by day; days without data are left out.
    pub groups: BTreeMap<Vec<String>, Days>,
    /// Objects of the range that are not in the totals.
    pub not_added: NotAdded,
    /// Of the definition, the range, and all objects that were looked at: the same tag, the same totals.
    pub etag: String,
}

/// Why an object is not in the totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Its metadata is not a worker's.
    Unreadable,
    /// It was stored under a definition with other statistics, or one that is not known any more.
    OtherStatistics,
    /// It is an object of the index, which is damaged: what it held is not in the totals.
    Index,
}

/// Objects that are not in the totals: by reason how many, and one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotAdded(BTreeMap<Reason, (u64, String)>);

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => {
                "the object lacks the metadata that a worker gives it; store it again with its metadata, or delete it"
            }
            Self::OtherStatistics => {
                "the object was stored under a definition with other statistics; run its job again"
            }
            Self::Index => {
                "the object of the index cannot be read; `waybill rebuild` makes the index again, and the object may \
                 then be deleted"
            }
        }
    }
}

impl NotAdded {
    pub(crate) fn add(&mut self, reason: Reason, object: &str) {
        self.0.entry(reason).or_insert_with(|| (0, object.to_owned())).0 += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (reason, (objects, example)) in &other.0 {
            self.0.entry(*reason).or_insert_with(|| (0, example.clone())).0 += objects;
        }
    }

    /// One of the objects that are left out for this reason; the first.
    pub fn example(&self, reason: Reason) -> Option<&str> {
        self.0.get(&reason).map(|(_, example)| example.as_str())
    }

    /// How many objects of every reason.
    pub fn objects(&self) -> u64 {
        self.0.values().map(|(objects, _)| objects).sum()
    }

    /// As people read it: `[{"reason": "…", "objects": 3, "example": "data/…"}]`.
    pub(crate) fn to_json(&self) -> Value {
        let entry = |(reason, (objects, example)): (&Reason, &(u64, String))| json!({ "reason": reason.as_str(), "objects": objects, "example": example });
        self.0.iter().map(entry).collect()
    }
}
