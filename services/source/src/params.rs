//! What a job is given: named values, checked against the definition.
//!
//! A value leaves this room in one spelling only, so that equal jobs compare equal.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use minijinja::Value;
use serde::{Deserialize, Serialize};

use crate::definition::template::Template;

/// Checked parameters in canonical spelling, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Params(pub BTreeMap<String, String>);

/// A parameter that is missing, unknown or wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parameter `{name}`: expected {expected}, found {found}")]
pub struct ParamError {
    /// The parameter's name.
    pub name: String,
    /// What would be right: `a date such as 2024-05-01`.
    pub expected: String,
    /// What was given, cut to a readable length: `"01.05.2024"`, or `nothing`.
    pub found: String,
}

/// A parameter as the definition declares it.
#[derive(Debug, Clone)]
pub(crate) struct Param {
    pub(crate) name: String,
    pub(crate) kind: ParamKind,
    /// What stands for a value that was not given, as a template of the job's day.
    pub(crate) default: Option<Arc<Template>>,
}

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParamKind {
    Date,
    Datetime,
    String,
    Integer,
    Boolean,
}

/// The longest text that a parameter may be, in characters.
const MAX_CHARS: usize = 1_000;
/// The years that a date may lie in: wide enough for any archive, narrow enough to catch a slip.
const YEARS: std::ops::RangeInclusive<i16> = 1900..=2199;

impl ParamKind {
    pub(crate) const ALL: [Self; 5] = [Self::Date, Self::Datetime, Self::String, Self::Integer, Self::Boolean];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Date => "date",
            Self::Datetime => "datetime",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
        }
    }

    pub(crate) fn expected(self) -> String {
        match self {
            Self::Date => format!("a date such as 2024-05-01, in the years {} to {}", YEARS.start(), YEARS.end()),
            Self::Datetime => "a time such as 2024-05-01T08:00:00Z".into(),
            Self::String => "a text of 1 to 1,000 characters without control characters".into(),
            Self::Integer => "a whole number of at most 64 bits".into(),
            Self::Boolean => "`true` or `false`".into(),
        }
    }

    pub(crate) fn canonical(self, given: &str) -> Option<String> {
        match self {
            Self::Date => parse_date(given).map(|date| date.to_string()),
            Self::Datetime => parse_time(given).map(write_time),
            Self::String => {
                let fits = !given.is_empty() && given.chars().count() <= MAX_CHARS;
                (fits && !given.contains(char::is_control)).then(|| given.to_owned())
            }
            Self::Integer => given.parse::<i64>().ok().map(|number| number.to_string()),
            Self::Boolean => given.parse::<bool>().ok().map(|value| value.to_string()),
        }
    }
}

/// A day as `YYYY-MM-DD`, of the years 1900 to 2199, and nothing else: other ISO 8601 spellings of a day would be
/// second names of one job.
pub fn parse_date(text: &str) -> Option<Date> {
    let shape = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() });
    let date: Date = shape.then(|| text.parse().ok()).flatten()?;
    YEARS.contains(&date.year()).then_some(date)
}

/// A time with its offset, of the same years, in UTC.
fn parse_time(text: &str) -> Option<DateTime> {
    let at = text.parse::<Timestamp>().ok()?.to_zoned(TimeZone::UTC).datetime();
    YEARS.contains(&at.year()).then_some(at)
}

/// A date, or a time with its offset, in UTC.
pub(crate) fn parse_instant(text: &str) -> Option<DateTime> {
    parse_date(text).map(DateTime::from).or_else(|| parse_time(text))
}

/// A time in UTC, to the second.
pub(crate) fn write_time(at: DateTime) -> String {
    format!("{}Z", at.strftime("%Y-%m-%dT%H:%M:%S"))
}

/// What defaults are made of.
#[derive(Debug, Clone, Copy)]
pub struct DefaultsFrom<'a> {
    /// `job.date`: the day of the job, in UTC.
    pub day: Date,
    /// `previous.to`: up to where an earlier job has come ([`crate::Definition::mark`]), if there was one.
    pub previous: Option<&'a str>,
}

impl Param {
    /// The value for a job that was given none; `None` where nothing can be made of what there is.
    fn default(&self, from: DefaultsFrom<'_>) -> Option<String> {
        let template = self.default.as_ref()?;
        let job = Value::from_pairs([("date", from.day.to_string())]);
        let previous = Value::from_pairs(from.previous.map(|to| ("to", to)));
        template.render(&Value::from_pairs([("job", job), ("previous", previous)])).ok()
    }

    /// Whether its default is made of what an earlier job was.
    pub(crate) fn asks_previous(&self) -> bool {
        self.default.as_ref().is_some_and(|template| template.references().iter().any(|name| name == PREVIOUS))
    }
}

/// Up to where an earlier job has come.
pub(crate) const PREVIOUS: &str = "previous.to";

/// Checks what a job was given: everything declared that has no default, nothing else.
pub(crate) fn bind(
    declared: &[Param],
    given: &BTreeMap<String, String>,
    from: DefaultsFrom<'_>,
) -> Result<Params, ParamError> {
    if let Some(name) = given.keys().find(|name| declared.iter().all(|param| param.name != **name)) {
        let known: Vec<_> = declared.iter().map(|param| format!("`{}`", param.name)).collect();
        let expected = if known.is_empty() { "no parameters".into() } else { format!("only {}", known.join(", ")) };
        return Err(ParamError {
            name: readable(name),
            expected,
            found: "a parameter that this source does not take".into(),
        });
    }
    let bound = declared.iter().map(|param| {
        let Param { name, kind, .. } = param;
        let found = given.get(name).cloned().or_else(|| param.default(from));
        match found.as_deref().and_then(|text| kind.canonical(text)) {
            Some(value) => Ok((name.clone(), value)),
            None => Err(ParamError {
                name: name.clone(),
                expected: kind.expected(),
                found: match found {
                    Some(text) => format!("{:?}", readable(&text)),
                    None if param.asks_previous() => "nothing, and no earlier job to go on from".into(),
                    None => "nothing".into(),
                },
            }),
        }
    });
    Ok(Params(bound.collect::<Result<_, _>>()?))
}

/// The first 60 characters: what comes from outside is shown, but not at any length.
pub(crate) fn readable(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::template::Destination;

    const FROM: DefaultsFrom<'static> = DefaultsFrom { day: jiff::civil::date(2024, 5, 16), previous: None };

    fn try_bind(given: &[(&str, &str)]) -> Result<String, String> {
        let declared = ParamKind::ALL.map(|kind| Param {
            name: kind.as_str().into(),
            kind,
            default: match kind {
                ParamKind::Datetime => Some("{{ job.date }}T02:00:00+02:00"),
                ParamKind::Boolean => Some("true"),
                ParamKind::Date | ParamKind::String | ParamKind::Integer => None,
            }
            .map(|default| Arc::new(Template::compile(Destination::Text, default).unwrap())),
        });
        let given = given.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        bind(&declared, &given, FROM)
            .map(|params| serde_json::to_string(&params).unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_brought_into_one_spelling() {
        insta::assert_snapshot!(
            try_bind(&[("date", "2024-02-29"), ("string", " Łódź 🚌 "), ("integer", "+007")]).unwrap(), @r#"{"boolean":"true","date":"2024-02-29","datetime":"2024-05-16T00:00:00Z","integer":"7","string":" Łódź 🚌 "}"#);
        assert!(
            try_bind(&[("date", "1900-01-01"), ("string", &"é".repeat(1000)), ("integer", "-9223372036854775808")])
                .is_ok()
        );
    }

    #[test]
    fn errors_name_the_parameter_and_what_was_expected() {
        let with = |name: &str, value: &str| {
            let mut given = vec![("date", "2024-05-01"), ("integer", "1"), ("string", "x")];
            given.retain(|(known, _)| *known != name);
            given.push((name, value));
            try_bind(&given).unwrap_err()
        };
        let long = "x".repeat(1001);
        let wrong = [
            ("date", "2024-02-30"),
            ("date", "01.05.2024"),
            ("date", "20240501"),
            ("date", "2024-05-01T00:00:00"),
            ("date", ""),
            ("date", " 2024-05-01"),
            ("date", "1899-12-31"),
            ("date", "2200-01-01"),
            ("date", "２０２４-05"),
            ("string", ""),
            ("string", "a\nb"),
            ("string", &long),
            ("integer", "1.0"),
            ("integer", "9223372036854775808"),
            ("datetime", "2024-05-01T08:00:00"),
            ("datetime", "2200-01-01T00:00:00Z"),
            ("boolean", "yes"),
            ("country", "x"),
        ];
        insta::assert_snapshot!(wrong.map(|(name, value)| with(name, value)).join("\n"), @r#"
        parameter `date`: expected a date such as 2024-05-01, in the years 1900 to 2199, found "2024-02-30"
        parameter `date`: expected a date such as 2024-05-01, in the years 1900 to 2199, found "01.05.2024"
        parameter `date`: expected a date such as 2024-05-01, in the years 1900 to 2199, found "20240501"
        parameter `date`: expected a date such as 2024-05-01, in the years 1900 to 2199, found "2024-05-01T00:00:00"
        parameter `date`: expected a date such as 2024-05-01, in the years 1900 to 2199, found ""
        parameter `date`: expected a date such as 2024-05-01, in the years 1900 to 2199, found " 2024-05-01"
        parameter `date`: expected a date such as 2024-05-01, in the years 1900 to 2199, found "1899-12-31"
        parameter `date`: expected a date such as 2024-05-01, in the years 1900 to 2199, found "2200-01-01"
        parameter `date`: expected a date such as 2024-05-01, in the years 1900 to 2199, found "２０２４-05"
        parameter `string`: expected a text of 1 to 1,000 characters without control characters, found ""
        parameter `string`: expected a text of 1 to 1,000 characters without control characters, found "a\nb"
        parameter `string`: expected a text of 1 to 1,000 characters without control characters, found "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…"
        parameter `integer`: expected a whole number of at most 64 bits, found "1.0"
        parameter `integer`: expected a whole number of at most 64 bits, found "9223372036854775808"
        parameter `datetime`: expected a time such as 2024-05-01T08:00:00Z, found "2024-05-01T08:00:00"
        parameter `datetime`: expected a time such as 2024-05-01T08:00:00Z, found "2200-01-01T00:00:00Z"
        parameter `boolean`: expected `true` or `false`, found "yes"
        parameter `country`: expected only `date`, `datetime`, `string`, `integer`, `boolean`, found a parameter that this source does not take
        "#);
        insta::assert_snapshot!(try_bind(&[("string", "x"), ("integer", "1")]).unwrap_err(), @"parameter `date`: expected a date such as 2024-05-01, in the years 1900 to 2199, found nothing");
        insta::assert_snapshot!(bind(&[], &BTreeMap::from([("x".into(), "1".into())]), FROM).unwrap_err(), @"parameter `x`: expected no parameters, found a parameter that this source does not take");
    }
}
