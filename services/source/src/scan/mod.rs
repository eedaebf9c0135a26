//! The scanner: a stream of bytes to records, each checked and added up, and no document built.
//!
//! What comes out depends on the bytes alone, never on where they were cut: everything is read in *units* (a
//! record, a row, a token outside of records), a unit is read whole or not at all, and one that breaks off at
//! the end of a piece is carried over and read again once there is more of it. Nothing else of the file is
//! ever kept.
//!
//! | room | what is in it |
//! | --- | --- |
//! | `token` | strings, numbers, white space: the inner loops |
//! | `skip` | JSON that nobody asked for, still checked |
//! | `value`, `time` | a field's type and constraints |
//! | `compiled_schema`, `object` | one record whose fields are its members |
//! | `trie`, `nested` | one record whose fields lie deeper |
//! | `json`, `ndjson`, `csv`, `rows` | from record to record |
//! | `body`, `page` | what is kept of a page, where it is wanted |
//! | `row`, `fields` | one record by itself |
//! | `kept` | the values of records, where they are wanted |
//! | `accumulator` | the adding up |
//! | `error`, `excerpt` | why a file is not accepted |

mod accumulator;
mod body;
mod compiled_schema;
mod csv;
mod error;
mod excerpt;
mod fields;
mod json;
mod kept;
mod ndjson;
mod nested;
mod object;
mod page;
mod row;
mod rows;
mod skip;
#[cfg(test)]
mod tests;
mod time;
mod token;
mod trie;
mod value;

use serde_json::Value as Json;

pub use self::page::{Page, PageParts};
pub(crate) use self::{
    csv::first_rows,
    excerpt::{excerpt as shown, file_kind, quoted},
    fields::{FieldReader, Given},
    row::{Header, RowReader, read_header},
    time::{COMMON, check_pattern, is_date, is_datetime},
    value::json_value,
};
use crate::{
    Format, RecordPath, Schema, Statistics, Totals,
    scan::{
        accumulator::Accumulator,
        body::Body,
        compiled_schema::CompiledSchema,
        error::{Found, ScanError, Step, ended},
        excerpt::{EXCERPT_BYTES, excerpt},
        kept::{Kept, Values},
        object::RecordSink,
        page::{Capture, csv_object, rows_object},
        trie::Trie,
    },
};

/// The longest unit where nothing is said. It bounds what is carried from one piece of the file to the next.
pub(crate) const UNIT_BYTES: usize = 1 << 20;

/// The longest unit that a definition can ask for: every running task may hold one.
pub(crate) const MAX_UNIT_BYTES: usize = 64 << 20;

/// Containers within each other, those around the records included; as in serde_json.
const MAX_DEPTH: usize = 128;

/// How much is added at least to what was carried before it is read again.
const CARRY_STEP: usize = 256;

/// So many bytes say what kind of file it is.
pub(crate) const HEAD: usize = 16;

pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a file is not accepted, and where.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error)]
#[error("record {record}, {}byte {offset}{}: expected {expected}, found {found}", line.map(|line| format!("line {line}, ")).unwrap_or_default(), field.as_ref().map(|f| format!(", field `{f}`")).unwrap_or_default())]
pub struct Rejection {
    /// Which record, from 1.
    pub record: u64,
    /// Which line of the file, from 1, where somebody counted; nobody does where there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Which byte of the file, from 0.
    pub offset: u64,
    /// Which field, where one is at fault.
    pub field: Option<String>,
    /// What would be right.
    pub expected: String,
    /// What was there, cut to a readable length: a token as it is written, other text in quotes, or words
    /// such as `nothing` and `end of file`. Control characters and invalid bytes are escaped.
    pub found: String,
}

impl Rejection {
    /// With its line, where so many lines end before it.
    pub fn after_lines(self, ended: u64) -> Self {
        Self { line: (ended > 0).then_some(ended + 1), ..self }
    }
}

/// What is known of a file once its last byte was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Whole records.
    pub records: u64,
    /// Their statistics.
    pub totals: Totals,
}

/// Splits a byte stream into records, checks each and adds up. Memory: one record that spans two
/// chunks, at most 1 MiB where nothing else is said; never the file.
#[derive(Debug)]
pub struct Scanner {
    reader: Reader,
    format: Format,
    sheet: RecordSink,
    /// The longest unit.
    limit: usize,
    statistics: Statistics,
    /// Whether the byte order mark, if any, is behind us.
    begun: bool,
    /// The first bytes of the file.
    head: Vec<u8>,
    /// The beginning of a unit that broke off.
    carry: Vec<u8>,
    /// The length at which the carried bytes are read again. It doubles, so that a long record in many small
    /// pieces is not read over and over.
    retry_at: usize,
    /// Where in the file the first byte is that was not read yet: the first of `carry`.
    offset: u64,
    rejection: Option<Rejection>,
}

/// From record to record, in each format.
#[derive(Debug)]
enum Reader {
    Json(json::Reader),
    Ndjson,
    Csv(csv::Reader),
}

impl Scanner {
    /// A scanner for one file. `path` is for [`Format::Json`] and [`Format::Rows`] alone. `schema` has at most 64
    /// fields, and `statistics` are over its numbers, durations and booleans, as a checked definition sees to.
    pub fn new(format: Format, path: &RecordPath, schema: &Schema, statistics: &Statistics) -> Self {
        let reader = match format {
            Format::Json | Format::Rows => Reader::Json(json::Reader::new(path.steps.clone(), format == Format::Rows)),
            Format::Ndjson => Reader::Ndjson,
            Format::Csv => Reader::Csv(csv::Reader::default()),
        };
        let mut shape = CompiledSchema::new(schema, statistics);
        if format == Format::Rows {
            shape.trie = Some(Trie::of_columns(&[]));
        }
        let sheet = RecordSink::new(shape, Accumulator::new(statistics));
        Self {
            reader,
            format,
            sheet,
            limit: UNIT_BYTES,
            statistics: statistics.clone(),
            begun: false,
            head: Vec::new(),
            carry: Vec::new(),
            retry_at: 0,
            offset: 0,
            rejection: None,
        }
    }

    /// The same, where a record has at most so many bytes.
    #[must_use]
    pub fn max_record(self, bytes: usize) -> Self {
        Self { limit: bytes.clamp(1, MAX_UNIT_BYTES), ..self }
    }

    /// The same, for a page of which more is wanted than its statistics. [`Self::finish_page`] ends it.
    #[must_use]
    pub fn for_page(mut self, parts: PageParts) -> Self {
        if let Reader::Json(reader) = &mut self.reader {
            reader.body = parts.body.then(Body::default);
        }
        self.sheet.capture = Some(Box::new(Capture { parts, ..Capture::default() }));
        self
    }

    /// The same, for a file of which [`Self::finish_with_body`] tells what is around its records.
    #[must_use]
    pub fn with_body(mut self) -> Self {
        if let Reader::Json(reader) = &mut self.reader {
            reader.body = Some(Body::of_file());
        }
        self
    }

    /// The values of the records in a document, by field: numbers as they were sent, of any size. And what else is
    /// wanted of the page.
    pub(crate) fn values(
        format: Format,
        path: &RecordPath,
        schema: &Schema,
        document: &[u8],
        parts: PageParts,
    ) -> Result<(Values, Page), Rejection> {
        let mut scanner = Self::new(format, path, schema, &Statistics::default()).for_page(parts);
        scanner.sheet.shape.fields.iter_mut().for_each(|column| column.is_text = true);
        scanner.sheet.kept = Kept::Values(Vec::new());
        let page = scanner.push(document).and_then(|()| scanner.end_page()).map_err(|rejection| {
            let before = &document[..document.len().min(rejection.offset as usize)];
            rejection.after_lines(memchr::memchr_iter(b'\n', before).count() as u64)
        })?;
        let records = scanner.sheet.tally.records() as usize;
        let Kept::Values(mut rows) = scanner.sheet.kept else { return Ok((Vec::new(), page)) };
        rows.truncate(records);
        Ok((rows, page))
    }

    /// The records that became whole since the last call, a line each, where [`PageParts::lines`] are wanted: the
    /// bytes as they were sent, in JSON with spaces for ends of lines. At most what was pushed since, and one record.
    ///
    /// A record that is the member of an object is an object with that member alone, where its name is a field.
    pub fn take_lines(&mut self) -> Vec<u8> {
        self.sheet.capture.as_mut().map_or_else(Vec::new, |capture| std::mem::take(&mut capture.lines))
    }

    /// The header of CSV or of `rows` as it was sent, without the end of its line, once it was read. It is kept for
    /// pages only.
    pub fn header(&self) -> Option<&[u8]> {
        self.sheet.capture.as_ref().map(|capture| &*capture.header).filter(|header| !header.is_empty())
    }

    /// Takes the next bytes of the file, cut anywhere. After an error the scanner is spent, and says the same
    /// again. A mistake may be reported some bytes late, since a part of what follows it is shown.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Rejection> {
        if let Some(rejection) = &self.rejection {
            return Err(rejection.clone());
        }
        if self.head.len() < HEAD {
            self.head.extend_from_slice(&bytes[..bytes.len().min(HEAD - self.head.len())]);
        }
        let mut rest = bytes;
        while !self.carry.is_empty() {
            let carried = self.carry.len();
            let (step, after) = rest.split_at(rest.len().min(self.retry_at - carried));
            self.carry.extend_from_slice(step);
            if self.carry.len() < self.retry_at {
                return Ok(());
            }
            let carry = std::mem::take(&mut self.carry);
            let read = self.read(&carry, false)?;
            if read >= carried {
                rest = &rest[read - carried..];
            } else {
                self.keep(carry, read);
                rest = after;
            }
        }
        let read = self.read(rest, false)?;
        self.keep(Vec::from(&rest[read..]), 0);
        Ok(())
    }

    /// Says that the last byte was seen.
    pub fn finish(mut self) -> Result<Scanned, Rejection> {
        self.read_last()?;
        Ok(Scanned { records: self.sheet.tally.records(), totals: self.sheet.tally.totals(&self.statistics) })
    }

    /// [`Self::finish`], and what is wanted of the page.
    pub fn finish_page(mut self) -> Result<Page, Rejection> {
        self.end_page()
    }

    /// [`Self::finish`], and what is around the records; null where that is more than a page may have.
    pub fn finish_with_body(mut self) -> Result<(Scanned, Json), Rejection> {
        self.read_last()?;
        let body = match &self.reader {
            Reader::Json(json::Reader { body: Some(body), .. }) => {
                serde_json::from_slice(body.bytes()).unwrap_or_default()
            }
            _ => Json::Null,
        };
        Ok((self.finish()?, body))
    }

    /// [`Self::finish_page`]. The scanner is spent.
    pub fn end_page(&mut self) -> Result<Page, Rejection> {
        self.read_last()?;
        let scanned =
            Scanned { records: self.sheet.tally.records(), totals: self.sheet.tally.totals(&self.statistics) };
        let lines = self.take_lines();
        let body = match &self.reader {
            Reader::Json(json::Reader { body: Some(body), .. }) if !body.bytes().is_empty() => {
                serde_json::from_slice(body.bytes())
                    .map_err(|error| self.unreadable(1, "what is around the records", &error))?
            }
            _ => Json::Null,
        };
        let last =
            self.sheet.capture.as_ref().filter(|capture| !capture.last.is_empty()).map(|capture| match self.format {
                Format::Json | Format::Ndjson => serde_json::from_slice(&capture.last),
                Format::Rows => rows_object(&capture.header, &capture.last),
                Format::Csv => Ok(csv_object(&capture.header, &capture.last)),
            });
        let last = last.transpose().map_err(|error| self.unreadable(0, "the last record", &error))?;
        Ok(Page { scanned, body, last, lines })
    }

    /// JSON that was right, and cannot be held in memory as a value: it is too deep, or a number is too large.
    fn unreadable(&self, behind: u64, what: &str, error: &serde_json::Error) -> Rejection {
        Rejection {
            record: self.sheet.tally.records() + behind,
            line: None,
            offset: self.offset,
            field: None,
            expected: format!("{what} to be JSON that expressions can see"),
            found: error.to_string(),
        }
    }

    fn read_last(&mut self) -> Result<(), Rejection> {
        if let Some(rejection) = &self.rejection {
            return Err(rejection.clone());
        }
        let carry = std::mem::take(&mut self.carry);
        self.read(&carry, true).map(drop)
    }

    /// Carries `bytes` without the first `read`.
    fn keep(&mut self, mut bytes: Vec<u8>, read: usize) {
        bytes.drain(..read);
        // A unit is judged at its limit, and a few more are wanted only to show what was found.
        let most = if bytes.len() < self.limit { self.limit } else { self.limit + EXCERPT_BYTES };
        self.retry_at = (2 * bytes.len()).max(bytes.len() + CARRY_STEP).min(most);
        self.carry = bytes;
    }

    /// Reads as many whole units as there are, and says where the next begins.
    fn read(&mut self, bytes: &[u8], last: bool) -> Result<usize, Rejection> {
        let mut pos = 0;
        match self.advance(bytes, &mut pos, last) {
            Ok(()) => pos = bytes.len(),
            Err(stop) => {
                if let Some(rejection) = self.judge(*stop, bytes, pos, last) {
                    self.rejection = Some(rejection.clone());
                    return Err(rejection);
                }
            }
        }
        self.offset += pos as u64;
        Ok(pos)
    }

    fn advance(&mut self, bytes: &[u8], pos: &mut usize, last: bool) -> Step<()> {
        if !self.begun {
            if bytes.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(bytes) && !last {
                return Err(ended("a file"));
            }
            if bytes.starts_with(BYTE_ORDER_MARK) {
                *pos = BYTE_ORDER_MARK.len();
            }
            self.begun = true;
        }
        match &mut self.reader {
            Reader::Json(reader) => reader.advance(bytes, pos, self.limit, &mut self.sheet),
            Reader::Ndjson => ndjson::advance(bytes, pos, last, self.limit, &mut self.sheet),
            Reader::Csv(reader) => reader.advance(bytes, pos, last, self.limit, &mut self.sheet),
        }
    }

    /// What a stop in the unit at `pos` means: a rejection, or `None` where there are just too few bytes yet.
    fn judge(&self, stop: ScanError, bytes: &[u8], pos: usize, last: bool) -> Option<Rejection> {
        let mut stop = stop;
        if matches!(stop.found, Found::End) {
            if bytes.len() - pos >= self.limit {
                stop = ScanError {
                    at: pos,
                    field: None,
                    expected: format!("at most {} for one record", shown_size(self.limit)).into(),
                    found: Found::Here,
                };
            } else if last {
                stop.at = bytes.len();
            } else {
                return None;
            }
        }
        let found = match stop.found {
            Found::Said(words) => words,
            // What is shown must not depend on where the bytes were cut.
            Found::Here | Found::HereInQuotes if !last && bytes.len() - stop.at < EXCERPT_BYTES => return None,
            Found::HereInQuotes => format!("the string {}", excerpt(&bytes[stop.at..])),
            Found::Here | Found::End => excerpt(&bytes[stop.at..]),
        };
        let found = match file_kind(&self.head) {
            Some(kind) if self.sheet.tally.records() == 0 => format!("{kind}: {found}"),
            _ => found,
        };
        Some(Rejection {
            record: self.sheet.tally.records() + 1,
            line: None,
            offset: self.offset + stop.at as u64,
            field: stop.field.map(|field| self.sheet.shape.fields[field].name.clone()),
            expected: stop.expected.into_owned(),
            found,
        })
    }
}

pub(crate) fn shown_size(bytes: usize) -> String {
    if bytes.is_multiple_of(1 << 20) { format!("{} MiB", bytes >> 20) } else { format!("{bytes} bytes") }
}
