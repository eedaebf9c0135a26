//! A source whose upload is loaded into a table: `[[items]]` with `upload`, and no `[fetch]`.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    FieldPath, Format, RecordPath, Schema, Statistics,
    definition::{
        Definition, Work,
        hosts::Hosts,
        model::{ItemSet, Items, Level, Origin},
        parse::{
            diagnostic::Report,
            reader::{Table, list},
            record, records,
            shapes::{identifier, one_of},
            store::Partition,
            table,
        },
    },
    hash::sha256_hex,
    table::load::Load,
};

/// What templates call a record.
pub(crate) const RECORD: &str = "record";

/// What only sources that ask an upstream can have, and why a load has it not.
const REFUSED: [(&str, &str); 7] = [
    ("base_url", NO_REQUEST),
    ("auth", NO_REQUEST),
    ("hosts", NO_REQUEST),
    ("request", NO_REQUEST),
    ("params", "a row is made of its record alone: leave it out"),
    ("stats", "what is in a table is asked in SQL: leave it out"),
    ("store", "the rows are kept in the table: leave it out"),
];
const NO_REQUEST: &str = "nothing is asked of an upstream: leave it out";

/// `[[items]]` of a load.
struct File {
    name: String,
    format: Format,
    records: RecordPath,
    max_record: usize,
}

/// Whether the definition is one of a load. One that has neither `[fetch]` nor `[table]` is so where it names no upstream.
pub(crate) fn is_load(root: &mut Table<'_, '_>) -> bool {
    let nodes = root.optional("items").and_then(|node| node.get_ref().as_array());
    let has_upload = nodes.into_iter().flat_map(|nodes| nodes.iter()).any(|node| {
        let table = node.get_ref().as_table();
        table.is_some_and(|table| table.contains_key("upload"))
    });
    let is_loaded = root.optional("table").is_some() || root.optional("base_url").is_none();
    has_upload && is_loaded && root.optional("fetch").is_none()
}

/// Refuses the table of a source whose records are fetched.
pub(crate) fn refuse_table(report: &mut Report<'_>, root: &mut Table<'_, '_>) {
    if let Some(node) = root.optional("table") {
        let help = "only an `upload` without [fetch] is loaded into a table: leave [table] out, or [fetch]";
        report.add_with_help(node.span().start, "tables of fetched sources are not there yet", help);
    }
}

/// Reads every part before it gives up for a missing one, so that all mistakes are reported.
pub(crate) fn build(
    report: &mut Report<'_>,
    text: &str,
    mut root: Table<'_, '_>,
    (name, title): (Option<String>, Option<String>),
) -> Option<Definition> {
    for (key, help) in REFUSED {
        if let Some(node) = root.optional(key) {
            report.add_with_help(node.span().start, format!("`{key}` has no meaning where an upload is loaded"), help);
        }
    }
    let file = read_file(report, &mut root);
    let record = root.table(report, "record");
    let (fields, schema) = record.map_or_else(Default::default, |table| read_record(report, table, file.as_ref()));
    let table = match root.optional("table") {
        None => {
            let help =
                "an upload without [fetch] is loaded into a table: say its `key`; or in [fetch] how rows are sent";
            report.add_with_help(0, "a definition lacks `table`", help);
            None
        }
        Some(node) => Table::open(report, node, "[table]")
            .and_then(|table| table::read(report, table, name.as_deref(), &fields, schema.as_ref())),
    };
    root.close(report);
    let (file, schema, (table, cells)) = (file?, schema?, table?);
    let File { format, records, max_record, .. } = file;
    let set = ItemSet { name: file.name, fields, is_upload: true, ..ItemSet::default() };
    Some(Definition {
        name: name?,
        title: title?,
        base_url: String::new(),
        auth: None,
        hosts: Hosts::default(),
        text: text.to_owned(),
        hash: sha256_hex(text.as_bytes()),
        params: Vec::new(),
        items: Items { levels: vec![Level { set, origin: Origin::Uploaded }], key: None },
        work: Work::Load(Arc::new(Load { format, records, max_record, schema: schema.clone(), table, cells })),
        schema,
        upload: None,
        statistics: Statistics::default(),
        partition: Partition { names: Vec::new(), values: Vec::new() },
        env_names: BTreeSet::new(),
        warnings: report.take_warnings(),
    })
}

fn read_file(report: &mut Report<'_>, root: &mut Table<'_, '_>) -> Option<File> {
    let nodes = root.optional("items").and_then(|node| list(report, node, "items"))?;
    if let Some(node) = nodes.get(1) {
        let help = "a job has one upload, which is loaded whole";
        report.add_with_help(node.span().start, "`upload` must be the only [[items]]", help);
        return None;
    }
    let mut table = Table::open(report, nodes.first()?, "[[items]]")?;
    let name = table.optional_string(report, "name").map_or(Some(RECORD.to_owned()), |text| identifier(report, text));
    let formats = [Format::Csv, Format::Ndjson, Format::Json].map(|format| (format.name(), format));
    let format = table.string(report, "upload").and_then(|text| one_of(report, text, "upload", formats));
    let records = match format {
        // The elements of an array, where nothing is said.
        Some(Format::Json) if table.optional("records").is_none() => Some(RecordPath::default()),
        format => records::read(report, &mut table, format),
    };
    let max_record = records::max_record(report, &mut table);
    table.close(report);
    Some(File { name: name?, format: format?, records: records?, max_record: max_record? })
}

fn read_record(
    report: &mut Report<'_>,
    mut table: Table<'_, '_>,
    file: Option<&File>,
) -> (Vec<(String, crate::FieldType)>, Option<Schema>) {
    let at = table.at();
    if file.is_some_and(|file| file.format == Format::Csv)
        && let Some(node) = table.optional("fieldsMatch")
    {
        let message = "the columns of an upload that are not fields are ignored";
        report.add_with_help(node.span().start, message, "leave `fieldsMatch` out");
    }
    let (fields, schema) = record::read(report, table, false);
    if let (Some(schema), Some(file)) = (&schema, file) {
        records::check_fields(report, at, schema, file.format, &file.records);
        let named = schema.fields.iter().find(|field| field.path == FieldPath::Name);
        if let Some(field) = named.filter(|_| file.format == Format::Json) {
            let message = format!("`{}` is a member's name, which is not read of an upload", field.name);
            report.add_with_help(at, message, "take a value below the record");
        }
    }
    (fields, schema)
}
