//! Rows that come sorted by key, and within a key the table's before the load's, become one row of each key.

use std::sync::Arc;

use datafusion::arrow::{
    array::{AsArray, Int64Array, RecordBatch, UInt64Array},
    compute::{concat_batches, take},
    datatypes::{Int64Type, SchemaRef},
    error::ArrowError,
};

use crate::load::keys::KeyRows;

/// What a load has done to the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) inserted: u64,
    pub(super) replaced: u64,
}

/// Merges batches. The last column is the row's number in the load, and 0 of a row of the table.
pub(super) struct Merge {
    /// Of what comes out: without the number.
    schema: SchemaRef,
    keys: KeyRows,
    /// Of each column, whether the load has it. One that it lacks keeps the table's value.
    is_loaded: Vec<bool>,
    /// The first and the last row so far of the key that may go on in the next batch.
    open: Option<RecordBatch>,
    pub(super) counts: Counts,
}

impl Merge {
    pub(super) fn new(schema: SchemaRef, key: Vec<usize>, is_loaded: Vec<bool>) -> Result<Self, ArrowError> {
        let keys = KeyRows::new(&schema, key)?;
        Ok(Self { schema, keys, is_loaded, open: None, counts: Counts::default() })
    }

    /// The rows of the keys that have ended.
    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let batch = match self.open.take() {
            Some(open) => concat_batches(&batch.schema(), [&open, batch])?,
            None => batch.clone(),
        };
        let rows = self.keys.of(&batch)?;
        // A key ends where the next one begins.
        let ends = (1..rows.num_rows()).filter(|&at| rows.row(at) != rows.row(at - 1));
        let (mut firsts, mut lasts, mut first) = (Vec::new(), Vec::new(), 0);
        for end in ends {
            firsts.push(first);
            lasts.push(end as u64 - 1);
            first = end as u64;
        }
        if let Some(last) = rows.num_rows().checked_sub(1) {
            let ends = UInt64Array::from_iter_values([first, last as u64]);
            self.open = Some(taken(&batch, &ends)?);
        }
        self.merged(&batch, firsts, lasts)
    }

    /// The row of the last key.
    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        match self.open.take() {
            Some(open) => self.merged(&open, vec![0], vec![open.num_rows() as u64 - 1]),
            None => Ok(RecordBatch::new_empty(Arc::clone(&self.schema))),
        }
    }

    fn merged(&mut self, batch: &RecordBatch, firsts: Vec<u64>, lasts: Vec<u64>) -> Result<RecordBatch, ArrowError> {
        self.count(batch.column(self.schema.fields().len()).as_primitive::<Int64Type>(), &firsts, &lasts);
        let (firsts, lasts) = (UInt64Array::from(firsts), UInt64Array::from(lasts));
        let columns = batch.columns().iter().zip(&self.is_loaded);
        let columns = columns.map(|(column, &is_loaded)| take(column, if is_loaded { &lasts } else { &firsts }, None));
        RecordBatch::try_new(Arc::clone(&self.schema), columns.collect::<Result<_, _>>()?)
    }

    fn count(&mut self, row: &Int64Array, firsts: &[u64], lasts: &[u64]) {
        let is_loaded = |at: u64| usize::try_from(at).is_ok_and(|at| row.value(at) > 0);
        for (&first, &last) in firsts.iter().zip(lasts) {
            match (is_loaded(first), is_loaded(last)) {
                (true, _) => self.counts.inserted += 1,
                (false, true) => self.counts.replaced += 1,
                (false, false) => {}
            }
        }
    }
}

fn taken(batch: &RecordBatch, rows: &UInt64Array) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().map(|column| take(column, rows, None));
    RecordBatch::try_new(batch.schema(), columns.collect::<Result<_, _>>()?)
}
