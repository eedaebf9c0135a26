//! Comma-separated values: RFC 4180, the header line naming the columns.
//!
//! A cell is what its field's type is in JSON, without the quotes of a string; `True`, `TRUE` and `1` are also
//! true, `False`, `FALSE` and `0` false. An empty cell is no value, as in Frictionless. An empty line is no
//! row, unless there is only one column.

use std::{borrow::Cow, ops::Range};

use memchr::memchr;

use crate::{
    FieldType,
    scan::{
        compiled_schema::{Column, CompiledSchema, Value},
        error::{Step, ended, wrong},
        excerpt::quoted,
        object::RecordSink,
    },
};

/// The header, once it was read.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// Per column, the field that it is.
    columns: Option<Vec<Option<usize>>>,
    /// The cells of the row being read: kept only for its memory.
    cells: Vec<Cell>,
}

/// One cell.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    /// Where it starts, the quote included.
    pub(super) at: usize,
    /// Its text, without the quotes around it.
    text: Range<usize>,
    /// Whether there are doubled quotes in it.
    doubled: bool,
}

impl Reader {
    /// Reads all the rows that are whole. `pos` moves from one to the next.
    pub(super) fn advance(
        &mut self,
        bytes: &[u8],
        pos: &mut usize,
        last: bool,
        limit: usize,
        sheet: &mut RecordSink,
    ) -> Step<()> {
        while *pos < bytes.len() {
            let unit = &bytes[..bytes.len().min(pos.saturating_add(limit))];
            let last = last && unit.len() - *pos < limit;
            let most = self.columns.as_ref().map_or(usize::MAX, Vec::len);
            let next = split_row(unit, *pos, last, most, &mut self.cells)?;
            if let Err(error) = str::from_utf8(&unit[*pos..next]) {
                return Err(wrong(*pos + error.valid_up_to(), "UTF-8"));
            }
            match &self.columns {
                None => self.columns = Some(header(unit, *pos..next, &self.cells, sheet)?),
                Some(columns) => row(unit, *pos..next, columns, &self.cells, sheet)?,
            }
            *pos = next;
        }
        if self.columns.is_none() { Err(ended("a header line")) } else { Ok(()) }
    }
}

/// Splits the row at `pos` into its cells, of which there may be so many, and says where the next row is.
pub(super) fn split_row(bytes: &[u8], pos: usize, last: bool, most: usize, cells: &mut Vec<Cell>) -> Step<usize> {
    cells.clear();
    let mut at = pos;
    loop {
        if cells.len() == most {
            return Err(wrong(at, columns_wanted(most)));
        }
        let (cell, end) = split_cell(bytes, at, last)?;
        cells.push(cell);
        match (bytes.get(end), bytes.get(end + 1)) {
            (Some(b','), _) => at = end + 1,
            (Some(b'\n'), _) => return Ok(end + 1),
            (Some(b'\r'), Some(b'\n')) => return Ok(end + 2),
            (None, _) if last => return Ok(end),
            (None, _) => return Err(ended("the end of a row")),
            (Some(b'\r'), None) if !last => return Err(ended("a line feed")),
            (Some(b'\r'), _) => return Err(wrong(end, "a line feed behind the carriage return")),
            (Some(_), _) => return Err(wrong(end, "`,` or the end of the line behind the closing quote")),
        }
    }
}

/// The first rows of a file as texts, the header first: to look at, not to check.
pub(crate) fn first_rows(bytes: &[u8], most: usize) -> Vec<Vec<String>> {
    let (mut rows, mut cells, mut pos) = (Vec::<Vec<String>>::new(), Vec::new(), 0);
    while pos < bytes.len() && rows.len() < most {
        let Ok(next) = split_row(bytes, pos, true, usize::MAX, &mut cells) else { break };
        let row: Vec<_> = cells.iter().map(|cell| String::from_utf8_lossy(&cell.text(bytes)).into_owned()).collect();
        let is_empty_line = row.len() == 1 && row[0].is_empty();
        if !is_empty_line || rows.first().is_some_and(|header| header.len() == 1) {
            rows.push(row);
        }
        pos = next;
    }
    rows
}

/// The cell at `at`, and where it ends.
fn split_cell(bytes: &[u8], at: usize, last: bool) -> Step<(Cell, usize)> {
    if bytes.get(at) != Some(&b'"') {
        let rest = &bytes[at..];
        let length = rest.iter().position(|byte| matches!(byte, b',' | b'\n' | b'\r' | b'"')).unwrap_or(rest.len());
        let end = at + length;
        if bytes.get(end) == Some(&b'"') {
            return Err(wrong(end, "quotes around the whole cell"));
        }
        return Ok((Cell { at, text: at..end, doubled: false }, end));
    }
    let (mut from, mut doubled) = (at + 1, false);
    loop {
        let Some(length) = memchr(b'"', &bytes[from..]) else { return Err(ended("a closing quote")) };
        let quote = from + length;
        match bytes.get(quote + 1) {
            Some(b'"') => (from, doubled) = (quote + 2, true),
            None if !last => return Err(ended("the end of a row")),
            _ => return Ok((Cell { at, text: at + 1..quote, doubled }, quote + 1)),
        }
    }
}

/// Reads the header, whose line is at `line`.
fn header(bytes: &[u8], line: Range<usize>, cells: &[Cell], sheet: &mut RecordSink) -> Step<Vec<Option<usize>>> {
    let names: Vec<_> = cells.iter().map(|cell| (cell.at, cell.text(bytes))).collect();
    let columns = columns_of(&names, &sheet.shape)?;
    if let Some(capture) = &mut sheet.capture {
        let line = &bytes[line];
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        capture.header = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
    }
    Ok(columns)
}

/// Which field each column is. A column has a place and a name.
pub(super) fn columns_of(names: &[(usize, Cow<'_, [u8]>)], shape: &CompiledSchema) -> Step<Vec<Option<usize>>> {
    let mut columns = Vec::with_capacity(names.len());
    for (at, name) in names {
        let field = shape.find(name);
        if let Some(field) = field
            && columns.contains(&Some(field))
        {
            return Err(wrong(*at, "every column once").in_field(field));
        }
        if field.is_none() && shape.is_closed {
            return Err(wrong(*at, "no column that is not a field of [record]").saying(quoted(name)));
        }
        columns.push(field);
    }
    let lacking =
        shape.fields.iter().enumerate().find(|(field, column)| column.required && !columns.contains(&Some(*field)));
    match lacking {
        Some((field, column)) => {
            let at = names.first().map_or(0, |(at, _)| *at);
            let names: Vec<_> = names.iter().map(|(_, name)| &**name).collect();
            Err(wrong(at, format!("the column `{}`", column.key)).in_field(field).saying(format!(
                "{}{}",
                quoted(&names.join(&b',')),
                other_separator(&names)
            )))
        }
        None => Ok(columns),
    }
}

/// A note on what may separate the columns of a header.
fn other_separator(names: &[&[u8]]) -> String {
    let found = if let [name] = names { separator_in(name) } else { None };
    found.map_or_else(String::new, |separator| format!(" (separated by {separator}?)"))
}

/// What may separate the columns of a header that seems to have only one, of this name.
pub(super) fn separator_in(name: &[u8]) -> Option<&'static str> {
    let known = [(b';', "`;`"), (b'\t', "tabs"), (b'|', "`|`")];
    known.into_iter().find(|(separator, _)| memchr(*separator, name).is_some()).map(|(_, shown)| shown)
}

/// Checks the row at `line` and adds it up.
fn row(
    bytes: &[u8],
    line: Range<usize>,
    columns: &[Option<usize>],
    cells: &[Cell],
    sheet: &mut RecordSink,
) -> Step<()> {
    if let [Cell { at, text, .. }] = cells
        && columns.len() > 1
    {
        // Not a cell with nothing in quotes: a line with nothing at all.
        if *at == text.start && text.is_empty() {
            return Ok(());
        }
    }
    if cells.len() < columns.len() {
        let found = if cells.len() == 1 { "1 column".into() } else { format!("{} columns", cells.len()) };
        return Err(wrong(cells[0].at, columns_wanted(columns.len())).saying(found));
    }
    sheet.row.clear();
    if !sheet.kept.is_nothing() {
        sheet.begin_row();
    }
    for (cell, field) in cells.iter().zip(columns) {
        let Some(field) = *field else { continue };
        let (column, text) = (&sheet.shape.fields[field], cell.text(bytes));
        if let Some(value) = column.cell(cell.at, &text).map_err(|stop| stop.in_field(field))? {
            sheet.row.set(field, value);
            if let Some(values) = sheet.kept.row() {
                values[field] = column.item_value(value, &text);
            }
        }
    }
    sheet.check_required(cells[0].at)?;
    sheet.add(cells[0].at)?;
    if let Some(capture) = &mut sheet.capture {
        capture.csv(&bytes[line]);
    }
    Ok(())
}

impl Column {
    /// The value of a cell at `at` with this text; `None` where it is empty and need not be there.
    pub(super) fn cell(&self, at: usize, text: &[u8]) -> Step<Option<Value>> {
        if text.is_empty() {
            return match self.required {
                true => Err(wrong(at, self.expected.clone()).saying("nothing")),
                false => Ok(None),
            };
        }
        let spelled: &[u8] = match (self.kind, text) {
            (FieldType::Boolean, b"True" | b"TRUE" | b"1") => b"true",
            (FieldType::Boolean, b"False" | b"FALSE" | b"0") => b"false",
            (_, text) => text,
        };
        let value = self.value(spelled);
        value.map(Some).ok_or_else(|| wrong(at, self.expected_of(spelled)).saying(quoted(text)))
    }
}

pub(super) fn columns_wanted(count: usize) -> String {
    if count == 1 { "1 column, as in the header".into() } else { format!("{count} columns, as in the header") }
}

impl Cell {
    pub(super) fn text<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let text = &bytes[self.text.clone()];
        if !self.doubled {
            return text.into();
        }
        // Every quote in it is doubled, so what follows one is its twin.
        let mut single = Vec::with_capacity(text.len());
        let mut rest = text.iter();
        while let Some(byte) = rest.next() {
            single.push(*byte);
            if *byte == b'"' {
                rest.next();
            }
        }
        single.into()
    }
}
