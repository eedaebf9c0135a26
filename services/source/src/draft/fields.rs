//! Fields as records have them: names, types, and whether every record has one.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::{
    FieldPath, FieldType, Format, RecordPath, Schema,
    definition::parse::{record::MAX_FIELDS, shapes::type_name},
    draft::{
        sample::{self, Record, SAMPLE},
        write,
    },
    params::parse_date,
    path::{Segment, ValuePath},
    scan::is_datetime,
};

/// The largest number that the scanner reads.
const LARGEST: f64 = 1e18;

/// A field as records have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InferredField {
    /// Its member's name; of a member's member both, with `_`.
    pub name: String,
    /// Where in a record it is.
    pub path: FieldPath,
    /// The narrowest type that all its values have.
    pub kind: FieldType,
    /// Records that have a value there.
    pub present: u64,
    /// Whether every record has one.
    pub required: bool,
}

/// Looks at records, at most 100 of them, and says which fields they have.
#[derive(Debug, Default)]
pub struct Inference {
    records: u64,
    /// By the members that lead to them.
    seen: BTreeMap<Vec<String>, Seen>,
    /// The names of the records themselves.
    names: u64,
    /// The columns of a table, in their order.
    columns: Vec<String>,
    is_text: bool,
}

#[derive(Debug)]
struct Seen {
    kind: FieldType,
    present: u64,
}

impl Inference {
    /// Takes the records of an answer.
    pub fn add(&mut self, format: Format, records: &RecordPath, body: &[u8]) {
        let (found, columns) = sample::records(format, records, body);
        self.is_text = format == Format::Csv;
        if self.columns.is_empty() {
            self.columns = columns;
        }
        for record in found {
            if self.records < SAMPLE as u64 {
                self.take(&record);
            }
        }
    }

    /// How many were looked at.
    pub fn records(&self) -> u64 {
        self.records
    }

    fn take(&mut self, record: &Record) {
        self.records += 1;
        self.names += u64::from(record.name.is_some());
        match &record.value {
            Json::Object(members) => {
                for (name, value) in members {
                    self.member(name, value);
                }
            }
            value => self.note(Vec::new(), value),
        }
    }

    fn member(&mut self, name: &str, value: &Json) {
        let is_scalar = |value: &Json| !(value.is_object() || value.is_array());
        match value {
            Json::Object(members) if members.values().any(is_scalar) => {
                for (below, value) in members.iter().filter(|(_, value)| is_scalar(value)) {
                    self.note(vec![name.to_owned(), below.clone()], value);
                }
            }
            value => self.note(vec![name.to_owned()], value),
        }
    }

    fn note(&mut self, path: Vec<String>, value: &Json) {
        let Some(kind) = kind_of(value, self.is_text) else { return };
        let seen = self.seen.entry(path).or_insert(Seen { kind, present: 0 });
        seen.kind = match both(seen.kind, kind) {
            // Every cell is a text.
            FieldType::Any if self.is_text => FieldType::String,
            kind => kind,
        };
        seen.present += 1;
    }

    /// The fields, at most as many as a definition can have, and how many there would be. Those of the record itself come
    /// before those below its members.
    pub fn fields(&self) -> (Vec<InferredField>, usize) {
        let mut fields = Vec::new();
        if self.names > 0 {
            fields.push(self.field("name", FieldPath::Name, &Seen { kind: FieldType::String, present: self.names }));
        }
        // An object in some records and a value in others: only the whole of it is one field.
        let is_mixed = |path: &[String]| path.len() == 2 && self.seen.contains_key(&path[..1]);
        let mut seen: Vec<_> = self.seen.iter().filter(|(path, _)| !is_mixed(path)).collect();
        let column = |path: &[String]| path.first().and_then(|name| self.columns.iter().position(|it| it == name));
        seen.sort_by_key(|(path, _)| (path.len(), column(path)));
        for (path, seen) in seen {
            let whole = Seen { kind: FieldType::Any, ..*seen };
            let is_any = path.len() == 1 && self.seen.keys().any(|other| other.len() == 2 && other[0] == path[0]);
            let (name, place) = match path.as_slice() {
                [] => ("value".to_owned(), FieldPath::Value(ValuePath::default())),
                [name] if !name.is_empty() => (name.clone(), FieldPath::member(name)),
                path => {
                    let segments = path.iter().cloned().map(Segment::Member).collect();
                    (path.join("_"), FieldPath::Value(ValuePath { segments }))
                }
            };
            let mut name = if name.is_empty() { "unnamed".to_owned() } else { name };
            while fields.iter().any(|field: &InferredField| field.name == name) {
                name.push('_');
            }
            fields.push(self.field(&name, place, if is_any { &whole } else { seen }));
        }
        let all = fields.len();
        fields.truncate(MAX_FIELDS);
        (fields, all)
    }

    fn field(&self, name: &str, path: FieldPath, seen: &Seen) -> InferredField {
        let required = seen.present == self.records;
        InferredField { name: name.to_owned(), path, kind: seen.kind, present: seen.present, required }
    }

    /// Where the fields of a schema and those of the records differ, a line each.
    pub fn differences(&self, schema: &Schema) -> Vec<String> {
        let (inferred, _) = self.fields();
        let of_all = |present: u64| format!("in {present} of {} records", self.records);
        let mut lines = Vec::new();
        for field in &schema.fields {
            match inferred.iter().find(|it| it.path == field.path) {
                // What lies deeper than one level is not looked for.
                None if is_deep(&field.path) => {}
                None => lines.push(format!("`{}` of [record] is in none of the {} records", field.name, self.records)),
                Some(found) if !fits(field.kind, found.kind) => lines.push(format!(
                    "`{}` is {} in [record], and all its values here are {}",
                    field.name,
                    type_name(field.kind),
                    type_name(found.kind)
                )),
                Some(found) if field.constraints.required && !found.required => {
                    lines.push(format!("`{}` is required, and {}", field.name, of_all(found.present)));
                }
                Some(_) => {}
            }
        }
        let is_named = |found: &InferredField| {
            let covers = |field: &crate::Field| field.path == found.path || begins(&field.path, &found.path);
            schema.fields.iter().any(covers)
        };
        for found in inferred.iter().filter(|found| !is_named(found)) {
            lines.push(format!("not in [record]: {} ({})", found.to_toml(false), of_all(found.present)));
        }
        lines
    }
}

/// Whether more than one member leads to it.
fn is_deep(path: &FieldPath) -> bool {
    matches!(path, FieldPath::Value(path) if path.segments.len() > 2 || path.segments.iter().any(|it| matches!(it, Segment::Index(_))))
}

/// Whether one path is on the way of the other.
fn begins(path: &FieldPath, other: &FieldPath) -> bool {
    let (FieldPath::Value(path), FieldPath::Value(other)) = (path, other) else { return false };
    let length = path.segments.len().min(other.segments.len());
    length > 0 && path.segments[..length] == other.segments[..length]
}

/// Whether values of a type are also of another.
fn fits(declared: FieldType, found: FieldType) -> bool {
    declared == found
        || declared == FieldType::Any
        || (declared, found) == (FieldType::Number, FieldType::Integer)
        // Texts by other formats, and durations.
        || matches!(declared, FieldType::String | FieldType::Duration | FieldType::Date | FieldType::Datetime)
            && matches!(found, FieldType::String | FieldType::Date | FieldType::Datetime)
}

/// The type of a value; `None` for null.
fn kind_of(value: &Json, is_text: bool) -> Option<FieldType> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(_) => FieldType::Boolean,
        Json::Number(number) if number.is_i64() => FieldType::Integer,
        Json::Number(number) if number.as_f64().is_some_and(|number| number.abs() < LARGEST) => FieldType::Number,
        Json::Number(_) => FieldType::Any,
        Json::String(text) if is_text => cell_kind(text),
        Json::String(text) => text_kind(text),
        Json::Array(_) => FieldType::Array,
        Json::Object(_) => FieldType::Object,
    })
}

fn text_kind(text: &str) -> FieldType {
    if parse_date(text).is_some() {
        FieldType::Date
    } else if is_datetime(text.as_bytes()) {
        FieldType::Datetime
    } else {
        FieldType::String
    }
}

/// The type of a cell, which is text: `007` is no number to whoever wrote it.
fn cell_kind(text: &str) -> FieldType {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = digits.starts_with(|c: char| c.is_ascii_digit()) && !(digits.len() > 1 && digits.starts_with('0'))
        || digits.starts_with("0.");
    match text {
        "true" | "false" | "True" | "False" | "TRUE" | "FALSE" => FieldType::Boolean,
        _ if is_plain && text.parse::<i64>().is_ok() => FieldType::Integer,
        _ if is_plain && text.parse::<f64>().is_ok_and(|number| number.abs() < LARGEST) => FieldType::Number,
        _ => text_kind(text),
    }
}

/// The narrowest type of both.
fn both(one: FieldType, other: FieldType) -> FieldType {
    use FieldType::{Any, Date, Datetime, Integer, Number, String};
    match (one, other) {
        _ if one == other => one,
        (Integer | Number, Integer | Number) => Number,
        (String | Date | Datetime, String | Date | Datetime) => String,
        _ => Any,
    }
}

impl InferredField {
    /// The whole of each of so many records, whatever it is.
    pub(crate) fn whole(records: u64) -> Self {
        let path = FieldPath::Value(ValuePath::default());
        Self { name: "value".to_owned(), path, kind: FieldType::Any, present: records, required: false }
    }

    /// As `[record]` has it: `{ name = "id", type = "integer" }`.
    pub fn to_toml(&self, with_constraints: bool) -> String {
        let quoted = write::quoted;
        let mut parts = vec![format!("name = {}", quoted(&self.name)), format!("type = \"{}\"", type_name(self.kind))];
        if self.path.as_member() != Some(&self.name) {
            parts.push(format!("path = {}", quoted(&self.path.to_string())));
        }
        if with_constraints && self.required {
            parts.push("constraints = { required = true }".to_owned());
        }
        format!("{{ {} }}", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn infer(format: Format, path: &str, body: &str) -> Inference {
        let mut inference = Inference::default();
        inference.add(format, &path.parse().unwrap(), body.as_bytes());
        inference
    }

    fn shown(inference: &Inference) -> String {
        inference.fields().0.iter().map(|field| field.to_toml(true)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn values_say_what_fields_are() {
        let body = r#"[
            {"id": 1, "at": "2024-05-01T08:00:00Z", "day": "2024-05-01", "ok": true, "x": 1, "tags": [], "mixed": 1,
             "user": {"login": "a", "orgs": [1]}, "empty": {}, "odd key": "x", "big": 18446744073709551615, "none": null},
            {"id": 2, "at": "2024-05-01T08:00:00Z", "day": "soon", "ok": null, "x": 1.5, "tags": ["a"], "mixed": {"a": 1},
             "user": {"login": "b"}, "empty": {}, "big": 1}
        ]"#;
        insta::assert_snapshot!(shown(&infer(Format::Json, "$[*]", body)), @r#"
        { name = "at", type = "datetime", constraints = { required = true } }
        { name = "big", type = "any", constraints = { required = true } }
        { name = "day", type = "string", constraints = { required = true } }
        { name = "empty", type = "object", constraints = { required = true } }
        { name = "id", type = "integer", constraints = { required = true } }
        { name = "mixed", type = "any" }
        { name = "odd key", type = "string" }
        { name = "ok", type = "boolean" }
        { name = "tags", type = "array", constraints = { required = true } }
        { name = "x", type = "number", constraints = { required = true } }
        { name = "user_login", type = "string", path = "$.user.login", constraints = { required = true } }
        "#);
        insta::assert_snapshot!(shown(&infer(Format::Csv, "$[*]", "z,a,n,zip,none\n1,2024-05-01,1.5,007,\n2,x,2,1,\n")), @r#"
        { name = "z", type = "integer", constraints = { required = true } }
        { name = "a", type = "string", constraints = { required = true } }
        { name = "n", type = "number", constraints = { required = true } }
        { name = "zip", type = "string", constraints = { required = true } }
        "#);
        insta::assert_snapshot!(shown(&infer(Format::Json, "$.rates[*]", r#"{"rates": {"EUR": 1, "GBP": 2.5}}"#)), @r#"
        { name = "name", type = "string", path = "~", constraints = { required = true } }
        { name = "value", type = "number", path = "$", constraints = { required = true } }
        "#);
    }
}
