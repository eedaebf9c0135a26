//! Runs a task of rows: each row is sent by a request of its own, and how it ended is a line of the task's object.
//!
//! A row is sent at least once in a job, and at most once by itself: what may be sent is written down before (`sender.rs`), so
//! that after a crash a row that may have been sent is known, and not sent again unless a retry asks for it.

mod known;
mod request;
mod sender;

use bytes::BytesMut;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use waybill_ledger::{MissingItem, RowTally};
use waybill_source::{Fetch, Item, Row, RowBatch, RowOutcome, RowResult};
use waybill_store::UploadBody;

use crate::{
    blocking,
    delivery::outcome::{EndedRows, Object, Success, TaskError, Work},
    download::model::{Fetched, Validators},
    task::{
        Task,
        object_versions::{Begun, Seen},
        rows::{
            known::Known,
            sender::{AllSent, Left, Sender},
        },
        store_object::{FileOf, Stored},
    },
};

/// The largest object that is read back: at most a thousand outcomes, of at most 70 KiB each.
const LARGEST_OBJECT: usize = 128 << 20;
/// Rows that a status names of a task.
const NAMED: usize = 3;

/// Sends the rows that were not sent yet, and stores how all of them ended. `unsent` says why no more rows are sent, if none
/// are: then it is only told what has become of those that were.
pub(crate) async fn run(
    task: &Task<'_>,
    item: &Item,
    work: Work,
    unsent: Option<TaskError>,
) -> Result<Success, TaskError> {
    let Work { job, round, .. } = work;
    let ledger = &task.context.worker.ledger;
    let rows = read(task, item).await?;
    let Some((log, earlier)) = ledger.open_row_log(job, task.number, round, Uuid::now_v7()).await? else {
        return Err(TaskError::Retry { after: None, reason: "other workers open the log of the rows".to_owned() });
    };
    // Whoever had the log before may have recorded the outcome, and deleted what was written down for it.
    if ledger.has_task_ended(job, task.number, round).await? {
        return Ok(Success::AlreadyEnded);
    }
    let seen = task.look().await?;
    let begun = seen.begin(Timestamp::now(), job);
    if earlier.is_trimmed && seen.newest.is_none() {
        let reason = "how its rows ended was in an object that is not there any more: nothing is sent again".to_owned();
        return Err(TaskError::Failed { reason });
    }
    let known = known::fold(stored(task, &seen).await?, &earlier.records, round);
    let (mut outcomes, mut to_send) = (Vec::new(), Vec::new());
    for (at, row) in rows.iter().enumerate() {
        match decide(task, row, known.get(&row.line)) {
            Some(outcome) => outcomes.push((at, outcome)),
            None => to_send.push((at, row)),
        }
    }
    let known = tally(outcomes.iter().map(|(_, outcome)| outcome));
    let sent = match unsent {
        None => Sender::new(task, log, to_send, known).run().await?,
        Some(why) => AllSent::none(&log, to_send, why),
    };
    if let Some(why) = sent.stop {
        let reason = left_for_good(task, work, why, !sent.outcomes.is_empty())?;
        let outcome = |left: Left<'_>| {
            let (result, reason) = match (left.may_have_arrived, left.tried) {
                (true, tried) => (RowResult::Unknown, tried.unwrap_or_else(|| reason.clone())),
                (false, Some(tried)) => (RowResult::Error, format!("not done: {tried}")),
                (false, None) => (RowResult::Error, format!("not sent: {reason}")),
            };
            (left.row.0, task.definition.outcome(left.row.1, result, Some(reason), None))
        };
        outcomes.extend(sent.left.into_iter().map(outcome));
    }
    outcomes.extend(sent.outcomes);
    outcomes.sort_unstable_by_key(|(at, _)| *at);
    let outcomes: Vec<_> = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
    let rows = EndedRows { tally: tally(&outcomes), records: sent.records };
    store(task, item, &seen, begun, outcomes, rows).await
}

/// Why rows that were left are not sent in this round any more; the error where they may be.
fn left_for_good(task: &Task<'_>, work: Work, why: TaskError, has_sent: bool) -> Result<String, TaskError> {
    let is_last = work.attempt >= task.context.worker.retry.attempts;
    match why {
        TaskError::Cancelled => Ok("the job was cancelled".to_owned()),
        TaskError::Failed { reason } => Ok(reason),
        TaskError::Retry { after, reason } if has_sent => Err(TaskError::PartlyDone { after, reason }),
        TaskError::Retry { reason, .. } if is_last => Ok(reason),
        why => Err(why),
    }
}

/// The rows of the task.
async fn read(task: &Task<'_>, item: &Item) -> Result<Vec<Row>, TaskError> {
    let failed = |reason: &str| TaskError::Failed { reason: reason.to_owned() };
    let upload = task.request.upload.as_ref().ok_or_else(|| failed("the job names no upload"))?;
    let batch = RowBatch::from_item(task.definition, item)?;
    let len = if batch.is_oversized() { 0 } else { usize::try_from(batch.length).unwrap_or(usize::MAX) };
    let bytes = task.context.worker.ledger.read_upload(upload, batch.offset, len).await?;
    let bytes = bytes.ok_or_else(|| failed("the upload is not there any more"))?;
    let rows = task.definition.rows(&batch, &bytes);
    if rows.len() as u64 != batch.rows {
        return Err(failed(&format!("expected {} rows in the upload, found {}", batch.rows, rows.len())));
    }
    Ok(rows)
}

/// The outcomes in the object that is stored of this task, from an earlier round.
async fn stored(task: &Task<'_>, seen: &Seen) -> Result<Vec<RowOutcome>, TaskError> {
    let Some(key) = seen.newest.as_ref().and_then(|newest| newest.keys.first()) else { return Ok(Vec::new()) };
    let bytes = task.context.worker.store.get(key, LARGEST_OBJECT).await?;
    // Another worker of the task may have put another in its place.
    let gone = || TaskError::Retry { after: None, reason: format!("{key} is not there any more") };
    RowOutcome::parse_lines(&bytes.ok_or_else(gone)?)
        .map_err(|error| TaskError::Failed { reason: format!("{key} cannot be read: {error}") })
}

/// How a row ended that is not to be sent.
fn decide(task: &Task<'_>, row: &Row, known: Option<&Known>) -> Option<RowOutcome> {
    match known {
        Some(Known::Ended(outcome)) => Some(outcome.clone()),
        Some(Known::Begun) if !task.resends() => {
            let reason = "the worker ended after it may have sent the row: a retry sends it again".to_owned();
            Some(task.definition.outcome(row, RowResult::Unknown, Some(reason), None))
        }
        Some(Known::Begun) | None => {
            let problem = row.problem.clone()?;
            Some(task.definition.outcome(row, RowResult::Error, Some(problem), None))
        }
    }
}

async fn store(
    task: &Task<'_>,
    item: &Item,
    seen: &Seen,
    begun: Begun,
    outcomes: Vec<RowOutcome>,
    rows: EndedRows,
) -> Result<Success, TaskError> {
    let missing = missing(&outcomes);
    let file = file(task, outcomes).await?;
    let existing = seen.newest.as_ref().filter(|it| it.is_of(task.definition.hash()) && it.has_bytes(&[&file.sha256]));
    if let Some(existing) = existing
        && task.still_counts(seen, existing).await?
    {
        return Ok(with_rows(task.unchanged(seen, existing, missing).await?, rows));
    }
    let path = task.definition.fetch_path();
    let file_of = FileOf { items: std::slice::from_ref(item), path: &path, begun, piece: None };
    // Also where the job is cancelled: the object says what was sent until then.
    let Stored { object, head } = task.store_always(&file_of, file).await?;
    task.enter(seen, Fetch { fetched_at: begun.at, keys: vec![object.key.clone()] }, vec![head]).await?;
    Ok(with_rows(Success::Stored(Object { missing, ..object }), rows))
}

/// The object of a task: a line for each row, checked and added up as any file is.
async fn file(task: &Task<'_>, outcomes: Vec<RowOutcome>) -> Result<Fetched, TaskError> {
    let (mut scanner, format) = (task.definition.scanner(), task.definition.format());
    let file = blocking::compute(move || {
        let mut bytes = BytesMut::new();
        for outcome in &outcomes {
            bytes.extend_from_slice(outcome.to_json_line().as_bytes());
            bytes.extend_from_slice(b"\n");
        }
        let bytes = bytes.freeze();
        let scanned = scanner.push(&bytes).and_then(|()| scanner.finish());
        let sha256 = base16ct::lower::encode_string(&Sha256::digest(&bytes));
        let len = bytes.len() as u64;
        Fetched {
            body: UploadBody::Bytes(bytes),
            bytes: len,
            scanned,
            sha256,
            validators: Validators::default(),
            format,
            pages: None,
        }
    });
    file.await.ok_or(TaskError::Interrupted)
}

fn tally<'a>(outcomes: impl IntoIterator<Item = &'a RowOutcome>) -> RowTally {
    let mut tally = RowTally::default();
    outcomes.into_iter().for_each(|outcome| count(&mut tally, outcome));
    tally
}

fn count(tally: &mut RowTally, outcome: &RowOutcome) {
    match outcome.result {
        RowResult::Done => tally.done += 1,
        RowResult::Error => tally.errors += 1,
        RowResult::Unknown => tally.unknown += 1,
    }
}

/// The first rows that are not done, and how many more there are: a retry tries them again.
fn missing(outcomes: &[RowOutcome]) -> Vec<MissingItem> {
    let mut others = outcomes.iter().filter(|outcome| outcome.result != RowResult::Done);
    let named = others.by_ref().take(NAMED).map(|outcome| MissingItem {
        item: format!("line {}", outcome.line),
        reason: match (&outcome.reason, outcome.result) {
            (Some(reason), RowResult::Unknown) => format!("unknown: {reason}"),
            (reason, _) => reason.clone().unwrap_or_default(),
        },
    });
    let mut missing: Vec<_> = named.collect();
    let more = others.count();
    if more > 0 {
        missing.push(MissingItem { item: format!("and {more} more"), reason: "the result names each row".to_owned() });
    }
    missing
}

fn with_rows(success: Success, rows: EndedRows) -> Success {
    match success {
        Success::Stored(object) => Success::Stored(object.with_rows(rows)),
        Success::Unchanged(object) => Success::Unchanged(object.with_rows(rows)),
        other => other,
    }
}
