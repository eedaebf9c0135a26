//! Sends rows at the source's pace. The rows of the next second are written down as begun, together with how the last ones
//! ended, while those before them are sent: one PUT a second, whatever the rate.

use std::{collections::VecDeque, time::Duration};

use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, OptionFuture},
    stream::FuturesUnordered,
};
use tokio::sync::OwnedSemaphorePermit;
use waybill_ledger::{RowLog, RowRecord, RowTally};
use waybill_source::{Row, RowOutcome};

use crate::{
    delivery::outcome::TaskError,
    limits::throttle::Passed,
    task::{
        Task,
        rows::count,
        rows::request::{Sent, send},
    },
};

/// Rows under way at once: a slow answer holds up no other row.
const MOST_UNDER_WAY: usize = 256;
/// Between two tries to write a record.
const BETWEEN_TRIES: Duration = Duration::from_secs(1);
/// After a row has waited so long, the job may be cancelled.
const LONG_WAIT: Duration = Duration::from_secs(2);

/// A row, and its place among the task's rows.
pub(super) type Numbered<'a> = (usize, &'a Row);

/// The rows of a task that are to be sent.
pub(super) struct Sender<'a> {
    task: &'a Task<'a>,
    /// Not begun.
    waiting: VecDeque<Numbered<'a>>,
    /// Written down as begun, not sent.
    ready: VecDeque<Numbered<'a>>,
    /// For the rows that are being written down, and those that are ready.
    reserved: Option<OwnedSemaphorePermit>,
    /// Of rows that may be sent again later: nothing was done.
    withdrawn: Vec<u64>,
    /// How rows ended since the last record.
    ended: Vec<RowOutcome>,
    outcomes: Vec<(usize, RowOutcome)>,
    /// Of all rows of the task.
    tally: RowTally,
    left: Vec<Left<'a>>,
    /// Why no more rows are sent.
    stop: Option<TaskError>,
    /// In no future: it writes a record.
    log: Option<RowLog>,
}

/// A row that was left for later.
pub(super) struct Left<'a> {
    pub(super) row: Numbered<'a>,
    /// What the last try gave, where there was one.
    pub(super) tried: Option<String>,
    /// Whether the upstream may have it all the same.
    pub(super) may_have_arrived: bool,
}

/// A record that was written, unless another worker has opened the log.
struct Written<'a> {
    log: RowLog,
    is_ours: bool,
    rows: Vec<Numbered<'a>>,
    is_cancelled: bool,
}

/// What has come of the rows.
pub(super) struct AllSent<'a> {
    pub(super) outcomes: Vec<(usize, RowOutcome)>,
    /// Rows that were left, and why.
    pub(super) left: Vec<Left<'a>>,
    pub(super) stop: Option<TaskError>,
    /// Records of the log.
    pub(super) records: u32,
}

impl<'a> AllSent<'a> {
    /// Of rows of which none is sent.
    pub(super) fn none(log: &RowLog, rows: Vec<Numbered<'a>>, why: TaskError) -> Self {
        let left = rows.into_iter().map(|row| Left { row, tried: None, may_have_arrived: false }).collect();
        Self { outcomes: Vec::new(), left, stop: Some(why), records: log.records() }
    }
}

impl<'a> Sender<'a> {
    pub(super) fn new(task: &'a Task<'a>, log: RowLog, rows: Vec<Numbered<'a>>, tally: RowTally) -> Self {
        Self {
            task,
            waiting: rows.into(),
            ready: VecDeque::new(),
            reserved: None,
            withdrawn: Vec::new(),
            ended: Vec::new(),
            outcomes: Vec::new(),
            tally,
            left: Vec::new(),
            stop: None,
            log: Some(log),
        }
    }

    /// Sends all rows, and returns how they ended. That is written down, whatever keeps others from being sent.
    ///
    /// # Errors
    /// Where another worker runs the task: it says how the rows ended.
    pub(super) async fn run(mut self) -> Result<AllSent<'a>, TaskError> {
        let (task, shutdown) = (self.task, self.task.context.shutdown.clone());
        let mut writing: OptionFuture<BoxFuture<'a, Written<'a>>> = None.into();
        let mut reserving: OptionFuture<BoxFuture<'a, OwnedSemaphorePermit>> = None.into();
        let mut passing: OptionFuture<BoxFuture<'a, Result<Passed<'a>, TaskError>>> = None.into();
        let (mut is_writing, mut is_reserving, mut is_passing) = (false, false, false);
        let mut under_way = FuturesUnordered::new();
        loop {
            if self.stop.is_some() {
                (passing, is_passing) = (None.into(), false);
                (reserving, is_reserving) = (None.into(), false);
                self.withdraw();
            }
            if !is_writing && self.has_last_record() {
                (writing, is_writing) = (self.write(0).into(), true);
            }
            if !(is_writing || is_reserving) && self.wants_more() {
                let rows = self.waiting.len().min(task.throttle.ahead.rows());
                (reserving, is_reserving) = (Some(task.throttle.ahead.reserve(rows).boxed()).into(), true);
            }
            if !(is_writing || is_reserving || is_passing) && self.ready.is_empty() && under_way.is_empty() {
                break;
            }
            if !is_passing && !self.ready.is_empty() && under_way.len() < MOST_UNDER_WAY {
                (passing, is_passing) = (Some(pass(task).boxed()).into(), true);
            }
            if self.waiting.is_empty() {
                // The next task may be taken, so that its rows follow these without a gap.
                task.delivery.has_started();
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled(), if self.stop.is_none() => self.stop = Some(TaskError::Interrupted),
                Some(written) = &mut writing, if is_writing => {
                    (writing, is_writing) = (None.into(), false);
                    if !written.is_ours {
                        // What may have been sent and is not written down is unknown to the other worker, and stays so.
                        return Err(TaskError::LeasedElsewhere { remaining: task.context.worker.lease });
                    }
                    self.written(written);
                }
                Some(reserved) = &mut reserving, if is_reserving => {
                    (reserving, is_reserving) = (None.into(), false);
                    let rows = reserved.num_permits();
                    match &mut self.reserved {
                        Some(all) => all.merge(reserved),
                        none => *none = Some(reserved),
                    }
                    (writing, is_writing) = (self.write(rows).into(), true);
                }
                Some((row, sent)) = under_way.next() => self.take(row, sent),
                Some(passed) = &mut passing, if is_passing => {
                    (passing, is_passing) = (None.into(), false);
                    match (passed, self.ready.pop_front()) {
                        (Ok(passed), Some(row)) => {
                            drop(self.reserved.as_mut().and_then(|reserved| reserved.split(1)));
                            under_way.push(async move { (row, send(task, row.1, passed).await) });
                        }
                        (Ok(_), None) => {}
                        (Err(why), row) => {
                            self.ready.extend(row);
                            self.stop.get_or_insert(why);
                        }
                    }
                }
            }
        }
        task.delivery.has_started();
        let records = self.log.as_ref().map_or(0, RowLog::records);
        Ok(AllSent { outcomes: self.outcomes, left: self.left, stop: self.stop, records })
    }

    /// Whether more rows are to be written down soon.
    fn wants_more(&self) -> bool {
        !self.waiting.is_empty() && self.ready.len() <= self.task.throttle.ahead.rows() / 2
    }

    /// Whether there is something to write down and no row to begin with it.
    fn has_last_record(&self) -> bool {
        self.waiting.is_empty() && self.ready.is_empty() && !(self.ended.is_empty() && self.withdrawn.is_empty())
    }

    /// Writes a record: so many rows are begun, and how others ended. `None` while one is being written.
    fn write(&mut self, rows: usize) -> Option<BoxFuture<'a, Written<'a>>> {
        let mut log = self.log.take()?;
        let rows: Vec<_> = self.waiting.drain(..rows.min(self.waiting.len())).collect();
        let record = RowRecord {
            begun: rows.iter().map(|(_, row)| row.line).collect(),
            withdrawn: std::mem::take(&mut self.withdrawn),
            ended: std::mem::take(&mut self.ended),
            ..log.record()
        };
        let task = self.task;
        let write = async move {
            let is_ours = append(&mut log, record).await;
            let is_cancelled = is_ours && is_cancelled(task).await;
            Written { log, is_ours, rows, is_cancelled }
        };
        Some(write.boxed())
    }

    fn written(&mut self, Written { log, rows, is_cancelled, .. }: Written<'a>) {
        self.log = Some(log);
        self.ready.extend(rows);
        if is_cancelled {
            // It outranks every other reason: there will be no other attempt.
            self.stop = Some(TaskError::Cancelled);
        }
    }

    fn take(&mut self, (at, row): Numbered<'a>, sent: Sent) {
        match sent {
            Sent::Ended(outcome) => {
                count(&mut self.tally, &outcome);
                self.task.delivery.tell_rows(self.tally);
                self.ended.push(outcome.clone());
                self.outcomes.push((at, outcome));
            }
            Sent::NotDone { why, may_have_arrived } => {
                if !may_have_arrived {
                    self.withdrawn.push(row.line);
                }
                let why = TaskError::from(why);
                let tried = why.reason().map(str::to_owned);
                self.left.push(Left { row: (at, row), tried, may_have_arrived });
                self.stop.get_or_insert(why);
            }
        }
    }

    /// Begins no more rows.
    fn withdraw(&mut self) {
        self.withdrawn.extend(self.ready.iter().map(|(_, row)| row.line));
        self.reserved = None;
        let rows = self.ready.drain(..).chain(self.waiting.drain(..));
        self.left.extend(rows.map(|row| Left { row, tried: None, may_have_arrived: false }));
    }
}

/// Writes a record, for as long as the store is away: what was sent must not be forgotten. Returns whether the log is ours.
async fn append(log: &mut RowLog, record: RowRecord) -> bool {
    loop {
        match log.append(record.clone()).await {
            Ok(is_ours) => return is_ours,
            Err(error) => tracing::warn!(%error, "failed to write down which rows were sent, to be retried"),
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
}

/// Waits until a row may be sent, and fails where that took so long that the job may be cancelled, and is.
async fn pass<'a>(task: &'a Task<'a>) -> Result<Passed<'a>, TaskError> {
    let passed = task.throttle.pass(1, &task.context.shutdown).await?;
    if passed.waited > LONG_WAIT && is_cancelled(task).await {
        return Err(TaskError::Cancelled);
    }
    Ok(passed)
}

/// Where nobody knows it counts as not cancelled.
async fn is_cancelled(task: &Task<'_>) -> bool {
    let asked = task.context.is_cancelled(task.request.job).await;
    asked.inspect_err(|error| tracing::debug!(%error, "failed to see whether the job is cancelled")).unwrap_or(false)
}
