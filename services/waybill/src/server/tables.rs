//! Tables in a server: what loads into them, and what answers queries. A build without the feature `tables` has neither.

#[cfg(feature = "tables")]
mod with {
    use std::{fmt, sync::Arc};

    use anyhow::Context;
    use async_trait::async_trait;
    use tempfile::TempDir;
    use waybill_hits::Hits;
    use waybill_ledger::{Ledger, index::Index};
    use waybill_source::Catalog;
    use waybill_store::Store;
    use waybill_tables::{
        DataFusionError, QueryApi, Rejected, SystemTables, TableError, TableProvider, Tables,
        sql::{Engine, NamedTables},
    };
    use waybill_worker::{Load, LoadError, Loaded, Loader, RejectedRow};

    /// The tables of a process, and its scratch folder, which goes with it.
    pub(crate) struct ServedTables {
        tables: Tables,
        scratch: Arc<TempDir>,
        /// By the definitions, so that a name can be told from a mistake without asking the store.
        names: Vec<String>,
        sources: Vec<String>,
    }

    impl ServedTables {
        pub(crate) fn new(store: Store, catalog: &Catalog) -> anyhow::Result<Self> {
            let scratch = Arc::new(tempfile::tempdir().context("a folder for what does not fit into memory")?);
            let tables = Tables::new(store, scratch.path())?;
            let names = catalog.iter().filter_map(|definition| Some(definition.table()?.name.clone())).collect();
            let sources = catalog.iter().map(|definition| definition.name().to_owned()).collect();
            Ok(Self { tables, scratch, names, sources })
        }

        pub(crate) fn loader(&self) -> Option<Arc<dyn Loader>> {
            Some(Arc::new(TableLoader { tables: self.tables.clone(), _scratch: Arc::clone(&self.scratch) }))
        }

        /// The route of queries, of tables and of what these know.
        pub(crate) fn queries(self, ledger: Ledger, index: Index, hits: Hits) -> anyhow::Result<QueryApi> {
            let engine = Engine::new(self.scratch.path())?;
            let system = SystemTables { ledger, index, hits, sources: self.sources };
            let asked = Asked { tables: self.tables, system, names: self.names, _scratch: self.scratch };
            Ok(QueryApi::new(engine, Arc::new(asked)))
        }
    }

    struct TableLoader {
        tables: Tables,
        _scratch: Arc<TempDir>,
    }

    impl fmt::Debug for TableLoader {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("TableLoader").finish_non_exhaustive()
        }
    }

    #[async_trait]
    impl Loader for TableLoader {
        async fn load(&self, load: Load) -> Result<Loaded, LoadError> {
            let loaded = self.tables.load(&load.definition, &load.id, load.bytes).await.map_err(told)?;
            let report = loaded.report.into_iter().map(|Rejected { place, reason }| RejectedRow { place, reason });
            Ok(Loaded { rows: loaded.rows, rejected: loaded.rejected, report: report.collect() })
        }

        async fn maintain(&self, table: &str) -> Result<u64, LoadError> {
            let maintained = self.tables.maintain(table).await;
            let maintained = maintained.map_err(|error| LoadError::Transient(error.to_string()))?;
            Ok(maintained.map_or(0, |maintained| maintained.deleted as u64))
        }
    }

    fn told(error: waybill_tables::LoadError) -> LoadError {
        match error {
            waybill_tables::LoadError::Refused(reason) => LoadError::Refused(reason.to_string()),
            waybill_tables::LoadError::Transient(TableError::Source(source)) => match source.downcast::<LoadError>() {
                // What was read is the worker's own.
                Ok(error) => *error,
                Err(error) => LoadError::Transient(error.to_string()),
            },
            waybill_tables::LoadError::Transient(error) => LoadError::Transient(error.to_string()),
        }
    }

    /// What queries may ask for.
    #[derive(Debug)]
    struct Asked {
        tables: Tables,
        system: SystemTables,
        names: Vec<String>,
        _scratch: Arc<TempDir>,
    }

    #[async_trait]
    impl NamedTables for Asked {
        fn names(&self) -> Vec<String> {
            self.names.iter().cloned().chain(SystemTables::names()).collect()
        }

        async fn provider(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
            if name.contains('.') {
                return Ok(self.system.provider(name));
            }
            let found = self.tables.provider(name).await?;
            if found.is_none() && self.names.iter().any(|known| known == name) {
                return Err(DataFusionError::Plan(format!("nothing was loaded into table `{name}` yet")));
            }
            Ok(found)
        }
    }
}

#[cfg(not(feature = "tables"))]
mod without {
    use std::sync::Arc;

    use waybill_hits::Hits;
    use waybill_ledger::{Ledger, index::Index};
    use waybill_source::Catalog;
    use waybill_store::Store;
    use waybill_worker::Loader;

    pub(crate) struct ServedTables;

    impl ServedTables {
        pub(crate) fn new(_store: Store, _catalog: &Catalog) -> anyhow::Result<Self> {
            Ok(Self)
        }

        pub(crate) fn loader(&self) -> Option<Arc<dyn Loader>> {
            None
        }

        /// No route.
        pub(crate) fn queries(self, _ledger: Ledger, _index: Index, _hits: Hits) -> anyhow::Result<()> {
            Ok(())
        }
    }
}

#[cfg(feature = "tables")]
pub(crate) use with::ServedTables;
#[cfg(not(feature = "tables"))]
pub(crate) use without::ServedTables;
