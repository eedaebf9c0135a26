//! The ledger, its caches, and the facts that are written and read unchanged.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use futures::future::try_join_all;
use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use waybill_queue::Queue;
use waybill_source::Definition;
use waybill_store::Store;

use crate::{
    Done, Failure, JobId, LedgerError, Metrics, Plan, Request,
    cache::Cache,
    changes::{plan::Outline, submit::ANNOUNCING},
    layout::{
        keys::{self, Name},
        objects::SMALL,
    },
    recovery::lost::Watch,
    views::{progress::SharedProgress, unfinished::Seen},
};

/// The longest reason that is kept, in characters, so that a marker can always be read again.
const REASON_LIMIT: usize = 4_000;

/// The ledger: the store that holds the facts, and the queue that tells workers of them. Cheap to clone;
/// clones share what they remember.
#[derive(Debug, Clone)]
pub struct Ledger {
    pub(crate) store: Store,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) metrics: Metrics,
}

/// What never changes once it is known, and what saves asking twice.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) requests: Cache<JobId, Arc<Request>>,
    pub(crate) definitions: Cache<String, Arc<Definition>>,
    /// Keys of definitions that are in the bucket.
    pub(crate) kept_definitions: Cache<String, ()>,
    /// Weighed by tasks and items, of about 1 KB each.
    pub(crate) plans: Cache<JobId, Arc<Plan>>,
    /// Weighed by tasks and items, of about 60 bytes each.
    pub(crate) outlines: Cache<JobId, Arc<Outline>>,
    /// Weighed by tasks, of 24 bytes each.
    pub(crate) progress: Cache<JobId, SharedProgress>,
    /// Jobs that have a summary.
    pub(crate) ended: Cache<JobId, ()>,
    /// Room for messages of new jobs that are on their way to the queue.
    pub(crate) announcing: Arc<Semaphore>,
    /// When recovery last sent a job's plan message.
    pub(crate) sent_again: Cache<JobId, Timestamp>,
    /// Jobs of which recovery could not send everything that it should have, and the first task not sent.
    pub(crate) owed: Cache<JobId, u32>,
    /// Jobs that are cancelled, for good.
    pub(crate) cancelled: Cache<JobId, ()>,
    /// Unfinished jobs, and for how long nothing has happened to them.
    pub(crate) watched: Cache<JobId, Watch>,
    /// Jobs of which recovery said that an object is damaged.
    pub(crate) damaged: Cache<JobId, ()>,
    /// Held while a large object is read and parsed.
    pub(crate) large_reads: tokio::sync::Mutex<()>,
    /// What was seen to end by whoever asks for unfinished jobs.
    pub(crate) seen: Seen,
    /// By source: tasks that were seen to end since this process began to look.
    pub(crate) settled: Cache<String, u64>,
    /// Days in the past of which every job has a summary; at most as many as recovery looks back.
    pub(crate) ended_days: Mutex<BTreeSet<Date>>,
}

/// `started.json`: a worker began to plan.
#[derive(Debug, Serialize, Deserialize)]
struct Started {
    started: Timestamp,
}

impl Ledger {
    /// A ledger in `store`'s bucket.
    pub fn new(store: Store, queue: Arc<dyn Queue>) -> Self {
        let memory = Memory {
            requests: Cache::new(1_024),
            definitions: Cache::new(256),
            kept_definitions: Cache::new(256),
            plans: Cache::weighted(8, 50_000),
            outlines: Cache::weighted(256, 500_000),
            progress: Cache::weighted(256, 2_000_000),
            ended: Cache::new(100_000),
            announcing: Arc::new(Semaphore::new(ANNOUNCING)),
            sent_again: Cache::new(100_000),
            owed: Cache::new(100_000),
            cancelled: Cache::new(100_000),
            watched: Cache::new(100_000),
            damaged: Cache::new(100_000),
            large_reads: tokio::sync::Mutex::default(),
            seen: Seen::default(),
            settled: Cache::new(1_024),
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

    /// What was asked; `None` for an unknown job. Cached: it never changes.
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

    /// The definition that a job was asked with. Cached: it never changes.
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

    /// Says that a worker begins to plan; the first time counts.
    pub async fn record_start(&self, job: JobId, now: Timestamp) -> Result<(), LedgerError> {
        self.settle(&keys::of(job, Name::Started), Started { started: now }, SMALL).await?;
        Ok(())
    }

    /// When a worker first began to plan.
    pub(crate) async fn started(&self, job: JobId) -> Result<Option<Timestamp>, LedgerError> {
        let started: Option<Started> = self.read(&keys::of(job, Name::Started), SMALL).await?;
        Ok(started.map(|fact| fact.started))
    }

    /// Says that the planning was given up, in this round or in the latest, if that is later: a message to plan a
    /// job does not say for which round it was sent.
    pub async fn record_plan_failure(&self, job: JobId, round: u32, failure: &Failure) -> Result<(), LedgerError> {
        let round = round.max(self.facts(job).await?.round);
        self.record(job, Name::PlanFailed { round }, &shortened(failure)).await
    }

    /// Says that a task ended well; the first to say so counts. Where items are missing, only until a later round
    /// begins.
    pub async fn record_done(&self, job: JobId, task: u32, round: u32, done: &Done) -> Result<(), LedgerError> {
        let name = if done.missing.is_empty() { Name::Done { task } } else { Name::Partial { task, round } };
        self.record(job, name, done).await
    }

    /// Says that a task was given up in this round.
    pub async fn record_failure(
        &self,
        job: JobId,
        task: u32,
        round: u32,
        failure: &Failure,
    ) -> Result<(), LedgerError> {
        self.record(job, Name::Failed { task, round }, &shortened(failure)).await
    }

    async fn record<T: Serialize>(&self, job: JobId, name: Name, marker: &T) -> Result<(), LedgerError> {
        self.create(&keys::of(job, name), marker, SMALL).await?;
        Ok(())
    }

    /// Whether a task ended for good, or in this round: nothing to do for whoever holds its message.
    pub async fn is_settled(&self, job: JobId, task: u32, round: u32) -> Result<bool, LedgerError> {
        let names = [Name::Done { task }, Name::Partial { task, round }, Name::Failed { task, round }];
        let heads = names.map(|name| async move { self.store.head(&keys::of(job, name)).await });
        Ok(try_join_all(heads).await?.iter().any(Option::is_some))
    }
}

pub(crate) fn shortened(failure: &Failure) -> Failure {
    let reason = match failure.reason.char_indices().nth(REASON_LIMIT) {
        Some((end, _)) => format!("{}…", &failure.reason[..end]),
        None => failure.reason.clone(),
    };
    Failure { reason, ..failure.clone() }
}
