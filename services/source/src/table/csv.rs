//! Records that are the rows of a CSV: RFC 4180, the header naming the columns in any order. Columns that are no field
//! are ignored. A row that is too long is rejected, and no byte of it is kept.

use std::borrow::Cow;

use crate::{
    Columns, Schema, UploadError,
    scan::shown_size,
    table::{
        record::RecordReader,
        rows::{Row, Unreadable},
    },
    upload::{ColumnsThenRows, RowSpan},
};

/// Finds rows, wherever the bytes are cut.
#[derive(Debug)]
pub(super) struct CsvRows {
    /// The longest row.
    limit: usize,
    rows: ColumnsThenRows,
    open: Open,
}

/// The bytes of the row that is open, unless it is too long.
#[derive(Debug, Default)]
struct Open {
    bytes: Vec<u8>,
    /// Where in the file they begin, and where they end.
    from: u64,
    to: u64,
}

impl CsvRows {
    pub(super) fn new(schema: &Schema, limit: usize) -> Self {
        Self { limit, rows: ColumnsThenRows::new(schema.clone()), open: Open::default() }
    }

    /// Takes the next bytes, cut anywhere.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        reader: &mut RecordReader,
        each: &mut impl FnMut(Row),
    ) -> Result<(), Unreadable> {
        let Self { limit, rows, open } = self;
        rows.push(bytes, |span, columns| each(read(span, open, bytes, (*limit, columns), reader)))
            .map_err(unreadable)?;
        open.keep(bytes, rows.row_offset(), *limit);
        Ok(())
    }

    /// Says that the last byte was seen.
    pub(super) fn finish(self, reader: &mut RecordReader, each: &mut impl FnMut(Row)) -> Result<(), Unreadable> {
        let Self { limit, rows, open } = self;
        rows.finish(|span, columns| each(read(span, &open, &[], (limit, columns), reader))).map_err(unreadable)
    }
}

impl Open {
    /// Keeps what is open of the next bytes of the file. The row that is open begins at `row`.
    fn keep(&mut self, bytes: &[u8], row: u64, limit: usize) {
        let before = row.checked_sub(self.to).filter(|before| *before <= bytes.len() as u64);
        if let Some(before) = before {
            self.bytes.clear();
            self.from = row;
            self.bytes.extend_from_slice(&bytes[before as usize..]);
        } else if self.to - self.from <= limit as u64 {
            self.bytes.extend_from_slice(bytes);
        }
        self.to += bytes.len() as u64;
        if self.to - self.from > limit as u64 {
            self.bytes = Vec::new();
        }
    }

    /// The bytes of a row that is not too long, and ends in the next bytes of the file.
    fn row<'a>(&'a self, span: RowSpan, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let end = span.offset + span.length;
        match span.offset.checked_sub(self.to) {
            Some(from) => bytes[from as usize..(end - self.to) as usize].into(),
            None => {
                let begun = &self.bytes[(span.offset - self.from) as usize..];
                [begun, &bytes[..(end - self.to) as usize]].concat().into()
            }
        }
    }
}

fn read(
    span: RowSpan,
    open: &Open,
    bytes: &[u8],
    (limit, columns): (usize, &Columns),
    reader: &mut RecordReader,
) -> Row {
    let cells = if span.length > limit as u64 {
        let (most, length) = (shown_size(limit), span.length);
        Err(format!(
            "expected at most {most} for one row, found {length} bytes; a quote that is not closed makes one row of all \
             that follows"
        ))
    } else {
        reader.row(&open.row(span, bytes), columns)
    };
    Row { place: span.line, cells }
}

fn unreadable(error: UploadError) -> Unreadable {
    Unreadable(error.to_string())
}
