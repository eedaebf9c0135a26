//! What of a page is wanted beside its checks and statistics: the answer around the records, the last record, and
//! the bytes of each. Nothing of it is kept unless it is asked for.

use serde_json::Value as Json;

use crate::{Scanned, scan::csv};

/// What is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PageParts {
    /// The answer without its records.
    pub body: bool,
    /// The last record.
    pub last: bool,
    /// Each record's own bytes, a line each.
    pub lines: bool,
}

/// One answer, read to its end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// Its records, and their statistics.
    pub scanned: Scanned,
    /// The answer without its records; null where there was nothing around them, and where nobody asked.
    pub body: Json,
    /// The last record, where there was one and somebody asked. A row of CSV or of `rows` is an object.
    pub last: Option<Json>,
    /// The lines that [`crate::Scanner::take_lines`] has not taken.
    pub lines: Vec<u8>,
}

/// What is kept while a page is read.
#[derive(Debug, Default)]
pub(super) struct Capture {
    pub(super) parts: PageParts,
    pub(super) lines: Vec<u8>,
    pub(super) header: Vec<u8>,
    pub(super) last: Vec<u8>,
}

impl Capture {
    /// Takes a JSON record, and the name that it had as a member of an object.
    pub(super) fn json(&mut self, record: &[u8], name: Option<&str>) {
        self.set_last(record);
        if self.parts.lines {
            let name = name.and_then(|name| serde_json::to_vec(name).ok());
            if let Some(name) = &name {
                self.lines.push(b'{');
                self.lines.extend_from_slice(name);
                self.lines.push(b':');
            }
            self.lines.extend(record.iter().copied().map(in_line));
            self.lines.extend_from_slice(if name.is_some() { b"}\n" } else { b"\n" });
        }
    }

    /// Takes a row of CSV with the end of its line.
    pub(super) fn csv(&mut self, row: &[u8]) {
        self.set_last(row);
        if self.parts.lines {
            self.lines.extend_from_slice(row);
            if !row.ends_with(b"\n") {
                self.lines.push(b'\n');
            }
        }
    }

    /// Takes the header of `rows`.
    pub(super) fn json_header(&mut self, header: &[u8]) {
        self.header = header.iter().copied().map(in_line).collect();
    }

    fn set_last(&mut self, record: &[u8]) {
        if self.parts.last {
            self.last.clear();
            self.last.extend_from_slice(record);
        }
    }
}

/// A byte of JSON as it is within a line: only between tokens are there ends of lines.
fn in_line(byte: u8) -> u8 {
    if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }
}

/// A row of CSV as an object.
pub(super) fn csv_object(header: &[u8], row: &[u8]) -> Json {
    let (mut names, mut cells) = (Vec::new(), Vec::new());
    let split = |line: &[u8], cells: &mut Vec<csv::Cell>| csv::split_row(line, 0, true, usize::MAX, cells).is_ok();
    if !split(header, &mut names) || !split(row, &mut cells) {
        return Json::Null;
    }
    let text = |cell: &csv::Cell, line: &[u8]| String::from_utf8_lossy(&cell.text(line)).into_owned();
    names.iter().zip(&cells).map(|(name, cell)| (text(name, header), Json::from(text(cell, row)))).collect()
}

/// A row of `rows` as an object.
pub(super) fn rows_object(header: &[u8], row: &[u8]) -> Result<Json, serde_json::Error> {
    let names: Vec<String> = serde_json::from_slice(header)?;
    let values: Vec<Json> = serde_json::from_slice(row)?;
    Ok(names.into_iter().zip(values).collect())
}
