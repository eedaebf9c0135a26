//! The first records of an answer as values, and where in a JSON answer the records seem to be.

use serde_json::{Map, Value as Json};

use crate::{
    FieldPath, Format, PageParts, RecordPath, Scanner, Schema, Statistics,
    path::{RecordStep, Segment},
    scan::{BYTE_ORDER_MARK, first_rows},
};

/// So many records show what the others look like.
pub(crate) const SAMPLE: usize = 100;
/// Members within members that are looked through for records.
const DEPTH: usize = 6;
/// Members of an object that could be records.
const ALIKE: usize = 3;
/// Texts are members of every object: so many of them are records.
const ALIKE_TEXTS: usize = 10;

/// One record, not checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    /// The name that it has as a member of an object.
    pub(crate) name: Option<String>,
    pub(crate) value: Json,
}

/// The first records of an answer, at most [`SAMPLE`], and the columns of a table. Of an answer that cannot be read, those
/// before the mistake.
pub(crate) fn records(format: Format, path: &RecordPath, body: &[u8]) -> (Vec<Record>, Vec<String>) {
    take(format, path, body, 0, SAMPLE)
}

/// Record `number`, from 1.
pub(crate) fn record(format: Format, path: &RecordPath, body: &[u8], number: u64) -> Option<Record> {
    let before = usize::try_from(number.checked_sub(1)?).ok()?;
    take(format, path, body, before, 1).0.pop()
}

fn take(format: Format, path: &RecordPath, body: &[u8], before: usize, most: usize) -> (Vec<Record>, Vec<String>) {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let plain = |value| Record { name: None, value };
    match format {
        Format::Json => {
            let mut found = Vec::new();
            match serde_json::from_slice(body) {
                Ok(document) => walk(&path.steps, &document, None, before.saturating_add(most), &mut found),
                Err(_) => found = whole(path, body),
            }
            (found.into_iter().skip(before).take(most).collect(), Vec::new())
        }
        Format::Ndjson => {
            let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
            let values = lines.map_while(|line| serde_json::from_slice(line).ok());
            (values.skip(before).take(most).map(plain).collect(), Vec::new())
        }
        Format::Csv => {
            let mut rows = first_rows(body, before.saturating_add(most).saturating_add(1)).into_iter();
            let columns = rows.next().unwrap_or_default();
            // An empty cell is no value.
            let cell = |(name, text): (&String, String)| (!text.is_empty()).then(|| (name.clone(), Json::from(text)));
            let object = |row: Vec<String>| columns.iter().zip(row).filter_map(cell).collect::<Map<_, _>>();
            (rows.skip(before).map(|row| plain(Json::Object(object(row)))).collect(), columns)
        }
        Format::Rows => {
            let mut found = Vec::new();
            if let Ok(document) = serde_json::from_slice(body) {
                walk(&path.steps, &document, None, before.saturating_add(most).saturating_add(1), &mut found);
            }
            let mut rows = found.into_iter().filter_map(|record| match record.value {
                Json::Array(cells) => Some(cells),
                _ => None,
            });
            let names = rows.next().unwrap_or_default();
            let columns: Vec<_> = names.iter().filter_map(Json::as_str).map(str::to_owned).collect();
            let object = |row: Vec<Json>| columns.iter().cloned().zip(row).collect::<Map<_, _>>();
            (rows.skip(before).map(|row| plain(Json::Object(object(row)))).collect(), columns)
        }
    }
}

/// The records before what breaks off, or is no JSON.
fn whole(path: &RecordPath, body: &[u8]) -> Vec<Record> {
    let parts = PageParts { lines: true, ..PageParts::default() };
    let mut scanner = Scanner::new(Format::Json, path, &Schema::default(), &Statistics::default()).for_page(parts);
    // What is wrong with it is told by whoever checks it.
    let _ = scanner.push(body);
    let lines = scanner.take_lines();
    let values = lines.split(|byte| *byte == b'\n').map_while(|line| serde_json::from_slice(line).ok());
    values.map(|value| Record { name: None, value }).collect()
}

/// The values of a record by the fields of a schema; `None` where there is none.
pub(crate) fn values(record: &Record, schema: &Schema) -> Vec<(String, Option<Json>)> {
    let value = |path: &FieldPath| match path {
        FieldPath::Name => record.name.clone().map(Json::from),
        FieldPath::Value(path) => path
            .segments
            .iter()
            .try_fold(&record.value, |value, segment| match segment {
                Segment::Member(name) => value.get(name),
                Segment::Index(index) => value.get(index),
            })
            .filter(|value| !value.is_null())
            .cloned(),
    };
    schema.fields.iter().map(|field| (field.name.clone(), value(&field.path))).collect()
}

fn walk(steps: &[RecordStep], value: &Json, name: Option<&str>, most: usize, found: &mut Vec<Record>) {
    if found.len() >= most {
        return;
    }
    match (steps, value) {
        ([], value) => found.push(Record { name: name.map(str::to_owned), value: value.clone() }),
        ([RecordStep::Member(member), rest @ ..], Json::Object(members)) => {
            if let Some(value) = members.get(member) {
                walk(rest, value, None, most, found);
            }
        }
        ([RecordStep::Each, rest @ ..], Json::Array(values)) => {
            values.iter().for_each(|value| walk(rest, value, None, most, found));
        }
        ([RecordStep::Each, rest @ ..], Json::Object(members)) => {
            members.iter().for_each(|(name, value)| walk(rest, value, Some(name), most, found));
        }
        _ => {}
    }
}

/// What could be records.
#[derive(Debug)]
struct Candidate {
    path: Vec<RecordStep>,
    /// Records that are objects say more than others.
    are_objects: bool,
    count: usize,
}

/// Where the records of a JSON document seem to be: the elements of the largest array, or the members of the largest
/// object whose values are alike; the whole document where there is neither. And whether they are rows of a table.
pub(crate) fn find(document: &Json) -> (RecordPath, bool) {
    let (mut arrays, mut objects) = (Vec::new(), Vec::new());
    look(document, &mut Vec::new(), &mut arrays, &mut objects);
    let largest = |found: Vec<Candidate>| found.into_iter().rev().max_by_key(|it| (it.are_objects, it.count));
    let (array, object) = (largest(arrays), largest(objects));
    let chosen = match (array, object) {
        (Some(array), Some(object)) if object.count > array.count && !array.are_objects => Some(object),
        (Some(array), _) => Some(array),
        (None, object) => object,
    };
    let Some(Candidate { mut path, .. }) = chosen else { return (RecordPath { steps: Vec::new() }, false) };
    let is_table = at(document, &path).and_then(Json::as_array).is_some_and(|rows| is_table(rows));
    path.push(RecordStep::Each);
    (RecordPath { steps: path }, is_table)
}

fn look(value: &Json, path: &mut Vec<RecordStep>, arrays: &mut Vec<Candidate>, objects: &mut Vec<Candidate>) {
    match value {
        Json::Array(values) => {
            let are_objects = values.iter().any(Json::is_object);
            arrays.push(Candidate { path: path.clone(), are_objects, count: values.len() });
        }
        Json::Object(members) => {
            if are_alike(members) {
                let are_objects = members.values().any(Json::is_object);
                objects.push(Candidate { path: path.clone(), are_objects, count: members.len() });
            }
            if path.len() < DEPTH {
                for (name, value) in members {
                    path.push(RecordStep::Member(name.clone()));
                    look(value, path, arrays, objects);
                    path.pop();
                }
            }
        }
        _ => {}
    }
}

/// Whether the values are of one type; objects also have half their names in common with the first.
fn are_alike(members: &Map<String, Json>) -> bool {
    let Some(first) = members.values().next() else { return false };
    let least = if first.is_string() { ALIKE_TEXTS } else { ALIKE };
    let is_like = |other: &Json| match (first, other) {
        (Json::Number(_), Json::Number(_)) | (Json::String(_), Json::String(_)) => true,
        (Json::Object(one), Json::Object(other)) => {
            2 * other.keys().filter(|name| one.contains_key(*name)).count() >= one.len().max(1)
        }
        _ => false,
    };
    members.len() >= least && members.values().all(is_like)
}

/// Whether the first row names the columns of the others.
fn is_table(rows: &[Json]) -> bool {
    let Some((Json::Array(header), rows)) = rows.split_first() else { return false };
    let names: std::collections::HashSet<_> = header.iter().filter_map(Json::as_str).collect();
    let is_row = |row: &Json| row.as_array().is_some_and(|row| row.len() == header.len());
    !rows.is_empty() && names.len() == header.len() && rows.iter().all(is_row)
}

/// The value below these members.
pub(crate) fn at<'a>(document: &'a Json, path: &[RecordStep]) -> Option<&'a Json> {
    path.iter().try_fold(document, |value, step| match step {
        RecordStep::Member(name) => value.get(name),
        RecordStep::Each => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn records_are_the_largest_array_or_members_that_are_alike() {
        for (document, expected) in [
            (json!([{ "id": 1 }]), "$[*]"),
            (json!([]), "$[*]"),
            (json!({ "data": { "items": [{}, {}], "errors": [] } }), "$.data.items[*]"),
            (json!({ "tags": ["a", "b", "c"], "results": [{}] }), "$.results[*]"),
            (json!({ "base": "USD", "rates": { "EUR": 1, "GBP": 2.5, "JPY": 3 } }), "$.rates[*]"),
            (json!({ "a": { "x": 1, "y": 2 }, "b": { "x": 1 }, "c": { "x": 1, "y": 3 } }), "$[*]"),
            (json!({ "errors": [], "rates": { "EUR": 1, "GBP": 2.5, "JPY": 3 } }), "$.rates[*]"),
            (json!({ "links": { "self": "a", "next": "b", "last": "c" }, "id": 7 }), "$"),
            (json!({ "bus stops": [{}] }), r#"$["bus stops"][*]"#),
            (json!(7), "$"),
        ] {
            assert_eq!(find(&document).0.to_string(), expected, "{document}");
        }
        assert!(find(&json!([["id", "name"], [1, "x"]])).1);
        assert!(!find(&json!([[1, 2], [3, 4]])).1);
    }

    #[test]
    fn one_record_can_be_taken_by_its_number() {
        let path = "$.a[*]".parse().unwrap();
        let body = br#"{"a":{"x":1,"y":2}}"#;
        let second = Record { name: Some("y".into()), value: json!(2) };
        assert_eq!(record(Format::Json, &path, body, 2), Some(second));
        assert_eq!(record(Format::Json, &path, body, 3), None);
        assert_eq!(record(Format::Json, &path, body, 0), None);
        let path = RecordPath::default();
        let value = |format, body: &[u8]| record(format, &path, body, 2).map(|record| record.value);
        assert_eq!(value(Format::Ndjson, b"{\"a\":1}\n\n{\"a\":2}\n"), Some(json!({ "a": 2 })));
        assert_eq!(value(Format::Csv, b"a,b\n1,x\n,\"y\"\"z\"\n"), Some(json!({ "b": "y\"z" })));
        assert_eq!(value(Format::Rows, br#"[["a"],[1],[2]]"#), Some(json!({ "a": 2 })));
    }
}
