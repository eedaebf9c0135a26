//! Group commit: entries that many callers hand in are written as few segments.
//!
//! One PUT is under way at a time, and what is handed in meanwhile goes into the next one.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use prost::Message;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;
use waybill_store::StoreError;

use crate::{Follower, Journal, Options, View, follower::WeakFollower, frame, name::Name};

/// Bytes that a caller's entries take besides their own.
const GROUP_OVERHEAD: usize = 256;

const FIRST_RETRY: Duration = Duration::from_millis(100);

/// Why entries were not committed, or perhaps not.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// They were never sent to the store.
    #[error("not committed: the journal is shutting down")]
    NotCommitted,
    /// They were sent, and no answer came before the end: others may see them, or not.
    #[error("the journal shut down before the store confirmed the commit")]
    Unknown(#[source] Option<Arc<StoreError>>),
    /// They do not fit into one segment. Nothing was sent.
    #[error("{entries} entries of {bytes} bytes do not fit into one segment")]
    TooLarge {
        /// How many.
        entries: usize,
        /// Their bytes.
        bytes: usize,
    },
}

/// How long a commit may wait for company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Not at all where the committer is idle: somebody waits for the answer.
    Prompt,
    /// Up to [`Options::relaxed_linger`]: throughput counts.
    Relaxed,
}

/// Writes entries of one source. A process should have one for each source; clones share it.
#[derive(Debug)]
pub struct Committer<V: View> {
    groups: mpsc::UnboundedSender<Group<V>>,
    /// Bytes that may still be handed in.
    room: Arc<Semaphore>,
    options: Arc<Options>,
}

/// What has to run for a [`Committer`] to work.
#[derive(Debug)]
pub struct CommitterTask<V: View> {
    journal: Journal<V>,
    /// For as long as somebody else has it: who commits to a journal need not hold all of it in memory.
    follower: Option<WeakFollower<V>>,
    groups: mpsc::UnboundedReceiver<Group<V>>,
    room: Arc<Semaphore>,
    shutdown: CancellationToken,
    /// When nothing more is sent; set once `shutdown` was seen.
    end: OnceLock<Instant>,
}

/// Entries that one caller wants in one segment.
#[derive(Debug)]
struct Group<V: View> {
    entries: Vec<V::Entry>,
    bytes: usize,
    urgency: Urgency,
    done: oneshot::Sender<Result<(), CommitError>>,
    _room: OwnedSemaphorePermit,
}

impl<V: View> Committer<V> {
    /// A committer and the task to spawn for it. What it commits is in the view of `follower` before callers are told, for as
    /// long as anybody has that.
    ///
    /// The task ends when all clones of the committer are dropped, or after `shutdown`: then it writes what was handed
    /// in before, for as long as [`Options::shutdown_grace`].
    pub fn new(
        journal: &Journal<V>,
        follower: Option<&Follower<V>>,
        shutdown: CancellationToken,
    ) -> (Self, CommitterTask<V>) {
        let (sender, groups) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(journal.options.queue_bytes));
        let committer = Self { groups: sender, room: Arc::clone(&room), options: Arc::clone(&journal.options) };
        let (journal, follower) = (journal.clone(), follower.map(Follower::downgrade));
        (committer, CommitterTask { journal, follower, groups, room, shutdown, end: OnceLock::new() })
    }

    /// Returns when the entry is durable. Waits for as long as the store refuses, until the shutdown.
    ///
    /// A caller that goes away earlier does not know whether the entry is committed.
    ///
    /// # Errors
    /// After a shutdown, or where the entry is larger than a segment.
    pub async fn commit(&self, entry: V::Entry) -> Result<(), CommitError> {
        self.commit_group(vec![entry], Urgency::Prompt).await
    }

    /// As [`Self::commit`], for entries that become visible together: they are in one segment.
    ///
    /// # Errors
    /// After a shutdown, or where the entries do not fit into one segment.
    pub async fn commit_group(&self, entries: Vec<V::Entry>, urgency: Urgency) -> Result<(), CommitError> {
        if entries.is_empty() {
            return Ok(());
        }
        let bytes = entries.iter().map(|entry| entry.encoded_len() + frame::ENTRY_OVERHEAD).sum();
        if entries.len() > self.options.segment_entries || bytes > self.options.segment_bytes {
            return Err(CommitError::TooLarge { entries: entries.len(), bytes });
        }
        let room = u32::try_from((bytes + GROUP_OVERHEAD).min(self.options.queue_bytes)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(room).await;
        let room = room.map_err(|_| CommitError::NotCommitted)?;
        let (done, committed) = oneshot::channel();
        let group = Group { entries, bytes, urgency, done, _room: room };
        self.groups.send(group).map_err(|_| CommitError::NotCommitted)?;
        committed.await.unwrap_or(Err(CommitError::Unknown(None)))
    }

    /// Bytes that are handed in and not yet committed; at most [`Options::queue_bytes`].
    pub fn pending_bytes(&self) -> usize {
        self.options.queue_bytes.saturating_sub(self.room.available_permits())
    }
}

impl<V: View> CommitterTask<V> {
    /// Writes segments until the end.
    pub async fn run(mut self) {
        let (mut held, mut busy) = (None, false);
        loop {
            let first = match held.take() {
                Some(group) => Some(group),
                None => self.next().await,
            };
            let Some(first) = first else { break };
            let groups;
            (groups, held) = self.gather(first, busy).await;
            if self.end.get().is_some_and(|end| Instant::now() >= *end) {
                answer(groups, &Err(CommitError::NotCommitted));
                continue;
            }
            busy = groups.len() > 1;
            self.write(groups).await;
        }
    }

    /// The next group that was handed in; after a shutdown, no new ones.
    async fn next(&mut self) -> Option<Group<V>> {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled(), if !self.groups.is_closed() => {
                self.room.close();
                self.groups.close();
                self.end.get_or_init(|| Instant::now() + self.journal.options.shutdown_grace);
            }
            group = self.groups.recv() => return group,
        }
        self.groups.recv().await
    }

    /// Groups for one segment, and the one that did not fit into it any more.
    async fn gather(&mut self, first: Group<V>, busy: bool) -> (Vec<Group<V>>, Option<Group<V>>) {
        let options = Arc::clone(&self.journal.options);
        let wait_until = |urgency| {
            Instant::now()
                + match urgency {
                    Urgency::Prompt if !busy => Duration::ZERO,
                    Urgency::Prompt => options.linger,
                    Urgency::Relaxed => options.relaxed_linger,
                }
        };
        let (mut entries, mut bytes) = (first.entries.len(), first.bytes);
        let mut until = wait_until(first.urgency);
        let mut groups = vec![first];
        while entries < options.segment_entries && bytes < options.segment_bytes {
            let group = match self.groups.try_recv() {
                Ok(group) => group,
                Err(mpsc::error::TryRecvError::Disconnected) => break,
                Err(mpsc::error::TryRecvError::Empty) if Instant::now() >= until => break,
                Err(mpsc::error::TryRecvError::Empty) => tokio::select! {
                    biased;
                    () = self.shutdown.cancelled() => break,
                    group = timeout_at(until, self.groups.recv()) => match group {
                        Ok(Some(group)) => group,
                        Ok(None) | Err(_) => break,
                    },
                },
            };
            if entries + group.entries.len() > options.segment_entries || bytes + group.bytes > options.segment_bytes {
                return (groups, Some(group));
            }
            until = until.min(wait_until(group.urgency));
            entries += group.entries.len();
            bytes += group.bytes;
            groups.push(group);
        }
        (groups, None)
    }

    async fn write(&self, mut groups: Vec<Group<V>>) {
        let name = Name::segment((self.journal.options.clock)());
        let entries = groups.iter().flat_map(|group| &group.entries);
        let segment = frame::encode_segment::<V>(entries.map(|entry| Bytes::from(entry.encode_to_vec())));
        let result = self.put(&self.journal.key(name), segment).await;
        if result.is_ok()
            && let Some(follower) = self.follower.as_ref().and_then(WeakFollower::upgrade)
        {
            follower.absorb(name, groups.iter_mut().flat_map(|group| std::mem::take(&mut group.entries)));
        }
        answer(groups, &result);
    }

    /// Writes a segment, again and again: the same bytes under the same name, so that it does not matter whether an
    /// attempt that failed has written it.
    async fn put(&self, key: &str, segment: Bytes) -> Result<(), CommitError> {
        let (mut wait, mut last) = (FIRST_RETRY, None);
        loop {
            match self.before_end(self.journal.bucket.put(key, segment.clone())).await {
                Some(Ok(())) => return Ok(()),
                Some(Err(error)) => {
                    tracing::warn!(s3_key = key, %error, "failed to write a segment of the journal; retrying");
                    last = Some(Arc::new(error));
                }
                None => return Err(CommitError::Unknown(last)),
            }
            let jittered = wait.mul_f64(0.5 + fastrand::f64() / 2.0);
            if self.before_end(sleep(jittered)).await.is_none() {
                return Err(CommitError::Unknown(last));
            }
            wait = (wait * 2).min(self.journal.options.retry_wait);
        }
    }

    /// `None` where the end comes first.
    async fn before_end<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let end = async {
            self.shutdown.cancelled().await;
            sleep_until(*self.end.get_or_init(|| Instant::now() + self.journal.options.shutdown_grace)).await;
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = end => None,
        }
    }
}

/// Tells the callers, some of whom may have gone away.
fn answer<V: View>(groups: Vec<Group<V>>, result: &Result<(), CommitError>) {
    for group in groups {
        group.done.send(result.clone()).ok();
    }
}

impl<V: View> Clone for Committer<V> {
    fn clone(&self) -> Self {
        Self { groups: self.groups.clone(), room: Arc::clone(&self.room), options: Arc::clone(&self.options) }
    }
}
