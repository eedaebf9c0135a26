//! Statistics as monoids: a file's merge into a day's, days' into a range's, in any order, exactly.

use serde::{Deserialize, Serialize};

use crate::Decimal;

/// What is kept of the records of a file. Fields are indices into the [`crate::Schema`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statistic {
    /// How many records.
    Count,
    /// The sum of a number or duration.
    Sum(usize),
    /// The least value.
    Min(usize),
    /// The greatest value.
    Max(usize),
    /// Whether a boolean is true in any record.
    Any(usize),
    /// Whether a boolean is true in every record.
    All(usize),
    /// The mean, kept as (sum, count) and shown with so many decimals.
    Avg {
        /// Of which field.
        field: usize,
        /// How many decimals are shown; half is rounded away from zero.
        decimals: u8,
    },
}

/// The statistics of a definition, by name, in the definition's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Name and kind.
    pub list: Vec<(String, Statistic)>,
}

/// One value per statistic of a definition. Its JSON form is exact: it is what month aggregates keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals(pub(crate) Vec<Aggregate>);

/// One statistic's value, mergeable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Aggregate {
    Count(u64),
    Sum(Decimal),
    Min(Option<Decimal>),
    Max(Option<Decimal>),
    Any(bool),
    All(bool),
    Avg { sum: Decimal, count: u64 },
}

impl Statistics {
    /// The statistics of no records: what merging leaves anything unchanged.
    pub fn zero(&self) -> Totals {
        todo!()
    }

    /// `left ∪ right`. Both must be of this definition.
    pub fn merge(&self, left: &mut Totals, right: &Totals) -> Result<(), String> {
        todo!()
    }

    /// As object metadata: `bus-count`, `exist-accident` (0 or 1), `average-delay-s`, and what is needed
    /// to add up exactly (`total-delay-s`).
    pub fn to_metadata(&self, totals: &Totals) -> Vec<(String, String)> {
        todo!()
    }

    /// Back from metadata, exactly; `None` where something is missing or wrong.
    pub fn from_metadata(&self, metadata: &std::collections::HashMap<String, String>) -> Option<Totals> {
        todo!()
    }

    /// As people read them: `{"bus_count": 4113, "exist_accident": true, "average_delay_s": 2711}`.
    pub fn to_json(&self, totals: &Totals) -> serde_json::Map<String, serde_json::Value> {
        todo!()
    }
}
