//! Rows on their way from a file to the table: checked, numbered, and put aside as Arrow IPC, in memory while they are
//! few, on the disk beyond.

use std::{
    io::{BufReader, Seek},
    path::Path,
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::RecordBatch,
        datatypes::SchemaRef,
        ipc::{reader::StreamReader, writer::StreamWriter},
    },
    error::DataFusionError,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_plan::{stream::RecordBatchReceiverStreamBuilder, streaming::PartitionStream},
};
use std::sync::Mutex;
use tempfile::SpooledTempFile;
use waybill_source::{Table, TableRow};

use crate::{
    errors::LoadError,
    load::{
        columns::{self, Columns},
        keys::{KeyRows, Keys},
        rejects::Rejects,
    },
};

/// Of staged rows, so much is in memory before all of it lies on the disk.
const IN_MEMORY: usize = 16 * 1024 * 1024;
/// Batches that are read ahead of the sort.
const AHEAD: usize = 2;

/// Takes rows as they are read. Blocks: for a thread that may.
pub(super) struct Staging {
    table: Table,
    columns: Columns,
    keys: Option<Keys>,
    file: StreamWriter<SpooledTempFile>,
    rows: u64,
    rejects: Rejects,
    /// What went wrong; rows after it are dropped.
    failed: Option<LoadError>,
}

/// All rows of a load, in order.
pub(super) struct Staged {
    pub(super) rows: u64,
    pub(super) rejects: Rejects,
    /// Of a table with a key.
    pub(super) keys: Option<Keys>,
    pub(super) replay: Replay,
}

impl Staging {
    pub(super) fn new(table: &Table, scratch: &Path) -> Result<Self, LoadError> {
        let columns = Columns::new(table);
        let keys = match table.key.is_empty() {
            true => None,
            false => Some(Keys::new(KeyRows::new(columns.schema(), table.key.clone())?)),
        };
        let file = tempfile::spooled_tempfile_in(IN_MEMORY, scratch);
        let file = StreamWriter::try_new(file, columns.schema())?;
        Ok(Self { table: table.clone(), columns, keys, file, rows: 0, rejects: Rejects::default(), failed: None })
    }

    pub(super) fn take(&mut self, row: TableRow) {
        let checked = row.cells.and_then(|cells| columns::check(&self.table, &cells).map(|()| cells));
        match checked {
            Err(reason) => self.rejects.add(row.place, &reason),
            Ok(cells) => {
                self.rows += 1;
                self.columns.push(i64::try_from(self.rows).unwrap_or(i64::MAX), cells);
                if self.columns.is_full() && self.failed.is_none() {
                    self.failed = self.write().err();
                }
            }
        }
    }

    /// What went wrong with rows that were taken, once.
    pub(super) fn check(&mut self) -> Result<(), LoadError> {
        self.failed.take().map_or(Ok(()), Err)
    }

    pub(super) fn finish(mut self) -> Result<Staged, LoadError> {
        self.check()?;
        self.write()?;
        if let Some(keys) = &mut self.keys {
            keys.sort();
        }
        let mut file = self.file.into_inner()?;
        file.rewind()?;
        let replay = Replay { schema: Arc::clone(self.columns.schema()), file: Arc::new(Mutex::new(Some(file))) };
        Ok(Staged { rows: self.rows, rejects: self.rejects, keys: self.keys, replay })
    }

    fn write(&mut self) -> Result<(), LoadError> {
        let Some(batch) = self.columns.take()? else { return Ok(()) };
        if let Some(keys) = &mut self.keys {
            keys.add(&batch)?;
        }
        Ok(self.file.write(&batch)?)
    }
}

/// The staged rows as a stream of DataFusion, which can be read once.
#[derive(Clone)]
pub(super) struct Replay {
    pub(super) schema: SchemaRef,
    file: Arc<Mutex<Option<SpooledTempFile>>>,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").finish_non_exhaustive()
    }
}

impl PartitionStream for Replay {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), AHEAD);
        let (batches, file) = (builder.tx(), Arc::clone(&self.file));
        builder.spawn_blocking(move || {
            let file = file.lock().ok().and_then(|mut file| file.take());
            let file = file.ok_or_else(|| DataFusionError::Execution("rows are replayed once".to_owned()))?;
            for batch in StreamReader::try_new(BufReader::new(file), None)? {
                let batch: RecordBatch = batch?;
                // Nobody reads on: the load was given up.
                if batches.blocking_send(Ok(batch)).is_err() {
                    break;
                }
            }
            Ok(())
        });
        builder.build()
    }
}
