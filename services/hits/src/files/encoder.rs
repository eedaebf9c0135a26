//! Writes paths and counts as Parquet, in row groups that a reader can hold.

use std::{io::Write, sync::Arc};

use parquet::{
    basic::{Compression, Encoding, LogicalType, Repetition, Type as PhysicalType},
    column::writer::ColumnWriter,
    data_type::ByteArray,
    errors::{ParquetError, Result},
    file::{
        metadata::{KeyValue, SortingColumn},
        properties::{EnabledStatistics, WriterProperties},
        writer::SerializedFileWriter,
    },
    schema::types::{ColumnPath, Type},
};

use crate::files::covers::Covers;

/// In a footer, what the file covers.
pub(crate) const COVERS: &str = "waybill.covers";
/// A row group holds so many bytes of paths or so many rows: what a reader decodes at once.
const GROUP_BYTES: usize = 1 << 20;
const GROUP_ROWS: usize = 1 << 16;

/// Takes paths in order, each once, and writes them to `W`.
pub(crate) struct Encoder<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    paths: Vec<ByteArray>,
    counts: Vec<i64>,
    bytes: usize,
}

impl<W: Write + Send> Encoder<W> {
    pub(crate) fn new(out: W, covers: &Covers) -> Result<Self> {
        let column = |name| ColumnPath::from(vec![String::from(name)]);
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_dictionary_enabled(false)
            // Sorted paths share their beginnings.
            .set_column_encoding(column("path"), Encoding::DELTA_BYTE_ARRAY)
            .set_column_encoding(column("count"), Encoding::DELTA_BINARY_PACKED)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_sorting_columns(Some(vec![SortingColumn { column_idx: 0, descending: false, nulls_first: false }]))
            .set_key_value_metadata(Some(vec![KeyValue::new(COVERS.to_owned(), covers.to_json())]))
            .build();
        let writer = SerializedFileWriter::new(out, Arc::new(schema()?), Arc::new(properties))?;
        Ok(Self { writer, paths: Vec::new(), counts: Vec::new(), bytes: 0 })
    }

    pub(crate) fn push(&mut self, path: &str, count: u64) -> Result<()> {
        self.bytes += path.len();
        self.paths.push(ByteArray::from(path));
        self.counts.push(i64::try_from(count).unwrap_or(i64::MAX));
        if self.bytes >= GROUP_BYTES || self.paths.len() >= GROUP_ROWS { self.end_group() } else { Ok(()) }
    }

    /// Writes what is left, and the footer.
    pub(crate) fn finish(mut self) -> Result<W> {
        if !self.paths.is_empty() {
            self.end_group()?;
        }
        self.writer.into_inner()
    }

    fn end_group(&mut self) -> Result<()> {
        let mut group = self.writer.next_row_group()?;
        while let Some(mut column) = group.next_column()? {
            match column.untyped() {
                ColumnWriter::ByteArrayColumnWriter(writer) => writer.write_batch(&self.paths, None, None)?,
                ColumnWriter::Int64ColumnWriter(writer) => writer.write_batch(&self.counts, None, None)?,
                _ => return Err(ParquetError::General("the schema has two columns".to_owned())),
            };
            column.close()?;
        }
        group.close()?;
        self.paths.clear();
        self.counts.clear();
        self.bytes = 0;
        Ok(())
    }
}

fn schema() -> Result<Type> {
    let required = |name, physical, logical| {
        Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::REQUIRED)
            .with_logical_type(logical)
            .build()
            .map(Arc::new)
    };
    let path = required("path", PhysicalType::BYTE_ARRAY, Some(LogicalType::String))?;
    let count = required("count", PhysicalType::INT64, None)?;
    Type::group_type_builder("hits").with_fields(vec![path, count]).build()
}
