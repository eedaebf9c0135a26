//! Reads a file of counts from the store, a row group at a time.

use std::sync::Arc;

use bytes::{Buf, Bytes, buf::Reader};
use parquet::{
    column::reader::ColumnReaderImpl,
    data_type::{ByteArrayType, Int64Type},
    errors::ParquetError,
    file::{
        metadata::{ParquetMetaData, ParquetMetaDataReader},
        reader::{ChunkReader, Length},
        serialized_reader::SerializedPageReader,
    },
};
use waybill_store::Store;

use crate::{
    HitsError, PathCount,
    files::{covers::Covers, encoder::COVERS, name::FileName},
};

/// What is read of a file's end at first: most files whole, the footer of the others.
const TAIL: u64 = 256 * 1024;
/// The longest footer: some ten thousand row groups.
const FOOTER_LIMIT: u64 = 64 << 20;
/// The longest row group, in bytes: one that [`super::encoder`] writes is little over 1 MiB.
const GROUP_LIMIT: u64 = 16 << 20;

/// A file whose footer was read.
pub(crate) struct OpenFile {
    store: Store,
    key: String,
    metadata: Arc<ParquetMetaData>,
    tail: Window,
}

/// The bytes of a file from `offset` on.
#[derive(Debug, Clone)]
struct Window {
    offset: u64,
    bytes: Bytes,
}

/// A row group as it was read.
pub(crate) struct RowGroup {
    key: String,
    metadata: Arc<ParquetMetaData>,
    at: usize,
    window: Window,
}

impl OpenFile {
    pub(crate) async fn open(store: &Store, name: FileName, size: u64) -> Result<Self, HitsError> {
        let key = name.to_string();
        let mut wanted = TAIL;
        loop {
            let offset = size.saturating_sub(wanted);
            let tail = Window { offset, bytes: read(store, &key, offset, size - offset).await? };
            let mut reader = ParquetMetaDataReader::new();
            match reader.try_parse_sized(&tail.bytes, size).and_then(|()| reader.finish()) {
                Ok(metadata) => return Ok(Self { store: store.clone(), key, metadata: Arc::new(metadata), tail }),
                Err(ParquetError::NeedMoreData(more)) if more as u64 > wanted && more as u64 <= FOOTER_LIMIT => {
                    wanted = more as u64;
                }
                Err(error) => return Err(unreadable(&key, &error)),
            }
        }
    }

    /// Which batches are in the file, as its footer says.
    pub(crate) fn covers(&self) -> Result<Covers, HitsError> {
        let pairs = self.metadata.file_metadata().key_value_metadata().into_iter().flatten();
        let text = pairs.filter(|pair| pair.key == COVERS).find_map(|pair| pair.value.as_deref());
        text.and_then(Covers::from_json).ok_or_else(|| HitsError::Unreadable {
            key: self.key.clone(),
            reason: format!("its footer has no valid {COVERS}"),
        })
    }

    pub(crate) fn groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    /// Reads the bytes of a row group.
    pub(crate) async fn group(&self, at: usize) -> Result<RowGroup, HitsError> {
        let columns = self.metadata.row_group(at).columns().iter();
        let (start, end) = columns.fold((u64::MAX, 0), |(start, end), column| {
            // The crate's own `byte_range` panics where a footer is damaged.
            let offset = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
            let [offset, len] = [offset, column.compressed_size()].map(|it| u64::try_from(it).unwrap_or(u64::MAX));
            (start.min(offset), end.max(offset.saturating_add(len)))
        });
        let len = end.saturating_sub(start);
        if len > GROUP_LIMIT {
            return Err(unreadable(&self.key, &format!("a row group of {len} bytes")));
        }
        let window = if start >= self.tail.offset {
            self.tail.clone()
        } else {
            Window { offset: start, bytes: read(&self.store, &self.key, start, len).await? }
        };
        Ok(RowGroup { key: self.key.clone(), metadata: Arc::clone(&self.metadata), at, window })
    }
}

impl RowGroup {
    /// Decodes the rows. Takes some milliseconds of CPU; a damaged file may make it panic.
    pub(crate) fn decode(&self) -> Result<Vec<PathCount>, HitsError> {
        let group = self.metadata.row_group(self.at);
        let rows = usize::try_from(group.num_rows()).unwrap_or(0);
        let (mut paths, mut counts) = (Vec::new(), Vec::new());
        let schema = group.schema_descr();
        if schema.num_columns() != 2 {
            return Err(unreadable(&self.key, &"expected the columns path and count"));
        }
        let pages = |column: usize| {
            let chunk = group.column(column);
            SerializedPageReader::new(Arc::new(self.window.clone()), chunk, rows, None).map(Box::new)
        };
        let mut read = || {
            ColumnReaderImpl::<ByteArrayType>::new(schema.column(0), pages(0)?)
                .read_records(rows, None, None, &mut paths)?;
            ColumnReaderImpl::<Int64Type>::new(schema.column(1), pages(1)?).read_records(rows, None, None, &mut counts)
        };
        read().map_err(|error| unreadable(&self.key, &error))?;
        if paths.len() != rows || counts.len() != rows {
            return Err(unreadable(&self.key, &"its columns differ in length"));
        }
        let row = |(path, count): (parquet::data_type::ByteArray, i64)| {
            let path = std::str::from_utf8(path.data()).ok()?;
            Some(PathCount { path: path.into(), count: u64::try_from(count).ok()? })
        };
        let rows: Option<Vec<_>> = paths.into_iter().zip(counts).map(row).collect();
        rows.ok_or_else(|| unreadable(&self.key, &"a path is no UTF-8, or a count is negative"))
    }
}

impl Length for Window {
    fn len(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

impl ChunkReader for Window {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let at = start.checked_sub(self.offset).filter(|at| *at <= self.bytes.len() as u64);
        let at = at.ok_or_else(|| ParquetError::EOF(format!("{start} was not read")))?;
        Ok(self.bytes.slice(at as usize..).reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let mut rest = self.get_read(start)?.into_inner();
        if length > rest.len() {
            return Err(ParquetError::EOF(format!("{length} bytes from {start} on were not read")));
        }
        Ok(rest.split_to(length))
    }
}

async fn read(store: &Store, key: &str, offset: u64, len: u64) -> Result<Bytes, HitsError> {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let bytes = store.get_range(key, offset, len).await?;
    bytes.ok_or_else(|| HitsError::Gone { key: key.to_owned() })
}

fn unreadable(key: &str, reason: &dyn ToString) -> HitsError {
    HitsError::Unreadable { key: key.to_owned(), reason: reason.to_string() }
}
