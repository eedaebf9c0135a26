//! Sends rows at the source's pace. The rows of the next second are written down as begun, together with how the last ones
//! ended, while those before them are sent: one PUT a second, whatever the rate.

use std::{collections::VecDeque, time::Duration};

use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, OptionFuture},
    stream::FuturesUnordered,
};
use uuid::Uuid;
use waybill_ledger::{RowLog, RowRecord, RowTally};
use waybill_source::{Limit, Row, RowOutcome};

use crate::{
    delivery::outcome::TaskError,
    limits::throttle::Passed,
    retry::GaveUp,
    task::{
        Task,
        rows::count,
        rows::request::{AHEAD, Sent, send},
    },
};

/// Rows under way at once: a slow answer holds up no other row.
const MOST_UNDER_WAY: usize = 256;
/// Between two tries to write a record.
const BETWEEN_TRIES: Duration = Duration::from_secs(1);
/// Rows written down together, at least where there is no rate, and at most.
const LEAST_AHEAD: u64 = 8;
const MOST_AHEAD: u64 = 256;

/// A row, and its place among the task's rows.
pub(super) type Numbered<'a> = (usize, &'a Row);

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
    /// Of all rows of the task.
    tally: RowTally,
    /// Rows that were not sent.
    left: Vec<Numbered<'a>>,
    /// Why no more rows are sent.
    stop: Option<TaskError>,
    /// In no future: it writes a record.
    log: Option<RowLog>,
}

/// A record that was written, unless another worker has opened the log.
struct Written<'a> {
    log: RowLog,
    is_ours: bool,
    rows: Vec<Numbered<'a>>,
}

/// What has come of the rows.
pub(super) struct AllSent<'a> {
    pub(super) outcomes: Vec<(usize, RowOutcome)>,
    /// Rows that were not sent, and why not.
    pub(super) left: Vec<Numbered<'a>>,
    pub(super) stop: Option<TaskError>,
}

impl<'a> Sender<'a> {
    pub(super) fn new(
        task: &'a Task<'a>,
        log: RowLog,
        writer: Uuid,
        round: u32,
        rows: Vec<Numbered<'a>>,
        tally: RowTally,
    ) -> Self {
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
                    if !written.is_ours {
                        // What may have been sent and is not written down is unknown to the other worker, and stays so.
                        return Err(TaskError::LeasedElsewhere { remaining: task.context.worker.lease });
                    }
                    self.written(written).await;
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
        Ok(AllSent { outcomes: self.outcomes, left: self.left, stop: self.stop })
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
        let write = async move {
            // For as long as the store does not take it: what was sent must not be forgotten.
            let is_ours = loop {
                match log.append(record.clone()).await {
                    Ok(is_ours) => break is_ours,
                    Err(error) => tracing::warn!(%error, "failed to write down which rows were sent, to be retried"),
                }
                tokio::time::sleep(BETWEEN_TRIES).await;
            };
            Written { log, is_ours, rows }
        };
        Some(write.boxed())
    }

    async fn written(&mut self, Written { log, rows, .. }: Written<'a>) {
        self.log = Some(log);
        self.ready.extend(rows);
        if self.stop.is_none() {
            match self.task.context.is_cancelled(self.task.request.job).await {
                Ok(false) => {}
                Ok(true) => self.stop = Some(TaskError::Cancelled),
                Err(error) => tracing::debug!(%error, "failed to see whether the job is cancelled"),
            }
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
            Sent::NotDone(gave_up) => {
                self.withdrawn.push(row.line);
                self.left.push((at, row));
                self.stop.get_or_insert(gave_up.into());
            }
        }
    }

    /// Begins no more rows.
    fn withdraw(&mut self) {
        self.withdrawn.extend(self.ready.iter().map(|(_, row)| row.line));
        self.left.extend(self.ready.drain(..));
        self.left.extend(self.waiting.drain(..));
    }
}
