//! What a scan can tell from the filters of a query: comparisons of a column with a constant.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::{
    common::ScalarValue,
    logical_expr::{BinaryExpr, Expr, Operator},
};
use jiff::{Timestamp, civil::Date};

/// Comparisons that hold for every row that is wanted.
#[derive(Debug, Default)]
pub(super) struct Filters(Vec<(String, Operator, ScalarValue)>);

impl Filters {
    pub(super) fn new(filters: &[Expr]) -> Self {
        Self(filters.iter().filter_map(comparison).collect())
    }

    /// The one text that a column has.
    pub(super) fn text(&self, column: &str) -> Option<&str> {
        let equal = self.0.iter().find(|(of, operator, _)| of == column && *operator == Operator::Eq);
        equal.and_then(|(_, _, value)| value.try_as_str().flatten())
    }

    /// The time before which a column has none.
    pub(super) fn since(&self, column: &str) -> Option<Timestamp> {
        let kind = DataType::Timestamp(TimeUnit::Microsecond, None);
        let times = self.of(column, &[Operator::Eq, Operator::Gt, Operator::GtEq]);
        let times = times.filter_map(|value| match value.cast_to(&kind).ok()? {
            ScalarValue::TimestampMicrosecond(Some(time), _) => Timestamp::from_microsecond(time).ok(),
            _ => None,
        });
        times.max()
    }

    /// The first and the last day that a column may have.
    pub(super) fn days(&self, column: &str) -> Days {
        let first = self.of(column, &[Operator::Eq, Operator::Gt, Operator::GtEq]).filter_map(day).max();
        let last = self.of(column, &[Operator::Eq, Operator::Lt, Operator::LtEq]).filter_map(day).min();
        Days { first, last }
    }

    fn of(&self, column: &str, operators: &[Operator]) -> impl Iterator<Item = &ScalarValue> {
        self.0
            .iter()
            .filter(move |(of, operator, _)| of == column && operators.contains(operator))
            .map(|found| &found.2)
    }
}

/// A range of days, both included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Days {
    pub(super) first: Option<Date>,
    pub(super) last: Option<Date>,
}

impl Days {
    pub(super) fn has(self, day: Date) -> bool {
        self.first.is_none_or(|first| first <= day) && self.last.is_none_or(|last| day <= last)
    }

    /// Whether a month, such as `2024-05`, may have one of them; `all` holds what has no date.
    pub(super) fn touch(self, month: &str) -> bool {
        let month_of = |day: Date| day.strftime("%Y-%m").to_string();
        if month == "all" {
            return self == Self::default();
        }
        self.first.is_none_or(|first| *month_of(first) <= *month)
            && self.last.is_none_or(|last| *month <= *month_of(last))
    }
}

fn comparison(filter: &Expr) -> Option<(String, Operator, ScalarValue)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { return None };
    match (&**left, &**right) {
        (Expr::Column(column), Expr::Literal(value, _)) => Some((column.name.clone(), *op, value.clone())),
        (Expr::Literal(value, _), Expr::Column(column)) => Some((column.name.clone(), op.swap()?, value.clone())),
        _ => None,
    }
}

fn day(value: &ScalarValue) -> Option<Date> {
    let ScalarValue::Date32(Some(days)) = value.cast_to(&DataType::Date32).ok()? else { return None };
    jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().try_days(days).ok()?).ok()
}

/// A day as SQL has it: since 1970.
pub(super) fn date32(day: Date) -> i32 {
    let since = jiff::civil::date(1970, 1, 1).until(day);
    since.map_or(0, |since| since.get_days())
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};
    use jiff::civil::date;

    use super::*;

    #[test]
    fn comparisons_bound_what_is_read_and_others_do_not() {
        let day_of = |day: Date| lit(ScalarValue::Date32(Some(date32(day))));
        let filters = Filters::new(&[
            col("source").eq(lit("buses")),
            lit("failed").eq(col("state")),
            col("item").not_eq(lit("a")),
            col("day").gt_eq(day_of(date(2024, 4, 30))),
            day_of(date(2024, 6, 1)).gt(col("day")),
            col("day").is_not_null(),
        ]);
        assert_eq!((filters.text("source"), filters.text("state")), (Some("buses"), Some("failed")));
        assert_eq!((filters.text("item"), filters.since("created")), (None, None));
        let days = filters.days("day");
        assert_eq!(days, Days { first: Some(date(2024, 4, 30)), last: Some(date(2024, 6, 1)) });
        assert!(days.has(date(2024, 6, 1)) && !days.has(date(2024, 6, 2)) && !days.has(date(2024, 4, 29)));
        let months = ["2024-03", "2024-04", "2024-06", "2024-07", "all"].map(|month| days.touch(month));
        assert_eq!(months, [false, true, true, false, false]);
        assert!(Days::default().touch("all"));
    }

    #[test]
    fn the_latest_of_lower_bounds_counts_whatever_the_unit() {
        let at = |second: i64| lit(ScalarValue::TimestampNanosecond(Some(second * 1_000_000_000), Some("UTC".into())));
        let filters = Filters::new(&[col("created").gt(at(5)), col("created").gt_eq(at(9)), col("created").lt(at(20))]);
        assert_eq!(filters.since("created"), Timestamp::from_second(9).ok());
    }

    #[test]
    fn days_are_counted_from_1970_both_ways() {
        for (day_of, number) in [(date(1970, 1, 1), 0), (date(2024, 5, 1), 19_844), (date(1969, 12, 31), -1)] {
            assert_eq!((date32(day_of), day(&ScalarValue::Date32(Some(number)))), (number, Some(day_of)));
        }
    }
}
