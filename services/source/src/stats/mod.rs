//! Statistics as monoids: a file's merge into a day's, days' into a range's, in any order, exactly.
//!
//! A mean is never kept: only what it is made of.

mod aggregate;
pub(crate) mod decimal;
mod metadata;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) use self::aggregate::Aggregate;
use crate::Schema;

/// What is kept of the records of a file. Fields are indices into the [`crate::Schema`]. A record that does
/// not have the field counts for nothing but [`Statistic::Count`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statistic {
    /// How many records.
    Count,
    /// How many records have a field of this value.
    CountWhere {
        /// Which field: a string, an integer or a boolean.
        field: usize,
        /// The value, of the field's type.
        equals: Literal,
    },
    /// The sum of a number or duration (in seconds); 0 of nothing.
    Sum(usize),
    /// The least value.
    Min(usize),
    /// The greatest value.
    Max(usize),
    /// Whether a boolean is true in any record; `false` of nothing.
    Any(usize),
    /// Whether a boolean is true in every record; `true` of nothing.
    All(usize),
    /// The mean, kept as (sum, count) and shown with so many decimals; 0 of nothing.
    Avg {
        /// Of which field.
        field: usize,
        /// How many decimals are shown, at most 9; half is rounded away from zero.
        decimals: u8,
    },
}

/// A value that a definition names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// Of a string field.
    String(String),
    /// Of an integer field.
    Integer(i64),
    /// Of a boolean field.
    Boolean(bool),
}

impl Statistic {
    /// Whether both are of one kind, over the same field and value. How many decimals are shown makes no difference.
    pub(crate) fn means(&self, schema: &Schema, other: &Self, others: &Schema) -> bool {
        let field = |schema: &Schema, statistic: &Self| {
            let index = match statistic {
                Self::Count => return None,
                Self::Sum(field) | Self::Min(field) | Self::Max(field) | Self::Any(field) | Self::All(field) => *field,
                Self::Avg { field, .. } | Self::CountWhere { field, .. } => *field,
            };
            schema.fields.get(index).map(|field| (field.name.clone(), field.path.clone(), field.kind))
        };
        let value = |statistic: &Self| match statistic {
            Self::CountWhere { equals, .. } => Some(equals.clone()),
            _ => None,
        };
        std::mem::discriminant(self) == std::mem::discriminant(other)
            && field(schema, self) == field(others, other)
            && value(self) == value(other)
    }
}

/// The statistics of a definition, by name, in the definition's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Name and kind. Names are lower-case ASCII letters, digits and `_`.
    pub list: Vec<(String, Statistic)>,
}

impl Statistics {
    /// The texts of a string field that are counted, each once. A text's place is its code while records are read.
    pub(crate) fn counted_texts(&self, field: usize) -> Vec<&str> {
        let mut texts = Vec::new();
        for (_, statistic) in &self.list {
            if let Statistic::CountWhere { field: of, equals: Literal::String(text) } = statistic
                && *of == field
                && !texts.contains(&text.as_str())
            {
                texts.push(text.as_str());
            }
        }
        texts
    }
}

/// One value per statistic of a definition. Its JSON form is exact: it is what month aggregates keep.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals(pub(crate) Vec<Aggregate>);

impl Statistics {
    /// The statistics of no records: what merging leaves anything unchanged.
    pub fn zero(&self) -> Totals {
        Totals(self.list.iter().map(|(_, statistic)| Aggregate::zero(statistic)).collect())
    }

    /// `left ∪ right`. Both must be of this definition. After an error, which is one where they are not or
    /// where a sum leaves ±1.7·10²⁹, `left` is as it was.
    pub fn merge(&self, left: &mut Totals, right: &Totals) -> Result<(), String> {
        if left.0.len() != self.list.len() || right.0.len() != self.list.len() {
            let (expected, found) = (self.list.len(), [left.0.len(), right.0.len()]);
            return Err(format!("expected {expected} statistics on both sides, found {found:?}"));
        }
        let merged = self.list.iter().zip(left.0.iter().zip(&right.0)).map(|((name, statistic), (left, right))| {
            left.merge(right, statistic).map_err(|reason| format!("statistic `{name}`: {reason}"))
        });
        left.0 = merged.collect::<Result<_, String>>()?;
        Ok(())
    }

    /// As people read them: `{"bus_count": 4113, "exist_accident": true, "average_delay_s": 2711}`. Numbers are
    /// JSON integers where they are whole and within 64 bits, else the nearest double, which is the exact
    /// decimal up to 15 digits; the least and the greatest of nothing are `null`. A statistic's JSON type never
    /// depends on its size: who needs every digit reads the metadata.
    pub fn to_json(&self, totals: &Totals) -> Map<String, Value> {
        let values = self.list.iter().zip(&totals.0);
        values.map(|((name, statistic), aggregate)| (name.clone(), aggregate.to_json(statistic))).collect()
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;
    use crate::Decimal;

    fn statistics() -> Statistics {
        let list = [
            ("bus_count", Statistic::Count),
            ("passenger_count", Statistic::Sum(0)),
            ("least_passengers", Statistic::Min(0)),
            ("most_passengers", Statistic::Max(0)),
            ("exist_accident", Statistic::Any(1)),
            ("only_accidents", Statistic::All(1)),
            ("average_delay_s", Statistic::Avg { field: 2, decimals: 0 }),
            ("load", Statistic::Avg { field: 0, decimals: 3 }),
            ("red_buses", Statistic::CountWhere { field: 3, equals: Literal::String("red".into()) }),
        ];
        Statistics { list: list.map(|(name, statistic)| (name.to_owned(), statistic)).into() }
    }

    fn totals() -> Totals {
        let decimal = |text: &str| text.parse::<Decimal>().unwrap();
        Totals(vec![
            Aggregate::Count(3),
            Aggregate::Sum(decimal("10")),
            Aggregate::Min(Some(decimal("-2.5"))),
            Aggregate::Max(Some(decimal("7"))),
            Aggregate::Any(true),
            Aggregate::All(false),
            Aggregate::Avg { sum: decimal("1979.5"), count: 3 },
            Aggregate::Avg { sum: decimal("10"), count: 3 },
            Aggregate::Count(2),
        ])
    }

    fn shown(totals: &Totals) -> String {
        let lines = statistics().to_metadata(totals).into_iter().map(|(name, value)| format!("{name}: {value}\n"));
        lines.collect::<String>() + &serde_json::to_string(&statistics().to_json(totals)).unwrap()
    }

    #[test]
    fn people_see_this() {
        assert_snapshot!(shown(&totals()), @r#"
        bus-count: 3
        passenger-count: 10
        least-passengers: -2.5
        most-passengers: 7
        exist-accident: 1
        only-accidents: 0
        total-delay-s: 1979.5
        samples-delay-s: 3
        average-delay-s: 660
        total-load: 10
        samples-load: 3
        load: 3.333
        red-buses: 2
        {"average_delay_s":660,"bus_count":3,"exist_accident":true,"least_passengers":-2.5,"load":3.333,"most_passengers":7,"only_accidents":false,"passenger_count":10,"red_buses":2}
        "#);
        assert_snapshot!(shown(&statistics().zero()), @r#"
        bus-count: 0
        passenger-count: 0
        exist-accident: 0
        only-accidents: 1
        total-delay-s: 0
        samples-delay-s: 0
        average-delay-s: 0
        total-load: 0
        samples-load: 0
        load: 0
        red-buses: 0
        {"average_delay_s":0,"bus_count":0,"exist_accident":false,"least_passengers":null,"load":0,"most_passengers":null,"only_accidents":true,"passenger_count":0,"red_buses":0}
        "#);
        assert_snapshot!(serde_json::to_string(&totals()).unwrap(), @r#"[{"count":3},{"sum":"10"},{"min":"-2.5"},{"max":"7"},{"any":true},{"all":false},{"avg":{"sum":"1979.5","count":3}},{"avg":{"sum":"10","count":3}},{"count":2}]"#);
    }

    #[test]
    fn numbers_in_json() {
        let json = |text: &str| Aggregate::Sum(text.parse().unwrap()).to_json(&Statistic::Sum(0)).to_string();
        assert_eq!(json("-3"), "-3");
        assert_eq!(json("18446744073709551615"), "18446744073709551615");
        assert_eq!(json("0.1"), "0.1");
        assert_eq!(json("0.000000001"), "1e-9");
        assert_eq!(json("100000000000000000000"), "1e+20");
    }

    #[test]
    fn merging_is_checked_and_all_or_nothing() {
        let statistics = Statistics { list: vec![("n".into(), Statistic::Count), ("s".into(), Statistic::Sum(0))] };
        let mut left = Totals(vec![Aggregate::Count(1), Aggregate::Sum(Decimal(i128::MAX))]);
        let before = left.clone();
        let right = Totals(vec![Aggregate::Count(1), Aggregate::Sum(Decimal(1))]);
        assert_snapshot!(statistics.merge(&mut left, &right).unwrap_err(), @"statistic `s`: the sum is too large to be kept exactly");
        assert_eq!(left, before);
        let other = Totals(vec![Aggregate::Count(1), Aggregate::Any(true)]);
        assert_snapshot!(statistics.merge(&mut left, &other).unwrap_err(), @"statistic `s`: the values are of another statistic");
        assert_snapshot!(statistics.merge(&mut left, &Totals(vec![])).unwrap_err(), @"expected 2 statistics on both sides, found [2, 0]");
        assert_eq!(left, before);
    }

    fn any_totals() -> impl Strategy<Value = Totals> {
        let decimal = || (-(1_i128 << 100)..1 << 100).prop_map(Decimal);
        let sum_and_count = || (decimal(), 0..u64::MAX / 4).prop_map(|(sum, count)| Aggregate::Avg { sum, count });
        (
            (0..u64::MAX / 4).prop_map(Aggregate::Count),
            decimal().prop_map(Aggregate::Sum),
            proptest::option::of(decimal()).prop_map(Aggregate::Min),
            proptest::option::of(decimal()).prop_map(Aggregate::Max),
            any::<bool>().prop_map(Aggregate::Any),
            any::<bool>().prop_map(Aggregate::All),
            sum_and_count(),
            sum_and_count(),
            (0..u64::MAX / 4).prop_map(Aggregate::Count),
        )
            .prop_map(|(a, b, c, d, e, f, g, h, i)| Totals(vec![a, b, c, d, e, f, g, h, i]))
    }

    fn merged(left: &Totals, right: &Totals) -> Totals {
        let mut merged = left.clone();
        statistics().merge(&mut merged, right).unwrap();
        merged
    }

    proptest! {
        #[test]
        fn merging_is_a_commutative_monoid(a in any_totals(), b in any_totals(), c in any_totals()) {
            prop_assert_eq!(merged(&a, &b), merged(&b, &a));
            prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
            prop_assert_eq!(&merged(&a, &statistics().zero()), &a);
        }

        #[test]
        fn what_is_written_is_read_back(totals in any_totals()) {
            let metadata = statistics().to_metadata(&totals).into_iter().collect();
            prop_assert_eq!(statistics().from_metadata(&metadata), Some(totals.clone()));
            let json = serde_json::to_string(&totals).unwrap();
            prop_assert_eq!(serde_json::from_str::<Totals>(&json).unwrap(), totals);
        }
    }

    #[test]
    fn metadata_that_lacks_something_is_refused() {
        let metadata: std::collections::HashMap<_, _> = statistics().to_metadata(&totals()).into_iter().collect();
        for needed in [
            "bus-count",
            "red-buses",
            "passenger-count",
            "exist-accident",
            "only-accidents",
            "total-delay-s",
            "samples-load",
        ] {
            let mut lacking = metadata.clone();
            lacking.remove(needed);
            assert_eq!(statistics().from_metadata(&lacking), None, "{needed}");
            lacking.insert(needed.into(), "yes".into());
            assert_eq!(statistics().from_metadata(&lacking), None, "{needed}");
        }
    }
}
