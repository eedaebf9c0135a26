//! Sends rows at the source's pace. The rows of the next second are written down as begun, together with how the last ones
//! ended, while those before them are sent: one PUT a second, whatever the rate.

use std::collections::VecDeque;

use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, OptionFuture},
    stream::FuturesUnordered,
};
use uuid::Uuid;
use waybill_ledger::{LedgerError, RowLog, RowRecord};
use waybill_source::{Limit, Row, RowOutcome, RowResult};

use crate::{
    delivery::outcome::TaskError,
    limits::throttle::Passed,
    retry::GaveUp,
    task::{
        Task,
        rows::request::{AHEAD, Sent, send},
    },
};

/// Rows under way at once: a slow answer holds up no other row.
const MOST_UNDER_WAY: usize = 256;
/// Rows written down together, at least where there is no rate, and at most.
const LEAST_AHEAD: u64 = 8;
const MOST_AHEAD: u64 = 256;

/// A row, and its place among the task's rows.
type Numbered<'a> = (usize, &'a Row);

/// The rows of a task that are to be sent.
pub(super) struct Sender<'a> {
    task: &'a Task<'a>,
    writer: Uuid,
    round: u32,
    /// Rows written down at a time.
    ahead: usize,
    /// Not begun.
    waiting: VecDeque<Numbered<'a>>,
    /// Written down as begun, not sent.
    ready: VecDeque<Numbered<'a>>,
    /// Of rows that may be sent again later: nothing was done.
    withdrawn: Vec<u64>,
    /// How rows ended since the last record.
    ended: Vec<RowOutcome>,
    outcomes: Vec<(usize, RowOutcome)>,
    /// Why no more rows are sent.
    stop: Option<TaskError>,
    /// In no future: it writes a record.
    log: Option<RowLog>,
}

/// A record that was written, or not.
struct Written<'a> {
    log: RowLog,
    is_ours: Result<bool, LedgerError>,
    rows: Vec<Numbered<'a>>,
}

impl<'a> Sender<'a> {
    pub(super) fn new(task: &'a Task<'a>, log: RowLog, writer: Uuid, round: u32, rows: Vec<Numbered<'a>>) -> Self {
        let ahead = match task.definition.limit() {
            Limit::Rate { items, per } => {
                let rows = AHEAD.as_nanos() * u128::from(items) / per.as_nanos().max(1);
                u64::try_from(rows).unwrap_or(MOST_AHEAD).clamp(1, MOST_AHEAD)
            }
            Limit::Concurrency(requests) => (4 * u64::from(requests)).clamp(LEAST_AHEAD, MOST_AHEAD),
        };
        Self {
            task,
            writer,
            round,
            ahead: ahead as usize,
            waiting: rows.into(),
            ready: VecDeque::new(),
            withdrawn: Vec::new(),
            ended: Vec::new(),
            outcomes: Vec::new(),
            stop: None,
            log: Some(log),
        }
    }

    /// Sends all rows, and returns how they ended. What did end is written down, whatever comes of the others.
    pub(super) async fn run(mut self) -> Result<Vec<(usize, RowOutcome)>, TaskError> {
        let (task, shutdown) = (self.task, self.task.context.shutdown.clone());
        let mut writing: OptionFuture<BoxFuture<'a, Written<'a>>> = None.into();
        let mut passing: OptionFuture<BoxFuture<'a, Result<Passed<'a>, GaveUp>>> = None.into();
        let (mut is_writing, mut is_passing) = (false, false);
        let mut under_way = FuturesUnordered::new();
        loop {
            if self.stop.is_some() {
                (passing, is_passing) = (None.into(), false);
                self.withdraw();
            }
            if !is_writing && let Some(write) = self.next_record() {
                (writing, is_writing) = (Some(write).into(), true);
            }
            if !(is_writing || is_passing) && self.ready.is_empty() && under_way.is_empty() {
                break;
            }
            if !is_passing && !self.ready.is_empty() && under_way.len() < MOST_UNDER_WAY {
                let pass = task.throttle.pass(1, &task.context.shutdown).boxed();
                (passing, is_passing) = (Some(pass).into(), true);
            }
            if self.waiting.is_empty() && self.ready.len() <= self.ahead {
                // The next task may be taken, so that its rows follow these without a gap.
                task.delivery.has_started();
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled(), if self.stop.is_none() => self.stop = Some(TaskError::Interrupted),
                Some(written) = &mut writing, if is_writing => {
                    (writing, is_writing) = (None.into(), false);
                    self.written(written).await?;
                }
                Some((row, sent)) = under_way.next() => self.take(row, sent),
                Some(passed) = &mut passing, if is_passing => {
                    (passing, is_passing) = (None.into(), false);
                    match (passed, self.ready.pop_front()) {
                        (Ok(passed), Some(row)) => {
                            under_way.push(async move { (row, send(task, row.1, passed).await) });
                        }
                        (Ok(_), None) => {}
                        (Err(gave_up), row) => {
                            self.ready.extend(row);
                            self.stop.get_or_insert(gave_up.into());
                        }
                    }
                }
            }
        }
        task.delivery.has_started();
        match self.stop {
            Some(TaskError::Cancelled) | None => Ok(self.outcomes),
            Some(error) => Err(error),
        }
    }

    /// The next record to write: rows that are begun soon, and how others ended; `None` where there is nothing to write yet.
    fn next_record(&mut self) -> Option<BoxFuture<'a, Written<'a>>> {
        let is_last = self.waiting.is_empty() && self.ready.is_empty();
        let is_due = self.ready.len() <= self.ahead / 2 && !self.waiting.is_empty();
        let has_news = !self.ended.is_empty() || !self.withdrawn.is_empty();
        if !(is_due || is_last && has_news) {
            return None;
        }
        let mut log = self.log.take()?;
        let rows: Vec<_> = self.waiting.drain(..self.ahead.min(self.waiting.len())).collect();
        let record = RowRecord {
            writer: self.writer,
            round: self.round,
            begun: rows.iter().map(|(_, row)| row.line).collect(),
            withdrawn: std::mem::take(&mut self.withdrawn),
            ended: std::mem::take(&mut self.ended),
        };
        Some(async move { Written { is_ours: log.append(record).await, log, rows } }.boxed())
    }

    async fn written(&mut self, Written { log, is_ours, rows }: Written<'a>) -> Result<(), TaskError> {
        if !is_ours? {
            // What it may have sent and not written down is unknown to the other worker, and stays so.
            return Err(TaskError::LeasedElsewhere { remaining: self.task.context.worker.lease });
        }
        self.log = Some(log);
        self.ready.extend(rows);
        if self.stop.is_none() && self.task.context.is_cancelled(self.task.request.job).await? {
            self.stop = Some(TaskError::Cancelled);
        }
        Ok(())
    }

    fn take(&mut self, (at, row): Numbered<'a>, sent: Sent) {
        match sent {
            Sent::Ended(outcome) => {
                self.ended.push(outcome.clone());
                self.outcomes.push((at, outcome));
            }
            Sent::NotDone(gave_up) => {
                self.withdrawn.push(row.line);
                match self.stop {
                    Some(TaskError::Cancelled) => self.leave_out((at, row)),
                    _ => drop(self.stop.get_or_insert(gave_up.into())),
                }
            }
        }
    }

    /// Begins no more rows.
    fn withdraw(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let ready = std::mem::take(&mut self.ready);
        self.withdrawn.extend(ready.iter().map(|(_, row)| row.line));
        if self.stop == Some(TaskError::Cancelled) {
            ready.into_iter().chain(waiting).for_each(|row| self.leave_out(row));
        }
    }

    fn leave_out(&mut self, (at, row): Numbered<'a>) {
        let reason = Some("not sent: the job was cancelled".to_owned());
        self.outcomes.push((at, self.task.definition.outcome(row, RowResult::Error, reason, None)));
    }
}
