//! The tables that a session knows, by name.

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use datafusion::{
    catalog::{CatalogProvider, SchemaProvider, TableProvider},
    common::DataFusionError,
};

/// The one schema. Tables are asked for as `movie` or `public.movie`.
pub(super) const SCHEMA: &str = "public";

/// What of a database's name is shown: nobody chooses among several.
pub(super) const CATALOG: &str = "waybill";

/// Tables by name. A query asks for each of its tables once, so that it reads one version of it.
#[async_trait]
pub trait NamedTables: Debug + Send + Sync {
    /// Every name, in any order.
    fn names(&self) -> Vec<String>;

    /// The table of this name as it is now; `None` where there is none.
    ///
    /// # Errors
    /// The table could not be read.
    async fn provider(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError>;
}

/// A database of one schema.
#[derive(Debug)]
pub(super) struct Catalog(pub(super) Arc<dyn NamedTables>);

impl CatalogProvider for Catalog {
    fn schema_names(&self) -> Vec<String> {
        vec![SCHEMA.to_owned()]
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        (name == SCHEMA).then(|| Arc::new(Schema(Arc::clone(&self.0))) as Arc<dyn SchemaProvider>)
    }
}

#[derive(Debug)]
struct Schema(Arc<dyn NamedTables>);

#[async_trait]
impl SchemaProvider for Schema {
    fn table_names(&self) -> Vec<String> {
        self.0.names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        self.0.provider(name).await
    }

    fn table_exist(&self, name: &str) -> bool {
        self.0.names().iter().any(|known| known == name)
    }
}
