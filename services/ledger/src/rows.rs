//! The log of a task that sends rows: which of them may be sent from now on is written down before, and how they ended
//! after it.
//!
//! Records are numbered and created only once, so a task has one writer: whoever finds the next number taken has been
//! superseded, and sends nothing more. Each writer opens the log with a record of its own. Those stay until the job is
//! deleted, so that a writer which was away for long finds its next number taken whatever has happened since.

use std::pin::pin;

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use waybill_source::RowOutcome;

use crate::{JobId, Ledger, LedgerError, layout::keys};

/// The most that is read of a record: it has at most 256 outcomes, of at most 70 KiB each.
const RECORD: usize = 64 << 20;
/// A record that opens a log has a writer and a round, and no more than so many bytes; every other record has more.
const OPENING: u64 = 70;
/// Records read side by side.
const AT_ONCE: usize = 16;
/// How often a log is read again that others write to while it is opened.
const TRIES: usize = 5;

/// One record of a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowRecord {
    /// Tells its writer from others.
    pub writer: Uuid,
    /// The round that it was written in.
    pub round: u32,
    /// Lines of rows that may be sent from now on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub begun: Vec<u64>,
    /// Lines of rows that were begun and of which nothing was sent, or which the upstream said it did nothing about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withdrawn: Vec<u64>,
    /// How rows ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<RowOutcome>,
}

/// What others wrote before a log was opened.
#[derive(Debug, PartialEq)]
pub struct EarlierRecords {
    /// The oldest first.
    pub records: Vec<RowRecord>,
    /// Whether records were deleted since the task had an outcome: how its rows ended is in the object that it names.
    pub is_trimmed: bool,
}

/// The end of a log, where its writer adds records.
#[derive(Debug)]
pub struct RowLog {
    ledger: Ledger,
    job: JobId,
    task: u32,
    round: u32,
    writer: Uuid,
    next: u32,
}

impl Ledger {
    /// Opens the log of a task for `writer`. From then on no other writer adds to it. `None` where others keep opening it.
    ///
    /// Where the store ignores create-only, two writers at the same instant may both believe that they opened it.
    pub async fn open_row_log(
        &self,
        job: JobId,
        task: u32,
        round: u32,
        writer: Uuid,
    ) -> Result<Option<(RowLog, EarlierRecords)>, LedgerError> {
        for _ in 0..TRIES {
            let (records, next) = self.row_records(job, task).await?;
            let records = EarlierRecords { is_trimmed: records.len() < next as usize, records };
            let mut log = RowLog { ledger: self.clone(), job, task, round, writer, next };
            if log.append(log.record()).await? {
                return Ok(Some((log, records)));
            }
        }
        Ok(None)
    }

    /// All records of a task's log, oldest first, and the number of the next.
    async fn row_records(&self, job: JobId, task: u32) -> Result<(Vec<RowRecord>, u32), LedgerError> {
        let prefix = keys::row_log(job, task);
        let mut pages = pin!(self.store.pages(&prefix));
        let (mut names, mut next) = (Vec::new(), 0);
        while let Some(page) = pages.try_next().await? {
            for key in page.into_iter().map(|entry| entry.key) {
                if let Some(number) = keys::parse_row_record(&key) {
                    next = number + 1;
                    names.push(key);
                }
            }
        }
        let read = stream::iter(names).map(async |key: String| self.read::<RowRecord>(&key, RECORD).await);
        let records: Vec<_> = read.buffered(AT_ONCE).try_collect().await?;
        Ok((records.into_iter().flatten().collect(), next))
    }

    /// Whether anything was ever written down of the rows of a task.
    pub async fn has_row_log(&self, job: JobId, task: u32) -> Result<bool, LedgerError> {
        Ok(!self.store.list(&keys::row_log(job, task), None, 1).await?.is_empty())
    }

    /// Deletes what the outcome of a task has made superfluous: of the first `len` records all but the last and those that
    /// opened the log. By the gap in the numbers it is seen later that something was there.
    pub async fn trim_row_log(&self, job: JobId, task: u32, len: u32) -> Result<(), LedgerError> {
        let is_before = |key: &str| keys::parse_row_record(key).is_some_and(|number| number + 1 < len);
        let prefix = keys::row_log(job, task);
        let mut pages = pin!(self.store.pages(&prefix));
        while let Some(page) = pages.try_next().await? {
            let superfluous = page.into_iter().filter(|entry| entry.size > OPENING && is_before(&entry.key));
            self.store.delete(&superfluous.map(|entry| entry.key).collect::<Vec<_>>()).await?;
        }
        Ok(())
    }
}

impl RowLog {
    /// How many records there are, those of others included.
    pub fn records(&self) -> u32 {
        self.next
    }

    /// A record of this writer, of nothing yet.
    pub fn record(&self) -> RowRecord {
        let (writer, round) = (self.writer, self.round);
        RowRecord { writer, round, begun: Vec::new(), withdrawn: Vec::new(), ended: Vec::new() }
    }

    /// Adds a record. `false`: another writer has opened the log meanwhile, and nothing was added.
    pub async fn append(&mut self, record: RowRecord) -> Result<bool, LedgerError> {
        let key = keys::row_record(self.job, self.task, self.next);
        // A record of ours that is there already was written by a try whose answer was lost.
        let is_ours = self.ledger.create_or_read(&key, record, RECORD).await?.writer == self.writer;
        self.next += u32::from(is_ours);
        Ok(is_ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fixture, id};

    fn record(writer: u128, round: u32, begun: &[u64]) -> RowRecord {
        let (withdrawn, ended) = (Vec::new(), Vec::new());
        RowRecord { writer: Uuid::from_u128(writer), round, begun: begun.to_vec(), withdrawn, ended }
    }

    async fn open(ledger: &Ledger, writer: u128) -> (RowLog, Vec<RowRecord>, bool) {
        let (log, earlier) = ledger.open_row_log(id(0, 1), 7, 0, Uuid::from_u128(writer)).await.unwrap().unwrap();
        (log, earlier.records, earlier.is_trimmed)
    }

    #[tokio::test]
    async fn a_writer_that_was_superseded_adds_nothing_more() {
        let fixture = Fixture::new().await;
        assert!(!fixture.ledger.has_row_log(id(0, 1), 7).await.unwrap());
        let (mut first, before, is_trimmed) = open(&fixture.ledger, 1).await;
        assert_eq!((before, is_trimmed), (Vec::new(), false));
        assert!(fixture.ledger.has_row_log(id(0, 1), 7).await.unwrap());
        assert!(first.append(record(1, 0, &[2, 3])).await.unwrap());
        let another = fixture.another();
        let (mut second, before, is_trimmed) = open(&another, 2).await;
        assert_eq!((before, is_trimmed), (vec![record(1, 0, &[]), record(1, 0, &[2, 3])], false));
        assert!(!first.append(record(1, 0, &[4])).await.unwrap());
        assert!(second.append(record(2, 0, &[4])).await.unwrap());
        // Nor after the task has ended. What a later writer adds meanwhile stays.
        assert!(second.append(record(2, 0, &[5])).await.unwrap());
        let records = second.records();
        assert!(second.append(record(2, 0, &[7])).await.unwrap());
        another.trim_row_log(id(0, 1), 7, records).await.unwrap();
        assert!(!first.append(record(1, 0, &[6])).await.unwrap());
        let (_, before, is_trimmed) = open(&fixture.another(), 3).await;
        let left = [record(1, 0, &[]), record(2, 0, &[]), record(2, 0, &[5]), record(2, 0, &[7])];
        assert_eq!((before, is_trimmed), (left.into(), true));
    }

    #[tokio::test]
    async fn of_many_that_open_a_log_at_once_one_writes() {
        let fixture = Fixture::new().await;
        let ledgers: Vec<_> = (1..=8).map(|writer| (fixture.another(), writer)).collect();
        let opened = stream::iter(&ledgers).map(async |(ledger, writer)| {
            let id = Uuid::from_u128(*writer);
            (*writer, ledger.open_row_log(id_of_job(), 7, 0, id).await.unwrap())
        });
        let opened: Vec<_> = opened.buffer_unordered(8).collect().await;
        let mut writers = 0;
        for (writer, log) in opened {
            if let Some((mut log, _)) = log {
                writers += u32::from(log.append(record(writer, 0, &[2])).await.unwrap());
            }
        }
        assert_eq!(writers, 1);
    }

    fn id_of_job() -> JobId {
        id(0, 1)
    }

    #[test]
    fn records_that_open_a_log_are_the_small_ones() {
        let size = |record: &RowRecord| serde_json::to_vec(record).unwrap().len() as u64 + 1;
        assert!(size(&record(u128::MAX, u32::MAX, &[])) <= OPENING);
        assert!(size(&record(0, 0, &[1])) > OPENING);
        let withdrawn = RowRecord { withdrawn: vec![1], begun: Vec::new(), ..record(0, 0, &[]) };
        assert!(size(&withdrawn) > OPENING);
    }
}
