//! The state of Waybill as tables, in the schema `waybill`: jobs, tasks, objects, and requests by path.
//!
//! They are read as they are asked for, a batch at a time, through the views that the HTTP API uses. `SQL.md` says what each
//! costs, and which filters let it read less.

mod filters;
mod hits;
mod jobs;
mod objects;
mod table;
mod tasks;

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use waybill_hits::Hits;
use waybill_ledger::{Ledger, index::Index};

use crate::system::table::SystemTable;

/// The schema of these tables.
const SCHEMA: &str = "waybill";

/// What the tables are read from.
#[derive(Debug, Clone)]
pub struct SystemTables {
    /// Jobs and tasks.
    pub ledger: Ledger,
    /// Objects.
    pub index: Index,
    /// Requests by path.
    pub hits: Hits,
    /// The names of the sources whose objects are listed.
    pub sources: Vec<String>,
}

impl SystemTables {
    /// The names of all tables, each with its schema.
    pub fn names() -> impl Iterator<Item = String> {
        ["jobs", "tasks", "objects", "hits"].into_iter().map(|table| format!("{SCHEMA}.{table}"))
    }

    /// The table of this name, which has its schema; `None` where there is none.
    pub fn provider(&self, name: &str) -> Option<Arc<dyn TableProvider>> {
        let (schema, table) = name.split_once('.')?;
        let found = match table {
            "jobs" => SystemTable::new(jobs::schema(), self, jobs::scan),
            "tasks" => SystemTable::new(tasks::schema(), self, tasks::scan),
            "objects" => SystemTable::new(objects::schema(), self, objects::scan),
            "hits" => SystemTable::new(hits::schema(), self, hits::scan),
            _ => return None,
        };
        (schema == SCHEMA).then(|| Arc::new(found) as Arc<dyn TableProvider>)
    }
}

#[cfg(test)]
mod tests;
