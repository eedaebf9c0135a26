//! `[stats]`: which statistics are kept of the records.

use std::collections::BTreeMap;

use toml::de::DeValue;

use crate::{
    Field, FieldType, Literal, Schema, Statistic, Statistics,
    definition::parse::{
        diagnostic::{Report, quote_all, suggest},
        reader::{Node, Table, Text, integer, string, wrong_type},
        shapes::{a_type, identifier},
    },
};

/// Metadata of an object is 2 KB in all, names and values; statistics may take this much.
const MAX_METADATA: usize = 1_500;
/// The longest value of a statistic: an `i128` in decimal.
const MAX_VALUE: usize = 40;
/// What else is in an object's metadata; a statistic of such a name would take its place.
const PROVENANCE: [&str; 14] = [
    "records",
    "bytes",
    "sha256",
    "definition",
    "fetched-at",
    "as-of",
    "source",
    "job",
    "etag",
    "last-modified",
    "pages",
    "window-to",
    "item",
    "url-path",
];

/// Whether metadata of this name says where an object came from, and is no statistic.
pub fn is_provenance(name: &str) -> bool {
    PROVENANCE.contains(&name) || name.starts_with("item-")
}

/// How a statistic over a field is spelled.
const KINDS: [&str; 7] = ["count", "sum", "min", "max", "any", "all", "avg"];

/// Reads all statistics; without a schema (it was refused) only what does not need one is checked.
pub(crate) fn read(report: &mut Report<'_>, table: &Table<'_, '_>, schema: Option<&Schema>) -> Statistics {
    let mut statistics = Statistics::default();
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    for (name, node) in table.entries() {
        identifier(report, name);
        let Some(statistic) = read_one(report, name, node, schema) else { continue };
        for key in metadata_names(name.value, &statistic) {
            if is_provenance(&key) {
                let message =
                    format!("`{}` would be stored as `{key}`, which says where an object came from", name.value);
                report.add_with_help(name.at, message, "give it another name");
            }
            if let Some(other) = taken.insert(key.clone(), name.value) {
                let message = format!("`{}` and `{other}` would both be stored as `{key}`", name.value);
                report.add_with_help(name.at, message, "give one of them another name");
            }
        }
        statistics.list.push((name.value.to_owned(), statistic));
    }
    if taken.keys().map(|name| name.len() + MAX_VALUE).sum::<usize>() > MAX_METADATA {
        report.add(table.at(), "there are more statistics than an object's metadata can hold (2 KB)");
    }
    statistics
}

/// What one statistic alone is stored as.
fn metadata_names(name: &str, statistic: &Statistic) -> Vec<String> {
    Statistics { list: vec![(name.to_owned(), statistic.clone())] }.metadata_names()
}

fn read_one(report: &mut Report<'_>, name: Text<'_>, node: Node<'_, '_>, schema: Option<&Schema>) -> Option<Statistic> {
    let mut table = match node.get_ref() {
        DeValue::String(word) if word == "count" => return Some(Statistic::Count),
        DeValue::String(word) => {
            let help = "write \"count\", or a kind and a field: { sum = \"passengers\" }";
            report.add_with_help(node.span().start, format!("there is no statistic `{word}`"), help);
            return None;
        }
        DeValue::Table(_) => Table::open(report, node, format!("statistic `{}`", name.value))?,
        other => {
            wrong_type(
                report,
                node,
                &format!("`{}`", name.value),
                "\"count\" or a table such as { sum = \"field\" }",
                other,
            );
            return None;
        }
    };
    let asked: Vec<_> = KINDS.into_iter().filter_map(|kind| Some((kind, table.optional(kind)?))).collect();
    let decimals = table.optional("decimals");
    table.close(report);
    let [(kind, field)] = asked[..] else {
        let message = format!("statistic `{}` must have exactly one of {}", name.value, quote_all(KINDS));
        report.add(node.span().start, message);
        return None;
    };
    if let Some(node) = decimals.filter(|_| kind != "avg") {
        report.add(node.span().start, "`decimals` is for `avg` only: the others are exact");
    }
    let decimals = decimals.map(|node| read_decimals(report, node));
    if kind == "count" {
        return read_count(report, field, schema);
    }
    let (index, field_type) = read_field(report, kind, field, schema?)?;
    Some(match kind {
        "sum" => Statistic::Sum(index),
        "min" => Statistic::Min(index),
        "max" => Statistic::Max(index),
        "any" => Statistic::Any(index),
        "all" => Statistic::All(index),
        _ => {
            let default = if field_type == FieldType::Duration { 0 } else { 3 };
            Statistic::Avg { field: index, decimals: decimals.unwrap_or(Some(default))? }
        }
    })
}

/// `{ count = { FIELD = VALUE } }`.
fn read_count(report: &mut Report<'_>, node: Node<'_, '_>, schema: Option<&Schema>) -> Option<Statistic> {
    let at = node.span().start;
    let entries = match node.get_ref() {
        DeValue::Table(_) => Table::open(report, node, "`count`")?.entries(),
        _ => Vec::new(),
    };
    let [(name, value)] = entries[..] else {
        let help = "a field and the value that is counted: { count = { accident = true } }; of all records: \"count\"";
        report.add_with_help(at, "`count` must name one field", help);
        return None;
    };
    let schema = schema?;
    let Some(field) = schema.fields.iter().position(|field| field.name == name.value) else {
        let help = suggest(name.value, schema.fields.iter().map(|field| field.name.as_str()));
        report.add_with_help(name.at, format!("no record has a field `{}`", name.value), help);
        return None;
    };
    let equals = read_literal(report, &schema.fields[field], value)?;
    Some(Statistic::CountWhere { field, equals })
}

/// A value that the field can have.
fn read_literal(report: &mut Report<'_>, field: &Field, node: Node<'_, '_>) -> Option<Literal> {
    let (at, name) = (node.span().start, &field.name);
    match (field.kind, node.get_ref()) {
        (FieldType::String, DeValue::String(text)) => {
            let values = field.constraints.one_of.as_ref();
            if let Some(values) = values.filter(|values| values.iter().all(|value| value != text)) {
                let help = suggest(text, values.iter().map(String::as_str));
                report.add_with_help(at, format!("`{name}` is never `{text}`"), help);
            }
            Some(Literal::String(text.clone().into_owned()))
        }
        (FieldType::Boolean, DeValue::Boolean(value)) => Some(Literal::Boolean(*value)),
        (FieldType::Integer, DeValue::Integer(_)) => integer(report, node, name).map(Literal::Integer),
        (FieldType::String | FieldType::Boolean | FieldType::Integer, other) => {
            wrong_type(report, node, &format!("the value of `{name}`"), &a_type(field.kind), other);
            None
        }
        (kind, _) => {
            let message = format!("`count` compares with a value, and `{name}` is {}", a_type(kind));
            let help = format!("types that can be compared: {}", quote_all(["string", "integer", "boolean"]));
            report.add_with_help(at, message, help);
            None
        }
    }
}

fn read_decimals(report: &mut Report<'_>, node: Node<'_, '_>) -> Option<u8> {
    let decimals = integer(report, node, "decimals")?;
    let fits = u8::try_from(decimals).ok().filter(|decimals| *decimals <= 9);
    if fits.is_none() {
        report.add(node.span().start, format!("`decimals` must be between 0 and 9, found {decimals}"));
    }
    fits
}

/// The field's place in the schema and its type, if the statistic can be made of it.
fn read_field(report: &mut Report<'_>, kind: &str, node: Node<'_, '_>, schema: &Schema) -> Option<(usize, FieldType)> {
    let text = string(report, node, &format!("`{kind}`"))?;
    let Some(index) = schema.fields.iter().position(|field| field.name == text.value) else {
        let help = suggest(text.value, schema.fields.iter().map(|field| field.name.as_str()));
        report.add_with_help(text.at, format!("no record has a field `{}`", text.value), help);
        return None;
    };
    let found = schema.fields[index].kind;
    let fits = |kind_of_field: FieldType| match kind {
        "any" | "all" => kind_of_field == FieldType::Boolean,
        _ => matches!(kind_of_field, FieldType::Integer | FieldType::Number | FieldType::Duration),
    };
    if !fits(found) {
        let wanted = if matches!(kind, "any" | "all") { "a boolean" } else { "a number or a duration" };
        let fitting: Vec<_> =
            schema.fields.iter().filter(|field| fits(field.kind)).map(|field| field.name.as_str()).collect();
        let message = format!("`{kind}` is of {wanted}, and `{}` is {}", text.value, a_type(found));
        match fitting.is_empty() {
            true => report.add(text.at, message),
            false => report.add_with_help(text.at, message, format!("fields that would do: {}", quote_all(fitting))),
        }
        return None;
    }
    Some((index, found))
}
