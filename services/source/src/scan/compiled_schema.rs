//! A schema made ready for reading records, and the values of the record being read.
//!
//! Sets of fields are bits of a `u64`: a schema has at most 64.

use crate::{
    FieldType, Schema, Statistics, TimeFormat,
    scan::trie::{RecordKind, Trie},
};

/// What a record must look like.
#[derive(Debug)]
pub(super) struct CompiledSchema {
    pub(super) fields: Vec<Column>,
    /// The fields that every record has.
    pub(super) required: u64,
    /// Where the fields lie, where they are not all plain members of the record.
    pub(super) trie: Option<Trie>,
    /// Whether a record has no other members or columns.
    pub(super) is_closed: bool,
}

/// One field.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// The member or column that it is.
    pub(super) key: String,
    /// The key as a JSON string, in the spelling that writers use.
    pub(super) spelled: Vec<u8>,
    pub(super) kind: FieldType,
    pub(super) format: TimeFormat,
    /// Whether a number is only looked at as a text, which has no limits.
    pub(super) is_text: bool,
    pub(super) required: bool,
    /// The least and the greatest value, in 10⁻⁹.
    pub(super) bounds: (i128, i128),
    pub(super) one_of: Option<Vec<String>>,
    /// The texts of a string that are counted. Where there are any, a string's value is the place of its text in
    /// here, or the length of the list for any other.
    pub(super) counted: Vec<String>,
    /// Whether any string will do, and none is counted.
    pub(super) is_any_text: bool,
    /// What to tell somebody who wrote something else.
    pub(super) expected: String,
}

impl CompiledSchema {
    pub(super) fn new(schema: &Schema, statistics: &Statistics) -> Self {
        assert!(schema.fields.len() <= 64, "a checked definition has at most 64 fields");
        let fields: Vec<_> = schema
            .fields
            .iter()
            .enumerate()
            .map(|(at, field)| Column::new(field, &statistics.counted_texts(at)))
            .collect();
        let required = fields.iter().enumerate().filter(|(_, column)| column.required).map(|(index, _)| 1 << index);
        Self { required: required.sum(), fields, trie: Trie::of(schema), is_closed: schema.is_closed }
    }

    /// The field that is the member or column called `name`.
    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        self.fields.iter().position(|column| column.key.as_bytes() == name)
    }

    /// Whether a record can begin with this byte.
    #[inline(always)]
    pub(super) fn begins_with(&self, byte: u8) -> bool {
        match &self.trie {
            None => byte == b'{',
            Some(trie) => trie.kind.begins_with(byte),
        }
    }

    /// What a record is.
    pub(super) fn expected(&self) -> &'static str {
        self.trie.as_ref().map_or(RecordKind::Object, |trie| trie.kind).expected()
    }

    /// Whether a field is the name of its record.
    pub(super) fn wants_name(&self) -> bool {
        self.trie.as_ref().is_some_and(|trie| !trie.names.is_empty())
    }
}

impl Column {
    fn new(field: &crate::Field, counted: &[&str]) -> Self {
        let constraints = &field.constraints;
        let key = field.path.as_member().unwrap_or(&field.name).to_owned();
        Self {
            name: field.name.clone(),
            spelled: serde_json::to_vec(&key).expect("a text can be written as JSON"),
            key,
            kind: field.kind,
            format: field.format.clone(),
            is_text: false,
            required: constraints.required,
            bounds: (
                constraints.minimum.map_or(i128::MIN, |least| least.0),
                constraints.maximum.map_or(i128::MAX, |most| most.0),
            ),
            one_of: constraints.one_of.clone(),
            counted: counted.iter().map(|text| (*text).to_owned()).collect(),
            is_any_text: constraints.one_of.is_none() && counted.is_empty(),
            expected: expected(field),
        }
    }

    /// Whether its values are JSON numbers.
    pub(super) fn is_number(&self) -> bool {
        matches!(self.kind, FieldType::Integer | FieldType::Number)
    }

    #[inline(always)]
    pub(super) fn within_bounds(&self, nanos: i128) -> bool {
        self.bounds.0 <= nanos && nanos <= self.bounds.1
    }
}

/// `an integer of at least 0`, `one of "red", "green"`.
fn expected(field: &crate::Field) -> String {
    let constraints = &field.constraints;
    if let Some(values) = &constraints.one_of {
        let values: Vec<_> = values.iter().map(|value| format!("{value:?}")).collect();
        return format!("one of {}", values.join(", "));
    }
    let time = |what: &str, example: &str| match &field.format {
        TimeFormat::Iso => format!("{what} such as {example}"),
        TimeFormat::Any => format!("{what} in a common form"),
        TimeFormat::Pattern(pattern) => format!("{what} as `{pattern}`"),
    };
    let kind = match field.kind {
        FieldType::String => "a string",
        FieldType::Integer => "an integer",
        FieldType::Number => "a number",
        FieldType::Boolean => "true or false",
        FieldType::Datetime => &time("a date and time", "2024-05-01T08:44:00"),
        FieldType::Date => &time("a date", "2024-05-01"),
        FieldType::Duration => "a duration such as PT1980S",
        FieldType::Object => "an object",
        FieldType::Array => "an array",
        FieldType::Any => "a value",
    };
    let unit = if field.kind == FieldType::Duration { " seconds" } else { "" };
    match (constraints.minimum, constraints.maximum) {
        (None, None) => kind.into(),
        (Some(least), None) => format!("{kind}, at least {least}{unit}"),
        (None, Some(most)) => format!("{kind}, at most {most}{unit}"),
        (Some(least), Some(most)) => format!("{kind}, from {least} to {most}{unit}"),
    }
}

/// The values of one record, as far as statistics can want them.
#[derive(Debug)]
pub(super) struct Row {
    /// By field, in 10⁻⁹. Only those of fields in `present` are of this record.
    pub(super) numbers: Vec<i128>,
    /// Fields that were met, null or not.
    pub(super) seen: u64,
    /// Fields that have a value.
    pub(super) present: u64,
    /// Fields whose value is `true`.
    pub(super) truths: u64,
}

/// A value that was found right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// In 10⁻⁹.
    Number(i128),
    Truth(bool),
    /// Nothing that is added up.
    Text,
}

impl Row {
    pub(super) fn new(fields: usize) -> Self {
        Self { numbers: vec![0; fields], seen: 0, present: 0, truths: 0 }
    }

    #[inline(always)]
    pub(super) fn clear(&mut self) {
        (self.seen, self.present, self.truths) = (0, 0, 0);
    }

    #[inline(always)]
    pub(super) fn set(&mut self, field: usize, value: Value) {
        self.present |= 1 << field;
        match value {
            Value::Number(nanos) => self.numbers[field] = nanos,
            Value::Truth(truth) => self.truths |= u64::from(truth) << field,
            Value::Text => {}
        }
    }
}
