//! A value of a record: its type, its constraints, and the ways in which it can be written.
//!
//! The short cuts know the commonest spelling of each type and nothing else: where one does not apply, the
//! long way decides, and it alone rejects.

use std::borrow::Cow;

use crate::{
    FieldType,
    scan::{
        compiled_schema::{Column, Row, Value},
        error::{Step, ended, wrong},
        time::{PLAIN_DATETIME, is_date, is_datetime, starts_with_plain_datetime},
        token::{few_digits, literal, number, string, unescaped, word},
    },
    stats::decimal::{LIMIT, ONE, iso_duration, number_end, parse},
};

impl Column {
    /// Reads the JSON value at `pos` into the row, as the value of `field`, and says where it ends.
    #[inline(always)]
    pub(super) fn read(&self, bytes: &[u8], pos: usize, field: usize, row: &mut Row) -> Step<usize> {
        let short_cut = match self.kind {
            FieldType::Integer => short_integer(bytes, pos),
            FieldType::Duration => short_duration(bytes, pos),
            FieldType::Boolean => short_boolean(bytes, pos),
            FieldType::Datetime => short_datetime(bytes, pos),
            FieldType::String if self.one_of.is_none() && bytes.get(pos) == Some(&b'"') => {
                let (end, _) = string(bytes, pos).map_err(|stop| stop.in_field(field))?;
                Some((Value::Text, end))
            }
            FieldType::String | FieldType::Number | FieldType::Date => None,
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
            _ => return Err(refused()),
        };
        let value = self.value(&text).ok_or_else(refused)?;
        row.set(field, value);
        Ok(end)
    }

    /// The value that `text` stands for, without quotes and escapes; `None` where it is not right.
    pub(super) fn value(&self, text: &[u8]) -> Option<Value> {
        let value = match self.kind {
            FieldType::String => {
                let allowed = |values: &Vec<String>| values.iter().any(|value| value.as_bytes() == text);
                self.one_of.as_ref().is_none_or(allowed).then_some(Value::Text)?
            }
            FieldType::Integer => Value::Number(integer(text)?),
            FieldType::Number => Value::Number(decimal(text)?),
            FieldType::Boolean => Value::Truth(boolean(text)?),
            FieldType::Datetime => is_datetime(text).then_some(Value::Text)?,
            FieldType::Date => is_date(text).then_some(Value::Text)?,
            FieldType::Duration => Value::Number(iso_duration(text)?),
        };
        match value {
            Value::Number(nanos) if !self.within_bounds(nanos) => None,
            value => Some(value),
        }
    }
}

fn integer(text: &[u8]) -> Option<i128> {
    if text.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')) || number_end(text, 0) != Ok(text.len()) {
        return None;
    }
    str::from_utf8(text).ok()?.parse::<i64>().ok().map(|whole| i128::from(whole) * ONE)
}

fn decimal(text: &[u8]) -> Option<i128> {
    if number_end(text, 0) != Ok(text.len()) {
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
