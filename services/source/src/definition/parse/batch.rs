//! `batch` and `match`: several items fetched with one request, and which record answers which of them.

use toml::de::DeValue;

use crate::{
    FieldPath, FieldType, Format, Schema,
    definition::{
        model::ItemSet,
        parse::{
            diagnostic::{Report, quote_all, suggest},
            limit::Limit,
            reader::{Node, Table, Text, integer},
            shapes::a_type,
        },
    },
};

/// How items are fetched together.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The most items of one request.
    pub(crate) size: usize,
    /// The record's field that says which item it answers.
    pub(crate) record: FieldPath,
    /// The item set, and its field that the record's is compared with.
    pub(crate) item: (String, String),
}

/// The most items of one request: as many as an address can carry, about.
const MAX_SIZE: i64 = 1_000;

/// What a batch has to fit to; what is `None` was refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) sets: &'a [ItemSet],
    pub(crate) schema: Option<&'a Schema>,
    pub(crate) format: Option<Format>,
    pub(crate) limit: Option<Limit>,
}

/// `None` where there is no batch, and where it was refused.
pub(crate) fn read(report: &mut Report<'_>, table: &mut Table<'_, '_>, around: Surroundings<'_>) -> Option<Batch> {
    let (size, pairing) = (table.optional("batch"), table.optional("match"));
    let example = || {
        let set = around.sets.last().filter(|set| !set.name.is_empty());
        let field = set.and_then(|set| Some(format!("{}.{}", set.name, set.fields.first()?.0)));
        format!("match = {{ record = \"id\", item = \"{}\" }}", field.as_deref().unwrap_or("city.id"))
    };
    let Some(size) = size else {
        if let Some(node) = pairing {
            let help = "add `batch = 20`, or leave `match` out: the file of a single item is all that item's";
            report.add_with_help(node.span().start, "`match` is for a batch", help);
        }
        return None;
    };
    let at = size.span().start;
    if let Some(format @ (Format::Csv | Format::Rows)) = around.format {
        let message = format!("a batch cannot be {}", format.name());
        report.add_with_help(at, message, "json and ndjson can be told apart by item");
    }
    let size = read_size(report, size, around.limit);
    let Some(pairing) = pairing else {
        let help = format!("say which record answers which item: {}", example());
        report.add_with_help(at, "`batch` lacks `match`", help);
        return None;
    };
    if !matches!(pairing.get_ref(), DeValue::Table(_)) {
        report.add_with_help(pairing.span().start, "`match` must be a table", example());
        return None;
    }
    let mut table = Table::open(report, pairing, "`match`")?;
    let (record, item) = (table.string(report, "record"), table.string(report, "item"));
    table.close(report);
    let record = record.and_then(|text| Some((text, read_record(report, text, around.schema?)?)));
    let item = item.and_then(|text| Some((text, read_item(report, text, around.sets)?)));
    let ((record, (path, record_kind)), (item, item_kind)) = (record?, item?);
    if record_kind != item_kind {
        let message = format!(
            "`{}` is {}, and the record's `{}` is {}: they are never equal",
            item.value,
            a_type(item_kind),
            record.value,
            a_type(record_kind)
        );
        report.add_with_help(item.at, message, "both are integers, or both are strings");
    }
    let (set, field) = item.value.split_once('.')?;
    Some(Batch { size: size?, record: path, item: (set.to_owned(), field.to_owned()) })
}

fn read_size(report: &mut Report<'_>, node: Node<'_, '_>, limit: Option<Limit>) -> Option<usize> {
    let at = node.span().start;
    let number = integer(report, node, "batch")?;
    if !(1..=MAX_SIZE).contains(&number) {
        let message = format!("`batch` must be between 1 and {MAX_SIZE}, found {number}");
        report.add_with_help(at, message, "the most items that the upstream takes in one request");
        return None;
    }
    if let Some(Limit::Rate { items, per }) = limit
        && number > i64::from(items)
    {
        let per = jiff::SignedDuration::try_from(per).unwrap_or_default();
        let message = format!("a batch of {number} never fits into a rate of {items} items in {per}");
        report.add_with_help(at, message, format!("at most `batch = {items}`"));
    }
    usize::try_from(number).ok()
}

fn read_record(report: &mut Report<'_>, text: Text<'_>, schema: &Schema) -> Option<(FieldPath, FieldType)> {
    let found = schema.fields.iter().find(|field| field.name == text.value);
    if found.is_none() {
        let help = suggest(text.value, schema.fields.iter().map(|field| field.name.as_str()));
        report.add_with_help(text.at, format!("no record has a field `{}`", text.value), help);
    }
    let field = found?;
    if field.path == FieldPath::Name {
        let help = "match a field that is in the record";
        report.add_with_help(text.at, format!("`{}` is a member's name, outside of the record", text.value), help);
    }
    Some((field.path.clone(), comparable(report, text, field.kind)?))
}

fn read_item(report: &mut Report<'_>, text: Text<'_>, sets: &[ItemSet]) -> Option<FieldType> {
    let known: Vec<String> = sets
        .iter()
        .flat_map(|set| set.fields.iter().map(|(field, _)| format!("{}.{field}", set.name)))
        .filter(|name| !name.starts_with('.'))
        .collect();
    let found = text.value.split_once('.').and_then(|(set, field)| {
        let set = sets.iter().find(|known| known.name == set)?;
        set.fields.iter().find(|(known, _)| known == field).map(|(_, kind)| (*kind, set.refused))
    });
    if found.is_none() {
        let help = suggest(text.value, known.iter().map(String::as_str));
        report.add_with_help(text.at, format!("no item has a value `{}`", text.value), help);
    }
    let (kind, refused) = found?;
    if refused { None } else { comparable(report, text, kind) }
}

/// A number can be written in many ways, and so can a time: only these are equal where they look equal.
fn comparable(report: &mut Report<'_>, text: Text<'_>, kind: FieldType) -> Option<FieldType> {
    let good = matches!(kind, FieldType::Integer | FieldType::String);
    if !good {
        let message = format!("`{}` is {}, which cannot say which item it is", text.value, a_type(kind));
        report.add_with_help(text.at, message, format!("types that can: {}", quote_all(["integer", "string"])));
    }
    good.then_some(kind)
}
