//! Keeps tables small: files are compacted, and what no version of them needs any more is deleted.

use std::time::Duration;

use crate::{
    context::Context,
    retry::pause,
    task::load::{Loader, turn::Turn},
};

/// What is replaced is kept for days, and small files cost little: nobody waits for it.
const DAILY: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs until it is dropped, which may be at any step.
pub(crate) async fn keep(context: &Context) {
    let Some(loader) = &context.worker.loader else { return std::future::pending().await };
    loop {
        for table in context.worker.catalog.iter().filter_map(|definition| definition.table()) {
            maintain(context, loader.as_ref(), &table.name).await;
        }
        if pause(DAILY, &context.shutdown).await.is_err() {
            return;
        }
    }
}

/// A table that is being loaded is left for the next day.
async fn maintain(context: &Context, loader: &dyn Loader, table: &str) {
    let Ok(turn) = Turn::take(context, table).await else { return };
    let metrics = &context.worker.metrics;
    tokio::select! {
        maintained = loader.maintain(table) => match maintained {
            Ok(deleted) => metrics.acted("table_file_deleted", deleted),
            Err(error) => {
                metrics.acted("failed", 1);
                tracing::warn!(table, %error, "failed to maintain a table");
            }
        },
        () = turn.lost() => tracing::warn!(table, "lost the lock of a table that was being maintained"),
    }
}
