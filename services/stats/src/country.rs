//! The shape of `/country-stats`, which existing clients rely on.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde_json::{Map, Value};
use waybill_source::Definition;

use crate::{Range, Report};

/// `{"singapore": {"2024-05-02": {"bus_count": 4113, …}, …}, …}`: every known country has every day of
/// the range, zeros and `false` where there is no data.
pub(crate) fn by_country(definition: &Definition, report: &Report, range: Range) -> Value {
    let statistics = definition.statistics();
    let nothing = Value::Object(statistics.to_json(&statistics.zero()));
    let mut countries = Map::new();
    for (group, days) in &report.groups {
        let of = |day: Date| days.get(&day).map_or_else(|| nothing.clone(), |totals| statistics.to_json(totals).into());
        let days: Map<_, _> = range.iter().map(|day| (day.to_string(), of(day))).collect();
        countries.insert(group.join("/"), days.into());
    }
    countries.into()
}

/// The two ends of the range in a raw query. Old clients send the second as `to2024-05-04`, without the
/// `=` (their documentation has that slip): that is understood too. Names that are neither are returned.
pub(crate) fn ends(query: &[(String, String)]) -> (BTreeMap<&'static str, String>, BTreeSet<String>) {
    let (mut ends, mut unknown) = (BTreeMap::new(), BTreeSet::new());
    for (name, value) in query {
        match name.as_str() {
            "from" => drop(ends.insert("from", value.clone())),
            "to" => drop(ends.insert("to", value.clone())),
            slip if value.is_empty()
                && slip.strip_prefix("to").is_some_and(|day| day.starts_with(|c: char| c.is_ascii_digit())) =>
            {
                ends.entry("to").or_insert_with(|| slip["to".len()..].to_owned());
            }
            _ => drop(unknown.insert(name.clone())),
        }
    }
    (ends, unknown)
}
