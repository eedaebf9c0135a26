//! The rows of a table, read from the bytes of a file as they arrive.
//!
//! What comes out depends on the bytes alone, never on where they were cut. Memory: the longest record, and the header of
//! a CSV.

use std::fmt;

use crate::{
    Cell, Constraints, Definition, Field, FieldPath, FieldType, Format, PageParts, Scanner, Schema, Statistics,
    TimeFormat,
    path::ValuePath,
    scan::{HEAD, file_kind},
    table::{csv::CsvRows, lines::Lines, record::RecordReader},
};

/// One record of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Where it begins: the line in CSV and NDJSON, the number of the record in JSON, from 1.
    pub place: u64,
    /// Its cells, in the order of the table's columns; or why it is none.
    pub cells: Result<Vec<Cell>, String>,
}

/// Why a file cannot be read any further: what it is, or how it goes on, is not what the definition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable(pub String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads rows from bytes that come in pieces of any length.
#[derive(Debug)]
pub struct RowReader {
    /// The first bytes, until there are enough of them to say what kind of file it is; `None` behind them.
    head: Option<Vec<u8>>,
    format: Format,
    records: Records,
    reader: RecordReader,
}

/// Finds the records of a file.
#[derive(Debug)]
enum Records {
    Csv(CsvRows),
    Ndjson(Lines),
    /// The scanner makes a line of each record.
    Json(Box<Scanner>, Lines),
}

impl RowReader {
    /// Of a source that has a table.
    pub fn new(definition: &Definition) -> Option<Self> {
        let load = definition.load()?;
        let records = match load.format {
            Format::Csv => Records::Csv(CsvRows::new(&load.schema, load.max_record)),
            Format::Ndjson => Records::Ndjson(Lines::new(load.max_record)),
            Format::Json | Format::Rows => {
                let lines = PageParts { lines: true, ..PageParts::default() };
                let scanner = Scanner::new(Format::Json, &load.records, &any_record(), &Statistics::default())
                    .max_record(load.max_record)
                    .for_page(lines);
                // The scanner has looked at the length.
                Records::Json(Box::new(scanner), Lines::new(usize::MAX))
            }
        };
        Some(Self { head: Some(Vec::new()), format: load.format, records, reader: RecordReader::new(load.clone()) })
    }

    /// The next piece of the file. Every record that ends in it is given to `each`. After an error nothing more can be
    /// read.
    pub fn push(&mut self, piece: &[u8], each: &mut impl FnMut(Row)) -> Result<(), Unreadable> {
        let Some(mut head) = self.head.take() else { return self.read(piece, each) };
        let (more, rest) = piece.split_at(piece.len().min(HEAD - head.len()));
        head.extend_from_slice(more);
        if head.len() < HEAD {
            self.head = Some(head);
            return Ok(());
        }
        self.begin(&head, each)?;
        self.read(rest, each)
    }

    /// The file is over.
    pub fn finish(mut self, each: &mut impl FnMut(Row)) -> Result<(), Unreadable> {
        if let Some(head) = self.head.take() {
            self.begin(&head, each)?;
        }
        let reader = &mut self.reader;
        match self.records {
            Records::Csv(rows) => rows.finish(reader, each)?,
            Records::Ndjson(lines) => lines.finish(reader, each),
            Records::Json(mut scanner, mut lines) => {
                // What came before a mistake was good.
                let (last, ended) = match scanner.end_page() {
                    Ok(page) => (page.lines, Ok(())),
                    Err(rejection) => (scanner.take_lines(), Err(Unreadable(rejection.to_string()))),
                };
                lines.push(&last, reader, each);
                ended?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, head: &[u8], each: &mut impl FnMut(Row)) -> Result<(), Unreadable> {
        match file_kind(head) {
            Some(kind) => {
                let expected = self.format.name().to_uppercase();
                Err(Unreadable(format!("the file is {kind}: expected {expected}, which is text")))
            }
            None => self.read(head, each),
        }
    }

    fn read(&mut self, bytes: &[u8], each: &mut impl FnMut(Row)) -> Result<(), Unreadable> {
        let reader = &mut self.reader;
        match &mut self.records {
            Records::Csv(rows) => rows.push(bytes, reader, each),
            Records::Ndjson(lines) => {
                lines.push(bytes, reader, each);
                Ok(())
            }
            Records::Json(scanner, lines) => {
                let pushed = scanner.push(bytes);
                lines.push(&scanner.take_lines(), reader, each);
                pushed.map_err(|rejection| Unreadable(rejection.to_string()))
            }
        }
    }
}

/// A schema that any record has: each is checked when its line is read.
fn any_record() -> Schema {
    let path = FieldPath::Value(ValuePath::default());
    let (kind, format, constraints) = (FieldType::Any, TimeFormat::Iso, Constraints::default());
    Schema { fields: vec![Field { name: "record".to_owned(), path, kind, format, constraints }], is_closed: false }
}
