//! `waybill.hits`: how often each path was requested, by day.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Date32Array, RecordBatch, StringArray},
    datatypes::{DataType, SchemaRef},
};
use datafusion::common::DataFusionError;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use jiff::civil::Date;
use tokio::task::spawn_blocking;
use waybill_hits::{Hits, PathCount, Query, Ranking};

use crate::system::{
    SystemTables,
    filters::{Days, Filters, date32},
    table::{Batches, columns, integers, unreadable},
};

/// Paths of a batch: of at most 2 KiB each.
const PAGE: usize = 4_096;

pub(super) fn schema() -> SchemaRef {
    columns([("day", DataType::Date32), ("path", DataType::Utf8), ("count", DataType::Int64)])
}

pub(super) fn scan(system: &SystemTables, filters: &Filters) -> Batches {
    let (hits, wanted) = (system.hits.clone(), filters.days("day"));
    let prefix = filters.text("path").unwrap_or_default().to_owned();
    let days = days(hits.clone(), wanted);
    stream::once(days)
        .map_ok(|days| stream::iter(days.into_iter().map(Ok::<_, DataFusionError>)))
        .try_flatten()
        .and_then(move |day| rank(hits.clone(), day, prefix.clone()))
        .map_ok(|(day, ranking)| batches_of(day, ranking))
        .try_flatten()
        .boxed()
}

async fn days(hits: Hits, wanted: Days) -> Result<Vec<Date>, DataFusionError> {
    let mut days = hits.days().await.map_err(unreadable)?;
    days.retain(|day| wanted.has(*day));
    Ok(days)
}

async fn rank(hits: Hits, day: Date, prefix: String) -> Result<(Date, Ranking), DataFusionError> {
    let query = Query { from: Some(day), to: Some(day), prefix, limit: None };
    Ok((day, hits.rank(query).await.map_err(unreadable)?))
}

fn batches_of(day: Date, ranking: Ranking) -> BoxStream<'static, Result<RecordBatch, DataFusionError>> {
    stream::try_unfold(ranking, move |mut ranking| async move {
        // It may lie on the disk.
        let read = spawn_blocking(move || {
            let page: Result<Vec<_>, _> = ranking.by_ref().take(PAGE).collect();
            (page, ranking)
        });
        let (page, ranking) = read.await.map_err(unreadable)?;
        let page = page.map_err(unreadable)?;
        if page.is_empty() {
            return Ok(None);
        }
        Ok(Some((batch(day, &page)?, ranking)))
    })
    .boxed()
}

fn batch(day: Date, paths: &[PathCount]) -> Result<RecordBatch, DataFusionError> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Date32Array::from(vec![date32(day); paths.len()])),
        Arc::new(StringArray::from_iter_values(paths.iter().map(|row| &row.path))),
        integers(paths.iter().map(|row| Some(row.count))),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}
