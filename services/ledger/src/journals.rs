//! Journals of one kind, of all sources: which of them this process writes to and reads, and what of them stays in memory.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use waybill_journal::{
    CommitError, Committer, Compactor, Follower, Journal, Options, ReadError, Unreadable, Urgency, View,
};
use waybill_store::{Store, StoreError};

use crate::cache::Cache;

/// Journals that are written to at once by a process; the committer of one that falls out ends its work first.
const COMMITTERS: usize = 64;

/// The folder of a source's object index below `journal/{source}/`: a journal for each month.
pub const INDEX: &str = "index";
/// Of its jobs: a journal for each slot, of five minutes of submission.
pub const JOBS: &str = "jobs";

/// What all keys of journals begin with.
pub(crate) const ROOT: &str = "journal/";

/// What all keys of a source's journals of a kind begin with.
pub(crate) fn folder(source: &str, kind: &str) -> String {
    format!("{ROOT}{source}/{kind}/")
}

/// Objects, and journals with some, that are remembered to be unreadable.
const UNREADABLE: usize = 20;

/// Counts followers in this process.
static FOLLOWERS: AtomicU64 = AtomicU64::new(0);

/// A source, and which of its journals of a kind: a month or a slot.
pub(crate) type Part = (String, String);

/// What has to be in a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AsOf {
    /// All that was committed before.
    Now,
    /// All that this process committed, and what others did until a second ago: one LIST a second, however many look.
    ASecondAgo,
}

/// How many slots or months stay in memory, how much of them, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept<V> {
    pub(crate) journals: usize,
    pub(crate) weight: usize,
    pub(crate) weigh: fn(&V) -> usize,
    /// One that nobody looked at for so long is dropped when another is looked at.
    pub(crate) idle: Duration,
}

/// A view that stays in memory.
#[derive(Debug)]
struct Followed<V: View> {
    follower: Follower<V>,
    /// Which follower it is: a committer feeds one.
    number: u64,
    used: Instant,
}

impl<V: View> Followed<V> {
    fn new(follower: Follower<V>) -> Self {
        Self { follower, number: FOLLOWERS.fetch_add(1, Ordering::Relaxed), used: Instant::now() }
    }
}

impl<V: View> Clone for Followed<V> {
    fn clone(&self) -> Self {
        Self { follower: self.follower.clone(), ..*self }
    }
}

#[derive(Debug)]
pub(crate) struct Journals<V: View> {
    store: Store,
    /// [`INDEX`] or [`JOBS`].
    kind: &'static str,
    /// Each with the number of the follower that it feeds.
    committers: Cache<Part, (Committer<V>, Option<u64>)>,
    followers: Cache<Part, Followed<V>>,
    weigh: fn(&V) -> usize,
    idle: Duration,
    /// Objects that cannot be read, of journals in which there were some at the latest look.
    unreadable: Mutex<BTreeMap<Part, Vec<Arc<Unreadable>>>>,
    options: Options,
    shutdown: CancellationToken,
}

impl<V: View> Journals<V> {
    /// Journals in `store`'s bucket. After `shutdown` nothing more is committed.
    pub(crate) fn new(
        store: Store,
        kind: &'static str,
        kept: Kept<V>,
        options: Options,
        shutdown: CancellationToken,
    ) -> Self {
        let committers = Cache::new(COMMITTERS);
        let followers = Cache::weighted(kept.journals, kept.weight);
        let (Kept { weigh, idle, .. }, unreadable) = (kept, Mutex::default());
        Self { store, kind, committers, followers, weigh, idle, unreadable, options, shutdown }
    }

    /// Returns when the entries are durable, those of one journal together. Waits for as long as the store refuses, until
    /// the shutdown.
    pub(crate) async fn commit(&self, part: Part, entries: Vec<V::Entry>) -> Result<(), CommitError> {
        self.committer(&part).commit_group(entries, Urgency::Prompt).await?;
        // What was committed is in the view, if there is one.
        if let Some(followed) = self.followers.get(&part) {
            self.keep_followed(part, followed);
        }
        Ok(())
    }

    /// A view, with as much in it as is asked for.
    pub(crate) async fn view(&self, part: Part, as_of: AsOf) -> Result<Follower<V>, ReadError> {
        let follower = self.follower(&part);
        let refreshed = match as_of {
            AsOf::Now => follower.fresh().await,
            AsOf::ASecondAgo => follower.recent().await,
        };
        self.note_unreadable(&part, &follower);
        self.keep(part, &follower);
        refreshed.map(|()| follower)
    }

    fn note_unreadable(&self, part: &Part, follower: &Follower<V>) {
        let found = follower.unreadable();
        let mut unreadable = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        if found.is_empty() {
            unreadable.remove(part);
        } else if unreadable.len() < UNREADABLE || unreadable.contains_key(part) {
            unreadable.insert(part.clone(), found.into_iter().take(UNREADABLE).collect());
        }
    }

    /// What could not be read at the latest looks of this process, in key order: at most [`UNREADABLE`].
    pub(crate) fn unreadable(&self) -> Vec<Arc<Unreadable>> {
        let mut unreadable = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody looks at the others any more.
        unreadable.retain(|part, _| self.kept(part).is_some());
        unreadable.values().flatten().take(UNREADABLE).cloned().collect()
    }

    /// The one that is kept, if it is.
    pub(crate) fn kept(&self, part: &Part) -> Option<Follower<V>> {
        self.followers.get(part).map(|followed| followed.follower)
    }

    /// The one that is kept, or a new one, of which nothing is read yet.
    pub(crate) fn follower(&self, part: &Part) -> Follower<V> {
        let new = || Followed::new(Follower::new(&self.journal(part)));
        self.followers.get(part).unwrap_or_else(|| self.followers.get_or_insert(part.clone(), new(), 0)).follower
    }

    /// Keeps a view, or the one that is kept already, by its weight now. One that is too heavy is dropped with the last
    /// who looks at it.
    pub(crate) fn keep(&self, part: Part, follower: &Follower<V>) {
        let new = || Followed::new(follower.clone());
        self.keep_followed(part.clone(), self.followers.get(&part).unwrap_or_else(new));
    }

    fn keep_followed(&self, part: Part, followed: Followed<V>) {
        let weight = followed.follower.read(self.weigh);
        self.followers.insert(part, Followed { used: Instant::now(), ..followed }, weight);
        self.followers.remove_idle(|followed| followed.used.elapsed() > self.idle);
    }

    /// The committer that feeds the view which is kept: what this process commits, it need not read.
    fn committer(&self, part: &Part) -> Committer<V> {
        let followed = self.followers.get(part);
        let number = followed.as_ref().map(|followed| followed.number);
        if let Some((committer, fed)) = self.committers.get(part)
            && fed == number
        {
            return committer;
        }
        let follower = followed.map(|followed| followed.follower);
        let (committer, task) = Committer::new(&self.journal(part), follower.as_ref(), self.shutdown.clone());
        tokio::spawn(task.run());
        self.committers.insert(part.clone(), (committer.clone(), number), 1);
        committer
    }

    pub(crate) fn compactor(&self, part: &Part) -> Compactor<V> {
        Compactor::new(&self.journal(part), self.kept(part).as_ref())
    }

    fn journal(&self, (source, name): &Part) -> Journal<V> {
        Journal::new(self.store.clone(), &format!("{source}/{}/{name}", self.kind), self.options.clone())
    }
}

/// Journals of a stretch of keys that have more objects than a reader should have to read.
#[derive(Debug, Default)]
pub struct Crowded {
    /// By source, kind and name, the segments and the snapshots.
    pub journals: BTreeMap<(String, String, String), (usize, usize)>,
    /// After which key the next stretch begins; none at the end.
    pub next: Option<String>,
}

/// Counts the objects of journals, in the next `limit` keys after a key.
///
/// # Errors
/// Where the store fails.
pub async fn crowded(store: &Store, after: Option<&str>, limit: usize) -> Result<Crowded, StoreError> {
    let entries = store.list(ROOT, after, limit).await?;
    let mut crowded = Crowded::default();
    for entry in &entries {
        let mut names = entry.key.strip_prefix(ROOT).unwrap_or_default().splitn(5, '/');
        let mut next = || names.next().map(str::to_owned);
        let (Some(source), Some(kind), Some(name), Some(folder)) = (next(), next(), next(), next()) else { continue };
        let counts = crowded.journals.entry((source, kind, name)).or_default();
        match folder.as_str() {
            "segments" => counts.0 += 1,
            _ => counts.1 += 1,
        }
    }
    crowded.journals.retain(|_, (segments, snapshots)| *segments > 1 || *snapshots > 3);
    crowded.next = entries.into_iter().nth(limit.saturating_sub(1)).map(|last| last.key);
    Ok(crowded)
}
