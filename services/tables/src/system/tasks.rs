//! `waybill.tasks`: a row for each task of each planned job; and one, in the state `damaged`, for a job that cannot be read.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Float64Array, ListBuilder, RecordBatch, StringArray, StringBuilder},
    datatypes::{DataType, Field, SchemaRef},
};
use datafusion::common::DataFusionError;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use jiff::Timestamp;
use waybill_ledger::{JobFilter, Ledger, LedgerError, State, Status, TaskState, TaskStatus};

use crate::system::{
    SystemTables,
    filters::Filters,
    jobs::{named, pages},
    table::{Batches, columns, integers, time, times, unreadable},
};

/// Tasks of a batch: as many as a piece of a sealed job has, so that each is read once.
const PAGE: usize = 10_000;

pub(super) fn schema() -> SchemaRef {
    let items = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
    columns([
        ("job", DataType::Utf8),
        ("source", DataType::Utf8),
        ("created", time()),
        ("task", DataType::Int64),
        ("items", items),
        ("state", DataType::Utf8),
        ("object", DataType::Utf8),
        ("bytes", DataType::Int64),
        ("records", DataType::Int64),
        ("reason", DataType::Utf8),
        ("quarantine", DataType::Utf8),
        ("attempts", DataType::Int64),
        ("seconds", DataType::Float64),
        ("finished", time()),
    ])
}

pub(super) fn scan(system: &SystemTables, filters: &Filters) -> Batches {
    // A name that no task has is left to the filter, which lets nothing through.
    let state = filters.text("state").and_then(named::<TaskState>);
    let filter = JobFilter { source: filters.text("source").map(str::to_owned), state: None };
    let ledger = system.ledger.clone();
    pages(&ledger, filters.text("job"), filter, filters.since("created"))
        .map_ok(|page| stream::iter(page.into_iter().map(Ok::<_, DataFusionError>)))
        .try_flatten()
        .try_filter(move |job| std::future::ready(may_have(job, state)))
        .map_ok(move |job| batches_of(ledger.clone(), job, state))
        .try_flatten()
        .boxed()
}

/// Whether a job has tasks that stand so: its numbers tell, and no more is read of it otherwise.
fn may_have(job: &Status, state: Option<TaskState>) -> bool {
    match state {
        None => true,
        Some(TaskState::Pending) => job.tasks.pending > 0,
        Some(TaskState::Stored) => job.tasks.stored > 0,
        Some(TaskState::Unchanged) => job.tasks.unchanged > 0,
        Some(TaskState::Failed) => job.tasks.failed > 0,
    }
}

fn batches_of(
    ledger: Ledger,
    job: Status,
    state: Option<TaskState>,
) -> BoxStream<'static, Result<RecordBatch, DataFusionError>> {
    if job.state == State::Damaged {
        return stream::once(async move { damaged(&job) }).boxed();
    }
    stream::try_unfold((job, Some(0)), move |(job, from)| {
        let ledger = ledger.clone();
        async move {
            let Some(from) = from else { return Ok(None) };
            match ledger.tasks(job.request.job, state, from, PAGE).await {
                // It was deleted meanwhile.
                Ok(None) => Ok(None),
                Ok(Some(tasks)) => {
                    let next = tasks.last().filter(|_| tasks.len() == PAGE).map(|last| last.task + 1);
                    Ok(Some((batch(&job, &tasks)?, (job, next))))
                }
                Err(error @ LedgerError::Damaged { .. }) => {
                    tracing::warn!(job = %job.request.job, %error, "the tasks of a job cannot be read");
                    Err(unreadable(error))
                }
                Err(error) => Err(unreadable(error)),
            }
        }
    })
    .boxed()
}

fn batch(job: &Status, tasks: &[TaskStatus]) -> Result<RecordBatch, DataFusionError> {
    let states = tasks.iter().map(|task| task.state.to_string());
    let text =
        |of: fn(&TaskStatus) -> Option<&str>| Arc::new(tasks.iter().map(of).collect::<StringArray>()) as ArrayRef;
    let number = |of: fn(&TaskStatus) -> Option<u64>| integers(tasks.iter().map(of));
    let mut items = ListBuilder::new(StringBuilder::new());
    for task in tasks {
        items.append_value(task.items.iter().map(Some));
    }
    let seconds: Float64Array = tasks.iter().map(|task| task.done.as_ref().map(|done| done.seconds)).collect();
    let finished = tasks.iter().map(|task| {
        let done = task.done.as_ref().map(|done| done.finished);
        done.or(task.failure.as_ref().map(|failure| failure.finished)).map(Timestamp::as_microsecond)
    });
    let [id, source] = [job.request.job.to_string(), job.request.source.clone()]
        .map(|text| Arc::new(StringArray::from_iter_values(tasks.iter().map(|_| &text))) as ArrayRef);
    let columns = vec![
        id,
        source,
        times(tasks.iter().map(|_| Some(job.request.created.as_microsecond()))),
        number(|task| Some(task.task)),
        Arc::new(items.finish()),
        Arc::new(StringArray::from_iter_values(states)),
        text(|task| task.done.as_ref().map(|done| done.object.as_str())),
        number(|task| task.done.as_ref().map(|done| done.bytes)),
        number(|task| task.done.as_ref().map(|done| done.records)),
        text(|task| task.failure.as_ref().map(|failure| failure.reason.as_str())),
        text(|task| {
            let failed = task.failure.as_ref().and_then(|failure| failure.quarantine.as_deref());
            failed.or(task.done.as_ref().and_then(|done| done.quarantine.as_deref()))
        }),
        number(|task| {
            let done = task.done.as_ref().map(|done| done.attempts);
            done.or(task.failure.as_ref().map(|failure| failure.attempts)).map(u64::from)
        }),
        Arc::new(seconds),
        times(finished),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

/// What is known of a job's tasks where an object of the job cannot be read: why.
fn damaged(job: &Status) -> Result<RecordBatch, DataFusionError> {
    let schema = schema();
    let columns = schema.fields().iter().map(|field| {
        let text = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
        match field.name().as_str() {
            "job" => text(&job.request.job.to_string()),
            "source" => text(&job.request.source),
            "created" => times([Some(job.request.created.as_microsecond())].into_iter()),
            "state" => text("damaged"),
            "reason" => text(job.errors.first().map_or("", |error| &error.failure.reason)),
            _ => arrow::array::new_null_array(field.data_type(), 1),
        }
    });
    let columns = columns.collect();
    Ok(RecordBatch::try_new(schema, columns)?)
}
