//! The value of one statistic, and the merge of two values.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Decimal,
    stats::{Statistic, decimal::ONE},
};

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

impl Aggregate {
    /// Of no records.
    pub(super) fn zero(statistic: &Statistic) -> Self {
        match statistic {
            Statistic::Count | Statistic::CountWhere { .. } => Self::Count(0),
            Statistic::Sum(_) => Self::Sum(Decimal::ZERO),
            Statistic::Min(_) => Self::Min(None),
            Statistic::Max(_) => Self::Max(None),
            Statistic::Any(_) => Self::Any(false),
            Statistic::All(_) => Self::All(true),
            Statistic::Avg { .. } => Self::Avg { sum: Decimal::ZERO, count: 0 },
        }
    }

    /// Both must be values of `statistic`.
    pub(super) fn merge(&self, other: &Self, statistic: &Statistic) -> Result<Self, String> {
        let too_much = || "the sum is too large to be kept exactly".to_owned();
        Ok(match (statistic, *self, *other) {
            (Statistic::Count | Statistic::CountWhere { .. }, Self::Count(a), Self::Count(b)) => {
                Self::Count(a.checked_add(b).ok_or_else(too_much)?)
            }
            (Statistic::Sum(_), Self::Sum(a), Self::Sum(b)) => Self::Sum(a.checked_add(b).ok_or_else(too_much)?),
            (Statistic::Min(_), Self::Min(a), Self::Min(b)) => Self::Min(a.into_iter().chain(b).min()),
            (Statistic::Max(_), Self::Max(a), Self::Max(b)) => Self::Max(a.into_iter().chain(b).max()),
            (Statistic::Any(_), Self::Any(a), Self::Any(b)) => Self::Any(a || b),
            (Statistic::All(_), Self::All(a), Self::All(b)) => Self::All(a && b),
            (Statistic::Avg { .. }, Self::Avg { sum: a, count: m }, Self::Avg { sum: b, count: n }) => {
                Self::Avg { sum: a.checked_add(b).ok_or_else(too_much)?, count: m.checked_add(n).ok_or_else(too_much)? }
            }
            _ => return Err("the values are of another statistic".to_owned()),
        })
    }

    /// As people read it.
    pub(super) fn to_json(self, statistic: &Statistic) -> Value {
        match self {
            Self::Count(count) => count.into(),
            Self::Sum(sum) => number(sum),
            Self::Min(value) | Self::Max(value) => value.map_or(Value::Null, number),
            Self::Any(value) | Self::All(value) => value.into(),
            Self::Avg { sum, count } => number(mean(statistic, sum, count)),
        }
    }
}

/// The mean with as many decimals as the definition shows.
pub(super) fn mean(statistic: &Statistic, sum: Decimal, count: u64) -> Decimal {
    let decimals = if let Statistic::Avg { decimals, .. } = statistic { *decimals } else { 9 };
    sum.mean(count, decimals)
}

fn number(decimal: Decimal) -> Value {
    let whole = (decimal.0 % ONE == 0).then_some(decimal.0 / ONE);
    let integer = whole.and_then(serde_json::Number::from_i128);
    integer.map_or_else(|| Value::from(nearest_double(decimal)), Value::Number)
}

fn nearest_double(decimal: Decimal) -> f64 {
    decimal.to_string().parse().expect("digits with a point between them are a double")
}
