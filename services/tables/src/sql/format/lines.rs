//! Formats of text: JSON, NDJSON and CSV. Timestamps are ISO 8601, decimals have all their digits, nothing is `null`, or
//! empty in CSV.

use std::io;

use arrow::{
    array::{Array, ArrayRef, RecordBatch, StringArray},
    csv,
    datatypes::SchemaRef,
    json::writer::{LineDelimited, WriterBuilder},
    util::display::{ArrayFormatter, FormatOptions},
};

use super::Encoder;

/// An object for each row, each with a newline.
fn objects(batch: &RecordBatch) -> io::Result<Vec<u8>> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    writer.write(batch).map_err(io::Error::other)?;
    Ok(writer.into_inner())
}

pub(super) struct Ndjson;

impl Encoder for Ndjson {
    fn begin(&mut self) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn batch(&mut self, batch: &RecordBatch) -> io::Result<Vec<u8>> {
        objects(batch)
    }

    fn end(self: Box<Self>) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

#[derive(Default)]
pub(super) struct Json {
    has_rows: bool,
}

impl Encoder for Json {
    fn begin(&mut self) -> io::Result<Vec<u8>> {
        Ok(b"[".to_vec())
    }

    fn batch(&mut self, batch: &RecordBatch) -> io::Result<Vec<u8>> {
        let objects = objects(batch)?;
        let mut array = Vec::with_capacity(objects.len() + batch.num_rows());
        // A newline within a text is escaped.
        for object in objects.split(|byte| *byte == b'\n').filter(|object| !object.is_empty()) {
            array.extend_from_slice(if self.has_rows { b",\n" } else { b"\n" });
            array.extend_from_slice(object);
            self.has_rows = true;
        }
        Ok(array)
    }

    fn end(self: Box<Self>) -> io::Result<Vec<u8>> {
        Ok(if self.has_rows { b"\n]\n".to_vec() } else { b"]\n".to_vec() })
    }
}

pub(super) struct Csv {
    schema: SchemaRef,
}

impl Csv {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self { schema: SchemaRef::clone(schema) }
    }
}

impl Encoder for Csv {
    fn begin(&mut self) -> io::Result<Vec<u8>> {
        rows(&RecordBatch::new_empty(SchemaRef::clone(&self.schema)), true)
    }

    fn batch(&mut self, batch: &RecordBatch) -> io::Result<Vec<u8>> {
        rows(batch, false)
    }

    fn end(self: Box<Self>) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

fn rows(batch: &RecordBatch, with_names: bool) -> io::Result<Vec<u8>> {
    let columns = batch.schema_ref().fields().iter().zip(batch.columns()).map(|(field, column)| {
        Ok((field.name(), if column.data_type().is_nested() { texts(column)? } else { ArrayRef::clone(column) }))
    });
    let columns = columns.collect::<io::Result<Vec<_>>>()?;
    let batch = RecordBatch::try_from_iter(columns).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    let mut writer = csv::WriterBuilder::new().with_header(with_names).build(&mut bytes);
    writer.write(&batch).map_err(io::Error::other)?;
    drop(writer);
    Ok(bytes)
}

/// Lists and structures, which CSV does not have.
fn texts(column: &ArrayRef) -> io::Result<ArrayRef> {
    let options = FormatOptions::new();
    let formatter = ArrayFormatter::try_new(column, &options).map_err(io::Error::other)?;
    let texts: StringArray =
        (0..column.len()).map(|row| column.is_valid(row).then(|| formatter.value(row).to_string())).collect();
    Ok(std::sync::Arc::new(texts))
}
