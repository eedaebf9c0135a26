//! The fields of one record, read by itself: each is checked and then given as it was written.

use std::borrow::Cow;

use crate::{
    FieldType, Schema, Statistics,
    scan::{
        accumulator::Accumulator,
        compiled_schema::{Column, CompiledSchema, Value},
        csv::{Cell, columns_wanted, split_row},
        error::{Found, ScanError, ended, wrong},
        excerpt::excerpt,
        kept::Kept,
        object::RecordSink,
        row::said,
        token::{after_space, unescaped},
    },
};

/// The value of a field that was found right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given<'a> {
    Null,
    Truth(bool),
    /// As JSON spells numbers.
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
    /// An object or an array.
    Json(Cow<'a, str>),
}

/// Reads records against a schema, one at a time.
#[derive(Debug)]
pub(crate) struct FieldReader {
    sink: RecordSink,
    /// Kept only for its memory.
    cells: Vec<Cell>,
}

impl FieldReader {
    pub(crate) fn new(schema: &Schema) -> Self {
        let none = Statistics::default();
        let mut shape = CompiledSchema::new(schema, &none);
        for column in &mut shape.fields {
            // Numbers are not added up here, so they may be of any size, unless they are compared.
            column.is_text = column.kind == FieldType::Number && column.bounds == (i128::MIN, i128::MAX);
        }
        let mut sink = RecordSink::new(shape, Accumulator::new(&none));
        sink.kept = Kept::Spans(Vec::new());
        Self { sink, cells: Vec::new() }
    }

    /// The values of a row of CSV, by field; or what is wrong with it. `count` is how many columns the header has, and
    /// `column_of` which of them each field is.
    pub(crate) fn row<'a>(
        &mut self,
        row: &'a [u8],
        count: usize,
        column_of: &[Option<usize>],
    ) -> Result<Vec<Given<'a>>, String> {
        if let Err(error) = str::from_utf8(row) {
            return Err(said(&wrong(error.valid_up_to(), "UTF-8"), row));
        }
        split_row(row, 0, true, usize::MAX, &mut self.cells).map_err(|stop| said(&stop, row))?;
        if self.cells.len() != count {
            return Err(format!("expected {}, found {}", columns_wanted(count), self.cells.len()));
        }
        let mut given = Vec::with_capacity(column_of.len());
        for (column, at) in self.sink.shape.fields.iter().zip(column_of) {
            let text = at.and_then(|at| self.cells.get(at)).map(|cell| cell.text(row)).unwrap_or_default();
            given.push(cell(column, text).map_err(|stop| in_field(&column.name, &said(&stop, row)))?);
        }
        Ok(given)
    }

    /// The values of a JSON record, which is the whole of a line, by field; or what is wrong with it. `None` where the
    /// line is blank.
    pub(crate) fn line<'a>(&mut self, line: &'a [u8]) -> Result<Option<Vec<Given<'a>>>, String> {
        let start = after_space(line, 0);
        if start == line.len() {
            return Ok(None);
        }
        self.read(line, start).map_err(|stop| self.reason(&stop, line))?;
        let Kept::Spans(spans) = &self.sink.kept else { return Ok(Some(Vec::new())) };
        let given = spans.iter().map(|span| span.clone().map_or(Ok(Given::Null), |span| value(&line[span])));
        given
            .collect::<Result<_, _>>()
            .map(Some)
            .map_err(|error| self.reason(&wrong(error.valid_up_to(), "UTF-8"), line))
    }

    fn read(&mut self, line: &[u8], start: usize) -> Result<(), Box<ScanError>> {
        if !self.sink.shape.begins_with(line[start]) {
            return Err(wrong(start, self.sink.shape.expected()));
        }
        let end = self.sink.record(line, start, 0, None)?;
        match after_space(line, end) {
            rest if rest < line.len() => Err(wrong(rest, "the end of the record")),
            _ => Ok(()),
        }
    }

    fn reason(&self, stop: &ScanError, line: &[u8]) -> String {
        let rest = line.get(stop.at..).unwrap_or_default().trim_ascii_end();
        let found = match &stop.found {
            Found::Said(words) => words.clone(),
            Found::HereInQuotes => format!("the string {}", excerpt(rest)),
            Found::Here if !rest.is_empty() => excerpt(rest),
            Found::Here | Found::End => "the end of the record".to_owned(),
        };
        let said = format!("expected {}, found {found}", stop.expected);
        stop.field.map_or_else(|| said.clone(), |field| in_field(&self.sink.shape.fields[field].name, &said))
    }
}

fn in_field(name: &str, said: &str) -> String {
    format!("field `{name}`: {said}")
}

/// The value of a cell of CSV, which is UTF-8.
fn cell<'a>(column: &Column, text: Cow<'a, [u8]>) -> Result<Given<'a>, Box<ScanError>> {
    let Some(value) = column.cell(0, &text)? else { return Ok(Given::Null) };
    let text = match text {
        Cow::Borrowed(text) => str::from_utf8(text).map(Cow::Borrowed),
        Cow::Owned(text) => String::from_utf8(text).map(Cow::Owned).map_err(|error| error.utf8_error()),
    };
    let text = text.map_err(|_| ended("UTF-8"))?;
    Ok(match value {
        Value::Truth(truth) => Given::Truth(truth),
        Value::Number(_) | Value::Text if column.is_number() => Given::Number(text),
        Value::Number(_) | Value::Text => Given::Text(text),
    })
}

/// A JSON value that was found right.
fn value(json: &[u8]) -> Result<Given<'_>, std::str::Utf8Error> {
    Ok(match json {
        [b'n', ..] => Given::Null,
        [b't', ..] => Given::Truth(true),
        [b'f', ..] => Given::Truth(false),
        [b'"', ..] if json.contains(&b'\\') => Given::Text(unescaped(json).into()),
        [b'"', text @ .., b'"'] => Given::Text(str::from_utf8(text)?.into()),
        [b'{' | b'[', ..] => Given::Json(str::from_utf8(json)?.into()),
        _ => Given::Number(str::from_utf8(json)?.into()),
    })
}
