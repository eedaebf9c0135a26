//! Statistics as object metadata: short ASCII, and exact both ways.

use std::collections::HashMap;

use crate::stats::{Aggregate, Statistic, Statistics, Totals, aggregate::mean};

impl Statistics {
    /// As object metadata: `bus-count`, `exist-accident` (0 or 1), `average-delay-s`, and what is needed
    /// to add up exactly: for a mean, `total-delay-s` and `samples-delay-s`. The least and the greatest of
    /// nothing are left out.
    pub fn to_metadata(&self, totals: &Totals) -> Vec<(String, String)> {
        let mut metadata = Vec::new();
        for ((name, statistic), aggregate) in self.list.iter().zip(&totals.0) {
            let mut add = |name: String, value: &dyn ToString| metadata.push((name, value.to_string()));
            let shown = shown(name);
            match aggregate {
                Aggregate::Count(count) => add(shown, count),
                Aggregate::Sum(sum) => add(shown, sum),
                Aggregate::Min(value) | Aggregate::Max(value) => {
                    if let Some(value) = value {
                        add(shown, value);
                    }
                }
                Aggregate::Any(value) | Aggregate::All(value) => add(shown, &u8::from(*value)),
                Aggregate::Avg { sum, count } => {
                    add(part("total", &shown), sum);
                    add(part("samples", &shown), count);
                    add(shown, &mean(statistic, *sum, *count));
                }
            }
        }
        metadata
    }

    /// Back from metadata, exactly; `None` where something is missing or wrong. The rounded mean is not
    /// looked at: it follows from the rest.
    pub fn from_metadata(&self, metadata: &HashMap<String, String>) -> Option<Totals> {
        self.from_values(|name| metadata.get(name).map(String::as_str))
    }

    /// As [`Self::from_metadata`], from wherever the value of a name is.
    pub fn from_values<'a>(&self, value_of: impl Fn(&str) -> Option<&'a str>) -> Option<Totals> {
        let read = |(name, statistic): &(String, Statistic)| {
            let shown = shown(name);
            let value = value_of(&shown);
            Some(match statistic {
                Statistic::Count | Statistic::CountWhere { .. } => Aggregate::Count(value?.parse().ok()?),
                Statistic::Sum(_) => Aggregate::Sum(value?.parse().ok()?),
                Statistic::Min(_) => Aggregate::Min(value.map(|value| value.parse()).transpose().ok()?),
                Statistic::Max(_) => Aggregate::Max(value.map(|value| value.parse()).transpose().ok()?),
                Statistic::Any(_) => Aggregate::Any(flag(value?)?),
                Statistic::All(_) => Aggregate::All(flag(value?)?),
                Statistic::Avg { .. } => Aggregate::Avg {
                    sum: value_of(&part("total", &shown))?.parse().ok()?,
                    count: value_of(&part("samples", &shown))?.parse().ok()?,
                },
            })
        };
        self.list.iter().map(read).collect::<Option<_>>().map(Totals)
    }

    /// Every name that [`Self::to_metadata`] may use. A definition in which two of them are equal cannot be
    /// read back, so it is refused where definitions are checked.
    pub fn metadata_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for (name, statistic) in &self.list {
            let shown = shown(name);
            if let Statistic::Avg { .. } = statistic {
                names.extend([part("total", &shown), part("samples", &shown)]);
            }
            names.push(shown);
        }
        names
    }
}

/// S3 metadata names are HTTP header names, where `_` is not safe.
fn shown(name: &str) -> String {
    name.replace('_', "-")
}

/// `average-delay-s` → `total-delay-s`.
fn part(prefix: &str, shown: &str) -> String {
    let stem = ["average-", "avg-", "mean-"].iter().find_map(|average| shown.strip_prefix(average));
    format!("{prefix}-{}", stem.unwrap_or(shown))
}

fn flag(value: &str) -> Option<bool> {
    match value {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}
