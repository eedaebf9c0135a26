//! Writes rows as data files of a table, one after the other.

use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    parquet::file::properties::WriterProperties,
};
use deltalake_core::{
    DeltaTable, DeltaTableError, kernel::Add, logstore::ObjectStoreRef, operations::write::writer::DeltaWriter,
    operations::write::writer::WriterConfig, table::config::TablePropertiesExt,
};

/// Rows of a file, as they are in memory: some 32 MiB of Parquet.
const FILE: usize = 128 * 1024 * 1024;
/// Rows that are encoded in memory before they are written, and that a reader can leave out together.
const ROW_GROUP: usize = 128 * 1024;

/// Data files in the making. No table has them before they are committed; where they never are, vacuum removes them.
pub(super) struct Files {
    store: ObjectStoreRef,
    config: WriterConfig,
    /// Closed with every file: a writer that rolls files itself may have a GiB of them on their way.
    writer: Option<DeltaWriter>,
    written: usize,
    added: Vec<Add>,
}

impl Files {
    pub(super) fn new(table: &DeltaTable, schema: SchemaRef) -> Result<Self, DeltaTableError> {
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(ROW_GROUP)).build();
        let statistics = table.snapshot()?.table_config().num_indexed_cols();
        let config = WriterConfig::new(schema, Vec::new(), Some(properties), None, None, statistics, None);
        Ok(Self { store: table.object_store(), config, writer: None, written: 0, added: Vec::new() })
    }

    pub(super) async fn write(&mut self, batch: &RecordBatch) -> Result<(), DeltaTableError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let writer = || DeltaWriter::new(self.store.clone(), self.config.clone());
        self.writer.get_or_insert_with(writer).write(batch).await?;
        self.written += batch.get_array_memory_size();
        if self.written >= FILE { self.close().await } else { Ok(()) }
    }

    pub(super) async fn finish(mut self) -> Result<Vec<Add>, DeltaTableError> {
        self.close().await?;
        Ok(self.added)
    }

    async fn close(&mut self) -> Result<(), DeltaTableError> {
        self.written = 0;
        if let Some(writer) = self.writer.take() {
            self.added.extend(writer.close().await?);
        }
        Ok(())
    }
}
