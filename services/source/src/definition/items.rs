//! `[[items]]`: how a job becomes items. Several multiply: each sees the values of those before it.

use toml::{Spanned, de::DeValue};

use super::{
    check::{field, identifier},
    diagnostic::Report,
    reader::{Node, Table, Text},
    scope::{ItemSet, Scope},
};
use crate::{
    FieldType, RecordPath, RecordPathError,
    definition::fetch::query,
    params::Param,
    template::{Destination, Template},
};

/// All levels, and the key of an item of the last.
#[derive(Debug)]
pub(super) struct Items {
    pub(super) levels: Vec<Level>,
    pub(super) key: Template,
}

/// One `[[items]]`.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) set: ItemSet,
    pub(super) path: Template,
    pub(super) query: Vec<(String, Template)>,
    pub(super) records: RecordPath,
}

/// More levels than this is a mistake: every level multiplies the requests of a plan.
const MAX_LEVELS: usize = 8;

/// Reads all levels. The item sets are there for other parts to be checked against, mistakes or not.
pub(super) fn read(
    report: &mut Report<'_>,
    nodes: &[Spanned<DeValue<'_>>],
    params: &[Param],
) -> (Vec<ItemSet>, Option<Items>) {
    if let Some(node) = nodes.get(MAX_LEVELS) {
        report.add(node.span().start, format!("there are more than {MAX_LEVELS} [[items]]"));
    }
    let mut tables: Vec<_> = nodes.iter().map(|node| Table::open(report, node, "[[items]]")).collect();
    // Names first: a path may be refused for a level that comes only later.
    let mut sets: Vec<ItemSet> = Vec::new();
    for table in &mut tables {
        let set = table.as_mut().map_or_else(ItemSet::default, |table| item_set(report, table, &sets));
        sets.push(set);
    }
    let last = tables.len() - 1;
    let mut levels = Vec::new();
    let mut key = None;
    for (at, table) in tables.into_iter().enumerate() {
        let Some(mut table) = table else { continue };
        let above = Scope { params, items: &sets[..at], later: &sets[at..] };
        let path = table.string(report, "path").and_then(|text| above.template(report, text, Destination::Path));
        let query = query(report, &mut table, &above);
        let records = table.string(report, "records").and_then(|text| record_path(report, text));
        if at == last {
            let below = Scope { params, items: &sets, later: &[] };
            key = table.string(report, "key").and_then(|text| below.template(report, text, Destination::Name));
        } else if let Some(node) = table.optional("key") {
            report.add(node.span().start, "only the last [[items]] has a key");
        }
        table.close(report);
        levels.extend(path.zip(records).map(|(path, records)| Level { set: sets[at].clone(), path, query, records }));
    }
    let whole = levels.len() == sets.len();
    (sets, key.filter(|_| whole).map(|key| Items { levels, key }))
}

fn item_set(report: &mut Report<'_>, table: &mut Table<'_, '_>, others: &[ItemSet]) -> ItemSet {
    let name = table.string(report, "name").map(|text| {
        identifier(report, text);
        if others.iter().any(|other| other.name == text.value) {
            report.add(text.at, format!("there are two item sets `{}`", text.value));
        }
        text.value.to_owned()
    });
    let mut fields: Vec<(String, FieldType)> = Vec::new();
    for node in table.list(report, "fields").unwrap_or_default() {
        fields.extend(item_field(report, node, &fields));
    }
    ItemSet { name: name.unwrap_or_default(), fields }
}

fn item_field(
    report: &mut Report<'_>,
    node: Node<'_, '_>,
    others: &[(String, FieldType)],
) -> Option<(String, FieldType)> {
    let mut table = Table::open(report, node, "an item's field")?;
    let field = field(report, &mut table, others.iter().map(|(name, _)| name.as_str()));
    table.close(report);
    // A field of no known type still counts as known, so that templates are not blamed for it.
    field.map(|(name, kind)| (name, kind.unwrap_or(FieldType::Date)))
}

/// Where the elements are.
pub(super) fn record_path(report: &mut Report<'_>, text: Text<'_>) -> Option<RecordPath> {
    text.value
        .parse()
        .map_err(|error: RecordPathError| {
            report.add_with_help(text.place(error.at), error.message, "a path such as `$[*]` or `$.data.items[*]`");
        })
        .ok()
}
