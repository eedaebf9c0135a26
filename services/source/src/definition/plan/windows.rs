//! `dates`: windows of time as items.
//!
//! A window begins where the calendar says, so that the same day always has the same key, whatever a job was given.
//! The last one ends where the job's dates do: what is open is fetched again by a later job, under the same key.

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use minijinja::Value;
use serde_json::Value as Json;

use crate::{
    ItemError, JobContext,
    definition::{plan::calendar::Step, template::Template},
    params::{parse_date, parse_instant, readable, write_time},
};

/// The most windows of one level.
const MOST: usize = 1_000_000;
/// The names that a window has in templates.
pub(crate) const NAMES: [&str; 3] = ["from", TO, "last"];
pub(crate) const TO: &str = "to";

/// How a level is made of windows.
#[derive(Debug)]
pub(crate) struct Windows {
    pub(crate) from: Template,
    pub(crate) to: Template,
    pub(crate) step: Step,
    pub(crate) unit: Step,
    pub(crate) lookback: Step,
    pub(crate) future: bool,
}

/// From an instant on, until before another.
#[derive(Debug, PartialEq, Eq)]
struct Window {
    from: DateTime,
    to: DateTime,
}

impl Windows {
    /// The windows as values of items, oldest first.
    pub(crate) fn items(&self, job: &JobContext, scope: &Value) -> Result<Vec<BTreeMap<String, Json>>, ItemError> {
        let (from, to) = self.bounds(job, scope)?;
        let windows = self.between(from, to)?;
        Ok(windows.into_iter().map(|window| self.values(&window)).collect())
    }

    /// From where on, and until before what.
    fn bounds(&self, job: &JobContext, scope: &Value) -> Result<(DateTime, DateTime), ItemError> {
        let bound = |name: &str, template: &Template| {
            let text = template.render(scope).map_err(|error| ItemError(format!("`dates.{name}`: {error}")))?;
            parse_instant(&text).ok_or_else(|| {
                let found = readable(&text);
                let expected = "expected a date such as 2024-05-01, or a time such as 2024-05-01T08:00:00Z";
                ItemError(format!("`dates.{name}`: {expected}, found {found:?}"))
            })
        };
        let (from, to) = (bound("from", &self.from)?, bound("to", &self.to)?);
        if to < from {
            return Err(ItemError(format!("`dates`: `from`, {}, is after `to`, {}", self.shown(from), self.shown(to))));
        }
        let today = parse_date(&job.date).map(DateTime::from).filter(|_| !self.future);
        let to = today.map_or(to, |today| today.min(to));
        // Windows that begin at midnight end there.
        Ok((from, if self.step.is_of_days() { to.date().into() } else { to }))
    }

    /// Whether they are made of the job alone, and of no item.
    pub(crate) fn is_of_job(&self) -> bool {
        self.references().iter().all(|name| name.starts_with("params.") || name.starts_with("job."))
    }

    /// Whether a parameter says where they begin or end.
    pub(crate) fn are_of_param(&self, name: &str) -> bool {
        self.references().iter().any(|reference| reference.strip_prefix("params.") == Some(name))
    }

    fn references(&self) -> Vec<String> {
        [&self.from, &self.to].into_iter().flat_map(Template::references).collect()
    }

    /// Up to where they are over on the day on which the job is made, if one of them begins before that: the last of them
    /// ends there, or later.
    pub(crate) fn end(&self, job: &JobContext, scope: &Value) -> Result<Option<String>, ItemError> {
        let (from, to) = self.bounds(job, scope)?;
        let to = parse_date(&job.date).map(DateTime::from).map_or(to, |today| today.min(to));
        let first = self.lookback.before(from).and_then(|from| self.step.start(self.step.index(from)));
        Ok(first.filter(|first| *first < to).map(|_| self.shown(to)))
    }

    fn between(&self, from: DateTime, to: DateTime) -> Result<Vec<Window>, ItemError> {
        let impossible = || ItemError("`dates`: these windows leave the calendar".into());
        let first = self.step.index(self.lookback.before(from).ok_or_else(impossible)?);
        let mut windows = Vec::new();
        for index in first.. {
            let starts = self.step.start(index).zip(self.step.start(index + 1));
            let (start, next) = starts.ok_or_else(impossible)?;
            if start >= to {
                break;
            }
            if windows.len() == MOST {
                return Err(ItemError(format!("`dates`: these are more than {MOST} windows")));
            }
            windows.push(Window { from: start, to: next.min(to) });
        }
        Ok(windows)
    }

    fn values(&self, window: &Window) -> BTreeMap<String, Json> {
        let last = self.unit.before(window.to).unwrap_or(window.from);
        let [from, to, last] = [
            self.shown(window.from),
            self.shown(window.to),
            if self.unit.is_of_days() { self.shown(last) } else { write_time(last) },
        ];
        NAMES.into_iter().map(str::to_owned).zip([from, to, last].map(Json::from)).collect()
    }

    /// As templates see it: a date where windows begin at midnight.
    fn shown(&self, at: DateTime) -> String {
        if self.step.is_of_days() { at.date().to_string() } else { write_time(at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::template::Destination;

    fn windows(step: &str, unit: &str, lookback: &str, future: bool) -> Windows {
        let template = |name: &str| Template::compile(Destination::Text, &format!("{{{{ params.{name} }}}}")).unwrap();
        let step_of = |text| Step::parse(text).unwrap();
        Windows {
            from: template("from"),
            to: template("to"),
            step: step_of(step),
            unit: step_of(unit),
            lookback: step_of(lookback),
            future,
        }
    }

    fn shown(windows: &Windows, from: &str, to: &str) -> String {
        let scope = Value::from_pairs([("params", Value::from_pairs([("from", from), ("to", to)]))]);
        let job = JobContext { date: "2024-05-16".into(), ..JobContext::default() };
        match windows.items(&job, &scope) {
            Err(error) => format!("error: {error}"),
            Ok(items) => {
                let text =
                    |item: &BTreeMap<String, Json>| NAMES.map(|name| item[name].as_str().unwrap().to_owned()).join(" ");
                items.iter().map(text).collect::<Vec<_>>().join("\n")
            }
        }
    }

    #[test]
    fn windows_begin_by_the_calendar_and_the_last_ends_with_the_job() {
        insta::assert_snapshot!(shown(&windows("P1M", "P1D", "P0D", true), "2024-03-10", "2024-05-16"), @"
        2024-03-01 2024-04-01 2024-03-31
        2024-04-01 2024-05-01 2024-04-30
        2024-05-01 2024-05-16 2024-05-15
        ");
        insta::assert_snapshot!(shown(&windows("P7D", "P1D", "P0D", true), "2024-05-06", "2024-05-20"), @"
        2024-05-06 2024-05-13 2024-05-12
        2024-05-13 2024-05-20 2024-05-19
        ");
        insta::assert_snapshot!(shown(&windows("P1Y", "P1D", "P0D", true), "2023-12-31", "2024-01-02"), @"
        2023-01-01 2024-01-01 2023-12-31
        2024-01-01 2024-01-02 2024-01-01
        ");
    }

    #[test]
    fn a_day_is_a_date_and_a_shorter_window_has_times() {
        insta::assert_snapshot!(shown(&windows("P1D", "P1D", "P0D", true), "2024-02-28", "2024-03-01T06:00:00Z"), @"
        2024-02-28 2024-02-29 2024-02-28
        2024-02-29 2024-03-01 2024-02-29
        ");
        insta::assert_snapshot!(shown(&windows("PT6H", "PT1S", "P0D", true), "2024-05-01T05:00:00+02:00", "2024-05-01T08:00:00Z"), @"
        2024-05-01T00:00:00Z 2024-05-01T06:00:00Z 2024-05-01T05:59:59Z
        2024-05-01T06:00:00Z 2024-05-01T08:00:00Z 2024-05-01T07:59:59Z
        ");
        insta::assert_snapshot!(shown(&windows("P1D", "PT1S", "P0D", true), "2024-05-01", "2024-05-02"), @"2024-05-01 2024-05-02 2024-05-01T23:59:59Z");
    }

    #[test]
    fn a_lookback_goes_further_back_and_without_a_future_the_job_s_day_is_the_end() {
        insta::assert_snapshot!(shown(&windows("P1M", "P1D", "P3D", true), "2024-05-02", "2024-05-03"), @"
        2024-04-01 2024-05-01 2024-04-30
        2024-05-01 2024-05-03 2024-05-02
        ");
        insta::assert_snapshot!(shown(&windows("P1D", "P1D", "P0D", false), "2024-05-14", "2024-06-01"), @"
        2024-05-14 2024-05-15 2024-05-14
        2024-05-15 2024-05-16 2024-05-15
        ");
        assert_eq!(shown(&windows("P1D", "P1D", "P0D", false), "2024-06-01", "2024-07-01"), "");
        assert_eq!(shown(&windows("P1D", "P1D", "P0D", true), "2024-05-01", "2024-05-01"), "");
    }

    /// The clocks changed on 2024-03-31 in Europe, and a second was inserted at the end of 2016.
    #[test]
    fn neither_a_change_of_the_clocks_nor_a_leap_second_makes_a_gap() {
        let hours = shown(&windows("PT1H", "PT1S", "P0D", true), "2024-03-31", "2024-04-01");
        assert_eq!(hours.lines().count(), 24);
        insta::assert_snapshot!(shown(&windows("PT1H", "PT1S", "P0D", true), "2016-12-31T23:59:60Z", "2017-01-01T01:00:00Z"), @"
        2016-12-31T23:00:00Z 2017-01-01T00:00:00Z 2016-12-31T23:59:59Z
        2017-01-01T00:00:00Z 2017-01-01T01:00:00Z 2017-01-01T00:59:59Z
        ");
    }

    #[test]
    fn what_makes_no_windows_says_why() {
        let said = |from, to| shown(&windows("PT1S", "PT1S", "P0D", true), from, to);
        insta::assert_snapshot!([
            said("2024-05-02", "2024-05-01"),
            said("yesterday", "2024-05-01"),
            said("2024-05-01", ""),
            said("2024-05-01T08:00:00", "2024-05-02"),
            said("1899-12-31", "2024-05-02"),
            said("2024-05-01", "2200-01-01"),
            said("2024-01-01", "2024-02-01"),
        ].join("\n"), @r#"
        error: `dates`: `from`, 2024-05-02T00:00:00Z, is after `to`, 2024-05-01T00:00:00Z
        error: `dates.from`: expected a date such as 2024-05-01, or a time such as 2024-05-01T08:00:00Z, found "yesterday"
        error: `dates.to`: expected a date such as 2024-05-01, or a time such as 2024-05-01T08:00:00Z, found ""
        error: `dates.from`: expected a date such as 2024-05-01, or a time such as 2024-05-01T08:00:00Z, found "2024-05-01T08:00:00"
        error: `dates.from`: expected a date such as 2024-05-01, or a time such as 2024-05-01T08:00:00Z, found "1899-12-31"
        error: `dates.to`: expected a date such as 2024-05-01, or a time such as 2024-05-01T08:00:00Z, found "2200-01-01"
        error: `dates`: these are more than 1000000 windows
        "#);
    }
}
