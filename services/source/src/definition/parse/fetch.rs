//! `[fetch]`: how an item's file is fetched, or that of a batch of items; or how a row of an upload is sent.

use std::time::Duration;

use toml::de::DeValue;

use crate::{
    Format, RecordPath, Schema,
    definition::{
        model::{Pages, RequestTemplate},
        parse::{
            batch::{self, Batch, Surroundings},
            defaults::Defaults,
            diagnostic::Report,
            limit::{self, Limit, iso_duration},
            reader::{Node, Table, Text, integer, string},
            records, request,
            rows::{self, RowRules},
            shapes::one_of,
        },
        template::scope::{RequestOf, Scope},
    },
};

/// The whole of `[fetch]`.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(crate) request: RequestTemplate,
    pub(crate) pages: Pages,
    pub(crate) format: Format,
    pub(crate) records: RecordPath,
    pub(crate) limit: Limit,
    pub(crate) batch: Option<Batch>,
    /// Where the request is made of a row.
    pub(crate) rows: Option<RowRules>,
    pub(crate) timeout: Duration,
    pub(crate) max_bytes: u64,
    /// The longest record.
    pub(crate) max_record: usize,
}

/// For one file where nothing is said.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// A request that takes longer than a day is one that hangs.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
/// The largest file where nothing is said: 10 GB.
const DEFAULT_MAX_BYTES: u64 = 10_000_000_000;
/// The largest answer to a row where nothing is said: 1 MB.
const DEFAULT_MAX_ANSWER: u64 = 1_000_000;
/// The largest answer to a row, which is held in memory.
const MAX_ANSWER: u64 = 16 << 20;

/// Whether items are fetched in batches: that is to be known before any template is looked at.
pub(crate) fn is_batched(table: &mut Table<'_, '_>) -> bool {
    table.optional("batch").is_some()
}

pub(crate) fn read(
    report: &mut Report<'_>,
    mut table: Table<'_, '_>,
    defaults: &Defaults<'_, '_>,
    scope: &Scope<'_>,
    schema: Option<&Schema>,
) -> Option<Fetch> {
    let is_row = scope.request_of == RequestOf::Row;
    let at = table.at();
    let request = request::read(report, &mut table, defaults, scope);
    let (request, pages) = request.map_or((None, None), |(request, pages)| (Some(request), Some(pages)));
    let (format, records) = if is_row {
        rows::refuse_files(report, &mut table);
        if matches!(pages, Some(Pages::Several(_))) {
            report.add_with_help(at, "the answer to a row has no pages", "leave `pagination` out");
        }
        (Some(Format::Ndjson), Some(RecordPath::default()))
    } else {
        rows::refuse(report, &mut table);
        let format = table.optional_string(report, "format").map_or(Some(Format::Json), |text| {
            one_of(report, text, "format", Format::ALL.map(|format| (format.name(), format)))
        });
        (format, records::read(report, &mut table, format))
    };
    if let (Some(schema), Some(format), Some(records)) = (schema, format, &records) {
        records::check_fields(report, table.at(), schema, format, records);
    }
    let limit = limit::read(report, &mut table, defaults, scope.request_of);
    let rows = if is_row { Some(rows::read(report, &mut table, scope)) } else { None };
    let around = Surroundings { sets: scope.items, schema, format, limit };
    let batch = if is_row { None } else { batch::read(report, &mut table, around) };
    let timeout =
        table.optional("timeout").or(defaults.timeout).map_or(Some(DEFAULT_TIMEOUT), |node| timeout(report, node));
    let default = if is_row { DEFAULT_MAX_ANSWER } else { DEFAULT_MAX_BYTES };
    let max_bytes = table.optional("max_bytes").map_or(Some(default), |node| max_bytes(report, node, is_row));
    let max_record = records::max_record(report, &mut table);
    table.close(report);
    // Outer: whether it is of rows. Inner: whether it was read.
    let rows = rows.map_or(Some(None), |rows| rows.map(Some));
    Some(Fetch {
        request: request?,
        pages: pages?,
        format: format?,
        records: records?,
        limit: limit?,
        batch,
        rows: rows?,
        timeout: timeout?,
        max_bytes: max_bytes?,
        max_record: max_record?,
    })
}

fn timeout(report: &mut Report<'_>, node: Node<'_, '_>) -> Option<Duration> {
    let text = string(report, node, "`timeout`")?;
    let duration = iso_duration(text).filter(|duration| !duration.is_zero() && *duration <= MAX_TIMEOUT);
    if duration.is_none() {
        let help = "an ISO 8601 duration such as `PT30S`, `PT10M` or `PT2H`, at most a day";
        report.add_with_help(text.at, format!("`{}` cannot be a timeout", text.value), help);
    }
    duration
}

fn max_bytes(report: &mut Report<'_>, node: Node<'_, '_>, is_row: bool) -> Option<u64> {
    let bytes = size(report, node, "max_bytes", "such as \"10 GB\", \"500 MiB\"");
    if is_row && bytes.is_some_and(|bytes| bytes > MAX_ANSWER) {
        let help = "the answer to a row is held in memory: at most \"16 MiB\"";
        report.add_with_help(node.span().start, "`max_bytes` is too large", help);
    }
    bytes
}

/// A number of bytes, at least 1.
pub(crate) fn size(report: &mut Report<'_>, node: Node<'_, '_>, key: &str, examples: &str) -> Option<u64> {
    let bytes = match node.get_ref() {
        DeValue::Integer(_) => integer(report, node, key).and_then(|number| u64::try_from(number).ok()),
        DeValue::String(_) => string(report, node, &format!("`{key}`")).and_then(parse_bytes),
        _ => None,
    };
    let bytes = bytes.filter(|bytes| *bytes > 0);
    if bytes.is_none() {
        let help = format!("a size {examples} or a number of bytes");
        report.add_with_help(node.span().start, format!("`{key}` is no size"), help);
    }
    bytes
}

fn parse_bytes(text: Text<'_>) -> Option<u64> {
    const UNITS: [(&str, u64); 10] = [
        ("", 1),
        ("B", 1),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
    ];
    let digits = text.value.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.value.len());
    let (number, unit) = text.value.split_at(digits);
    let (_, factor) = UNITS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?;
    number.parse::<u64>().ok()?.checked_mul(factor)
}
