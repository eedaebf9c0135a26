//! Formats of columns: Arrow and Parquet.

use std::io;

use arrow::{array::RecordBatch, datatypes::SchemaRef, ipc::writer::StreamWriter};
use datafusion::parquet::{arrow::ArrowWriter, basic::Compression, file::properties::WriterProperties};

use super::Encoder;

/// Rows that are in memory until they are compressed and written.
const ROW_GROUP: usize = 128 * 1024;

pub(super) struct Arrow(StreamWriter<Vec<u8>>);

impl Arrow {
    pub(super) fn new(schema: &SchemaRef) -> io::Result<Self> {
        Ok(Self(StreamWriter::try_new(Vec::new(), schema).map_err(io::Error::other)?))
    }
}

impl Encoder for Arrow {
    fn begin(&mut self) -> io::Result<Vec<u8>> {
        Ok(std::mem::take(self.0.get_mut()))
    }

    fn batch(&mut self, batch: &RecordBatch) -> io::Result<Vec<u8>> {
        self.0.write(batch).map_err(io::Error::other)?;
        Ok(std::mem::take(self.0.get_mut()))
    }

    fn end(mut self: Box<Self>) -> io::Result<Vec<u8>> {
        self.0.finish().map_err(io::Error::other)?;
        Ok(std::mem::take(self.0.get_mut()))
    }
}

pub(super) struct Parquet(ArrowWriter<Vec<u8>>);

impl Parquet {
    pub(super) fn new(schema: &SchemaRef) -> io::Result<Self> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(ROW_GROUP))
            .build();
        Ok(Self(
            ArrowWriter::try_new(Vec::new(), SchemaRef::clone(schema), Some(properties)).map_err(io::Error::other)?,
        ))
    }
}

impl Encoder for Parquet {
    fn begin(&mut self) -> io::Result<Vec<u8>> {
        Ok(std::mem::take(self.0.inner_mut()))
    }

    fn batch(&mut self, batch: &RecordBatch) -> io::Result<Vec<u8>> {
        self.0.write(batch).map_err(io::Error::other)?;
        Ok(std::mem::take(self.0.inner_mut()))
    }

    fn end(self: Box<Self>) -> io::Result<Vec<u8>> {
        self.0.into_inner().map_err(io::Error::other)
    }
}
