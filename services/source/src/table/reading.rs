//! How a value becomes a cell of its column's type. Nothing is rounded into an integer or a decimal.

use std::borrow::Cow;

use crate::{
    Cell, ColumnType, Field, FieldType, TimeFormat,
    scan::{Given, quoted, shown},
    stats::decimal::{ONE, Whole, iso_duration, number_end, scaled},
    table::time::{day, day_of, instant},
};

/// How the values of a column are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    kind: ColumnType,
    is_required: bool,
    /// How a date or a time is written.
    format: TimeFormat,
    /// Whether a text is a duration of ISO 8601, which is its seconds where a number is asked for.
    is_duration: bool,
}

impl Reading {
    /// Of a field's values, or of texts.
    pub(crate) fn new(kind: ColumnType, is_required: bool, field: Option<&Field>) -> Self {
        Self {
            kind,
            is_required,
            format: field.map(|field| field.format.clone()).unwrap_or_default(),
            is_duration: field.is_some_and(|field| field.kind == FieldType::Duration),
        }
    }

    /// The cell of a value, or what is wrong with it.
    pub(super) fn cell(&self, given: &Given<'_>) -> Result<Cell, String> {
        let cell = match given {
            Given::Null if self.is_required => None,
            Given::Null => Some(Cell::Null),
            given => self.value(given),
        };
        cell.ok_or_else(|| format!("expected {}, found {}", self.expected(given), found(given)))
    }

    fn value(&self, given: &Given<'_>) -> Option<Cell> {
        match self.kind {
            ColumnType::Boolean => boolean(given).map(Cell::Boolean),
            ColumnType::Integer => self.whole(given, 0).and_then(|whole| i64::try_from(whole).ok()).map(Cell::Integer),
            ColumnType::Number => self.number(given).map(Cell::Number),
            ColumnType::Decimal(precision, scale) => {
                let whole = self.whole(given, scale.unsigned_abs().into())?;
                let fits = whole.unsigned_abs() < 10_u128.pow(precision.into());
                fits.then_some(Cell::Decimal(whole))
            }
            ColumnType::String => Some(Cell::String(text(given).into_owned())),
            ColumnType::Date => self.date(given).map(Cell::Date),
            ColumnType::Timestamp => {
                let Given::Text(text) = given else { return None };
                instant(text.as_bytes(), &self.format).map(Cell::Timestamp)
            }
        }
    }

    /// The value times 10 to the power of `places`, where that is whole.
    fn whole(&self, given: &Given<'_>, places: u32) -> Option<i128> {
        let (Given::Number(text) | Given::Text(text)) = given else { return None };
        if self.is_duration {
            return whole_seconds(iso_duration(text.as_bytes())?, places);
        }
        // The commonest spelling, in which nothing can go wrong.
        if places == 0 && text.len() < 19 && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0') {
            return text.parse().ok();
        }
        match scaled(number(text)?.as_bytes(), places) {
            Whole::Value(value) => Some(value),
            Whole::TooLarge | Whole::Fraction => None,
        }
    }

    fn number(&self, given: &Given<'_>) -> Option<f64> {
        let (Given::Number(text) | Given::Text(text)) = given else { return None };
        if self.is_duration {
            return Some(iso_duration(text.as_bytes())? as f64 / ONE as f64);
        }
        number(text)?.parse().ok().filter(|number: &f64| number.is_finite())
    }

    fn date(&self, given: &Given<'_>) -> Option<i32> {
        let Given::Text(text) = given else { return None };
        day(text.as_bytes(), &self.format).or_else(|| instant(text.as_bytes(), &self.format).map(day_of))
    }

    fn expected(&self, given: &Given<'_>) -> Cow<'static, str> {
        let number = match given {
            Given::Number(text) | Given::Text(text) => number(text),
            Given::Null | Given::Truth(_) | Given::Json(_) => None,
        };
        match self.kind {
            ColumnType::Boolean => "true or false".into(),
            ColumnType::Integer if number.is_some_and(|text| scaled(text.as_bytes(), 0) != Whole::Fraction) => {
                "an integer of 64 bits".into()
            }
            ColumnType::Integer => "an integer".into(),
            ColumnType::Number if number.is_some() => "a number of 64 bits".into(),
            ColumnType::Number => "a number".into(),
            ColumnType::Decimal(precision, 0) => format!("a whole number of at most {precision} digits").into(),
            ColumnType::Decimal(precision, scale) => {
                format!("a decimal of at most {precision} digits, {scale} of them behind the point").into()
            }
            ColumnType::String => "a text".into(),
            ColumnType::Date => "a date such as 2024-05-01".into(),
            ColumnType::Timestamp => "a date and time such as 2024-05-01T08:44:00".into(),
        }
    }
}

/// The text, where it is a number as JSON spells it.
fn number(text: &str) -> Option<&str> {
    (number_end(text.as_bytes(), 0) == Ok(text.len())).then_some(text)
}

/// As CSV spells them, too.
fn boolean(given: &Given<'_>) -> Option<bool> {
    match given {
        Given::Truth(truth) => Some(*truth),
        Given::Text(text) => match &**text {
            "true" | "True" | "TRUE" | "1" => Some(true),
            "false" | "False" | "FALSE" | "0" => Some(false),
            _ => None,
        },
        Given::Null | Given::Number(_) | Given::Json(_) => None,
    }
}

/// Seconds in 10⁻⁹ as a whole count of 10 to the power of minus `places`.
fn whole_seconds(nanos: i128, places: u32) -> Option<i128> {
    let scaled = nanos.checked_mul(10_i128.checked_pow(places)?)?;
    (scaled % ONE == 0).then_some(scaled / ONE)
}

/// The value as a text: numbers, objects and arrays as they were written.
fn text<'a>(given: &'a Given<'_>) -> Cow<'a, str> {
    match given {
        Given::Null => "".into(),
        Given::Truth(truth) => (if *truth { "true" } else { "false" }).into(),
        Given::Number(text) | Given::Text(text) | Given::Json(text) => (&**text).into(),
    }
}

fn found(given: &Given<'_>) -> String {
    match given {
        Given::Null => "nothing".to_owned(),
        Given::Text(text) => quoted(text.as_bytes()),
        other => shown(text(other).as_bytes()),
    }
}
