//! Days of the calendar that a request names.

use std::collections::HashMap;

use jiff::{ToSpan, civil::Date};

use super::{Refusal, wrong};

/// The most days of one request, so that none is looked at for long.
const MOST: usize = 3_660;

/// From one day to another, both included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Days {
    first: Date,
    last: Date,
}

impl Days {
    /// Named by two parameters of the query.
    pub(super) fn of(query: &HashMap<String, String>, from: &str, to: &str) -> Result<Self, Refusal> {
        let named = |name: &str| {
            let day = query.get(name).and_then(|text| day(text));
            day.ok_or_else(|| wrong(&format!("{name}=YYYY-MM-DD, a day of the calendar")))
        };
        let days = Self { first: named(from)?, last: named(to)? };
        if days.iter().nth(MOST).is_some() {
            return Err(wrong(&format!("at most {MOST} days from {from} to {to}")));
        }
        Ok(days)
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Date> {
        self.first.series(1.day()).take_while(move |day| *day <= self.last)
    }
}

/// A day in its one spelling.
pub(super) fn day(text: &str) -> Option<Date> {
    text.parse().ok().filter(|day: &Date| day.to_string() == text)
}

/// The day as a number, such as 20240501.
pub(super) fn number(day: Date) -> u64 {
    (i64::from(day.year()) * 10_000 + i64::from(day.month()) * 100 + i64::from(day.day())).unsigned_abs()
}
