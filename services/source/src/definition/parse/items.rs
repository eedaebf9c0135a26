//! `[[items]]`: how a job becomes items. Several multiply: each sees the values of those before it.

use toml::{Spanned, de::DeValue};

use crate::{
    FieldPath, FieldType,
    definition::{
        model::{ItemSet, Items, Level, Listing, Origin},
        parse::{
            dates,
            defaults::Defaults,
            diagnostic::Report,
            reader::{Node, Table, string},
            record::MAX_FIELDS,
            records::record_path,
            request,
            rows::refuse_method,
            shapes::{a_type, field, field_path, identifier, one_of},
        },
        plan::inline_items,
        template::{
            Destination,
            scope::{RequestOf, Scope, Section},
        },
    },
    params::Param,
};

/// More levels than this is a mistake: every level multiplies the requests of a plan.
const MAX_LEVELS: usize = 8;
/// Keys of the request of a listing.
const REQUEST_KEYS: [&str; 9] = ["method", "path", "url", "query", "headers", "body", "records", "pagination", "full"];

/// Reads all levels. The item sets are there for other parts to be checked against, mistakes or not.
pub(crate) fn read(
    report: &mut Report<'_>,
    nodes: &[Spanned<DeValue<'_>>],
    params: &[Param],
    defaults: &Defaults<'_, '_>,
) -> (Vec<ItemSet>, Option<Items>) {
    if let Some(node) = nodes.get(MAX_LEVELS) {
        report.add(node.span().start, format!("there are more than {MAX_LEVELS} [[items]]"));
    }
    let mut tables: Vec<_> = nodes.iter().map(|node| Table::open(report, node, "[[items]]")).collect();
    // Names first: a path may be refused for a level that comes only later.
    let mut sets: Vec<ItemSet> = Vec::new();
    for table in &mut tables {
        let before = report.len();
        let mut set = table.as_mut().map_or_else(ItemSet::default, |table| item_set(report, table, &sets));
        set.refused = report.len() > before;
        sets.push(set);
    }
    let last = tables.len() - 1;
    let mut levels = Vec::new();
    let mut key = None;
    for (at, table) in tables.into_iter().enumerate() {
        let Some(mut table) = table else { continue };
        if let Some(node) = table.optional("upload") {
            let origin = upload(report, &mut table, node, last == 0);
            table.close(report);
            levels.extend(origin.map(|origin| Level { set: sets[at].clone(), origin }));
            continue;
        }
        let above = Scope {
            params,
            items: &sets[..at],
            later: &sets[at..],
            place: Section::Listing,
            request_of: RequestOf::Item,
            page: None,
        };
        let origin = origin(report, &mut table, defaults, &above, &sets[at]);
        if at == last {
            let below = Scope { items: &sets, later: &[], place: Section::Key, ..above };
            key = table.string(report, "key").and_then(|text| below.template(report, text, Destination::Name));
        } else if let Some(node) = table.optional("key") {
            report.add(node.span().start, "only the last [[items]] has a key");
        }
        table.close(report);
        levels.extend(origin.map(|origin| Level { set: sets[at].clone(), origin }));
    }
    let whole = levels.len() == sets.len();
    let has_key = key.is_some() || levels.iter().any(|level| matches!(level.origin, Origin::Uploaded));
    (sets, (whole && has_key).then_some(Items { levels, key }))
}

/// `upload = "csv"`: the rows of what a client uploads. `[record]` says what a row must be.
fn upload(report: &mut Report<'_>, table: &mut Table<'_, '_>, node: Node<'_, '_>, is_only: bool) -> Option<Origin> {
    for key in ["key", "fields", "list"].into_iter().chain(REQUEST_KEYS) {
        if let Some(other) = table.optional(key) {
            let help = "the rows are what the client uploads, and [record] says what a row must be";
            report.add_with_help(other.span().start, format!("`{key}` has no meaning beside `upload`"), help);
        }
    }
    if !is_only {
        let help = "a job has one upload, and its rows are the items";
        report.add_with_help(node.span().start, "`upload` must be the only [[items]]", help);
    }
    let text = string(report, node, "`upload`")?;
    one_of(report, text, "upload", [("csv", ())])?;
    Some(Origin::Uploaded)
}

fn origin(
    report: &mut Report<'_>,
    table: &mut Table<'_, '_>,
    defaults: &Defaults<'_, '_>,
    above: &Scope<'_>,
    set: &ItemSet,
) -> Option<Origin> {
    if let Some(node) = table.optional("dates") {
        for key in ["list", "fields"].into_iter().chain(REQUEST_KEYS) {
            if let Some(other) = table.optional(key) {
                let help = "the items are windows of time, each with `from`, `to` and `last`";
                report.add_with_help(other.span().start, format!("`{key}` has no meaning beside `dates`"), help);
            }
        }
        return dates::read(report, node, above).map(Box::new).map(Origin::Dates);
    }
    if let Some(node) = table.optional("list") {
        for key in REQUEST_KEYS {
            if let Some(other) = table.optional(key) {
                let message = format!("`{key}` has no meaning beside `list`");
                let help = "items are listed by the upstream (`path`, `records`) or by the definition (`list`)";
                report.add_with_help(other.span().start, message, help);
            }
        }
        // Where the fields were refused, the items cannot be checked.
        return if set.refused { None } else { inline_items::read(report, node, set).map(Origin::Fixed) };
    }
    let request = request::read(report, table, defaults, above);
    refuse_method(report, table);
    let records = table.string(report, "records").and_then(|text| record_path(report, text));
    let (request, pages) = request?;
    Some(Origin::Listed(Box::new(Listing { request, records: records?, pages })))
}

fn item_set(report: &mut Report<'_>, table: &mut Table<'_, '_>, others: &[ItemSet]) -> ItemSet {
    let name = table.string(report, "name").map(|text| {
        identifier(report, text);
        if ["job", "batch"].contains(&text.value) {
            report.add(text.at, format!("the name `{}` means something else in templates", text.value));
        }
        if others.iter().any(|other| other.name == text.value) {
            report.add(text.at, format!("there are two item sets `{}`", text.value));
        }
        text.value.to_owned()
    });
    let mut fields: Vec<(String, FieldType)> = Vec::new();
    if let Some(node) = table.optional("dates") {
        return ItemSet { name: name.unwrap_or_default(), fields: dates::fields(node), ..ItemSet::default() };
    }
    // The fields of a row are those of [record].
    let is_upload = table.optional("upload").is_some();
    let nodes = if is_upload { None } else { table.list(report, "fields") }.unwrap_or_default();
    if let Some(node) = nodes.get(MAX_FIELDS) {
        report.add(node.span().start, format!("an item has at most {MAX_FIELDS} fields"));
    }
    let mut paths = Vec::new();
    for node in nodes {
        if let Some((name, kind, path)) = item_field(report, node, &fields) {
            fields.push((name, kind));
            paths.push(path);
        }
    }
    ItemSet { name: name.unwrap_or_default(), fields, paths, refused: false, is_upload }
}

fn item_field(
    report: &mut Report<'_>,
    node: Node<'_, '_>,
    others: &[(String, FieldType)],
) -> Option<(String, FieldType, FieldPath)> {
    let mut table = Table::open(report, node, "an item's field")?;
    let field = field(report, &mut table, others.iter().map(|(name, _)| name.as_str()));
    let path = field_path(report, &mut table, field.as_ref().map(|(name, _)| name.as_str()));
    let at = table.at();
    table.close(report);
    let (name, kind) = field?;
    if let Some(kind) = kind.filter(|kind| kind.is_composite()) {
        let message = format!("a value of an item is a text, a number or a boolean, and `{name}` is {}", a_type(kind));
        report.add_with_help(at, message, "name a value in it by its `path`");
    }
    // A field of no known type or path still counts as known, so that templates are not blamed for it.
    let path = path.unwrap_or_else(|| FieldPath::member(&name));
    Some((name, kind.unwrap_or(FieldType::Date), path))
}
