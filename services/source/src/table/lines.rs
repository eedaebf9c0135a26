//! Records that are lines: NDJSON. A line that is too long is rejected, and no byte of it is kept.

use memchr::memchr;

use crate::{
    scan::{BYTE_ORDER_MARK, shown_size},
    table::{record::RecordReader, rows::Row},
};

/// Finds lines, wherever the bytes are cut.
#[derive(Debug)]
pub(super) struct Lines {
    /// The longest line, its end not counted.
    limit: usize,
    /// Of the line that is open, from 1.
    line: u64,
    /// How long it is so far.
    length: u64,
    /// Its bytes, unless it is too long.
    carry: Vec<u8>,
}

impl Lines {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, line: 1, length: 0, carry: Vec::new() }
    }

    /// Takes the next bytes, cut anywhere.
    pub(super) fn push(&mut self, bytes: &[u8], reader: &mut RecordReader, each: &mut impl FnMut(Row)) {
        let mut rest = bytes;
        while let Some(length) = memchr(b'\n', rest) {
            let (line, after) = rest.split_at(length + 1);
            if self.length == 0 && line.len() <= self.limit {
                self.read(line, reader, each);
            } else {
                self.keep(line);
                self.end(reader, each);
            }
            self.line += 1;
            rest = after;
        }
        self.keep(rest);
    }

    /// Says that the last byte was seen.
    pub(super) fn finish(mut self, reader: &mut RecordReader, each: &mut impl FnMut(Row)) {
        if self.length > 0 {
            self.keep(b"\n");
            self.end(reader, each);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if self.is_too_long() {
            self.carry = Vec::new();
        } else {
            self.carry.extend_from_slice(bytes);
        }
    }

    /// Its line feed is not counted.
    fn is_too_long(&self) -> bool {
        self.length > (self.limit as u64).saturating_add(1)
    }

    /// The line that is open ended.
    fn end(&mut self, reader: &mut RecordReader, each: &mut impl FnMut(Row)) {
        if self.is_too_long() {
            let most = shown_size(self.limit);
            let reason = format!("expected at most {most} for one record, found {} bytes", self.length - 1);
            each(Row { place: self.line, cells: Err(reason) });
        } else {
            let mut carry = std::mem::take(&mut self.carry);
            self.read(&carry, reader, each);
            carry.clear();
            self.carry = carry;
        }
        self.length = 0;
    }

    fn read(&self, line: &[u8], reader: &mut RecordReader, each: &mut impl FnMut(Row)) {
        let line = if self.line == 1 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
        if let Some(cells) = reader.line(line) {
            each(Row { place: self.line, cells });
        }
    }
}
