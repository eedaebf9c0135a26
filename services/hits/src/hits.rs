//! The hits of a process: counted by whoever answers requests, written by one task, read back with everybody's.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::{Timestamp, civil::Date};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use waybill_store::Store;

use crate::{
    HitsError, Metrics, Query, Ranking,
    compactor::Compactor,
    counter::{Counter, Counts},
    files::{
        covers::Covers,
        encoder::Encoder,
        listing,
        merge::CONTENT_TYPE,
        name::{FileName, Kind},
        visible::Listed,
    },
    query::{self, blocking},
    totals::sorted,
};

/// How long a hit waits for others to be written with it. With the write itself it is in the bucket within a second.
const GATHER: Duration = Duration::from_millis(800);
/// Between two tries to write the same counts.
const RETRY: Duration = Duration::from_secs(1);
/// How long a write may take once the process ends; there are two, of what is under way and of what was counted since.
const LAST_WRITE: Duration = Duration::from_secs(3);
/// How long a reader waits for its turn, and for this process's own counts to be written.
const READ_WAIT: Duration = Duration::from_secs(10);
/// Readers at once, until their answers are sent: each may hold 32 MiB, and temporary files.
const READERS: usize = 4;

/// The hits of a process. Clones count into the same.
#[derive(Debug, Clone)]
pub struct Hits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    counter: Counter,
    now: fn() -> Timestamp,
    requests: mpsc::Sender<oneshot::Sender<()>>,
    readers: Arc<Semaphore>,
}

/// Writes the hits of a process to the bucket, and keeps their files few.
#[derive(Debug)]
pub struct Flusher {
    hits: Hits,
    requests: mpsc::Receiver<oneshot::Sender<()>>,
    boot: Uuid,
    /// The number of the next batch.
    next: u64,
    metrics: Metrics,
}

/// Counts that were taken together: a file for each day, under names that they keep until they are written.
#[derive(Debug)]
struct Batch {
    files: Vec<(Listed, Bytes)>,
    hits: u64,
}

impl Hits {
    /// Hits that are written to `store` as long as [`Flusher::run`] runs; without it they are only read. `now` is the clock.
    pub fn new(store: Store, metrics: Metrics, now: fn() -> Timestamp) -> (Self, Flusher) {
        Self::with_counter(store, Counter::new(metrics.clone()), metrics, now)
    }

    pub(crate) fn with_counter(
        store: Store,
        counter: Counter,
        metrics: Metrics,
        now: fn() -> Timestamp,
    ) -> (Self, Flusher) {
        let (sender, requests) = mpsc::channel(READERS);
        let hits =
            Self(Arc::new(Inner { store, counter, now, requests: sender, readers: Arc::new(Semaphore::new(READERS)) }));
        (hits.clone(), Flusher { hits, requests, boot: Uuid::now_v7(), next: 0, metrics })
    }

    /// Counts a request of this path, which is without its query.
    pub fn count(&self, path: &str) {
        self.0.counter.count((self.0.now)(), path);
    }

    /// What all processes have counted: every file, after this process's own counts were written.
    ///
    /// # Errors
    /// Where the store is away, a file cannot be read, or others read and there is no turn within 10 seconds.
    pub async fn rank(&self, query: Query) -> Result<Ranking, HitsError> {
        let turn = Arc::clone(&self.0.readers).acquire_owned();
        let permit = timeout(READ_WAIT, turn).await.map_err(|_elapsed| HitsError::Busy)?.ok();
        self.write_own().await?;
        Ok(query::run(&self.0.store, query).await?.with_permit(permit))
    }

    /// The days that have counts, in order, after this process's own counts were written.
    ///
    /// # Errors
    /// Where the store is away.
    pub async fn days(&self) -> Result<Vec<Date>, HitsError> {
        self.write_own().await?;
        listing::days(&self.0.store).await
    }

    /// Returns once all that was counted before is in the bucket. At once where nothing is written.
    async fn write_own(&self) -> Result<(), HitsError> {
        let writing = async {
            let (sender, written) = oneshot::channel();
            // An error means that the flusher has ended, after its last write, or was never run.
            if self.0.requests.send(sender).await.is_ok() {
                let _ = written.await;
            }
        };
        timeout(READ_WAIT, writing).await.map_err(|_elapsed| HitsError::Slow(READ_WAIT.as_secs()))
    }
}

impl Flusher {
    /// Writes until `stop`, then what is left, for at most 6 seconds. To be stopped after the last request is answered.
    pub async fn run(mut self, stop: CancellationToken) {
        let compactor = Compactor::new(self.hits.0.store.clone(), self.boot, self.metrics.clone());
        let now = self.hits.0.now;
        tokio::select! {
            () = self.write_all(&compactor, &stop) => {}
            never = compactor.run(now) => match never {},
        }
    }

    async fn write_all(&mut self, compactor: &Compactor, stop: &CancellationToken) {
        loop {
            let counter = &self.hits.0.counter;
            let mut waiting = Vec::new();
            tokio::select! {
                () = counter.first.notified() => {
                    tokio::select! {
                        () = sleep(GATHER) => {}
                        () = counter.filled.notified() => {}
                        Some(request) = self.requests.recv() => waiting.push(request),
                        () = stop.cancelled() => {}
                    }
                }
                Some(request) = self.requests.recv() => waiting.push(request),
                () = stop.cancelled() => {}
            }
            while let Ok(request) = self.requests.try_recv() {
                waiting.push(request);
            }
            let is_last = stop.is_cancelled();
            if let Some(batch) = self.take().await {
                tokio::select! {
                    () = self.write(&batch, compactor) => {}
                    () = after(stop, LAST_WRITE) => {
                        tracing::error!(hits = batch.hits, "failed to write counts of requests in time; they are lost");
                    }
                }
            }
            for request in waiting {
                // Whoever asked may have gone.
                let _ = request.send(());
            }
            if is_last {
                return;
            }
        }
    }

    /// Takes what was counted; `None` where it cannot be encoded, which loses it.
    async fn take(&mut self) -> Option<Batch> {
        let (days, boot, number) = (self.hits.0.counter.take(), self.boot, self.next);
        let hits = days.values().flat_map(Counts::values).sum();
        self.next += 1;
        let encode = move || {
            let files = days.into_iter().map(|(day, counts)| encode(day, boot, number, counts));
            Ok(Batch { files: files.collect::<Result<_, _>>()?, hits })
        };
        blocking(encode).await.inspect_err(|error| tracing::error!(hits, %error, "failed to encode counts")).ok()
    }

    /// Writes a batch, under the same names until the store has said that it has it: an answer may be lost.
    async fn write(&self, batch: &Batch, compactor: &Compactor) {
        for (file, bytes) in &batch.files {
            let mut tries: u64 = 0;
            while let Err(error) = self.hits.0.store.put(&file.name.to_string(), CONTENT_TYPE, bytes.clone()).await {
                self.metrics.failures.inc();
                tries += 1;
                if tries.is_power_of_two() {
                    tracing::warn!(%error, tries, hits = batch.hits, "failed to write counts of requests; tried again");
                }
                sleep(RETRY).await;
            }
            self.metrics.files.inc();
            compactor.written(file.clone());
        }
    }
}

/// So long after `stop`.
async fn after(stop: &CancellationToken, time: Duration) {
    stop.cancelled().await;
    sleep(time).await;
}

fn encode(day: Date, boot: Uuid, number: u64, counts: Counts) -> Result<(Listed, Bytes), HitsError> {
    let covers = Covers::of(boot, number, number);
    let mut encoder = Encoder::new(Vec::new(), &covers)?;
    for row in sorted(counts) {
        encoder.push(&row.path, row.count)?;
    }
    let bytes = Bytes::from(encoder.finish()?);
    let name = FileName { day, kind: Kind::Process { boot, from: number, to: number } };
    Ok((Listed { name, size: bytes.len() as u64, covers }, bytes))
}
