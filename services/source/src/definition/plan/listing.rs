//! An upstream's listing, made drafts: each element checked field by field.
//!
//! Only the fields that the definition names are kept, so a plan does not grow with what else is listed.

use serde_json::Value;

use crate::{
    Decimal, FieldType, ItemDraft, ItemError, RecordPath,
    definition::parse::{items::Level, shapes::a_type},
    params::{parse_date, readable},
};

/// The drafts of `level` in `body`, a JSON document with the elements at the level's path.
pub(crate) fn expand(
    level: &Level,
    records: &RecordPath,
    parent: &ItemDraft,
    body: &[u8],
) -> Result<Vec<ItemDraft>, ItemError> {
    let name = &level.set.name;
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let document: Value = serde_json::from_slice(body)
        .map_err(|error| ItemError(format!("the listing of `{name}` is no JSON: {error}")))?;
    let mut found = &document;
    for member in &records.members {
        found = found.get(member).ok_or_else(|| {
            ItemError(format!("the listing of `{name}`: expected `{records}`, but there is no member `{member}`"))
        })?;
    }
    let elements = found.as_array().ok_or_else(|| {
        ItemError(format!("the listing of `{name}`: expected a list at `{}`, found {}", records, show(found)))
    })?;
    elements.iter().enumerate().map(|(at, element)| draft(level, records, parent, at, element)).collect()
}

fn draft(
    level: &Level,
    records: &RecordPath,
    parent: &ItemDraft,
    at: usize,
    element: &Value,
) -> Result<ItemDraft, ItemError> {
    let wrong = |field: &str, expected: &str, found: &str| {
        let name = &level.set.name;
        ItemError(format!(
            "the listing of `{name}`, element {at} of `{records}`{field}: expected {expected}, found {found}"
        ))
    };
    let Value::Object(members) = element else { return Err(wrong("", "an object", &show(element))) };
    let mut values = std::collections::BTreeMap::new();
    for (field, kind) in &level.set.fields {
        let found = members.get(field);
        match found.filter(|value| fits(value, *kind)) {
            Some(value) => values.insert(field.clone(), value.clone()),
            None => {
                let place = format!(", field `{field}`");
                return Err(wrong(&place, &a_type(*kind), &found.map_or_else(|| "nothing".into(), show)));
            }
        };
    }
    let mut draft = parent.clone();
    draft.values.insert(level.set.name.clone(), values);
    Ok(draft)
}

/// Whether a value is of this type.
pub(crate) fn fits(value: &Value, kind: FieldType) -> bool {
    match (kind, value) {
        (FieldType::String, Value::String(_))
        | (FieldType::Number, Value::Number(_))
        | (FieldType::Boolean, Value::Bool(_)) => true,
        (FieldType::Integer, Value::Number(number)) => number.is_i64(),
        (FieldType::Date, Value::String(text)) => parse_date(text).is_some(),
        (FieldType::Datetime, Value::String(text)) => {
            text.parse::<jiff::Timestamp>().is_ok() || text.parse::<jiff::civil::DateTime>().is_ok()
        }
        (FieldType::Duration, Value::String(text)) => Decimal::from_iso_duration(text).is_some(),
        _ => false,
    }
}

/// A value as people recognize it, whatever its size.
fn show(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
        simple => readable(&simple.to_string()),
    }
}
