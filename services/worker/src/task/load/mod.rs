//! Runs a load: the job's upload goes into the table of its definition, all of it or again.
//!
//! Turn → attempt counted → rows loaded → report of what was left out. A load that is done twice takes effect once, since
//! the loader knows it by the job's id: so a crash anywhere only repeats work.

mod loader;
pub(crate) mod turn;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use waybill_ledger::{JobId, Ledger, MissingItem, Request, RowTally, Upload};
use waybill_source::{Definition, Format};

pub use self::loader::{Load, LoadError, Loaded, Loader, RejectedRow};
use crate::{
    context::Context,
    delivery::{
        outcome::{EndedRows, Object, Success, TaskError, Work},
        redelivery,
        work_delivery::WorkDelivery,
    },
    task::{load::turn::Turn, quarantine},
};

/// What is read of an upload at a time, in bytes.
const PART: usize = 4 << 20;
/// How often it is asked whether the job is cancelled.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// Rows that a status names of a load.
const NAMED: usize = 3;

/// Loads the upload of a job.
pub(crate) async fn run(
    context: &Context,
    work: Work,
    request: &Request,
    delivery: &WorkDelivery,
) -> Result<Success, TaskError> {
    let (ledger, failed) = (&context.worker.ledger, |reason: &str| TaskError::Failed { reason: reason.to_owned() });
    // A message that the queue had twice is delivered for the first time twice.
    redelivery::check_lease(context, work).await?;
    let definition = ledger.definition(&request.source, &request.definition).await?;
    // Only a message on the wrong queue finds no loader.
    let loader = context.worker.loader.as_ref().ok_or_else(|| failed("no tables are loaded here"))?;
    let table = definition.table().ok_or_else(|| failed("the job's definition has no table"))?;
    let upload = request.upload.as_ref().ok_or_else(|| failed("the job names no upload"))?;
    let turn = Turn::take(context, &table.name).await?;
    // It may have been loaded meanwhile. A wait is no attempt.
    if let Some(task) = work.task
        && ledger.has_task_ended(work.job, task, work.round).await?
    {
        return Ok(Success::AlreadyEnded);
    }
    if context.is_cancelled(work.job).await? {
        return Err(TaskError::Cancelled);
    }
    if delivery.kind.may_repeat() {
        redelivery::count(context, work).await?;
    }
    let bytes = parts(ledger.clone(), upload.clone());
    let load = Load { id: work.job.to_string(), definition: Arc::clone(&definition), bytes };
    let loaded = tokio::select! {
        biased;
        loaded = loader.load(load) => loaded?,
        () = turn.lost() => return Err(TaskError::TableBusy),
        () = cancelled(context, work.job) => return Err(TaskError::Cancelled),
    };
    drop(turn);
    told(context, work.job, &definition, upload, loaded).await
}

/// Ends when the job is cancelled.
async fn cancelled(context: &Context, job: JobId) {
    loop {
        tokio::time::sleep(BETWEEN_LOOKS).await;
        match context.is_cancelled(job).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "failed to ask whether the job is cancelled"),
        }
    }
}

/// The file, part after part.
fn parts(ledger: Ledger, upload: Upload) -> BoxStream<'static, Result<Bytes, LoadError>> {
    let next = move |offset: u64| {
        let (ledger, upload) = (ledger.clone(), upload.clone());
        async move {
            if offset >= upload.bytes {
                return Ok(None);
            }
            let part = ledger.read_upload(&upload, offset, PART).await;
            let part = part.map_err(|error| LoadError::Transient(error.to_string()))?;
            let part = part.ok_or_else(|| LoadError::Refused("the upload is not there any more".to_owned()))?;
            if part.is_empty() {
                let reason = format!("the upload ends after {offset} of {} bytes", upload.bytes);
                return Err(LoadError::Refused(reason));
            }
            let end = offset + part.len() as u64;
            Ok(Some((part, end)))
        }
    };
    stream::try_unfold(0, next).boxed()
}

/// What is said of a load that was done. Its report lies in the bucket before it is named.
async fn told(
    context: &Context,
    job: JobId,
    definition: &Definition,
    upload: &Upload,
    loaded: Loaded,
) -> Result<Success, TaskError> {
    let quarantine = match loaded.report.as_slice() {
        [] => None,
        rows => {
            let key = quarantine::keep_rows(&context.worker.store, definition.name(), job, rows).await?;
            context.counts(definition.name()).quarantined.inc();
            Some(key)
        }
    };
    let table = definition.table().map_or("", |table| &table.name);
    let tally = RowTally { done: loaded.rows, errors: loaded.rejected, unknown: 0 };
    Ok(Success::Stored(Object {
        key: format!("tables/{table}/"),
        bytes: upload.bytes,
        records: loaded.rows,
        missing: missing(&loaded, upload.format),
        rows: Some(EndedRows { tally, records: 0 }),
        quarantine,
    }))
}

/// The first rows that were left out, and how many more there are.
fn missing(loaded: &Loaded, format: Format) -> Vec<MissingItem> {
    let unit = if matches!(format, Format::Csv | Format::Ndjson) { "line" } else { "record" };
    let named = loaded.report.iter().take(NAMED);
    let named = named.map(|row| MissingItem { item: format!("{unit} {}", row.place), reason: row.reason.clone() });
    let mut missing: Vec<_> = named.collect();
    let more = loaded.rejected.saturating_sub(missing.len() as u64);
    if more > 0 {
        let reason = "the report in quarantine/ names the first 1,000".to_owned();
        missing.push(MissingItem { item: format!("and {more} more"), reason });
    }
    missing
}

impl From<LoadError> for TaskError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Transient(reason) => Self::Retry { after: None, reason },
            LoadError::Refused(reason) => Self::Failed { reason },
        }
    }
}
