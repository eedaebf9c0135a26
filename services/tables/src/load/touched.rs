//! Which data files have a key of the load. Only the columns of the key are read, and of files whose statistics say that
//! they have none of its range not even these.

use std::{collections::HashSet, sync::Arc};

use datafusion::{
    arrow::{array::AsArray, compute::cast, datatypes::DataType},
    logical_expr::lit,
    prelude::SessionContext,
};
use deltalake_core::DeltaTable;
use futures::TryStreamExt;

use crate::{
    errors::LoadError,
    load::{
        column,
        keys::{KeyRows, Keys},
    },
};

/// The column that says which file a row is in.
const FILE: &str = "__waybill_file";

/// The addresses of the files. `key` are the names of its columns.
pub(super) async fn touched(
    session: &SessionContext,
    table: &DeltaTable,
    key: &[&str],
    keys: &Keys,
) -> Result<HashSet<String>, LoadError> {
    let mut files = HashSet::new();
    let provider = table.table_provider().with_session(Arc::new(session.state())).with_file_column(FILE).await?;
    let mut rows = session.read_table(provider)?;
    if let Some((least, most)) = keys.span()? {
        let first = column(key[0]);
        rows = rows.filter(first.clone().gt_eq(lit(least)).and(first.lt_eq(lit(most))))?;
    }
    let mut batches = rows.select(key.iter().copied().chain([FILE]).map(column))?.execute_stream().await?;
    let key_rows = KeyRows::new(&batches.schema(), (0..key.len()).collect())?;
    while let Some(batch) = batches.try_next().await? {
        let file = cast(batch.column(key.len()), &DataType::Utf8)?;
        let file = file.as_string::<i32>();
        for (at, row) in key_rows.of(&batch)?.iter().enumerate() {
            if keys.has(row) && !files.contains(file.value(at)) {
                files.insert(file.value(at).to_owned());
            }
        }
    }
    Ok(files)
}
