//! The header line: which column each field of a row is.

use std::{fmt, str::FromStr};

use memchr::memchr_iter;

use crate::{
    Field, Schema, UploadError,
    scan::{Header, UNIT_BYTES, read_header},
    upload::row_ends::{RowEnds, RowSpan},
};

/// Which column each field of a row is. Written as `3:0,-,1`: how many columns there are, and for each field in the
/// order of `[record]` its column, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    pub(crate) count: usize,
    pub(crate) of: Vec<Option<usize>>,
}

impl Columns {
    /// The columns that the header line names.
    fn read(schema: &Schema, line: &[u8]) -> Result<Self, UploadError> {
        let Header { names, separator } = read_header(line).map_err(|problem| match has_bare_return(line) {
            true => UploadError::BareReturns,
            false => UploadError::BadHeader { problem },
        })?;
        let mut of = Vec::with_capacity(schema.fields.len());
        for field in &schema.fields {
            let key = column_name(field);
            let mut found = names.iter().enumerate().filter(|(_, name)| *name == key).map(|(at, _)| at);
            of.push(found.next());
            if found.next().is_some() {
                return Err(UploadError::DuplicateColumn { name: key.to_owned() });
            }
        }
        // Where no column is known, nothing of a row would be read.
        let none = of.iter().all(Option::is_none);
        let lacks =
            schema.fields.iter().zip(&of).filter(|(field, at)| at.is_none() && (field.constraints.required || none));
        let missing: Vec<_> = lacks.map(|(field, _)| column_name(field).to_owned()).collect();
        if !missing.is_empty() {
            return Err(UploadError::MissingColumns { missing, found: names, separator });
        }
        Ok(Self { count: names.len(), of })
    }
}

/// The column that a field is.
fn column_name(field: &Field) -> &str {
    field.path.as_member().unwrap_or(&field.name)
}

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.count)?;
        for (index, column) in self.of.iter().enumerate() {
            f.write_str(if index > 0 { "," } else { "" })?;
            match column {
                Some(column) => write!(f, "{column}")?,
                None => f.write_str("-")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Columns {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (count, of) = text.split_once(':').ok_or(())?;
        let count: usize = count.parse().map_err(drop)?;
        let column = |text: &str| match text {
            "-" => Ok(None),
            text => text.parse().ok().filter(|column| *column < count).map(Some).ok_or(()),
        };
        Ok(Self { count, of: of.split(',').map(column).collect::<Result<_, ()>>()? })
    }
}

/// Reads the header line, then finds the rows. Memory: the header line, at most 1 MiB.
#[derive(Debug)]
pub(crate) struct ColumnsThenRows {
    schema: Schema,
    ends: RowEnds,
    /// The beginning of the file, until its first line is whole.
    head: Vec<u8>,
    columns: Option<Columns>,
}

impl ColumnsThenRows {
    pub(crate) fn new(schema: Schema) -> Self {
        Self { schema, ends: RowEnds::default(), head: Vec::new(), columns: None }
    }

    /// The line of the next byte, from 1.
    pub(crate) fn line(&self) -> u64 {
        self.ends.line()
    }

    /// Where the row begins that has not ended.
    pub(crate) fn row_offset(&self) -> u64 {
        self.ends.row_offset()
    }

    /// Tells each row that ends in `bytes`, the next of the file.
    pub(crate) fn push(&mut self, bytes: &[u8], mut on_row: impl FnMut(RowSpan, &Columns)) -> Result<(), UploadError> {
        if self.columns.is_none() {
            let room = (UNIT_BYTES + 4).saturating_sub(self.head.len());
            self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        let mut wrong = None;
        let Self { schema, ends, head, columns } = self;
        ends.push(bytes, |span| {
            if wrong.is_none() {
                wrong = on_span(schema, head, columns, span, &mut on_row).err();
            }
        });
        match wrong {
            Some(error) => Err(error),
            None if self.columns.is_none() && self.ends.open_length() > UNIT_BYTES as u64 => Err(too_long(&self.head)),
            None => Ok(()),
        }
    }

    /// Tells the last row, where the file does not end in a line feed.
    pub(crate) fn finish(mut self, mut on_row: impl FnMut(RowSpan, &Columns)) -> Result<(), UploadError> {
        let mut wrong = None;
        let Self { schema, ends, head, columns } = &mut self;
        ends.finish(|span| {
            if wrong.is_none() {
                wrong = on_span(schema, head, columns, span, &mut on_row).err();
            }
        });
        match (wrong, &self.columns) {
            (Some(error), _) => Err(error),
            (None, Some(_)) => Ok(()),
            (None, None) => {
                let required = self.schema.fields.iter().filter(|field| field.constraints.required);
                let mut expected: Vec<_> = required.map(|field| column_name(field).to_owned()).collect();
                if expected.is_empty() {
                    expected = self.schema.fields.iter().map(|field| column_name(field).to_owned()).collect();
                }
                Err(UploadError::Empty { expected })
            }
        }
    }
}

/// The first row is the header line. An empty line is no row, unless there is only one column.
fn on_span(
    schema: &Schema,
    head: &mut Vec<u8>,
    columns: &mut Option<Columns>,
    span: RowSpan,
    on_row: &mut impl FnMut(RowSpan, &Columns),
) -> Result<(), UploadError> {
    match columns {
        Some(columns) => {
            if !span.is_blank || columns.count == 1 {
                on_row(span, columns);
            }
        }
        None if span.length > UNIT_BYTES as u64 => return Err(too_long(head)),
        None => {
            let from = span.offset as usize;
            *columns = Some(Columns::read(schema, &head[from..from + span.length as usize])?);
            *head = Vec::new();
        }
    }
    Ok(())
}

/// Of a file whose first bytes these are. Only so many are looked at as are always there.
fn too_long(head: &[u8]) -> UploadError {
    let is_bare = has_bare_return(&head[..head.len().min(UNIT_BYTES)]);
    if is_bare { UploadError::BareReturns } else { UploadError::HeaderTooLong }
}

fn has_bare_return(bytes: &[u8]) -> bool {
    memchr_iter(b'\r', bytes).any(|at| bytes.get(at + 1).is_some_and(|next| *next != b'\n'))
}
