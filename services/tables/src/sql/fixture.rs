//! An engine and two small tables, for tests.

use std::{sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::DataType,
};
use async_trait::async_trait;
use datafusion::{catalog::TableProvider, common::DataFusionError, datasource::MemTable};
use futures::TryStreamExt;
use tempfile::TempDir;

use crate::sql::{Answer, Engine, NamedTables, QueryError, Session};

/// Long enough for a slow machine.
pub(crate) const TIME: Duration = Duration::from_secs(60);

/// `movie`, three rows, and `user`, empty.
#[derive(Debug)]
pub(crate) struct Tables;

#[async_trait]
impl NamedTables for Tables {
    fn names(&self) -> Vec<String> {
        vec!["user".to_owned(), "movie".to_owned()]
    }

    async fn provider(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let batch = match name {
            "movie" => movies(),
            "user" => {
                RecordBatch::try_from_iter([("email", Arc::new(StringArray::from(Vec::<&str>::new())) as ArrayRef)])?
            }
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?)))
    }
}

fn movies() -> RecordBatch {
    let prices = Decimal128Array::from(vec![Some(1250), None, Some(-5)]).with_data_type(DataType::Decimal128(10, 2));
    let times = TimestampMicrosecondArray::from(vec![Some(1_640_415_600_000_000), Some(1_640_415_600_500_000), None]);
    let columns: [(&str, ArrayRef); 4] = [
        ("title", Arc::new(StringArray::from(vec![Some("One, \"1\""), Some("Two\nLines"), None]))),
        ("duration_mins", Arc::new(Int64Array::from(vec![Some(90), Some(120), None]))),
        ("price", Arc::new(prices)),
        ("added_at", Arc::new(times.with_timezone("UTC"))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

pub(crate) fn session() -> (TempDir, Session) {
    let (scratch, engine) = engine(64 * 1024 * 1024);
    (scratch, engine.session(Arc::new(Tables)))
}

/// With so much memory.
pub(crate) fn engine(memory: usize) -> (TempDir, Engine) {
    let scratch = tempfile::tempdir().unwrap();
    let engine = Engine::with_memory(scratch.path(), memory).unwrap();
    (scratch, engine)
}

/// Every row of an answer.
pub(crate) async fn all(answer: Result<Answer, QueryError>) -> Result<Vec<RecordBatch>, QueryError> {
    answer?.try_collect().await
}
