//! What the tables of the system share: a table that is a stream of batches, made anew for each scan.

use std::{fmt, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::DataFusionError,
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    physical_plan::{
        ExecutionPlan,
        stream::RecordBatchStreamAdapter,
        streaming::{PartitionStream, StreamingTableExec},
    },
};
use futures::stream::BoxStream;

use crate::system::{SystemTables, filters::Filters};

/// The rows of a scan.
pub(super) type Batches = BoxStream<'static, Result<RecordBatch, DataFusionError>>;

/// Begins a scan. Filters are hints: rows that they do not match may be among the rows.
type Scan = fn(&SystemTables, &Filters) -> Batches;

/// A table of the system.
#[derive(Clone)]
pub(super) struct SystemTable {
    schema: SchemaRef,
    system: SystemTables,
    scan: Scan,
}

impl SystemTable {
    pub(super) fn new(schema: SchemaRef, system: &SystemTables, scan: Scan) -> Self {
        Self { schema, system: system.clone(), scan }
    }
}

impl fmt::Debug for SystemTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemTable").field("schema", &self.schema).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for SystemTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        // Every filter is applied once more to what the scan finds.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let part = Arc::new(Part { table: self.clone(), filters: Filters::new(filters) });
        let exec = StreamingTableExec::try_new(self.schema(), vec![part], projection, None, false, limit)?;
        Ok(Arc::new(exec))
    }
}

/// The one partition of a scan.
#[derive(Debug)]
struct Part {
    table: SystemTable,
    filters: Filters,
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.table.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = (self.table.scan)(&self.table.system, &self.filters);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.table.schema), batches))
    }
}

/// A schema of these columns; every one of them may be null.
pub(super) fn columns<const N: usize>(columns: [(&str, DataType); N]) -> SchemaRef {
    Arc::new(Schema::new(columns.map(|(name, kind)| Field::new(name, kind, true)).to_vec()))
}

/// Times, as tables have them.
pub(super) fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A column of times, in microseconds since 1970.
pub(super) fn times(times: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

/// A column of numbers. SQL has none beyond an `i64`.
pub(super) fn integers(numbers: impl Iterator<Item = Option<u64>>) -> ArrayRef {
    let integers = numbers.map(|number| number.map(|number| i64::try_from(number).unwrap_or(i64::MAX)));
    Arc::new(integers.collect::<Int64Array>())
}

/// The store, the ledger, or the counts of requests.
pub(super) fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
