//! A value of a record: its type, its constraints, and the ways in which it can be written.
//!
//! The short cuts know the commonest spelling of each type and nothing else: where one does not apply, the
//! long way decides, and it alone rejects.

use std::borrow::Cow;

use serde_json::Value as Json;

use crate::{
    FieldType, TimeFormat,
    scan::{
        compiled_schema::{Column, Row, Value},
        error::{Found, Step, ended, wrong},
        time::{PLAIN_DATETIME, has_format, starts_with_plain_datetime},
        token::{few_digits, literal, number, string, unescaped, word},
    },
    stats::decimal::{LIMIT, ONE, Whole, iso_duration, number_end, parse, whole},
};

impl Column {
    /// Reads the JSON value at `pos` into the row, as the value of `field`, and says where it ends.
    #[inline(always)]
    pub(super) fn read(&self, bytes: &[u8], pos: usize, field: usize, row: &mut Row) -> Step<usize> {
        let short_cut = match self.kind {
            FieldType::Integer => short_integer(bytes, pos),
            FieldType::Duration => short_duration(bytes, pos),
            FieldType::Boolean => short_boolean(bytes, pos),
            FieldType::Datetime if matches!(self.format, TimeFormat::Iso) => short_datetime(bytes, pos),
            FieldType::String if self.is_any_text && bytes.get(pos) == Some(&b'"') => {
                let (end, _) = string(bytes, pos).map_err(|stop| stop.in_field(field))?;
                Some((Value::Text, end))
            }
            FieldType::String | FieldType::Number | FieldType::Date | FieldType::Datetime => None,
            // They are read where it is known how deep they lie.
            FieldType::Object | FieldType::Array | FieldType::Any => None,
        };
        match short_cut {
            Some((Value::Number(nanos), _)) if !self.within_bounds(nanos) => {}
            Some((value, end)) => {
                row.set(field, value);
                return Ok(end);
            }
            None => {}
        }
        self.read_any(bytes, pos, field, row).map_err(|stop| stop.in_field(field))
    }

    /// The long way.
    #[inline(never)]
    fn read_any(&self, bytes: &[u8], pos: usize, field: usize, row: &mut Row) -> Step<usize> {
        let refused = || wrong(pos, self.expected.clone());
        let first = *bytes.get(pos).ok_or_else(|| ended(self.expected.clone()))?;
        let (text, end): (Cow<'_, [u8]>, usize) = match (self.kind, first) {
            (_, b'n') => {
                let end = literal(bytes, pos, "null").map_err(|stop| stop.expecting(&self.expected))?;
                return if self.required { Err(refused()) } else { Ok(end) };
            }
            (FieldType::Integer | FieldType::Number, b'-' | b'0'..=b'9') => {
                let end = number(bytes, pos).map_err(|stop| stop.expecting(&self.expected))?;
                (Cow::Borrowed(&bytes[pos..end]), end)
            }
            (FieldType::Boolean, b't') => {
                (Cow::Borrowed(b"true"), literal(bytes, pos, "true").map_err(|stop| stop.expecting(&self.expected))?)
            }
            (FieldType::Boolean, b'f') => {
                (Cow::Borrowed(b"false"), literal(bytes, pos, "false").map_err(|stop| stop.expecting(&self.expected))?)
            }
            (FieldType::String | FieldType::Datetime | FieldType::Date | FieldType::Duration, b'"') => {
                let (end, escaped) = string(bytes, pos)?;
                let text = &bytes[pos..end];
                (if escaped { unescaped(text).into_bytes().into() } else { text[1..text.len() - 1].into() }, end)
            }
            (FieldType::Integer | FieldType::Number | FieldType::Boolean, b'"') => {
                let mut refused = refused();
                refused.found = Found::HereInQuotes;
                return Err(refused);
            }
            _ => return Err(refused()),
        };
        let value = self.value(&text).ok_or_else(|| wrong(pos, self.expected_of(&text)))?;
        row.set(field, value);
        Ok(end)
    }

    /// The value that `text` stands for, without quotes and escapes; `None` where it is not right.
    pub(super) fn value(&self, text: &[u8]) -> Option<Value> {
        let value = match self.kind {
            FieldType::String => {
                let allowed = |values: &Vec<String>| values.iter().any(|value| value.as_bytes() == text);
                self.one_of.as_ref().is_none_or(allowed).then(|| self.text_value(text))?
            }
            FieldType::Number if self.is_text => is_number(text).then_some(Value::Text)?,
            FieldType::Integer if self.is_text => json_number(self.kind, text).map(|_| Value::Text)?,
            FieldType::Integer => Value::Number(integer(text)?),
            FieldType::Number => Value::Number(decimal(text)?),
            FieldType::Boolean => Value::Truth(boolean(text)?),
            FieldType::Datetime => has_format(text, &self.format, true).then_some(Value::Text)?,
            FieldType::Date => has_format(text, &self.format, false).then_some(Value::Text)?,
            FieldType::Duration => Value::Number(iso_duration(text)?),
            FieldType::Any => Value::Text,
            FieldType::Object | FieldType::Array => return None,
        };
        match value {
            Value::Number(nanos) if !self.within_bounds(nanos) => None,
            value => Some(value),
        }
    }

    /// A value that was found right in a text without quotes, as an item has it.
    pub(super) fn item_value(&self, value: Value, text: &[u8]) -> Option<Json> {
        match value {
            Value::Truth(truth) => Some(truth.into()),
            Value::Number(_) | Value::Text if self.is_number() => json_value(self.kind, text),
            Value::Number(_) | Value::Text => Some(String::from_utf8_lossy(text).into()),
        }
    }

    fn text_value(&self, text: &[u8]) -> Value {
        if self.counted.is_empty() {
            return Value::Text;
        }
        let place = self.counted.iter().position(|counted| counted.as_bytes() == text);
        Value::Number(place.unwrap_or(self.counted.len()) as i128)
    }
}

impl Column {
    /// What to tell of a text that is not right: how large a number may be, where only that is wrong.
    pub(super) fn expected_of(&self, text: &[u8]) -> String {
        match self.kind {
            _ if self.is_text || !is_number(text) => self.expected.clone(),
            FieldType::Integer if integer(text).is_none() && whole(text) != Whole::Fraction => {
                "an integer of 64 bits".to_owned()
            }
            FieldType::Number if decimal(text).is_none() => "a number below 1e18".to_owned(),
            _ => self.expected.clone(),
        }
    }
}

fn integer(text: &[u8]) -> Option<i128> {
    if !is_number(text) {
        return None;
    }
    match whole(text) {
        Whole::Value(value) => i64::try_from(value).ok().map(|value| i128::from(value) * ONE),
        _ => None,
    }
}

fn is_number(text: &[u8]) -> bool {
    number_end(text, 0) == Ok(text.len())
}

/// A JSON value that was found right, as an item has it: numbers exactly as they were sent, as a text where a JSON
/// number of ours would round them. `None` for null.
pub(crate) fn json_value(kind: FieldType, json: &[u8]) -> Option<Json> {
    match json {
        b"null" => None,
        [b'"', ..] => Some(unescaped(json).into()),
        b"true" | b"false" => Some((json == b"true").into()),
        _ => json_number(kind, json),
    }
}

/// A number of a row that was found right, as JSON has it: where it is not whole, the nearest double.
pub(super) fn row_number(text: &[u8]) -> Json {
    match whole(text) {
        Whole::Value(value) if i64::try_from(value).is_ok() => (value as i64).into(),
        _ => str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok()).into(),
    }
}

fn json_number(kind: FieldType, text: &[u8]) -> Option<Json> {
    let spelled = str::from_utf8(text).ok().filter(|_| is_number(text))?;
    match whole(text) {
        Whole::Value(value) => Some(match (i64::try_from(value), u64::try_from(value)) {
            (Ok(value), _) => value.into(),
            (_, Ok(value)) => value.into(),
            _ => value.to_string().into(),
        }),
        // Without an exponent it is an identifier of many digits; with one it is none.
        Whole::TooLarge if kind == FieldType::Number || text.iter().all(|byte| matches!(byte, b'-' | b'0'..=b'9')) => {
            Some(spelled.into())
        }
        Whole::TooLarge => None,
        Whole::Fraction if kind == FieldType::Integer => None,
        Whole::Fraction => {
            let number = spelled.parse().ok().and_then(serde_json::Number::from_f64);
            let is_exact = |number: &serde_json::Number| number.to_string() == spelled;
            Some(number.filter(is_exact).map_or_else(|| spelled.into(), Json::Number))
        }
    }
}

fn decimal(text: &[u8]) -> Option<i128> {
    if !is_number(text) {
        return None;
    }
    parse(text).filter(|nanos| nanos.unsigned_abs() < LIMIT.unsigned_abs())
}

fn boolean(text: &[u8]) -> Option<bool> {
    match text {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// `71`, `-5`: up to seven digits, and something behind them that ends them.
#[inline(always)]
fn short_integer(bytes: &[u8], pos: usize) -> Option<(Value, usize)> {
    let negative = bytes.get(pos) == Some(&b'-');
    let start = pos + usize::from(negative);
    let (magnitude, count) = few_digits(bytes, start)?;
    let end = start + count;
    if (count > 1 && bytes[start] == b'0') || !matches!(bytes.get(end), Some(b',' | b'}' | b' ' | b'\n' | b'\r')) {
        return None;
    }
    let whole = i128::from(if negative { -i64::from(magnitude) } else { i64::from(magnitude) });
    Some((Value::Number(whole * ONE), end))
}

/// `"PT1980S"`: seconds alone, up to seven digits.
#[inline(always)]
fn short_duration(bytes: &[u8], pos: usize) -> Option<(Value, usize)> {
    if bytes.get(pos..)?.first_chunk() != Some(b"\"PT") {
        return None;
    }
    let (seconds, count) = few_digits(bytes, pos + 3)?;
    let end = pos + 3 + count;
    let nanos = i128::from(u64::from(seconds) * 1_000_000_000);
    (bytes.get(end..)?.first_chunk() == Some(b"S\"")).then_some((Value::Number(nanos), end + 2))
}

#[inline(always)]
fn short_boolean(bytes: &[u8], pos: usize) -> Option<(Value, usize)> {
    // Without a branch on which of the two it is: accidents cannot be predicted.
    let word = word(bytes, pos)?;
    let truth = word as u32 == u32::from_le_bytes(*b"true");
    let falsehood = word << 24 == u64::from_le_bytes(*b"\0\0\0false");
    (truth | falsehood).then_some((Value::Truth(truth), pos + 5 - usize::from(truth)))
}

/// `"2024-05-01T08:44:00"`.
#[inline(always)]
fn short_datetime(bytes: &[u8], pos: usize) -> Option<(Value, usize)> {
    let text = bytes.get(pos + 1..)?.first_chunk()?;
    (bytes[pos] == b'"' && starts_with_plain_datetime(text)).then_some((Value::Text, pos + PLAIN_DATETIME + 2))
}
