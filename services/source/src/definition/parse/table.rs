//! `[table]`: the columns that rows have, what each cell is made of, and which of them identify a row.

use toml::{Spanned, de::DeValue};

use crate::{
    Column, ColumnType, FieldType, Mode, Schema,
    definition::{
        model::ItemSet,
        parse::{
            diagnostic::{Report, quote_all, suggest},
            load::RECORD,
            reader::{Node, Table, Text, boolean, integer, list, string},
            shapes::{MAX_NAME, a_type, one_of},
        },
        template::{
            Destination,
            scope::{RequestOf, Scope, Section},
        },
    },
    table::{
        load::{CellSource, Origin},
        reading::Reading,
    },
};

/// More columns than this is a mistake: a row is held as one cell for each.
const MAX_COLUMNS: usize = 256;
/// The most digits of a decimal: as many as fit into 128 bits.
const MAX_PRECISION: i64 = 38;
/// The types of a column, by name. That of `decimal` says how many digits it has.
const TYPES: [(&str, ColumnType); 7] = [
    ("string", ColumnType::String),
    ("integer", ColumnType::Integer),
    ("number", ColumnType::Number),
    ("decimal", ColumnType::Decimal(0, 0)),
    ("boolean", ColumnType::Boolean),
    ("date", ColumnType::Date),
    ("datetime", ColumnType::Timestamp),
];

/// A column as it is written.
struct Draft {
    column: Column,
    origin: Origin,
}

/// The fields of a record, where they are known.
#[derive(Clone, Copy)]
struct Fields<'a> {
    names: &'a [(String, FieldType)],
    schema: Option<&'a Schema>,
}

/// Reads `[table]` of the source of this name, whose records have these fields.
pub(crate) fn read(
    report: &mut Report<'_>,
    mut table: Table<'_, '_>,
    source: Option<&str>,
    names: &[(String, FieldType)],
    schema: Option<&Schema>,
) -> Option<(crate::Table, Vec<CellSource>)> {
    let fields = Fields { names, schema };
    let name = match table.optional_string(report, "name") {
        Some(text) => sql_name(report, text, "table"),
        None => source.map(|source| source.replace('-', "_")),
    };
    let modes = [("upsert", Mode::Upsert), ("append", Mode::Append)];
    let mode =
        table.optional_string(report, "mode").map_or(Some(Mode::Upsert), |text| one_of(report, text, "mode", modes));
    let drafts = match table.optional("columns") {
        Some(node) => list(report, node, "columns").and_then(|nodes| read_columns(report, nodes, fields)),
        None => columns_of_fields(report, table.at(), fields),
    };
    let names: Option<Vec<_>> = drafts.as_ref().map(|drafts| drafts.iter().map(|it| it.column.name.as_str()).collect());
    let (at, node) = (table.at(), table.optional("key"));
    let key = mode.and_then(|mode| read_key(report, at, (mode, node), names.as_deref()));
    table.close(report);
    let (key, mut drafts, schema) = (key?, drafts?, schema?);
    for at in &key {
        drafts[*at].column.is_required = true;
    }
    let cell = |Draft { column, origin }: Draft| {
        let field = match &origin {
            Origin::Field(at) => schema.fields.get(*at),
            Origin::Value(_) => None,
        };
        let reading = Reading::new(column.kind, column.is_required, field);
        (column, CellSource { origin, reading })
    };
    let (columns, cells) = drafts.into_iter().map(cell).unzip();
    Some((crate::Table { name: name?, mode: mode?, columns, key }, cells))
}

/// A name that SQL takes without quotes, as it is written.
fn sql_name(report: &mut Report<'_>, text: Text<'_>, what: &str) -> Option<String> {
    let fits = is_sql_name(text.value);
    if !fits {
        let help =
            format!("a letter, then letters, digits and `_`, lower-case, at most {MAX_NAME}{}", instead(text.value));
        report.add_with_help(text.at, format!("`{}` cannot be the name of a {what}", text.value), help);
    }
    fits.then(|| text.value.to_owned())
}

fn is_sql_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// A name in place of one that SQL does not take, where one can be made of it.
fn instead(name: &str) -> String {
    let slug = slug::slugify(name).replace('-', "_");
    if is_sql_name(&slug) { format!("; try `{slug}`") } else { String::new() }
}

/// The columns in the key, by number; none where there is no key. `columns` is missing where one was refused.
fn read_key(
    report: &mut Report<'_>,
    at: usize,
    by: (Mode, Option<Node<'_, '_>>),
    columns: Option<&[&str]>,
) -> Option<Vec<usize>> {
    let nodes = match by {
        (Mode::Append, None) => return Some(Vec::new()),
        (Mode::Append, Some(node)) => {
            let help = "every row is added: leave `key` out, or the mode";
            report.add_with_help(node.span().start, "`key` has no meaning with `mode = \"append\"`", help);
            return None;
        }
        (Mode::Upsert, None) => {
            let help =
                "the columns that identify a row, such as key = [\"id\"]; or `mode = \"append\"`, which adds every row";
            report.add_with_help(at, "[table] lacks `key`", help);
            return None;
        }
        (Mode::Upsert, Some(node)) => list(report, node, "key")?,
    };
    let mut key: Vec<usize> = Vec::new();
    for node in nodes {
        let Some(text) = string(report, node, "a column of `key`") else { continue };
        match columns?.iter().position(|name| *name == text.value) {
            None => {
                let help = suggest(text.value, columns?.iter().copied());
                report.add_with_help(text.at, format!("there is no column `{}`", text.value), help);
            }
            Some(at) if key.contains(&at) => report.add(text.at, format!("`{}` is in the key twice", text.value)),
            Some(at) => key.push(at),
        }
    }
    (key.len() == nodes.len()).then_some(key)
}

/// One column for each field.
fn columns_of_fields(report: &mut Report<'_>, at: usize, fields: Fields<'_>) -> Option<Vec<Draft>> {
    let schema = fields.schema?;
    if schema.fields.is_empty() {
        let help = "name the fields in [record], or say `columns`";
        report.add_with_help(at, "the table has no columns", help);
        return None;
    }
    let mut drafts = Vec::new();
    for (field, of) in schema.fields.iter().enumerate() {
        let name = &of.name;
        if !is_sql_name(name) {
            let message = format!("the field `{name}` cannot be the name of a column");
            let slug = slug::slugify(name).replace('-', "_");
            let help = format!("name it in `columns`, such as {{ name = \"{slug}\", field = \"{name}\" }}");
            report.add_with_help(at, message, help);
            continue;
        }
        let column = Column { name: name.clone(), kind: natural(of.kind), is_required: of.constraints.required };
        drafts.push(Draft { column, origin: Origin::Field(field) });
    }
    (drafts.len() == schema.fields.len()).then_some(drafts)
}

fn read_columns(report: &mut Report<'_>, nodes: &[Spanned<DeValue<'_>>], fields: Fields<'_>) -> Option<Vec<Draft>> {
    if let Some(node) = nodes.get(MAX_COLUMNS) {
        report.add(node.span().start, format!("a table has at most {MAX_COLUMNS} columns"));
    }
    let mut drafts: Vec<Draft> = Vec::new();
    for node in nodes {
        let Some(draft) = read_column(report, node, fields) else { continue };
        if drafts.iter().any(|other| other.column.name == draft.column.name) {
            report.add(node.span().start, format!("there are two columns `{}`", draft.column.name));
        }
        drafts.push(draft);
    }
    (drafts.len() == nodes.len()).then_some(drafts)
}

fn read_column(report: &mut Report<'_>, node: Node<'_, '_>, fields: Fields<'_>) -> Option<Draft> {
    let mut table = Table::open(report, node, "a column")?;
    let text = table.string(report, "name");
    let name = text.and_then(|text| sql_name(report, text, "column"));
    let (field, value) = (table.optional_string(report, "field"), table.optional_string(report, "value"));
    if let (Some(_), Some(value)) = (field, value) {
        report.add_with_help(value.at, "a column has a `field` or a `value`, not both", "leave one of them out");
    }
    let origin = match (value, field.or(text)) {
        (Some(value), _) => read_value(report, value, fields),
        (None, Some(field)) => find_field(report, field, fields).map(Origin::Field),
        (None, None) => None,
    };
    let of = match &origin {
        Some(Origin::Field(at)) => fields.schema.and_then(|schema| schema.fields.get(*at)),
        Some(Origin::Value(_)) | None => None,
    };
    let natural = of.map_or(ColumnType::String, |field| natural(field.kind));
    let kind = read_type(report, &mut table, natural);
    let is_required = table.optional_table(report, "constraints").is_some_and(|table| read_required(report, table));
    table.close(report);
    let (name, kind, origin) = (name?, kind?, origin?);
    if let Some(field) = of.filter(|field| !fits(field.kind, kind)) {
        let message =
            format!("the field `{}` is {}, which no {} is made of", field.name, a_type(field.kind), type_name(kind));
        let types: Vec<_> = TYPES.iter().filter(|(_, kind)| fits(field.kind, *kind)).map(|(name, _)| *name).collect();
        report.add_with_help(node.span().start, message, format!("types that would do: {}", quote_all(types)));
        return None;
    }
    let is_required = is_required || of.is_some_and(|field| field.constraints.required);
    Some(Draft { column: Column { name, kind, is_required }, origin })
}

/// A template over the record.
fn read_value(report: &mut Report<'_>, text: Text<'_>, fields: Fields<'_>) -> Option<Origin> {
    let record = ItemSet { name: RECORD.to_owned(), fields: fields.names.to_vec(), ..ItemSet::default() };
    let scope = Scope {
        params: &[],
        items: &[record],
        later: &[],
        place: Section::Table,
        request_of: RequestOf::Item,
        page: None,
    };
    scope.template(report, text, Destination::Json).map(Box::new).map(Origin::Value)
}

fn find_field(report: &mut Report<'_>, text: Text<'_>, fields: Fields<'_>) -> Option<usize> {
    let names = || fields.names.iter().map(|(name, _)| name.as_str());
    let at = names().position(|name| name == text.value);
    if at.is_none() {
        report.add_with_help(text.at, format!("no record has a field `{}`", text.value), suggest(text.value, names()));
    }
    at
}

fn read_type(report: &mut Report<'_>, table: &mut Table<'_, '_>, natural: ColumnType) -> Option<ColumnType> {
    let kind = table.optional_string(report, "type").map_or(Some(natural), |text| {
        let kind = TYPES.iter().find(|(name, _)| *name == text.value).map(|(_, kind)| *kind);
        if kind.is_none() {
            let help = suggest(text.value, TYPES.map(|(name, _)| name));
            report.add_with_help(text.at, format!("no column has the type `{}`", text.value), help);
        }
        kind
    });
    if let Some(ColumnType::Decimal(..)) = kind {
        return read_decimal(report, table);
    }
    for key in ["precision", "scale"] {
        if let Some(node) = table.optional(key) {
            report.add(node.span().start, format!("`{key}` is for `type = \"decimal\"` only"));
        }
    }
    kind
}

fn read_decimal(report: &mut Report<'_>, table: &mut Table<'_, '_>) -> Option<ColumnType> {
    let precision =
        table.required(report, "precision").and_then(|node| digits(report, node, "precision", 1, MAX_PRECISION));
    let most = precision.map_or(MAX_PRECISION, i64::from);
    let scale = table.optional("scale").map_or(Some(0), |node| digits(report, node, "scale", 0, most));
    Some(ColumnType::Decimal(precision?.unsigned_abs(), scale?))
}

fn digits(report: &mut Report<'_>, node: Node<'_, '_>, key: &str, least: i64, most: i64) -> Option<i8> {
    let number = integer(report, node, key)?;
    let digits = i8::try_from(number).ok().filter(|_| (least..=most).contains(&number));
    if digits.is_none() {
        report.add(node.span().start, format!("`{key}` must be between {least} and {most}, found {number}"));
    }
    digits
}

fn read_required(report: &mut Report<'_>, mut table: Table<'_, '_>) -> bool {
    let required = table.optional("required").and_then(|node| boolean(report, node, "required"));
    table.close(report);
    required.unwrap_or_default()
}

fn type_name(kind: ColumnType) -> &'static str {
    let is_same = |known: ColumnType| std::mem::discriminant(&known) == std::mem::discriminant(&kind);
    TYPES.iter().find(|(_, known)| is_same(*known)).map_or("column", |(name, _)| name)
}

/// What a field is where nothing else is said. A duration is its seconds, so that it can be added up; what has members is
/// their JSON, which SQL can look into.
fn natural(kind: FieldType) -> ColumnType {
    match kind {
        FieldType::String | FieldType::Object | FieldType::Array | FieldType::Any => ColumnType::String,
        FieldType::Integer => ColumnType::Integer,
        FieldType::Number | FieldType::Duration => ColumnType::Number,
        FieldType::Boolean => ColumnType::Boolean,
        FieldType::Datetime => ColumnType::Timestamp,
        FieldType::Date => ColumnType::Date,
    }
}

/// Whether cells of this type can be made of such a field.
fn fits(field: FieldType, kind: ColumnType) -> bool {
    match kind {
        ColumnType::String => true,
        _ if matches!(field, FieldType::String | FieldType::Any) => true,
        ColumnType::Boolean => field == FieldType::Boolean,
        ColumnType::Integer | ColumnType::Number | ColumnType::Decimal(..) => {
            matches!(field, FieldType::Integer | FieldType::Number | FieldType::Duration)
        }
        ColumnType::Date | ColumnType::Timestamp => matches!(field, FieldType::Date | FieldType::Datetime),
    }
}
