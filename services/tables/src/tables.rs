//! The tables of a bucket.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use datafusion::{
    catalog::TableProvider,
    error::DataFusionError,
    execution::{
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::GreedyMemoryPool,
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    prelude::{SessionConfig, SessionContext},
};
use object_store::ObjectStore;
use waybill_store::Store;

use crate::{
    bucket::{Bucket, FOLDER},
    delta,
    errors::TableError,
};

/// What loads and compactions may hold of rows that they sort; beyond, they sort on the disk. Batches that are read and
/// files that are written come to it, some 100 MiB.
const MEMORY: usize = 256 * 1024 * 1024;
/// Tables that are listed: each is named in a definition.
const MOST_TABLES: usize = 10_000;

/// The tables below `tables/`. Cheap to clone.
#[derive(Clone)]
pub struct Tables {
    store: Store,
    objects: Arc<dyn ObjectStore>,
    runtime: Arc<RuntimeEnv>,
    scratch: PathBuf,
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables").field("scratch", &self.scratch).finish_non_exhaustive()
    }
}

impl Tables {
    /// The tables of a bucket. Loads that are larger than memory are sorted in the folder `scratch`; what they write there
    /// has no name, or is removed when they end.
    ///
    /// # Errors
    /// Where the folder cannot be used.
    pub fn new(store: Store, scratch: impl Into<PathBuf>) -> Result<Self, TableError> {
        let objects = Arc::new(Bucket::new(store.clone()));
        Self::over(store, objects, scratch.into(), MEMORY)
    }

    pub(crate) fn over(
        store: Store,
        objects: Arc<dyn ObjectStore>,
        scratch: PathBuf,
        memory: usize,
    ) -> Result<Self, TableError> {
        let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![scratch.clone()]));
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(memory)))
            .with_disk_manager_builder(disk)
            .build_arc()?;
        Ok(Self { store, objects, runtime, scratch })
    }

    /// Their names, in order.
    ///
    /// # Errors
    /// As any call to the store.
    pub async fn names(&self) -> Result<Vec<String>, TableError> {
        Ok(self.store.folders(FOLDER, None, MOST_TABLES).await?)
    }

    /// A table at its newest version, for queries; `None` where there is none.
    ///
    /// # Errors
    /// Where its log cannot be read.
    pub async fn provider(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, TableError> {
        let Some(table) = delta::open(&self.objects, name).await? else { return Ok(None) };
        Ok(Some(table.table_provider().with_session(Arc::new(self.session().state())).await?))
    }

    pub(crate) fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// For loads: one core, so that what a sort needs does not multiply.
    pub(crate) fn session(&self) -> SessionContext {
        let config = SessionConfig::new()
            .with_target_partitions(1)
            // Merging batches takes memory that a sort has not set aside, so that it would fail.
            .with_sort_in_place_threshold_bytes(MEMORY)
            // Texts are of one type everywhere: Utf8, never its view.
            .set_bool("datafusion.execution.parquet.schema_force_view_types", false);
        SessionContext::new_with_config_rt(config, Arc::clone(&self.runtime))
    }
}

impl From<TableError> for DataFusionError {
    fn from(error: TableError) -> Self {
        Self::External(Box::new(error))
    }
}
