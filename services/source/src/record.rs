//! What a record must look like: Frictionless Table Schema, the part that a stream can check.

use crate::Decimal;

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
    /// RFC 3339, the offset may be missing: `2024-05-01T08:44:00`.
    Datetime,
    /// `2024-05-01`.
    Date,
    /// ISO 8601 without years and months, which have no length: `PT1980S`, `-P1DT2H`.
    Duration,
}

/// One field of a record; fields that are not named are ignored.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The member's or column's name.
    pub name: String,
    /// Its type.
    pub kind: FieldType,
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
}
