//! Cuts an upload into batches of rows.

use crate::{
    Columns, Definition, RowBatch, UploadError,
    scan::UNIT_BYTES,
    upload::{columns::ColumnsThenRows, row_ends::RowSpan},
};

/// The most bytes of a batch, which a worker holds in memory.
const BATCH_BYTES: u64 = 4 << 20;

/// Cuts an upload into batches: of [`Definition::batch`] rows, or 4 MiB. A row of more than 1 MiB is a batch of its own,
/// and no byte of it is kept. What comes out does not depend on where the bytes were cut.
#[derive(Debug)]
pub struct UploadSplitter {
    rows: ColumnsThenRows,
    batches: Batches,
}

/// The batch that is being filled.
#[derive(Debug)]
struct Batches {
    most: u64,
    open: Option<RowBatch>,
    /// The number of the next row.
    next: u64,
}

impl UploadSplitter {
    /// A splitter of one upload.
    pub fn new(definition: &Definition) -> Self {
        let schema = definition.upload().map(|upload| upload.schema().clone()).unwrap_or_default();
        Self {
            rows: ColumnsThenRows::new(schema),
            batches: Batches { most: definition.batch() as u64, open: None, next: 1 },
        }
    }

    /// Takes the next bytes, cut anywhere, and adds the batches that are whole. An error is one of the header line, as
    /// [`crate::UploadCheck`] finds it.
    pub fn push(&mut self, bytes: &[u8], whole: &mut Vec<RowBatch>) -> Result<(), UploadError> {
        self.rows.push(bytes, |span, columns| self.batches.add(span, columns, whole))
    }

    /// Says that the last byte was seen, and adds the last batch.
    pub fn finish(mut self, whole: &mut Vec<RowBatch>) -> Result<(), UploadError> {
        self.rows.finish(|span, columns| self.batches.add(span, columns, whole))?;
        whole.extend(self.batches.open);
        Ok(())
    }
}

impl Batches {
    fn add(&mut self, row: RowSpan, columns: &Columns, whole: &mut Vec<RowBatch>) {
        let end = row.offset + row.length;
        let is_oversized = row.length > UNIT_BYTES as u64;
        let fits = |open: &RowBatch| {
            open.rows < self.most && end - open.offset <= BATCH_BYTES && !is_oversized && !open.is_oversized()
        };
        whole.extend(self.open.take_if(|open| !fits(open)));
        let (offset, line, first_row) = (row.offset, row.line, self.next);
        let open = self.open.get_or_insert_with(|| RowBatch {
            offset,
            length: 0,
            line,
            first_row,
            rows: 0,
            columns: columns.clone(),
        });
        open.rows += 1;
        open.length = end - open.offset;
        self.next += 1;
    }
}
