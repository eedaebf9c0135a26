//! `waybill.jobs`: a row for each job, newest first.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    datatypes::{DataType, SchemaRef},
};
use datafusion::common::DataFusionError;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, de::value::StrDeserializer};
use waybill_ledger::{JobFilter, JobId, Ledger, State, Status};

use crate::system::{
    SystemTables,
    filters::Filters,
    table::{Batches, columns, integers, time, times, unreadable},
};

/// Jobs of a batch: a status has up to ten failures in words.
const PAGE: usize = 100;

/// A job's id has its time to the millisecond, and `created` the rest.
const SLACK: SignedDuration = SignedDuration::from_secs(1);

pub(super) fn schema() -> SchemaRef {
    columns([
        ("id", DataType::Utf8),
        ("source", DataType::Utf8),
        ("params", DataType::Utf8),
        ("definition", DataType::Utf8),
        ("by", DataType::Utf8),
        ("state", DataType::Utf8),
        ("created", time()),
        ("started", time()),
        ("finished", time()),
        ("tasks_total", DataType::Int64),
        ("tasks_pending", DataType::Int64),
        ("tasks_stored", DataType::Int64),
        ("tasks_unchanged", DataType::Int64),
        ("tasks_failed", DataType::Int64),
        ("bytes", DataType::Int64),
        ("records", DataType::Int64),
        ("rows_done", DataType::Int64),
        ("rows_errors", DataType::Int64),
        ("rows_unknown", DataType::Int64),
        ("reason", DataType::Utf8),
    ])
}

pub(super) fn scan(system: &SystemTables, filters: &Filters) -> Batches {
    let state = filters.text("state").map(named::<State>);
    if let Some(None) = state {
        return stream::empty().boxed();
    }
    let filter = JobFilter { source: filters.text("source").map(str::to_owned), state: state.flatten() };
    pages(&system.ledger, filters.text("id"), filter, filters.since("created")).map(|page| batch(&page?)).boxed()
}

/// A state by its name.
pub(super) fn named<'a, T: Deserialize<'a>>(name: &'a str) -> Option<T> {
    T::deserialize(StrDeserializer::<serde::de::value::Error>::new(name)).ok()
}

/// Jobs that a filter lets through: the one of this id, or all since a time, newest first.
pub(super) fn pages(
    ledger: &Ledger,
    id: Option<&str>,
    filter: JobFilter,
    since: Option<Timestamp>,
) -> BoxStream<'static, Result<Vec<Status>, DataFusionError>> {
    let ledger = ledger.clone();
    if let Some(id) = id {
        let Ok(id) = id.parse::<JobId>() else { return stream::empty().boxed() };
        let one = async move { Ok(ledger.status(id).await.map_err(unreadable)?.into_iter().collect()) };
        return stream::once(one).boxed();
    }
    let since = since.and_then(|since| since.checked_sub(SLACK).ok());
    let is_wanted = move |job: JobId| since.is_none_or(|since| since <= job.submitted());
    stream::try_unfold(Some(None), move |after: Option<Option<JobId>>| {
        let (ledger, filter) = (ledger.clone(), filter.clone());
        async move {
            let Some(after) = after else { return Ok(None) };
            let mut page = ledger.jobs(&filter, after, PAGE).await.map_err(unreadable)?;
            page.jobs.retain(|status| is_wanted(status.request.job));
            let next = page.next.filter(|next| is_wanted(*next)).map(Some);
            Ok(Some((page.jobs, next)))
        }
    })
    .try_filter(|page| std::future::ready(!page.is_empty()))
    .boxed()
}

fn batch(jobs: &[Status]) -> Result<RecordBatch, DataFusionError> {
    let text = |of: fn(&Status) -> Option<String>| Arc::new(jobs.iter().map(of).collect::<StringArray>()) as ArrayRef;
    let number = |of: fn(&Status) -> Option<u64>| integers(jobs.iter().map(of));
    let time =
        |of: fn(&Status) -> Option<Timestamp>| times(jobs.iter().map(|job| of(job).map(Timestamp::as_microsecond)));
    let columns = vec![
        text(|job| Some(job.request.job.to_string())),
        text(|job| Some(job.request.source.clone())),
        text(|job| serde_json::to_string(&job.request.params).ok()),
        text(|job| Some(job.request.definition.clone())),
        text(|job| job.request.by.clone()),
        text(|job| Some(job.state.to_string())),
        time(|job| Some(job.request.created)),
        time(|job| job.started),
        time(|job| job.finished),
        number(|job| Some(job.tasks.total)),
        number(|job| Some(job.tasks.pending)),
        number(|job| Some(job.tasks.stored)),
        number(|job| Some(job.tasks.unchanged)),
        number(|job| Some(job.tasks.failed)),
        number(|job| Some(job.bytes)),
        number(|job| Some(job.records)),
        number(|job| job.rows.map(|rows| rows.done)),
        number(|job| job.rows.map(|rows| rows.errors)),
        number(|job| job.rows.map(|rows| rows.unknown)),
        text(|job| job.errors.first().map(|error| error.failure.reason.clone())),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}
