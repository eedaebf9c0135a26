//! The keys of a load: what is needed to find the data files that have one of them.

use std::hash::{DefaultHasher, Hash, Hasher};

use datafusion::{
    arrow::{
        array::{ArrayRef, RecordBatch},
        datatypes::{DataType, Schema},
        error::ArrowError,
        row::{OwnedRow, RowConverter, Rows, SortField},
    },
    common::ScalarValue,
    error::DataFusionError,
};

/// Hashes that are kept: 128 MiB of them. Of a load of more keys, every file counts that its range of keys overlaps.
const MOST: usize = 16 * 1024 * 1024;

/// Compares keys of any number of columns as bytes.
pub(super) struct KeyRows {
    converter: RowConverter,
    columns: Vec<usize>,
}

impl KeyRows {
    /// `columns` are numbers of columns in batches of the schema.
    pub(super) fn new(schema: &Schema, columns: Vec<usize>) -> Result<Self, ArrowError> {
        let fields = columns.iter().map(|&at| SortField::new(schema.field(at).data_type().clone()));
        Ok(Self { converter: RowConverter::new(fields.collect())?, columns })
    }

    pub(super) fn of(&self, batch: &RecordBatch) -> Result<Rows, ArrowError> {
        let columns: Vec<ArrayRef> = self.columns.iter().map(|&at| batch.column(at).clone()).collect();
        self.converter.convert_columns(&columns)
    }
}

/// The keys that a load has.
pub(super) struct Keys {
    rows: KeyRows,
    /// Sorted once all are there; `None` if there are too many of them.
    hashes: Option<Vec<u64>>,
    ends: Option<(OwnedRow, OwnedRow)>,
}

impl Keys {
    pub(super) fn new(rows: KeyRows) -> Self {
        Self { rows, hashes: Some(Vec::new()), ends: None }
    }

    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let rows = self.rows.of(batch)?;
        if let Some(hashes) = &mut self.hashes {
            hashes.extend(rows.iter().map(hash));
        }
        self.hashes.take_if(|hashes| hashes.len() > MOST);
        let (Some(first), Some(last)) = (rows.iter().min(), rows.iter().max()) else { return Ok(()) };
        let ends = self.ends.take();
        let (least, most) = ends.unwrap_or_else(|| (first.owned(), last.owned()));
        self.ends = Some((least.min(first.owned()), most.max(last.owned())));
        Ok(())
    }

    pub(super) fn sort(&mut self) {
        if let Some(hashes) = &mut self.hashes {
            hashes.sort_unstable();
            hashes.dedup();
        }
    }

    /// Whether the load may have this key.
    pub(super) fn has(&self, key: datafusion::arrow::row::Row<'_>) -> bool {
        self.hashes.as_ref().is_none_or(|hashes| hashes.binary_search(&hash(key)).is_ok())
    }

    /// The least and the greatest value of the first column of the key. `None` where there are no keys, and of floating
    /// point, whose statistics leave out what is no number.
    pub(super) fn span(&self) -> Result<Option<(ScalarValue, ScalarValue)>, DataFusionError> {
        let Some((least, most)) = &self.ends else { return Ok(None) };
        let columns = self.rows.converter.convert_rows([least.row(), most.row()])?;
        if *columns[0].data_type() == DataType::Float64 {
            return Ok(None);
        }
        Ok(Some((ScalarValue::try_from_array(&columns[0], 0)?, ScalarValue::try_from_array(&columns[0], 1)?)))
    }
}

fn hash(key: datafusion::arrow::row::Row<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.as_ref().hash(&mut hasher);
    hasher.finish()
}
