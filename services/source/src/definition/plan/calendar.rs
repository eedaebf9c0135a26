//! Steps of the calendar: which window of time an instant lies in. Everything is in UTC.

use std::time::Duration;

use jiff::{Span, Unit, civil::DateTime};

/// Where all windows are aligned to: a Monday, the first day of a month and of a year.
const ANCHOR: DateTime = DateTime::constant(1, 1, 1, 0, 0, 0, 0);
const MONTHS_A_YEAR: i64 = 12;

/// A length of time that is a whole number of one unit. Months are of different lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Months(i32),
    Days(i32),
    Seconds(i64),
}

impl Step {
    /// `P1D`, `P2W`, `P1M`, `P1Y`, `PT15M`; `None` for what is no such length or mixes units, such as `P1M1D`.
    /// Zero is one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let span: Span = text.starts_with('P').then(|| text.parse().ok()).flatten()?;
        let months = i32::from(span.get_years()).checked_mul(12)?.checked_add(span.get_months())?;
        let days = span.get_weeks().checked_mul(7)?.checked_add(span.get_days())?;
        let clock = span.years(0).months(0).weeks(0).days(0);
        let seconds = clock.total(Unit::Second).ok().filter(|seconds| seconds.fract() == 0.0)?;
        // A span of time is at most some 10^12 seconds.
        #[expect(clippy::cast_possible_truncation, reason = "whole, and far below 2^53")]
        let seconds = seconds as i64;
        match (months, days, seconds) {
            (_, 0, 0) if months > 0 => Some(Self::Months(months)),
            (0, _, 0) if days >= 0 => Some(Self::Days(days)),
            (0, 0, _) if seconds > 0 => Some(Self::Seconds(seconds)),
            _ => None,
        }
    }

    pub(crate) fn is_zero(self) -> bool {
        self == Self::Days(0)
    }

    /// Whether windows of this length begin at midnight.
    pub(crate) fn is_of_days(self) -> bool {
        !matches!(self, Self::Seconds(_))
    }

    /// Whether it is never longer than the other.
    pub(crate) fn fits_into(self, other: Self) -> bool {
        let (_, longest) = self.range();
        let (shortest, _) = other.range();
        self == other || longest <= shortest
    }

    /// Its shortest and longest length.
    fn range(self) -> (Duration, Duration) {
        let days = |days: i64| Duration::from_secs(days.unsigned_abs() * 86_400);
        match self {
            Self::Months(months) => (days(i64::from(months) * 28), days(i64::from(months) * 31)),
            Self::Days(n) => (days(n.into()), days(n.into())),
            Self::Seconds(seconds) => {
                (Duration::from_secs(seconds.unsigned_abs()), Duration::from_secs(seconds.unsigned_abs()))
            }
        }
    }

    pub(crate) fn before(self, at: DateTime) -> Option<DateTime> {
        at.checked_sub(self.span(1)?).ok()
    }

    /// The number of the window that this instant lies in.
    pub(crate) fn index(self, at: DateTime) -> i64 {
        let since = |unit| ANCHOR.until((unit, at)).unwrap_or_default();
        match self {
            Self::Months(n) => {
                let months = (i64::from(at.year()) - 1) * MONTHS_A_YEAR + i64::from(at.month()) - 1;
                months.div_euclid(n.into())
            }
            Self::Days(n) => i64::from(since(Unit::Day).get_days()).div_euclid(n.max(1).into()),
            Self::Seconds(n) => since(Unit::Second).get_seconds().div_euclid(n.max(1)),
        }
    }

    /// Where the window of this number begins.
    pub(crate) fn start(self, index: i64) -> Option<DateTime> {
        ANCHOR.checked_add(self.span(index)?).ok()
    }

    fn span(self, times: i64) -> Option<Span> {
        match self {
            Self::Months(n) => Span::new().try_months(times.checked_mul(n.into())?).ok(),
            Self::Days(n) => Span::new().try_days(times.checked_mul(n.into())?).ok(),
            Self::Seconds(n) => Span::new().try_seconds(times.checked_mul(n)?).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::datetime;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_step_is_a_whole_number_of_one_unit() {
        let steps = ["P1D", "P1W", "P2W1D", "P1M", "P1Y", "P1Y6M", "PT1H", "PT1H30M", "PT15M", "P0D"].map(Step::parse);
        insta::assert_snapshot!(steps.map(|step| format!("{:?}", step.unwrap())).join("\n"), @"
        Days(1)
        Days(7)
        Days(15)
        Months(1)
        Months(12)
        Months(18)
        Seconds(3600)
        Seconds(5400)
        Seconds(900)
        Days(0)
        ");
        for wrong in ["", "P", "1D", "P-1D", "-P1D", "P1M1D", "P1DT1H", "1 day", "PT0.5S", "P99999999999Y"] {
            assert_eq!(Step::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn windows_begin_where_people_expect_it() {
        let start = |step: &str, at: DateTime| {
            let step = Step::parse(step).unwrap();
            step.start(step.index(at)).unwrap().to_string()
        };
        let at = datetime(2024, 5, 16, 13, 47, 12, 0);
        insta::assert_snapshot!(["PT15M", "PT1H", "PT6H", "P1D", "P1W", "P7D", "P1M", "P3M", "P1Y", "P10Y"].map(|step| format!("{step} {}", start(step, at))).join("\n"), @"
        PT15M 2024-05-16T13:45:00
        PT1H 2024-05-16T13:00:00
        PT6H 2024-05-16T12:00:00
        P1D 2024-05-16T00:00:00
        P1W 2024-05-13T00:00:00
        P7D 2024-05-13T00:00:00
        P1M 2024-05-01T00:00:00
        P3M 2024-04-01T00:00:00
        P1Y 2024-01-01T00:00:00
        P10Y 2021-01-01T00:00:00
        ");
    }

    fn steps() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1..40_i32).prop_map(Step::Months),
            (1..100_i32).prop_map(Step::Days),
            (1..1_000_000_i64).prop_map(Step::Seconds),
        ]
    }

    proptest! {
        #[test]
        fn every_instant_lies_in_one_window(step in steps(), seconds in 0..9_400_000_000_i64) {
            let at = datetime(1900, 1, 1, 0, 0, 0, 0).checked_add(Span::new().seconds(seconds)).unwrap();
            let index = step.index(at);
            prop_assert!(step.start(index).unwrap() <= at);
            prop_assert!(at < step.start(index + 1).unwrap());
            prop_assert_eq!(step.index(step.start(index).unwrap()), index);
        }
    }
}
