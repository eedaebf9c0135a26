//! A job in responses.

use std::collections::BTreeMap;

use jiff::Timestamp;
use poem_openapi::{Enum, Object};
use uuid::Uuid;
use waybill_ledger::{JobId, Request, State, Status, TaskTally, Wait};

use crate::responses::timestamp::Moment;

/// A job's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase", remote = "State")]
pub(crate) enum JobState {
    /// Accepted; not begun.
    Queued,
    /// The upstream is asked for the items.
    Planning,
    /// Tasks are running or waiting.
    Running,
    /// Every task ended well.
    Succeeded,
    /// Some tasks ended well, the others failed; or items are missing that the upstream does not have, or rows that were left
    /// out of a table.
    Partial,
    /// No task ended well, or the planning failed.
    Failed,
    /// Cancelled before all was done.
    Cancelled,
    /// An object of the job in the bucket cannot be read; `errors` names it.
    Damaged,
}

/// A job and how far it is.
#[derive(Debug, Object)]
pub(crate) struct Job {
    pub(crate) id: Uuid,
    /// The source's name; empty, as the definition is, where the request is damaged.
    source: String,
    /// What it was given, in canonical spelling.
    params: BTreeMap<String, String>,
    /// The SHA-256 of the definition that it runs by.
    definition: String,
    /// The name of the API key that submitted it; absent where no keys are set.
    #[oai(skip_serializing_if_is_none)]
    by: Option<String>,
    state: JobState,
    /// When it was accepted.
    created: Moment,
    /// When a worker began.
    #[oai(nullable)]
    started: Option<Moment>,
    /// When the last task ended, or the job was cancelled, if that was later.
    #[oai(nullable)]
    finished: Option<Moment>,
    tasks: TaskCounts,
    /// Bytes of tasks that ended well.
    bytes: u64,
    /// Records of tasks that ended well.
    records: u64,
    /// Rows of the upload, where the source takes one.
    #[oai(skip_serializing_if_is_none)]
    rows: Option<Rows>,
    /// Per second, from the start to now or to the end.
    #[oai(nullable)]
    rate: Option<Rate>,
    /// Seconds until all tasks have ended, if they go on as they did.
    #[oai(nullable)]
    eta_seconds: Option<f64>,
    /// The first failures, at most 10.
    errors: Vec<JobError>,
    /// What waits for its next attempt, the first to go on first: at most 10.
    waits: Vec<JobWait>,
    links: Links,
}

/// Tasks by outcome.
#[derive(Debug, Object)]
struct TaskCounts {
    /// All of them; 0 until planned.
    total: u64,
    /// Waiting or running.
    pending: u64,
    /// A new object was stored.
    stored: u64,
    /// The upstream had what was stored already.
    unchanged: u64,
    /// Given up.
    failed: u64,
}

/// Rows of an upload by outcome, as far as their tasks have ended.
#[derive(Debug, Object)]
struct Rows {
    /// All of them, without the header; of a file that is loaded, those that were read.
    total: u64,
    /// Sent, and accepted by the upstream; or loaded.
    done: u64,
    /// Failed their checks, or refused by the upstream; or left out by the load.
    errors: u64,
    /// Sent perhaps: the answer was lost. A retry sends them again.
    unknown: u64,
}

/// How fast a job is.
#[derive(Debug, Object)]
struct Rate {
    bytes_per_second: f64,
    records_per_second: f64,
}

/// Why a task, or the planning, failed.
#[derive(Debug, Object)]
struct JobError {
    /// The task's number; null where the planning failed, or an object is damaged.
    #[oai(nullable)]
    task: Option<u64>,
    /// Its items' keys.
    items: Vec<String>,
    /// In words.
    reason: String,
    /// Where the refused file and its report are, in the bucket; or the report of rows that were left out of a table.
    #[oai(nullable)]
    quarantine: Option<String>,
}

/// What waits for its next attempt.
#[derive(Debug, Object)]
struct JobWait {
    /// The task's number; null for the planning.
    #[oai(nullable)]
    task: Option<u32>,
    /// When it goes on.
    until: Moment,
    /// Why the last attempt failed.
    reason: String,
}

/// Where to go from a job.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct Links {
    /// This job.
    #[oai(rename = "self")]
    this: String,
    /// Its tasks.
    tasks: String,
    /// How its rows ended, where those of an upload are sent.
    result: Option<String>,
    /// The statistics of its date, where the source keeps any by date.
    statistics: Option<String>,
    /// A POST here tries again what failed or is missing; there while that is possible.
    retry: Option<String>,
    /// A POST here cancels it; there while that is possible.
    cancel: Option<String>,
}

impl Job {
    /// How a job stands at `now`. `by_date`: whether its source has statistics by date.
    pub(crate) fn new(status: Status, by_date: bool, now: Timestamp) -> Self {
        let is_retryable = status.is_retryable();
        let Status { request, state, started, finished, tasks, bytes, records, rows, errors, waits } = status;
        let rows = rows.zip(request.upload.as_ref()).map(|(rows, upload)| Rows {
            total: upload.rows.unwrap_or(rows.done + rows.errors + rows.unknown),
            done: rows.done,
            errors: rows.errors,
            unknown: rows.unknown,
        });
        let are_rows_counted = request.upload.as_ref().is_some_and(|upload| upload.rows.is_some());
        let seconds = started.map(|started| seconds(started, finished.unwrap_or(now)));
        let rate = seconds.filter(|seconds| *seconds > 0.0);
        let errors = errors.into_iter().map(|error| JobError {
            task: error.task,
            items: error.items,
            reason: error.failure.reason,
            quarantine: error.failure.quarantine,
        });
        let waits = waits.into_iter();
        Self {
            waits: waits.map(|Wait { task, until, reason }| JobWait { task, until: Moment(until), reason }).collect(),
            id: request.job.into(),
            links: Links::new(&request, state, is_retryable, by_date),
            source: request.source,
            params: request.params.0,
            definition: request.definition,
            by: request.by,
            state: state.into(),
            created: Moment(request.created),
            started: started.map(Moment),
            finished: finished.map(Moment),
            eta_seconds: seconds.and_then(|seconds| match rows.as_ref().filter(|_| are_rows_counted) {
                Some(rows) => {
                    eta(state, rows.total, rows.total.saturating_sub(rows.done + rows.errors + rows.unknown), seconds)
                }
                None => eta(state, tasks.total, tasks.pending, seconds),
            }),
            tasks: tasks.into(),
            bytes,
            records,
            rows,
            rate: rate.map(|seconds| Rate {
                bytes_per_second: per(bytes, seconds),
                records_per_second: per(records, seconds),
            }),
            errors: errors.collect(),
        }
    }

    /// Where it is found.
    pub(crate) fn location(&self) -> String {
        self.links.this.clone()
    }

    /// Whether it is worth asking again.
    pub(crate) fn is_terminal(&self) -> bool {
        State::from(self.state).is_terminal()
    }
}

impl Links {
    fn new(request: &Request, state: State, is_retryable: bool, by_date: bool) -> Self {
        let action = |name: &str| format!("{}/{name}", location(request.job));
        let date = request.params.0.get("date").filter(|_| by_date);
        Self {
            this: location(request.job),
            tasks: format!("{}/tasks", location(request.job)),
            result: request.upload.as_ref().is_some_and(|upload| upload.rows.is_some()).then(|| action("result")),
            statistics: date.map(|date| format!("/v1/stats/{}?from={date}&to={date}", request.source)),
            retry: is_retryable.then(|| action("retry")),
            cancel: (!state.is_terminal()).then(|| action("cancel")),
        }
    }
}

impl From<TaskTally> for TaskCounts {
    fn from(tally: TaskTally) -> Self {
        let TaskTally { total, pending, stored, unchanged, failed, incomplete: _ } = tally;
        Self { total, pending, stored, unchanged, failed }
    }
}

/// Where a job is found.
pub(crate) fn location(job: JobId) -> String {
    format!("/v1/jobs/{job}")
}

/// A job that was accepted at this moment, of which nothing else can be known.
pub(crate) fn accepted(request: Request) -> Status {
    Status {
        request,
        state: State::Queued,
        started: None,
        finished: None,
        tasks: TaskTally::default(),
        bytes: 0,
        records: 0,
        rows: None,
        errors: Vec::new(),
        waits: Vec::new(),
    }
}

/// Unknown before the first task or row has ended, and when there is nothing left to wait for.
fn eta(state: State, total: u64, pending: u64, seconds: f64) -> Option<f64> {
    let settled = total.saturating_sub(pending);
    let known = state == State::Running && settled > 0 && seconds > 0.0;
    known.then(|| round(seconds * pending as f64 / settled as f64))
}

fn per(amount: u64, seconds: f64) -> f64 {
    round(amount as f64 / seconds)
}

/// Clocks of several machines are compared, so that more than a millisecond means nothing.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}
