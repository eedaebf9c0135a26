//! One row of an upload, read by itself: what is wrong with it leaves the others alone.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::{
    Schema, Statistics,
    scan::{
        compiled_schema::{Column, CompiledSchema, Value},
        csv::{Cell, columns_wanted, separator_in, split_row},
        error::{Found, ScanError, wrong},
        excerpt::{excerpt, quoted},
        value::row_number,
    },
};

/// Reads rows against the schema of a row.
#[derive(Debug)]
pub(crate) struct RowReader {
    shape: CompiledSchema,
    /// Kept only for its memory.
    cells: Vec<Cell>,
}

/// The header line of an upload.
#[derive(Debug)]
pub(crate) struct Header {
    /// The names of the columns.
    pub(crate) names: Vec<String>,
    /// What may separate the columns, where there seems to be only one.
    pub(crate) separator: Option<&'static str>,
}

impl RowReader {
    pub(crate) fn new(schema: &Schema) -> Self {
        Self { shape: CompiledSchema::new(schema, &Statistics::default()), cells: Vec::new() }
    }

    /// The values of a row that are good, by field, and what is wrong with the others or with the whole row. `count`
    /// is how many columns the header has, and `column_of` which of them each field is.
    pub(crate) fn read(
        &mut self,
        row: &[u8],
        count: usize,
        column_of: &[Option<usize>],
    ) -> (BTreeMap<String, Json>, Option<String>) {
        let mut values = BTreeMap::new();
        if let Err(error) = str::from_utf8(row) {
            return (values, Some(said(&wrong(error.valid_up_to(), "UTF-8"), row)));
        }
        if let Err(stop) = split_row(row, 0, true, usize::MAX, &mut self.cells) {
            return (values, Some(said(&stop, row)));
        }
        if self.cells.len() != count {
            return (values, Some(format!("expected {}, found {}", columns_wanted(count), self.cells.len())));
        }
        let mut problems = Vec::new();
        for (column, at) in self.shape.fields.iter().zip(column_of) {
            let cell = at.and_then(|at| self.cells.get(at));
            let text = cell.map(|cell| cell.text(row)).unwrap_or_default();
            match column.cell(0, &text) {
                Ok(None) => {}
                Ok(Some(value)) => drop(values.insert(column.name.clone(), column.json(value, &text))),
                Err(stop) => problems.push(format!("column `{}`: {}", column.name, said(&stop, row))),
            }
        }
        (values, (!problems.is_empty()).then(|| problems.join("; ")))
    }
}

/// The names in a header line, or what is wrong with it.
pub(crate) fn read_header(line: &[u8]) -> Result<Header, String> {
    let mut cells = Vec::new();
    split_row(line, 0, true, usize::MAX, &mut cells).map_err(|stop| said(&stop, line))?;
    let names: Vec<_> = cells.iter().map(|cell| String::from_utf8_lossy(&cell.text(line)).into_owned()).collect();
    let separator = if let [name] = names.as_slice() { separator_in(name.as_bytes()) } else { None };
    Ok(Header { names, separator })
}

impl Column {
    /// A value of a cell that was found right.
    fn json(&self, value: Value, text: &[u8]) -> Json {
        match value {
            Value::Truth(truth) => truth.into(),
            Value::Number(_) if self.is_number() => row_number(text),
            Value::Number(_) | Value::Text => String::from_utf8_lossy(text).into(),
        }
    }
}

/// What is wrong with a row, in words.
pub(super) fn said(stop: &ScanError, row: &[u8]) -> String {
    let rest = row.get(stop.at..).unwrap_or_default();
    let rest = rest.strip_suffix(b"\n").unwrap_or(rest);
    let found = match &stop.found {
        Found::Said(words) => words.clone(),
        Found::HereInQuotes => quoted(rest),
        Found::Here if !rest.is_empty() => excerpt(rest),
        Found::Here | Found::End => "the end of the row".to_owned(),
    };
    format!("expected {}, found {found}", stop.expected)
}
