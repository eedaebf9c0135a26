//! The ledger, its caches, and the facts that are written and read unchanged.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use jiff::{Timestamp, civil::Date};
use tokio::sync::Semaphore;
use waybill_journal::{CompactionError, Options, Unreadable};
use waybill_queue::Queue;
use waybill_source::{Definition, ObjectName};
use waybill_store::{Store, StoreError};

use crate::{
    Done, Failure, JobId, LedgerError, Metrics, MissingItem, Plan, Request,
    cache::{Cache, Recent},
    changes::{plan::Outline, seal::Sealing, submit::MAX_PUBLISHING},
    data,
    jobs::{Ended, Fact, Jobs, Piece, slot_of},
    journals::{self, AsOf},
    layout::{
        keys::{self, Name},
        objects::SMALL,
    },
    recovery::lost::Watch,
    views::{status::Summary, unfinished::Seen},
};

/// The longest reasons that are kept, in characters: of a task, and of each item that a task lacks, of which there may be
/// a thousand. So an outcome fits into a segment.
const REASON_LIMIT: usize = 4_000;
const MISSING_REASON_LIMIT: usize = 500;
/// How long the store may take for an entry that somebody waits for, or whose work can go on without it.
const ENTER_TIMEOUT: Duration = Duration::from_secs(10);

/// The ledger: facts in a store, and a queue for the messages that follow from them. Cheap to clone; clones share their
/// caches.
#[derive(Debug, Clone)]
pub struct Ledger {
    pub(crate) store: Store,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) metrics: Metrics,
}

/// Caches of what never changes once it is known, and recovery's notes.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) requests: Cache<JobId, Arc<Request>>,
    pub(crate) definitions: Cache<String, Arc<Definition>>,
    /// Keys of definitions that are in the bucket.
    pub(crate) stored_definitions: Cache<String, ()>,
    /// Weighed by tasks and items, of about 1 KB each.
    pub(crate) plans: Cache<JobId, Arc<Plan>>,
    /// Weighed by tasks and items, of about 60 bytes each.
    pub(crate) outlines: Cache<JobId, Arc<Outline>>,
    pub(crate) jobs: Jobs,
    pub(crate) sealing: Sealing,
    /// Of sealed jobs, by number; weighed by outcomes, of about 320 bytes each.
    pub(crate) pieces: Cache<(JobId, u32), Piece>,
    /// Summaries of jobs that succeeded. Only the end of their retention changes them.
    pub(crate) succeeded: Recent<JobId, Summary>,
    /// Jobs without a summary.
    pub(crate) unended: Recent<JobId, ()>,
    /// Jobs whose folder was listed, and all entered that its objects say.
    pub(crate) folders: Recent<JobId, ()>,
    /// Jobs that have a summary.
    pub(crate) ended: Cache<JobId, ()>,
    /// Permits for plan messages that are being published.
    pub(crate) publishing: Arc<Semaphore>,
    /// When recovery last published a job's plan message.
    pub(crate) republished_at: Cache<JobId, Timestamp>,
    /// Jobs whose messages recovery could not publish completely, each with its first task that was not published.
    pub(crate) unpublished: Cache<JobId, u32>,
    /// Jobs that are cancelled, for good.
    pub(crate) cancelled: Cache<JobId, ()>,
    /// Unfinished jobs, and since when nothing has happened to them.
    pub(crate) watched: Cache<JobId, Watch>,
    /// Jobs with a damaged object, which recovery has logged.
    pub(crate) damaged: Cache<JobId, ()>,
    /// Held while a large object is read and parsed.
    pub(crate) large_reads: tokio::sync::Mutex<()>,
    /// What was seen to end by whoever asks for unfinished jobs.
    pub(crate) seen: Seen,
    /// By source: tasks that recovery saw to end since this process started.
    pub(crate) ended_tasks: Cache<String, u64>,
    /// Days in the past of which every job has a summary; at most as many as recovery looks back.
    pub(crate) ended_days: Mutex<BTreeSet<Date>>,
}

impl Ledger {
    /// A ledger in `store`'s bucket.
    pub fn new(store: Store, queue: Arc<dyn Queue>) -> Self {
        Self::with(store, queue, Options::default(), Sealing::default())
    }

    pub(crate) fn with(store: Store, queue: Arc<dyn Queue>, options: Options, sealing: Sealing) -> Self {
        let interval = options.list_interval;
        let memory = Memory {
            requests: Cache::new(1_024),
            definitions: Cache::new(256),
            stored_definitions: Cache::new(256),
            plans: Cache::weighted(8, 50_000),
            outlines: Cache::weighted(256, 500_000),
            jobs: Jobs::new(store.clone(), options),
            sealing,
            pieces: Cache::weighted(64, 40_000),
            succeeded: Recent::new(1_024, interval * 60),
            unended: Recent::new(1_024, interval),
            folders: Recent::new(1_024, interval),
            ended: Cache::new(100_000),
            publishing: Arc::new(Semaphore::new(MAX_PUBLISHING)),
            republished_at: Cache::new(100_000),
            unpublished: Cache::new(100_000),
            cancelled: Cache::new(100_000),
            watched: Cache::new(100_000),
            damaged: Cache::new(100_000),
            large_reads: tokio::sync::Mutex::default(),
            seen: Seen::default(),
            ended_tasks: Cache::new(1_024),
            ended_days: Mutex::default(),
        };
        Self { store, queue, memory: Arc::new(memory), metrics: Metrics::default() }
    }

    /// A ledger that is only asked: nothing that it might publish reaches a worker.
    pub fn read_only(store: Store) -> Self {
        Self::new(store, Arc::new(waybill_queue::Embedded::new(1)))
    }

    /// The same ledger, counted in `metrics`.
    #[must_use]
    pub fn with_metrics(&self, metrics: Metrics) -> Self {
        Self { metrics, ..self.clone() }
    }

    /// A job's request; `None` for an unknown job. Cached: it never changes.
    pub async fn request(&self, job: JobId) -> Result<Option<Arc<Request>>, LedgerError> {
        if let Some(request) = self.memory.requests.get(&job) {
            return Ok(Some(request));
        }
        let key = keys::of(job, Name::Request);
        match self.read::<Request>(&key, SMALL).await? {
            Some(request) if request.job != job => {
                Err(LedgerError::damaged(key, format!("it is the request of job {}", request.job)))
            }
            request => Ok(request.map(|request| self.remember_request(request))),
        }
    }

    pub(crate) fn remember_request(&self, request: Request) -> Arc<Request> {
        let request = Arc::new(request);
        self.memory.requests.insert(request.job, request.clone(), 1);
        request
    }

    /// The definition that a job was submitted with. Cached: it never changes.
    pub async fn definition(&self, source: &str, hash: &str) -> Result<Arc<Definition>, LedgerError> {
        let key = keys::definition(source, hash);
        if let Some(definition) = self.memory.definitions.get(&key) {
            return Ok(definition);
        }
        let damaged = |reason: String| LedgerError::damaged(&key, reason);
        let text = self.store.get(&key, SMALL).await?.ok_or_else(|| damaged("it is not there".to_owned()))?;
        let text = std::str::from_utf8(&text).map_err(|error| damaged(error.to_string()))?;
        let definition = Definition::parse(&key, text).map_err(|mistakes| damaged(mistakes.to_string()))?;
        if definition.hash() != hash {
            return Err(damaged("its hash is not the one in its name".to_owned()));
        }
        let definition = Arc::new(definition);
        self.memory.definitions.insert(key, definition.clone(), 1);
        Ok(definition)
    }

    /// Reads a part of an object in data/, as [`Done`] names and measures it; `None` where it is not there any more.
    pub async fn read_object(&self, done: &Done, offset: u64, len: usize) -> Result<Option<Bytes>, LedgerError> {
        if !done.object.starts_with("data/") {
            return Err(LedgerError::damaged(&done.object, "a task's object lies in data/".to_owned()));
        }
        Ok(self.store.get_range(&done.object, offset, len).await?)
    }

    /// The object that has taken the place of the one that a task's outcome names; `None` where there is none. Of two
    /// workers that stored the same task the earlier outcome counts, and the later object.
    pub async fn replaced(&self, done: &Done) -> Result<Option<Done>, LedgerError> {
        let Some(name) = ObjectName::parse(&done.object) else { return Ok(None) };
        let prefix = format!("{}/{}.", name.folder, name.item);
        let newest = data::survey_item(&self.store, &prefix, &name.item).await?.newest();
        let newest = newest.and_then(|(fetch, heads)| fetch.keys.into_iter().zip(heads).next());
        Ok(newest.map(|(object, head)| Done { object, bytes: head.size, ..done.clone() }))
    }

    /// Records that a worker begins to plan; the first time counts.
    pub async fn record_start(&self, job: JobId, now: Timestamp) -> Result<(), LedgerError> {
        self.enter(job, vec![Fact::Started(now)]).await
    }

    /// Records that the planning was given up, in this round or in the latest, if that is later: a message to plan a
    /// job does not name its round.
    pub async fn record_plan_failure(&self, job: JobId, round: u32, failure: &Failure) -> Result<(), LedgerError> {
        let round = round.max(self.facts(job).await?.round);
        self.enter(job, vec![Fact::PlanFailed(round, truncated(failure))]).await
    }

    /// Records that a task ended well; the first record counts. Where items are missing, it counts until a later round
    /// begins.
    pub async fn record_done(&self, job: JobId, task: u32, round: u32, done: &Done) -> Result<(), LedgerError> {
        if done.missing.is_empty() {
            return self.record(job, task, Ended::Done(done.clone())).await;
        }
        let missing = done
            .missing
            .iter()
            .map(|it| MissingItem { item: it.item.clone(), reason: shortened(&it.reason, MISSING_REASON_LIMIT) });
        self.record(job, task, Ended::Partial(round, Done { missing: missing.collect(), ..done.clone() })).await
    }

    /// Records that a task was given up in this round.
    pub async fn record_failure(
        &self,
        job: JobId,
        task: u32,
        round: u32,
        failure: &Failure,
    ) -> Result<(), LedgerError> {
        self.record(job, task, Ended::Failed(round, truncated(failure))).await
    }

    /// Waits for as long as the store refuses. Nobody can look at a job whose request is gone or damaged.
    async fn record(&self, job: JobId, task: u32, ended: Ended) -> Result<(), LedgerError> {
        match self.source(job).await? {
            Some(source) => Ok(self.memory.jobs.commit(&source, job, &[Fact::Ended(task, ended)]).await?),
            None => Ok(()),
        }
    }

    /// Returns when the facts are durable, all together. After an error they may be, or be later.
    pub(crate) async fn enter(&self, job: JobId, facts: Vec<Fact>) -> Result<(), LedgerError> {
        let Some(source) = self.source(job).await? else { return Ok(()) };
        match tokio::time::timeout(ENTER_TIMEOUT, self.memory.jobs.commit(&source, job, &facts)).await {
            Ok(committed) => Ok(committed?),
            Err(_) => {
                let key = format!("{}{}/", journals::folder(&source, journals::JOBS), slot_of(job));
                let reason = format!("it took no entry within {} s", ENTER_TIMEOUT.as_secs());
                Err(StoreError::Unavailable { operation: "PutObject", key, reason }.into())
            }
        }
    }

    /// The source of a job; none where its request is not there, or damaged.
    pub(crate) async fn source(&self, job: JobId) -> Result<Option<String>, LedgerError> {
        match self.request(job).await {
            Ok(request) => Ok(request.map(|request| request.source.clone())),
            Err(LedgerError::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a task ended for good, or in this round: a message of it needs no more work.
    pub async fn has_task_ended(&self, job: JobId, task: u32, round: u32) -> Result<bool, LedgerError> {
        let Some(source) = self.source(job).await? else { return Ok(false) };
        let slot = self.memory.jobs.slot(&source, job, AsOf::Now).await?;
        Ok(slot.read(|slot| slot.job(job).is_some_and(|job| job.has_ended(task, round))))
    }

    /// Objects of jobs' journals that this process could not read at its latest looks: at most 20.
    pub fn unreadable(&self) -> Vec<Arc<Unreadable>> {
        self.memory.jobs.unreadable()
    }

    /// Does one compaction in a journal of jobs; returns whether another may be due.
    pub async fn compact_jobs(&self, source: &str, slot: &str) -> Result<bool, CompactionError> {
        self.memory.jobs.compact(source, slot).await
    }
}

pub(crate) fn truncated(failure: &Failure) -> Failure {
    Failure { reason: shortened(&failure.reason, REASON_LIMIT), ..failure.clone() }
}

fn shortened(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use waybill_source::Format;
    use waybill_store::{Upload, UploadBody};

    use super::*;
    use crate::{
        Outcome,
        testing::{Fixture, at, done, id},
    };

    #[tokio::test]
    async fn the_object_that_counts_takes_the_place_of_one_that_is_gone() {
        let fixture = Fixture::new().await;
        let store = async |item: &str, second: i64, bytes: &'static str| {
            let at = at(0) + second.seconds();
            let key = ObjectName::new("relay", "date=2024-05-01", item, at, &"5".repeat(64), Format::Ndjson).key();
            let pairs = [("job", id(0, 1).to_string()), ("sha256", "5".repeat(64)), ("definition", "d".to_owned())];
            let metadata = pairs.map(|(name, value)| (name.to_owned(), value)).to_vec();
            let body = UploadBody::Bytes(bytes.into());
            fixture.store.upload(&key, Upload { content_type: "application/json", metadata, body }).await.unwrap();
            key
        };
        let first = store("1", 1, "{}\n").await;
        // The name of another item begins like this one's.
        store("1.5", 9, "{}{}{}\n").await;
        let ended = Done { object: first.clone(), bytes: 3, ..done(Outcome::Stored, 3) };
        assert_eq!(fixture.ledger.replaced(&ended).await.unwrap(), Some(ended.clone()));
        let second = store("1", 2, "{}{}\n").await;
        fixture.store.delete(&[first]).await.unwrap();
        let found = Done { object: second.clone(), bytes: 5, ..ended.clone() };
        assert_eq!(fixture.ledger.replaced(&ended).await.unwrap(), Some(found));
        fixture.store.delete(&[second]).await.unwrap();
        assert_eq!(fixture.ledger.replaced(&ended).await.unwrap(), None);
    }
}
