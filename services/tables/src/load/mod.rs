//! A load: the rows of a file become rows of a table, by key, in one commit.
//!
//! ```text
//! staging   reads the file: rows that the table does not take are rejected, the others put aside
//! touched   finds the data files that have one of their keys
//! merge     sorts the rows of these files and those of the load by key, and keeps the last of each
//! files     writes what comes out, in the order of the key
//! commit    adds these files to the table, and removes those that were read
//! ```
//! The sort spills to the disk, so memory does not grow with the load or the table. A load that ends early leaves files that
//! no table has. One commit says that all of it is done, and carries the load's id: it is not done again.

mod columns;
mod commit;
mod files;
mod keys;
mod merge;
pub(crate) mod rejects;
mod staging;
#[cfg(test)]
mod tests;
mod touched;

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    catalog::streaming::StreamingTable,
    common::{Column, ScalarValue},
    dataframe::DataFrame,
    execution::SendableRecordBatchStream,
    logical_expr::{Expr, SortExpr, lit},
    prelude::SessionContext,
};
use deltalake_core::DeltaTable;
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use waybill_source::{Definition, RowReader, Table};

use crate::{
    Tables,
    delta::{self, schema},
    errors::{LoadError, Refused, TableError},
    load::{
        columns::ROW,
        commit::Commit,
        files::Files,
        merge::{Counts, Merge},
        rejects::Rejected,
        staging::{Staged, Staging},
    },
};

/// Pieces of the file that are read ahead of the parser; of a store they have some 64 KiB.
const AHEAD: usize = 16;

/// What a load has done, or had done when it came before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Rows that the table took. Of several with one key the last counts.
    pub rows: u64,
    /// Rows that the table has more of than before.
    pub inserted: u64,
    /// Rows of the table that were replaced.
    pub replaced: u64,
    /// Rows that the table did not take.
    pub rejected: u64,
    /// The first thousand of these.
    pub report: Vec<Rejected>,
}

impl Tables {
    /// Loads a file into the table of its definition, all of it or nothing. A load that was done before under the same
    /// id is read and checked again, for its report, and changes nothing.
    ///
    /// Only one load of a table may run at a time where the store ignores create-only; elsewhere the second one fails with
    /// [`LoadError::Transient`]. A load whose future is dropped commits nothing more.
    ///
    /// # Errors
    /// [`LoadError::Refused`] where the file or the table is not as the definition says, else [`LoadError::Transient`].
    pub async fn load<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        &self,
        definition: &Definition,
        id: &str,
        bytes: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<Loaded, LoadError> {
        let (Some(table), Some(reader)) = (definition.table(), RowReader::new(definition)) else {
            return Err(Refused::NoTable { source_name: definition.name().to_owned() }.into());
        };
        let staging = Staging::new(table, self.scratch())?;
        let staged = stage(staging, reader, bytes).await?;
        self.write(table, id, staged).await
    }

    /// Writes rows that were staged.
    async fn write(&self, table: &Table, id: &str, staged: Staged) -> Result<Loaded, LoadError> {
        let there = delta::open_or_create(self.objects(), table).await?;
        let counts = match commit::done(&there, id).await? {
            Some(counts) => counts,
            // Nothing to be done again.
            None if staged.rows == 0 => Counts::default(),
            None => self.upsert(&there, table, id, &staged).await?,
        };
        let Staged { rows, rejects, .. } = staged;
        let Counts { inserted, replaced } = counts;
        Ok(Loaded { rows, inserted, replaced, rejected: rejects.count, report: rejects.report })
    }

    async fn upsert(&self, there: &DeltaTable, table: &Table, id: &str, staged: &Staged) -> Result<Counts, LoadError> {
        commit::check(there, table)?;
        let schema = schema::merged(&there.snapshot()?.snapshot().arrow_schema(), table)?;
        let session = self.session();
        let key: Vec<_> = table.key.iter().map(|&at| table.columns[at].name.as_str()).collect();
        let touched = match &staged.keys {
            Some(keys) => touched::touched(&session, there, &key, keys).await?,
            None => HashSet::new(),
        };
        let mut files = Files::new(there, Arc::clone(&schema))?;
        let mut rows = rows(&session, table, &schema, staged)?;
        let counts = match key.is_empty() {
            true => append(&mut files, &schema, rows).await?,
            false => {
                if !touched.is_empty() {
                    rows = rows.union(old_rows(&session, there, &schema, &touched).await?)?;
                }
                let rows = rows.sort(key.iter().copied().chain([ROW]).map(ascending).collect())?;
                merge(&mut files, &schema, table, rows).await?
            }
        };
        let added = files.finish().await?;
        Commit { there, id, schema: &schema, added, removed: touched, counts }.write(table).await?;
        Ok(counts)
    }
}

/// Reads the file on a thread of its own: parsing takes a core.
async fn stage<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    mut staging: Staging,
    mut reader: RowReader,
    bytes: impl Stream<Item = Result<Bytes, E>>,
) -> Result<Staged, LoadError> {
    let (pieces, mut received) = mpsc::channel::<Bytes>(AHEAD);
    let (end, is_whole) = tokio::sync::oneshot::channel::<()>();
    let parser = tokio::task::spawn_blocking(move || {
        while let Some(piece) = received.blocking_recv() {
            reader.push(&piece, &mut |row| staging.take(row))?;
            staging.check()?;
        }
        // Without it, whoever sent the pieces has gone.
        if is_whole.blocking_recv().is_err() {
            return Err(TableError::Source("the load was given up".into()).into());
        }
        reader.finish(&mut |row| staging.take(row))?;
        staging.finish()
    });
    let mut bytes = std::pin::pin!(bytes);
    while let Some(piece) = bytes.next().await {
        let piece = piece.map_err(|error| TableError::Source(error.into()))?;
        // A parser that has failed takes no more; it says why.
        if pieces.send(piece).await.is_err() {
            break;
        }
    }
    let _ = end.send(());
    drop(pieces);
    parser.await?
}

/// The rows of the load, in the table's columns.
fn rows(session: &SessionContext, table: &Table, schema: &SchemaRef, staged: &Staged) -> Result<DataFrame, LoadError> {
    let replay = Arc::new(staged.replay.clone());
    let source = StreamingTable::try_new(Arc::clone(&staged.replay.schema), vec![replay])?;
    let columns = columns(schema, |name| has_column(table, name), column(ROW))?;
    Ok(session.read_table(Arc::new(source))?.select(columns)?)
}

/// The rows of the data files that have a key of the load.
async fn old_rows(
    session: &SessionContext,
    there: &DeltaTable,
    schema: &SchemaRef,
    files: &HashSet<String>,
) -> Result<DataFrame, LoadError> {
    let provider = there.table_provider().with_session(Arc::new(session.state())).with_file_paths(files).await?;
    let there = provider.schema();
    let columns = columns(schema, |name| there.column_with_name(name).is_some(), lit(0_i64).alias(ROW))?;
    Ok(session.read_table(provider)?.select(columns)?)
}

/// The table's columns, null where the rows lack one, and behind them the row's number in the load.
fn columns(schema: &SchemaRef, has: impl Fn(&str) -> bool, row: Expr) -> Result<Vec<Expr>, LoadError> {
    let columns = schema.fields().iter().map(|field| match has(field.name()) {
        true => Ok(column(field.name())),
        false => Ok(lit(ScalarValue::try_new_null(field.data_type())?).alias(field.name())),
    });
    columns.chain([Ok(row)]).collect()
}

/// Whether the load has this column of the table.
fn has_column(table: &Table, name: &str) -> bool {
    table.columns.iter().any(|column| column.name == name)
}

async fn merge(files: &mut Files, schema: &SchemaRef, table: &Table, rows: DataFrame) -> Result<Counts, LoadError> {
    let key = table.key.iter().map(|&at| schema.index_of(&table.columns[at].name)).collect::<Result<_, _>>()?;
    let is_loaded = schema.fields().iter().map(|field| has_column(table, field.name())).collect();
    let mut merge = Merge::new(Arc::clone(schema), key, is_loaded)?;
    let mut batches = rows.execute_stream().await?;
    while let Some(batch) = batches.try_next().await? {
        files.write(&merge.push(&batch)?).await?;
    }
    files.write(&merge.finish()?).await?;
    Ok(merge.counts)
}

async fn append(files: &mut Files, schema: &SchemaRef, rows: DataFrame) -> Result<Counts, LoadError> {
    let mut batches: SendableRecordBatchStream = rows.execute_stream().await?;
    let mut counts = Counts::default();
    while let Some(batch) = batches.try_next().await? {
        counts.inserted += batch.num_rows() as u64;
        let columns = batch.columns()[..schema.fields().len()].to_vec();
        files.write(&RecordBatch::try_new(Arc::clone(schema), columns)?).await?;
    }
    Ok(counts)
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

fn ascending(name: &str) -> SortExpr {
    column(name).sort(true, true)
}
