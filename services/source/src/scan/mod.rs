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
//! | `shape`, `object` | one record |
//! | `json`, `ndjson`, `csv` | from record to record |
//! | `row` | one row of an upload by itself |
//! | `tally` | the adding up |
//! | `stop`, `excerpt` | why a file is not accepted |

mod accumulator;
mod compiled_schema;
mod csv;
mod error;
mod excerpt;
mod json;
mod ndjson;
mod object;
mod row;
mod skip;
#[cfg(test)]
mod tests;
mod time;
mod token;
mod value;

use serde_json::Value as Json;

pub(crate) use self::{
    excerpt::file_kind,
    row::{Header, RowReader, read_header},
    time::{check_pattern, is_datetime},
    value::json_value,
};
use crate::{
    Format, RecordPath, Schema, Statistics, Totals,
    scan::{
        accumulator::Accumulator,
        compiled_schema::CompiledSchema,
        error::{Found, ScanError, Step, ended},
        excerpt::{EXCERPT_BYTES, excerpt},
        object::RecordSink,
    },
};

/// The longest unit. It bounds what is carried from one piece of the file to the next.
pub(crate) const UNIT_BYTES: usize = 1 << 20;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// Whole records.
    pub records: u64,
    /// Their statistics.
    pub totals: Totals,
}

/// Splits a byte stream into records, checks each and adds up. Memory: one record that spans two
/// chunks, at most 1 MiB; never the file.
#[derive(Debug)]
pub struct Scanner {
    reader: Reader,
    sheet: RecordSink,
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
    /// A scanner for one file. `path` is for [`Format::Json`] alone. `schema` has at most 64 fields, and
    /// `statistics` are over its numbers, durations and booleans, as a checked definition sees to.
    pub fn new(format: Format, path: &RecordPath, schema: &Schema, statistics: &Statistics) -> Self {
        let reader = match format {
            Format::Json => Reader::Json(json::Reader::new(path.members.clone())),
            Format::Ndjson => Reader::Ndjson,
            Format::Csv => Reader::Csv(csv::Reader::default()),
        };
        let sheet = RecordSink::new(CompiledSchema::new(schema, statistics), Accumulator::new(statistics));
        Self {
            reader,
            sheet,
            statistics: statistics.clone(),
            begun: false,
            head: Vec::new(),
            carry: Vec::new(),
            retry_at: 0,
            offset: 0,
            rejection: None,
        }
    }

    /// The values of the records in a JSON document, by field: numbers as they were sent, of any size.
    pub(crate) fn values(
        path: &RecordPath,
        schema: &Schema,
        document: &[u8],
    ) -> Result<Vec<Vec<Option<Json>>>, Rejection> {
        let mut scanner = Self::new(Format::Json, path, schema, &Statistics::default());
        scanner.sheet.shape.fields.iter_mut().for_each(|column| column.is_text = true);
        scanner.sheet.rows = Some(Vec::new());
        scanner.push(document).and_then(|()| scanner.read_last()).map_err(|rejection| {
            let before = &document[..document.len().min(rejection.offset as usize)];
            rejection.after_lines(memchr::memchr_iter(b'\n', before).count() as u64)
        })?;
        let mut rows = scanner.sheet.rows.unwrap_or_default();
        rows.truncate(scanner.sheet.tally.records() as usize);
        Ok(rows)
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
        // A unit is judged at `UNIT_BYTES`, and a few more are wanted only to show what was found.
        let most = if bytes.len() < UNIT_BYTES { UNIT_BYTES } else { UNIT_BYTES + EXCERPT_BYTES };
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
            Reader::Json(reader) => reader.advance(bytes, pos, &mut self.sheet),
            Reader::Ndjson => ndjson::advance(bytes, pos, last, &mut self.sheet),
            Reader::Csv(reader) => reader.advance(bytes, pos, last, &mut self.sheet),
        }
    }

    /// What a stop in the unit at `pos` means: a rejection, or `None` where there are just too few bytes yet.
    fn judge(&self, stop: ScanError, bytes: &[u8], pos: usize, last: bool) -> Option<Rejection> {
        let mut stop = stop;
        if matches!(stop.found, Found::End) {
            if bytes.len() - pos >= UNIT_BYTES {
                stop = ScanError {
                    at: pos,
                    field: None,
                    expected: "at most 1 MiB for one record".into(),
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
