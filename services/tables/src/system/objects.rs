//! `waybill.objects`: the object index. A row for each object of each fetch that counts, with its statistics.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Date32Array, RecordBatch, StringArray},
    datatypes::{DataType, SchemaRef},
};
use datafusion::common::DataFusionError;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use jiff::civil::Date;
use waybill_journal::Unreadable;
use waybill_ledger::index::{Index, IndexedObject, Month, month_of, object_keys};

use crate::system::{
    SystemTables,
    filters::{Days, Filters, date32},
    table::{Batches, columns, integers, time, times, unreadable},
};

/// Items of a batch: of some 550 bytes each.
const PAGE: usize = 4_096;

pub(super) fn schema() -> SchemaRef {
    columns([
        ("source", DataType::Utf8),
        ("partition", DataType::Utf8),
        ("date", DataType::Date32),
        ("item", DataType::Utf8),
        ("object", DataType::Utf8),
        ("bytes", DataType::Int64),
        ("records", DataType::Int64),
        ("sha256", DataType::Utf8),
        ("as_of", time()),
        ("fetched_at", time()),
        ("definition", DataType::Utf8),
        ("job", DataType::Utf8),
        ("statistics", DataType::Utf8),
    ])
}

/// Why the objects of a source cannot be told.
#[derive(Debug, thiserror::Error)]
enum Incomplete {
    #[error("the object index of {0} is not complete yet: `waybill rebuild {0}` completes it")]
    NotBuilt(String),
    #[error("a part of the object index cannot be read")]
    Unreadable(#[source] Arc<Unreadable>),
}

pub(super) fn scan(system: &SystemTables, filters: &Filters) -> Batches {
    let wanted = Wanted { month: filters.text("partition").map(month_of), days: filters.days("date") };
    let source = filters.text("source");
    let sources: Vec<_> =
        system.sources.iter().filter(|name| source.is_none_or(|source| source == *name)).cloned().collect();
    let (index, other) = (system.index.clone(), system.index.clone());
    stream::iter(sources)
        .then(move |source| months(index.clone(), source, wanted.clone()))
        .map_ok(|months| stream::iter(months.into_iter().map(Ok::<_, DataFusionError>)))
        .try_flatten()
        // One after the other: a month is in memory whole.
        .and_then(move |(source, month)| open(other.clone(), source, month))
        .map_ok(|(source, month)| batches_of(source, month))
        .try_flatten()
        .boxed()
}

/// Which months are read.
#[derive(Debug, Clone)]
struct Wanted {
    month: Option<String>,
    days: Days,
}

async fn months(index: Index, source: String, wanted: Wanted) -> Result<Vec<(String, String)>, DataFusionError> {
    let months = index.months(&source).await.map_err(unreadable)?;
    // A source of which nothing was ever stored has no index.
    if !months.is_built && !months.hashes.is_empty() {
        return Err(unreadable(Incomplete::NotBuilt(source)));
    }
    let is_wanted =
        |month: &String| wanted.days.touch(month) && wanted.month.as_ref().is_none_or(|wanted| wanted == month);
    Ok(months.hashes.into_keys().filter(is_wanted).map(|month| (source.clone(), month)).collect())
}

async fn open(index: Index, source: String, name: String) -> Result<(String, Month), DataFusionError> {
    let month = index.month(&source, &name).await.map_err(unreadable)?;
    match month.unreadable().first() {
        Some(found) => Err(unreadable(Incomplete::Unreadable(Arc::clone(found)))),
        None => Ok((source, month)),
    }
}

fn batches_of(source: String, month: Month) -> BoxStream<'static, Result<RecordBatch, DataFusionError>> {
    stream::try_unfold((source, month, None), |(source, month, after)| async move {
        let page = month.read(|rows| {
            let after = after.as_ref().map(|(partition, item): &(String, String)| (partition.as_str(), item.as_str()));
            let items = rows.after(after).take(PAGE);
            items.map(|(partition, item, row)| (partition.to_owned(), item.to_owned(), row.fetch())).collect::<Vec<_>>()
        });
        let Some((partition, item, _)) = page.last() else { return Ok(None) };
        let after = Some((partition.clone(), item.clone()));
        let mut objects = Vec::with_capacity(page.len());
        for (partition, item, fetch) in page {
            let Some(fetch) = fetch else { continue };
            let keys = object_keys(&source, &partition, &item, &fetch);
            let (as_of, fetched_at) = (fetch.as_of, fetch.fetched_at);
            let rows = keys.into_iter().zip(fetch.objects);
            let place = (partition, item);
            objects.extend(rows.map(|(key, object)| Found { place: place.clone(), key, as_of, fetched_at, object }));
        }
        Ok(Some((batch(&source, &objects)?, (source, month, after))))
    })
    .boxed()
}

/// An object, and where it belongs.
struct Found {
    /// The partition and the item.
    place: (String, String),
    key: String,
    as_of: i64,
    fetched_at: i64,
    object: IndexedObject,
}

fn batch(source: &str, objects: &[Found]) -> Result<RecordBatch, DataFusionError> {
    let text = |of: fn(&Found) -> &str| Arc::new(StringArray::from_iter_values(objects.iter().map(of))) as ArrayRef;
    let number = |of: fn(&Found) -> u64| integers(objects.iter().map(|found| Some(of(found))));
    let time = |of: fn(&Found) -> i64| times(objects.iter().map(|found| Some(of(found))));
    let dates: Date32Array = objects.iter().map(|found| date_of(&found.place.0).map(date32)).collect();
    let columns = vec![
        Arc::new(StringArray::from_iter_values(objects.iter().map(|_| source))) as ArrayRef,
        text(|found| &found.place.0),
        Arc::new(dates),
        text(|found| &found.place.1),
        text(|found| &found.key),
        number(|found| found.object.bytes),
        number(|found| found.object.records),
        text(|found| &found.object.sha256),
        time(|found| found.as_of),
        time(|found| found.fetched_at),
        text(|found| &found.object.definition),
        text(|found| &found.object.job),
        text(|found| &found.object.statistics),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

fn date_of(partition: &str) -> Option<Date> {
    partition.split('/').find_map(|part| part.strip_prefix("date=")?.parse().ok())
}
