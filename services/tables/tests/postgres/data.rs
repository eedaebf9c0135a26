//! The tables of `data/`, in memory.

use std::{collections::BTreeMap, fs::File, path::PathBuf, sync::Arc};

use arrow::{
    csv::ReaderBuilder,
    datatypes::{DataType, Field, Schema, TimeUnit},
};
use async_trait::async_trait;
use datafusion::{catalog::TableProvider, common::DataFusionError, datasource::MemTable};
use waybill_tables::sql::NamedTables;

#[derive(Debug)]
pub(crate) struct Data(BTreeMap<&'static str, Arc<dyn TableProvider>>);

impl Data {
    pub(crate) fn read() -> Self {
        let names = ["author", "book", "movie", "review", "stream", "user"];
        Self(names.into_iter().map(|name| (name, read(name))).collect())
    }
}

#[async_trait]
impl NamedTables for Data {
    fn names(&self) -> Vec<String> {
        self.0.keys().map(|&name| name.to_owned()).collect()
    }

    async fn provider(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        Ok(self.0.get(name).cloned())
    }
}

fn read(name: &str) -> Arc<dyn TableProvider> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/postgres/data/{name}.csv"));
    let header = std::fs::read_to_string(&path).unwrap();
    let fields = header.lines().next().unwrap().split(',').map(|column| Field::new(column, kind(column), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let reader = ReaderBuilder::new(Arc::clone(&schema)).with_header(true).build(File::open(path).unwrap()).unwrap();
    let batches = reader.collect::<Result<Vec<_>, _>>().unwrap();
    Arc::new(MemTable::try_new(schema, vec![batches]).unwrap())
}

/// As in `data/schema.sql`.
fn kind(column: &str) -> DataType {
    match column {
        "duration_mins" | "pages" | "rating" => DataType::Int64,
        "size_mb" => DataType::Float64,
        "birth_date" | "died_at" => DataType::Date32,
        "start_at" | "end_at" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        _ => DataType::Utf8,
    }
}
