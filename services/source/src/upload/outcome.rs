//! How a row ended: one JSON object, and a line of the object that a task stores.

use std::collections::BTreeMap;

use minijinja::Value;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use serde_json::{Map, Value as Json, value::RawValue};

use crate::{
    Definition, FieldType, Row,
    definition::{parse::rows::Kept, plan::requests::row_value},
    path::{Segment, ValuePath},
    scan::json_value,
};

/// How a row ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowResult {
    /// The API has it.
    Done,
    /// It was not sent, or the API refused it.
    Error,
    /// Nobody knows whether the API has it.
    Unknown,
}

/// How a row ended, and what is kept of it.
#[derive(Debug, Clone, PartialEq)]
pub struct RowOutcome {
    /// The line of the file that the row begins on, from 1.
    pub line: u64,
    /// How it ended.
    pub result: RowResult,
    /// Why, where it is not done; and what could not be kept.
    pub reason: Option<String>,
    /// What `result` in `[fetch]` names; null where there is none.
    pub values: Map<String, Json>,
}

/// A line that is no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("outcome {number}: expected an object with `line` and `result`, found {problem}")]
pub struct OutcomeError {
    /// Which line of the object, from 1.
    pub number: usize,
    /// What was there.
    pub problem: String,
}

/// The longest reason, in characters.
const MAX_REASON: usize = 1_000;
/// The most bytes of all values of an outcome together: a thousand outcomes are read back at once.
const MAX_VALUES: usize = 64 << 10;

impl RowResult {
    pub(crate) const ALL: [Self; 3] = [Self::Done, Self::Error, Self::Unknown];

    /// As an outcome spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Error => "error",
            Self::Unknown => "unknown",
        }
    }
}

impl Definition {
    /// The outcome of a row, with what is kept of the row and of `answer`: null where the row has no such value, or
    /// where it is bad, and where the answer is no JSON or has no such member. A reason is cut to 1,000 characters. Values
    /// beyond 512 KiB are null, and the reason says so.
    pub fn outcome(&self, row: &Row, result: RowResult, reason: Option<String>, answer: Option<&[u8]>) -> RowOutcome {
        let mut values = Map::new();
        if let Some(upload) = self.upload() {
            let scope = Value::from_pairs([(upload.name(), row_value(upload, row))]);
            for (name, kept) in &upload.rules.result {
                let value = match kept {
                    Kept::OfRow(template) => template.json(&scope).ok(),
                    Kept::OfAnswer(path) => answer.and_then(|answer| look_up(path, answer)),
                };
                values.insert(name.clone(), value.unwrap_or_default());
            }
        }
        let mut reasons: Vec<_> = reason.map(|reason| cut(&reason)).into_iter().collect();
        reasons.extend(drop_large(&mut values));
        let reason = (!reasons.is_empty()).then(|| reasons.join("; "));
        RowOutcome { line: row.line, result, reason, values }
    }
}

/// Makes the largest values null until the others are few enough bytes, and says which they were.
fn drop_large(values: &mut Map<String, Json>) -> Option<String> {
    let mut sizes: Vec<_> = values.iter().map(|(name, value)| (value.to_string().len(), name.clone())).collect();
    let mut total: usize = sizes.iter().map(|(size, _)| size).sum();
    sizes.sort();
    let mut dropped = Vec::new();
    while total > MAX_VALUES
        && let Some((size, name)) = sizes.pop()
    {
        total -= size;
        dropped.push(format!("`{name}`"));
        values.insert(name, Json::Null);
    }
    (!dropped.is_empty()).then(|| format!("too large to be kept: {}", dropped.join(", ")))
}

fn cut(reason: &str) -> String {
    match reason.char_indices().nth(MAX_REASON) {
        Some((at, _)) => format!("{}…", &reason[..at]),
        None => reason.to_owned(),
    }
}

/// The value at a path of a JSON document. Numbers are exact: as a text where a JSON number of ours would round them.
fn look_up(path: &ValuePath, document: &[u8]) -> Option<Json> {
    let document = document.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(document);
    let mut value: &RawValue = serde_json::from_slice(document).ok()?;
    for segment in &path.segments {
        value = match segment {
            Segment::Member(name) => {
                serde_json::from_str::<BTreeMap<String, &RawValue>>(value.get()).ok()?.remove(name)?
            }
            Segment::Index(index) => *serde_json::from_str::<Vec<&RawValue>>(value.get()).ok()?.get(*index)?,
        };
    }
    exact(value)
}

fn exact(value: &RawValue) -> Option<Json> {
    match value.get().as_bytes() {
        number @ [b'-' | b'0'..=b'9', ..] => json_value(FieldType::Number, number),
        _ => serde_json::from_str(value.get()).ok(),
    }
}

impl RowOutcome {
    /// One JSON object without a line feed: `{"line":2,"result":"done","postId":101}`.
    pub fn to_json_line(&self) -> String {
        let mut line = format!("{{\"line\":{},\"result\":\"{}\"", self.line, self.result.as_str());
        let mut add = |name: &str, value: &Json| line.push_str(&format!(",{}:{value}", Json::from(name)));
        if let Some(reason) = &self.reason {
            add("reason", &reason.as_str().into());
        }
        for (name, value) in &self.values {
            add(name, value);
        }
        line + "}"
    }

    /// The outcomes of an object, one a line. Blank lines are none.
    pub fn parse_lines(bytes: &[u8]) -> Result<Vec<Self>, OutcomeError> {
        let lines = bytes.split(|byte| *byte == b'\n').enumerate();
        let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
        lines.map(|(at, line)| Self::parse(line).map_err(|problem| OutcomeError { number: at + 1, problem })).collect()
    }

    fn parse(line: &[u8]) -> Result<Self, String> {
        let mut members: BTreeMap<String, &RawValue> =
            serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let mut take = |name: &str| members.remove(name).and_then(exact);
        let (number, result, reason) = (take("line"), take("result"), take("reason"));
        let found = |value: &Option<Json>, name: &str| match value {
            Some(value) => format!("`{name}` {}", cut(&value.to_string())),
            None => format!("no `{name}`"),
        };
        let known = |result: &str| RowResult::ALL.into_iter().find(|known| known.as_str() == result);
        Ok(Self {
            line: number.as_ref().and_then(Json::as_u64).ok_or_else(|| found(&number, "line"))?,
            result: result.as_ref().and_then(Json::as_str).and_then(known).ok_or_else(|| found(&result, "result"))?,
            reason: reason.as_ref().and_then(Json::as_str).map(str::to_owned),
            values: members.into_iter().map(|(name, value)| (name, exact(value).unwrap_or_default())).collect(),
        })
    }
}

/// As [`RowOutcome::to_json_line`] spells it.
impl Serialize for RowOutcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_json_line()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RowOutcome {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(Box::<RawValue>::deserialize(deserializer)?.get().as_bytes()).map_err(D::Error::custom)
    }
}
