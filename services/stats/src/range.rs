//! A range of days, both ends included.

use jiff::civil::Date;
use waybill_web::Problem;

/// The longest range: ten years and a bit. Bounds the length of an answer.
const MAX_DAYS: i64 = 3_700;

/// Days `from` to `to`, both included, at most 3,700.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    from: Date,
    to: Date,
}

impl Range {
    /// Checks both ends. A problem names the parameter at fault.
    pub fn parse(from: Option<&str>, to: Option<&str>) -> Result<Self, Problem> {
        let (from, to) = (day("from", from)?, day("to", to)?);
        if to < from {
            return Err(Problem::invalid_parameter("to", &format!("a day not before `from` ({from})"), to));
        }
        let range = Self { from, to };
        if range.days() > MAX_DAYS {
            let found = format!("{} days", range.days());
            return Err(Problem::invalid_parameter("to", &format!("a range of at most {MAX_DAYS} days"), found));
        }
        Ok(range)
    }

    /// The first day.
    pub fn from(&self) -> Date {
        self.from
    }

    /// The last day.
    pub fn to(&self) -> Date {
        self.to
    }

    /// Whether the day is within.
    pub fn contains(&self, day: Date) -> bool {
        (self.from..=self.to).contains(&day)
    }

    /// Every day, in order.
    pub fn iter(&self) -> impl Iterator<Item = Date> {
        let to = self.to;
        std::iter::successors(Some(self.from), move |day| day.tomorrow().ok().filter(|next| *next <= to))
    }

    fn days(&self) -> i64 {
        let span = self.to.since((jiff::Unit::Day, self.from)).expect("dates within 1900..=2199 have a span in days");
        i64::from(span.get_days()) + 1
    }
}

fn day(name: &str, given: Option<&str>) -> Result<Date, Problem> {
    let expected = "a date such as 2024-05-01";
    let given = given.ok_or_else(|| Problem::invalid_parameter(name, expected, "nothing"))?;
    waybill_source::parse_date(given).ok_or_else(|| Problem::invalid_parameter(name, expected, given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_included() {
        let range = Range::parse(Some("2024-02-28"), Some("2024-03-01")).unwrap();
        let days: Vec<_> = range.iter().map(|day| day.to_string()).collect();
        assert_eq!(days, ["2024-02-28", "2024-02-29", "2024-03-01"]);
    }

    #[test]
    fn what_is_no_range_is_refused_by_name() {
        let refused = |from, to| Range::parse(from, to).unwrap_err().parameter.clone().unwrap();
        assert_eq!(refused(None, Some("2024-05-01")), "from");
        assert_eq!(refused(Some("2024-05-01"), None), "to");
        assert_eq!(refused(Some("2024-02-30"), Some("2024-05-01")), "from");
        assert_eq!(refused(Some("2024-05-01"), Some("01.05.2024")), "to");
        assert_eq!(refused(Some("20240501"), Some("2024-05-01")), "from");
        assert_eq!(refused(Some("2024-05-02"), Some("2024-05-01")), "to");
        assert_eq!(refused(Some("2000-01-01"), Some("2010-02-18")), "to");
        assert!(Range::parse(Some("2000-01-01"), Some("2010-02-16")).is_ok());
    }
}
