//! The tables that a session knows, by name.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use async_trait::async_trait;
use datafusion::{
    catalog::{CatalogProvider, SchemaProvider, TableProvider},
    common::DataFusionError,
};

/// The schema of names without one. Tables are asked for as `movie` or `public.movie`.
pub(super) const SCHEMA: &str = "public";

/// What of a database's name is shown: nobody chooses among several.
pub(super) const CATALOG: &str = "waybill";

/// Tables by name. A query asks for each of its tables once, so that it reads one version of it.
#[async_trait]
pub trait NamedTables: Debug + Send + Sync {
    /// Every name, in any order: `movie`, or with its schema where that is another than `public`: `waybill.jobs`.
    fn names(&self) -> Vec<String>;

    /// The table of this name as it is now; `None` where there is none.
    ///
    /// # Errors
    /// The table could not be read.
    async fn provider(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError>;
}

/// A database: the schemas that names have.
#[derive(Debug)]
pub(super) struct Catalog(pub(super) Arc<dyn NamedTables>);

impl CatalogProvider for Catalog {
    fn schema_names(&self) -> Vec<String> {
        let names = self.0.names();
        let schemas: BTreeSet<_> = names.iter().map(|name| split(name).0).chain([SCHEMA]).collect();
        schemas.into_iter().map(str::to_owned).collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let is_known = self.schema_names().iter().any(|known| known == name);
        is_known
            .then(|| Arc::new(Schema { name: name.to_owned(), tables: Arc::clone(&self.0) }) as Arc<dyn SchemaProvider>)
    }
}

#[derive(Debug)]
struct Schema {
    name: String,
    tables: Arc<dyn NamedTables>,
}

#[async_trait]
impl SchemaProvider for Schema {
    fn table_names(&self) -> Vec<String> {
        let names = self.tables.names();
        let here = names.iter().map(|name| split(name)).filter(|(schema, _)| *schema == self.name);
        here.map(|(_, table)| table.to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if self.name != SCHEMA {
            return self.tables.provider(&format!("{}.{name}", self.name)).await;
        }
        // A name in quotes may have a point, and is in no other schema for that.
        if name.contains('.') { Ok(None) } else { self.tables.provider(name).await }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|known| known == name)
    }
}

/// A name's schema, and the rest.
fn split(name: &str) -> (&str, &str) {
    name.split_once('.').unwrap_or((SCHEMA, name))
}
