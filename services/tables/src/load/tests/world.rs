//! An embedded store with tables, and rows for them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use datafusion::{
    arrow::{array::RecordBatch, util::display::array_value_to_string},
    prelude::SessionContext,
};
use object_store::ObjectStore;
use tempfile::TempDir;
use waybill_source::{Cell, Column, ColumnType, Mode, Table, TableRow};
use waybill_store::{Embedded, Store};

use crate::{
    LoadError, Loaded, Tables,
    bucket::Bucket,
    delta,
    load::staging::{Staged, Staging},
};

pub(super) struct World {
    folder: TempDir,
    pub(super) store: Store,
    pub(super) tables: Tables,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with_memory(64 * 1024 * 1024).await
    }

    pub(super) async fn with_memory(memory: usize) -> Self {
        let folder = TempDir::new().unwrap();
        let store = Embedded::open(&folder.path().join("store")).await.unwrap().store("tests").unwrap();
        let scratch = folder.path().join("scratch");
        std::fs::create_dir(&scratch).unwrap();
        let tables = Tables::over(store.clone(), Arc::new(Bucket::new(store.clone())), scratch, memory).unwrap();
        Self { folder, store, tables }
    }

    /// The same tables, through a store that is something else, too.
    pub(super) fn through(&self, objects: Arc<dyn ObjectStore>) -> Tables {
        Tables::over(self.store.clone(), objects, self.scratch(), 64 * 1024 * 1024).unwrap()
    }

    pub(super) fn scratch(&self) -> PathBuf {
        self.folder.path().join("scratch")
    }

    pub(super) fn staged(&self, table: &Table, rows: impl IntoIterator<Item = TableRow>) -> Staged {
        staged(table, &self.scratch(), rows)
    }

    pub(super) async fn load(
        &self,
        table: &Table,
        id: &str,
        rows: impl IntoIterator<Item = TableRow>,
    ) -> Result<Loaded, LoadError> {
        self.tables.write(table, id, self.staged(table, rows)).await
    }

    /// The rows of a table in order, their cells parted by commas.
    pub(super) async fn read(&self, name: &str) -> Vec<String> {
        read(&self.tables, name).await
    }

    /// How many commits its log has.
    pub(super) async fn commits(&self, name: &str) -> usize {
        let log = self.store.list(&format!("tables/{name}/_delta_log/"), None, 1_000).await.unwrap();
        log.iter().filter(|entry| entry.key.ends_with(".json")).count()
    }

    /// The names of its data files.
    pub(super) async fn files(&self, name: &str) -> BTreeSet<String> {
        let table = delta::open(self.tables.objects(), name).await.unwrap().unwrap();
        table.get_file_uris().unwrap().collect()
    }
}

pub(super) fn staged(table: &Table, scratch: &Path, rows: impl IntoIterator<Item = TableRow>) -> Staged {
    let mut staging = Staging::new(table, scratch).unwrap();
    rows.into_iter().for_each(|row| staging.take(row));
    staging.finish().unwrap()
}

pub(super) async fn read(tables: &Tables, name: &str) -> Vec<String> {
    let Some(table) = tables.provider(name).await.unwrap() else { return Vec::new() };
    let batches = SessionContext::new().read_table(table).unwrap().collect().await.unwrap();
    let mut rows = shown(&batches);
    rows.sort_unstable();
    rows
}

pub(super) fn shown(batches: &[RecordBatch]) -> Vec<String> {
    let row = |batch: &RecordBatch, at| {
        let cells = batch.columns().iter().map(|column| array_value_to_string(column, at).unwrap());
        cells.collect::<Vec<_>>().join(",")
    };
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|at| row(batch, at)).collect::<Vec<_>>()).collect()
}

/// Films by title, with their length in minutes.
pub(super) fn films() -> Table {
    let column = |name: &str, kind| Column { name: name.to_owned(), kind, is_required: false };
    let columns = vec![column("title", ColumnType::String), column("minutes", ColumnType::Integer)];
    Table { name: "film".to_owned(), mode: Mode::Upsert, columns, key: vec![0] }
}

pub(super) fn film(title: &str, minutes: i64) -> TableRow {
    TableRow { place: 1, cells: Ok(vec![text(title), number(minutes)]) }
}

pub(super) fn text(text: &str) -> Cell {
    Cell::String(text.to_owned())
}

pub(super) fn number(number: i64) -> Cell {
    Cell::Integer(number)
}
