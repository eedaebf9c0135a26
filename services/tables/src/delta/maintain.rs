//! Keeps a table small: files are compacted, and what no version needs any more is deleted.

use std::sync::Arc;

use deltalake_core::{
    checkpoints::cleanup_metadata,
    operations::{optimize::OptimizeType, vacuum::VacuumMode},
};

use crate::{Tables, delta, errors::TableError};

/// What maintenance has done to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Maintained {
    /// Small files that were merged into others.
    pub compacted: u64,
    /// Files that were deleted: replaced or given up more than seven days ago.
    pub deleted: usize,
    /// Commits of the log that were deleted: older than thirty days, and covered by a checkpoint.
    pub forgotten: usize,
}

impl Tables {
    /// Compacts a table's small files, then deletes files that no version of the last seven days has, and old commits.
    /// `None` where there is no such table. It is a writer, as a load is: only one at a time.
    ///
    /// # Errors
    /// Where the store fails, or a load came first: it can be done again later.
    pub async fn maintain(&self, name: &str) -> Result<Option<Maintained>, TableError> {
        let Some(table) = delta::open(self.objects(), name).await? else { return Ok(None) };
        let compact = table.optimize().with_type(OptimizeType::Compact).with_max_concurrent_tasks(1);
        let compact = compact.with_commit_properties(delta::once());
        let (table, compacted) = compact.with_session_state(Arc::new(self.session().state())).await?;
        // Of files that a load gave up, only a listing knows.
        let vacuum = table.vacuum().with_mode(VacuumMode::Full).with_commit_properties(delta::once());
        let (table, vacuumed) = vacuum.await?;
        let forgotten = cleanup_metadata(&table, None).await?;
        let (compacted, deleted) = (compacted.num_files_removed, vacuumed.files_deleted.len());
        tracing::info!(table = name, compacted, deleted, forgotten, "maintained a table");
        Ok(Some(Maintained { compacted, deleted, forgotten }))
    }
}
