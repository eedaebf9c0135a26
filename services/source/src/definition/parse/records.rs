//! `records`, and what depends on it: where the records of an answer are, and which paths their fields can have.

use crate::{
    FieldPath, Format, RecordPath, RecordPathError, Schema,
    definition::parse::{
        diagnostic::Report,
        fetch::size,
        reader::{Table, Text},
        shapes::a_type,
    },
    scan::{MAX_UNIT_BYTES, UNIT_BYTES},
};

/// `records` of an answer in this format, if that is known.
pub(crate) fn read(report: &mut Report<'_>, table: &mut Table<'_, '_>, format: Option<Format>) -> Option<RecordPath> {
    match format {
        Some(Format::Ndjson | Format::Csv) => {
            if let Some(node) = table.optional("records") {
                let message = "`records` is for json only: here every line is a record";
                report.add_with_help(node.span().start, message, "leave it out");
            }
            Some(RecordPath::default())
        }
        Some(Format::Json) => table.string(report, "records").and_then(|text| record_path(report, text)),
        Some(Format::Rows) => match table.optional_string(report, "records") {
            Some(text) => {
                let path = record_path(report, text)?;
                if !path.ends_in_each() {
                    let help = "a path such as `$[*]` or `$.values[*]`; the first row names the columns";
                    report.add_with_help(text.at, "the records of `rows` are the elements of an array", help);
                }
                Some(path)
            }
            None => Some(RecordPath::default()),
        },
        None => table.optional_string(report, "records").and_then(|text| record_path(report, text)),
    }
}

/// The longest record, where nothing else is said [`UNIT_BYTES`].
pub(crate) fn max_record(report: &mut Report<'_>, table: &mut Table<'_, '_>) -> Option<usize> {
    let Some(node) = table.optional("max_record") else { return Some(UNIT_BYTES) };
    let bytes = usize::try_from(size(report, node, "max_record", "such as \"4 MiB\"")?).ok();
    let bytes = bytes.filter(|bytes| *bytes <= MAX_UNIT_BYTES);
    if bytes.is_none() {
        let help = "a record is held in memory: at most \"64 MiB\"";
        report.add_with_help(node.span().start, "`max_record` is too large", help);
    }
    bytes
}

/// Where the records are.
pub(crate) fn record_path(report: &mut Report<'_>, text: Text<'_>) -> Option<RecordPath> {
    text.value
        .parse()
        .map_err(|error: RecordPathError| {
            report.add_with_help(text.place(error.at), error.message, "a path such as `$[*]` or `$.data.items[*]`");
        })
        .ok()
}

/// Refuses fields that records of this format and path cannot have. `at` is the table that asks for them.
pub(crate) fn check_fields(report: &mut Report<'_>, at: usize, schema: &Schema, format: Format, records: &RecordPath) {
    let is_table = matches!(format, Format::Csv | Format::Rows);
    for field in &schema.fields {
        let name = &field.name;
        if is_table && field.path.as_member().is_none() {
            let message = format!("the path of `{name}` leads into a record, and a row of {} is flat", format.name());
            report.add_with_help(at, message, "a column is a path such as `$.id` or `$['post id']`");
        } else if format == Format::Csv && field.kind.is_composite() {
            report.add(at, format!("a cell is text, and `{name}` is {}", a_type(field.kind)));
        } else if field.path == FieldPath::Name && !(format == Format::Json && records.ends_in_each()) {
            let message = format!("`{name}` is a member's name, and these records have none");
            report.add_with_help(
                at,
                message,
                "only members of an object have names: `records` in json that ends in `[*]`",
            );
        }
    }
}
