//! Delta tables in the bucket: where they lie, how they are made, opened and kept small.

pub(crate) mod maintain;
pub(crate) mod schema;

use std::sync::Arc;

use deltalake_core::{
    DeltaTable, DeltaTableError, TableProperty,
    kernel::engine::arrow_conversion::TryIntoKernel,
    kernel::{StructField, StructType, transaction::CommitProperties},
    logstore::{LogStoreRef, StorageConfig, default_logstore},
};
use object_store::{ObjectStore, path::Path, prefix::PrefixStore};
use url::Url;
use waybill_source::Table;

use crate::errors::TableError;

/// What a new table says of itself. Other engines follow it, too.
const PROPERTIES: [(TableProperty, &str); 5] = [
    // Opening reads the last checkpoint and the commits after it: ten at most.
    (TableProperty::CheckpointInterval, "10"),
    // Commits are read again when a load comes twice.
    (TableProperty::LogRetentionDuration, "interval 30 days"),
    // Less than the log's, so that a load which is known to be done has its commit.
    (TableProperty::SetTransactionRetentionDuration, "interval 28 days"),
    // A query that runs for longer may find a file gone.
    (TableProperty::DeletedFileRetentionDuration, "interval 7 days"),
    // 32 MiB, as loads make them: a load rewrites a file for one row of it.
    (TableProperty::TargetFileSize, "33554432"),
];

/// The log of a table, which may not exist.
pub(crate) fn log(objects: &Arc<dyn ObjectStore>, name: &str) -> Result<LogStoreRef, TableError> {
    let url = format!("waybill:///{name}/");
    let url = Url::parse(&url).map_err(|_| DeltaTableError::InvalidTableLocation(url))?;
    let table = Arc::new(PrefixStore::new(Arc::clone(objects), Path::from(name)));
    Ok(default_logstore(table, Arc::clone(objects), &url, &StorageConfig::default()))
}

/// The newest version of a table; `None` where there is none.
pub(crate) async fn open(objects: &Arc<dyn ObjectStore>, name: &str) -> Result<Option<DeltaTable>, TableError> {
    let mut table = DeltaTable::new(log(objects, name)?);
    match table.load().await {
        Ok(()) => Ok(Some(table)),
        Err(DeltaTableError::NotATable(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Opens a table, and makes it where there is none.
pub(crate) async fn open_or_create(objects: &Arc<dyn ObjectStore>, table: &Table) -> Result<DeltaTable, TableError> {
    if let Some(opened) = open(objects, &table.name).await? {
        return Ok(opened);
    }
    let schema: StructType = schema::arrow(table).as_ref().try_into_kernel().map_err(DeltaTableError::from)?;
    let create = DeltaTable::new(log(objects, &table.name)?).create();
    let create =
        create.with_table_name(&table.name).with_columns(schema.fields().cloned().collect::<Vec<StructField>>());
    let properties = PROPERTIES.map(|(property, value)| (property.as_ref().to_owned(), Some(value)));
    let created = create.with_configuration(properties).with_commit_properties(once()).await?;
    tracing::info!(table = table.name, "created a table");
    Ok(created)
}

/// A commit is tried once: whoever comes first has changed what this one was made from. Old commits are deleted by
/// maintenance, not beside every commit.
pub(crate) fn once() -> CommitProperties {
    CommitProperties::default().with_max_retries(0).with_cleanup_expired_logs(Some(false))
}
