//! What a record must look like: Frictionless Table Schema, the part that a stream can check.

use crate::{Decimal, FieldPath};

/// The types of a field, and how each is spelled in JSON and CSV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    /// Text.
    String,
    /// A whole number within `i64`.
    Integer,
    /// A decimal number, kept to nine decimals.
    Number,
    /// `true` or `false`.
    Boolean,
    /// ISO 8601 with a time, and perhaps an offset: `2024-05-01T08:44:00`.
    Datetime,
    /// `2024-05-01`.
    Date,
    /// ISO 8601 without years and months, which have no length: `PT1980S`, `-P1DT2H`.
    Duration,
    /// A JSON object, whatever is in it.
    Object,
    /// A JSON array, whatever is in it.
    Array,
    /// Any value but null.
    Any,
}

impl FieldType {
    /// Whether its values may hold others, which no statistic, template or cell can have.
    pub(crate) fn is_composite(self) -> bool {
        matches!(self, Self::Object | Self::Array | Self::Any)
    }
}

/// How a date, or a date and time, is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TimeFormat {
    /// ISO 8601.
    #[default]
    Iso,
    /// Any form that means one thing only: ISO 8601, HTTP's, mail's, and a few more.
    Any,
    /// As a pattern of `strptime` says: `%d/%m/%Y`.
    Pattern(String),
}

/// One field of a record; fields that are not named are ignored.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// What statistics and reports call it.
    pub name: String,
    /// Where in a record its value is; of a row, the column. By default the member or column of its name.
    pub path: FieldPath,
    /// Its type.
    pub kind: FieldType,
    /// How its values are written, for dates and times.
    pub format: TimeFormat,
    /// What its values must satisfy.
    pub constraints: Constraints,
}

/// What a field's values must satisfy beyond its type.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Constraints {
    /// Whether every record has it, and not null.
    pub required: bool,
    /// The least value, for numbers and durations (seconds).
    pub minimum: Option<Decimal>,
    /// The greatest value.
    pub maximum: Option<Decimal>,
    /// The only values accepted, for strings.
    pub one_of: Option<Vec<String>>,
}

/// The fields of a record, in the definition's order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Schema {
    /// At most 64.
    pub fields: Vec<Field>,
    /// Whether a record may have no other members or columns: `fieldsMatch = "superset"`.
    pub is_closed: bool,
}
