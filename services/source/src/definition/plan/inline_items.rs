//! `list`: items that are written in the definition, checked like those of a listing.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Number, Value};
use toml::de::DeValue;

use crate::{
    Decimal, FieldType,
    definition::{
        model::ItemSet,
        parse::{
            diagnostic::{Report, quote_all, suggest},
            reader::{Node, Table, list},
            shapes::a_type,
        },
    },
    params::{parse_date, readable},
    scan::is_datetime,
};

/// The items of `list`; a value stands for an item where it has one field only.
pub(crate) fn read(report: &mut Report<'_>, node: Node<'_, '_>, set: &ItemSet) -> Option<Vec<BTreeMap<String, Value>>> {
    let nodes = list(report, node, "list")?;
    let mut seen = HashSet::new();
    let mut items = Vec::with_capacity(nodes.len());
    for node in nodes {
        let Some(item) = element(report, node, set) else { continue };
        if !seen.insert(serde_json::to_string(&item).unwrap_or_default()) {
            let message = format!("{} is in `list` twice", source(report, node));
            report.add_with_help(node.span().start, message, "name every item once");
        }
        items.push(item);
    }
    Some(items)
}

fn element(report: &mut Report<'_>, node: Node<'_, '_>, set: &ItemSet) -> Option<BTreeMap<String, Value>> {
    if let DeValue::Table(_) = node.get_ref() {
        return table(report, node, set);
    }
    if let [(field, kind)] = set.fields.as_slice() {
        return Some([(field.clone(), value(report, node, field, *kind)?)].into());
    }
    let message = format!("an element of `list` must be a table, found {}", source(report, node));
    let help = format!("its fields are {}: {{ … }}", quote_all(set.fields.iter().map(|(field, _)| field.as_str())));
    report.add_with_help(node.span().start, message, help);
    None
}

fn table(report: &mut Report<'_>, node: Node<'_, '_>, set: &ItemSet) -> Option<BTreeMap<String, Value>> {
    let names = || set.fields.iter().map(|(field, _)| field.as_str());
    let entries = Table::open(report, node, "an element of `list`")?.entries();
    for (key, _) in &entries {
        if names().all(|name| name != key.value) {
            let message = format!("`{}` has no field `{}`", set.name, key.value);
            report.add_with_help(key.at, message, suggest(key.value, names()));
        }
    }
    let mut item = Some(BTreeMap::new());
    for (field, kind) in &set.fields {
        let found = entries.iter().find(|(key, _)| key.value == field);
        if found.is_none() {
            let message = format!("an element of `list` lacks `{field}`");
            report.add_with_help(node.span().start, message, format!("every element has {}", quote_all(names())));
        }
        match found.and_then(|(_, node)| value(report, node, field, *kind)) {
            Some(value) => item.iter_mut().for_each(|item| drop(item.insert(field.clone(), value.clone()))),
            None => item = None,
        }
    }
    item
}

fn value(report: &mut Report<'_>, node: Node<'_, '_>, field: &str, kind: FieldType) -> Option<Value> {
    let value = match node.get_ref() {
        DeValue::String(text) => Some(Value::from(&**text)),
        DeValue::Boolean(value) => Some(Value::from(*value)),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(Value::from),
        DeValue::Float(number) => number.as_str().parse().ok().and_then(Number::from_f64).map(Value::from),
        DeValue::Datetime(time) => Some(Value::from(time.to_string())),
        DeValue::Array(_) | DeValue::Table(_) => None,
    };
    let value = value.filter(|value| fits(value, kind));
    if value.is_none() {
        let message = format!("`{field}` must be {}, found {}", a_type(kind), source(report, node));
        report.add_with_help(node.span().start, message, "its type is in `fields`");
    }
    value
}

/// An element as it is written, cut to a readable length.
fn source(report: &Report<'_>, node: Node<'_, '_>) -> String {
    readable(report.text.get(node.span()).unwrap_or_default())
}

/// Whether a value is of this type.
fn fits(value: &Value, kind: FieldType) -> bool {
    match (kind, value) {
        (FieldType::String, Value::String(_))
        | (FieldType::Number, Value::Number(_))
        | (FieldType::Boolean, Value::Bool(_)) => true,
        (FieldType::Integer, Value::Number(number)) => number.is_i64(),
        (FieldType::Date, Value::String(text)) => parse_date(text).is_some(),
        (FieldType::Datetime, Value::String(text)) => is_datetime(text.as_bytes()),
        (FieldType::Duration, Value::String(text)) => Decimal::from_iso_duration(text).is_some(),
        _ => false,
    }
}
