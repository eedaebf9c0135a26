//! Where the rows of a CSV end: at a line feed that is not within quotes.
//!
//! A quote opens only at the beginning of a cell, so that a stray one spoils no row but its own. What is right ends
//! where the scanner's reader says, too.

use memchr::{memchr, memchr_iter, memchr2};

use crate::scan::BYTE_ORDER_MARK;

/// Finds the rows, wherever the bytes are cut. It keeps no byte of a row.
#[derive(Debug)]
pub(crate) struct RowEnds {
    /// The first bytes of the file, until it is clear whether they are a byte order mark; `None` behind them.
    head: Option<Vec<u8>>,
    place: Place,
    /// Where the next byte stands.
    offset: u64,
    line: u64,
    /// Where the row begins that it is in.
    row_offset: u64,
    row_line: u64,
    /// Its first byte.
    first: u8,
}

/// Where in a row the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    CellStart,
    InCell,
    InQuotes,
    /// Behind a quote within quotes, which closes them or is doubled.
    BehindQuote,
}

/// A row, with its line feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowSpan {
    /// Its first byte.
    pub(crate) offset: u64,
    /// In bytes.
    pub(crate) length: u64,
    /// The line that it begins on, from 1.
    pub(crate) line: u64,
    /// Whether there is nothing but the end of a line.
    pub(crate) is_blank: bool,
}

impl Default for RowEnds {
    /// From the beginning of a file.
    fn default() -> Self {
        Self { head: Some(Vec::new()), ..Self::at(0, 1) }
    }
}

impl RowEnds {
    /// From the beginning of a row that stands here.
    pub(crate) fn at(offset: u64, line: u64) -> Self {
        Self { head: None, place: Place::CellStart, offset, line, row_offset: offset, row_line: line, first: 0 }
    }

    /// The line of the next byte, from 1.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// Where the row begins that has not ended.
    pub(crate) fn row_offset(&self) -> u64 {
        self.row_offset
    }

    /// How long the row is so far that has not ended.
    pub(crate) fn open_length(&self) -> u64 {
        self.offset - self.row_offset
    }

    /// Tells each row that ends in `bytes`.
    pub(crate) fn push(&mut self, bytes: &[u8], mut on_row: impl FnMut(RowSpan)) {
        let mut rest = bytes;
        if let Some(mut head) = self.head.take() {
            while head.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(&head) {
                let Some((byte, after)) = rest.split_first() else {
                    self.head = Some(head);
                    return;
                };
                head.push(*byte);
                rest = after;
            }
            self.begin(&head, &mut on_row);
        }
        self.scan(rest, &mut on_row);
    }

    /// Tells the row that no line feed ends.
    pub(crate) fn finish(&mut self, mut on_row: impl FnMut(RowSpan)) {
        if let Some(head) = self.head.take() {
            self.begin(&head, &mut on_row);
        }
        if self.offset > self.row_offset {
            let (offset, length, line) = (self.row_offset, self.open_length(), self.row_line);
            on_row(RowSpan { offset, length, line, is_blank: false });
        }
    }

    fn begin(&mut self, head: &[u8], on_row: &mut impl FnMut(RowSpan)) {
        if head == BYTE_ORDER_MARK {
            self.offset += head.len() as u64;
            self.row_offset = self.offset;
        } else {
            self.scan(head, on_row);
        }
    }

    fn scan(&mut self, bytes: &[u8], on_row: &mut impl FnMut(RowSpan)) {
        let base = self.offset;
        let mut pos = 0;
        while let Some(byte) = bytes.get(pos) {
            if base + pos as u64 == self.row_offset {
                self.first = *byte;
            }
            match (self.place, byte) {
                (Place::CellStart, b'"') | (Place::BehindQuote, b'"') => {
                    self.place = Place::InQuotes;
                    pos += 1;
                }
                (Place::BehindQuote, _) => self.place = Place::InCell,
                (Place::CellStart | Place::InCell, _) => match memchr2(b'\n', b'"', &bytes[pos..]) {
                    Some(length) if bytes[pos + length] == b'\n' => {
                        pos += length + 1;
                        self.end_row(base + pos as u64, on_row);
                    }
                    Some(length) => {
                        let opens = length > 0 && bytes[pos + length - 1] == b',';
                        self.place = if opens { Place::InQuotes } else { Place::InCell };
                        pos += length + 1;
                    }
                    None => {
                        self.place = if bytes.ends_with(b",") { Place::CellStart } else { Place::InCell };
                        pos = bytes.len();
                    }
                },
                (Place::InQuotes, _) => {
                    let end = memchr(b'"', &bytes[pos..]).map_or(bytes.len(), |length| pos + length);
                    self.line += memchr_iter(b'\n', &bytes[pos..end]).count() as u64;
                    if end < bytes.len() {
                        self.place = Place::BehindQuote;
                    }
                    pos = (end + 1).min(bytes.len());
                }
            }
        }
        self.offset = base + bytes.len() as u64;
    }

    fn end_row(&mut self, end: u64, on_row: &mut impl FnMut(RowSpan)) {
        let length = end - self.row_offset;
        let is_blank = length == 1 || (length == 2 && self.first == b'\r');
        on_row(RowSpan { offset: self.row_offset, length, line: self.row_line, is_blank });
        self.line += 1;
        (self.place, self.row_offset, self.row_line) = (Place::CellStart, end, self.line);
    }
}
