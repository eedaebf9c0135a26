//! A view that follows a source's journal.
//!
//! The view only ever grows: an object that was merged once is never read again, and need not be there any more. So a
//! refresh lists the names and reads those that are new. Where one is gone when it is read, a compactor has replaced it
//! and the journal is listed again; because a snapshot's name sorts after those of its inputs, that is the only way in
//! which a listing can miss something.

use std::{
    collections::HashMap,
    fmt,
    pin::pin,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::TryStreamExt;
use tokio::{sync::Mutex, time::Instant};
use waybill_store::StoreError;

use crate::{
    Journal, Unreadable, View, frame,
    journal::{Listed, Object, off_thread},
    name::Name,
};

/// Listings of one refresh. Each further one means that a compactor deleted something between a page and the reading
/// of its objects.
const LISTINGS: usize = 20;

/// Why a view could not be refreshed. It still shows what it showed before.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The store did not answer.
    #[error("the journal cannot be read: {0}")]
    Store(#[source] Arc<StoreError>),
    /// Compactors deleted objects faster than they could be read.
    #[error("the journal changed while it was read, {LISTINGS} times")]
    Changed,
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

/// A view of a source's journal. Cheap to clone; clones share the view.
pub struct Follower<V> {
    inner: Arc<Inner<V>>,
}

/// A follower that does not keep its view in memory.
pub(crate) struct WeakFollower<V> {
    inner: Weak<Inner<V>>,
}

struct Inner<V> {
    journal: Journal<V>,
    state: RwLock<State<V>>,
    /// The latest refresh; locked by whoever refreshes.
    last: Mutex<Option<Refresh>>,
    /// Refreshes that have begun, as seen without the lock.
    begun: AtomicU64,
}

struct State<V> {
    view: V,
    /// Counts listings.
    listing: u64,
    /// What the view holds, each with the latest listing that showed it or during which it came. What a complete
    /// listing does not show is dropped, so this is as large as the journal has objects.
    merged: HashMap<Name, u64>,
    /// Likewise, by key.
    unreadable: HashMap<String, (u64, Refused)>,
}

/// An object that is not in the view.
struct Refused {
    etag: String,
    error: Arc<Unreadable>,
}

/// How a refresh ended.
struct Refresh {
    number: u64,
    began: Instant,
    result: Result<(), ReadError>,
}

impl<V: View> WeakFollower<V> {
    /// Unless nobody has it any more.
    pub(crate) fn upgrade(&self) -> Option<Follower<V>> {
        self.inner.upgrade().map(|inner| Follower { inner })
    }
}

impl<V> fmt::Debug for WeakFollower<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakFollower").finish_non_exhaustive()
    }
}

impl<V: View> Follower<V> {
    pub(crate) fn downgrade(&self) -> WeakFollower<V> {
        WeakFollower { inner: Arc::downgrade(&self.inner) }
    }

    /// Follows `journal` from the first call on; asks the store nothing yet.
    pub fn new(journal: &Journal<V>) -> Self {
        let state = State { view: V::default(), listing: 0, merged: HashMap::new(), unreadable: HashMap::new() };
        Self {
            inner: Arc::new(Inner {
                journal: journal.clone(),
                state: RwLock::new(state),
                last: Mutex::default(),
                begun: 0.into(),
            }),
        }
    }

    /// Makes the view include everything that was committed before this call. Callers share a listing that began after
    /// they called.
    ///
    /// # Errors
    /// Where the store did not answer.
    pub async fn fresh(&self) -> Result<(), ReadError> {
        let begun = self.inner.begun.load(Ordering::SeqCst);
        self.refresh(|last| last.number > begun).await
    }

    /// Makes the view include everything that was committed a second before this call
    /// ([`Options::list_interval`](crate::Options::list_interval)), with at most one listing in that time.
    ///
    /// # Errors
    /// Where the store did not answer in that time.
    pub async fn recent(&self) -> Result<(), ReadError> {
        self.refresh(|last| self.is_recent(last)).await
    }

    /// Begins a refresh on a task of its own, unless one is under way or the latest began within a second: for callers
    /// that look at the view often, and can do without what others committed in the last seconds.
    pub fn refresh_in_background(&self) {
        let Ok(last) = self.inner.last.try_lock() else { return };
        if !last.as_ref().is_some_and(|last| self.is_recent(last)) {
            let this = self.clone();
            tokio::spawn(async move {
                if let Err(error) = this.recent().await {
                    tracing::debug!(%error, "failed to refresh a view in the background");
                }
            });
        }
    }

    fn is_recent(&self, refresh: &Refresh) -> bool {
        refresh.began.elapsed() < self.inner.journal.options.list_interval
    }

    /// Looks at the view as it is. What this process committed through a committer that feeds this follower is in it.
    ///
    /// Nothing is merged while `look` runs, so it should be short.
    pub fn read<T>(&self, look: impl FnOnce(&V) -> T) -> T {
        look(&self.state().view)
    }

    /// What lay in the journal at the latest refresh and is not in the view, in key order.
    pub fn unreadable(&self) -> Vec<Arc<Unreadable>> {
        let state = self.state();
        let mut errors: Vec<_> = state.unreadable.values().map(|(_, refused)| Arc::clone(&refused.error)).collect();
        errors.sort_by(|a, b| a.key.cmp(&b.key));
        errors
    }

    /// Adds a segment that this process has committed.
    pub(crate) fn absorb(&self, segment: Name, entries: impl Iterator<Item = V::Entry>) {
        let mut state = self.state_mut();
        for entry in entries {
            state.view.apply(&entry);
        }
        let listing = state.listing;
        state.merged.insert(segment, listing);
    }

    /// Notes that `snapshot` holds what is in `inputs`: it need not be read where these are in the view.
    pub(crate) fn replaced(&self, inputs: &[Name], snapshot: Name) {
        let mut state = self.state_mut();
        if inputs.iter().all(|input| state.merged.contains_key(input)) {
            let listing = state.listing;
            state.merged.insert(snapshot, listing);
        }
    }

    /// Those of `objects` that are in the view, and the view as the bytes of a snapshot: it holds all that they hold.
    pub(crate) fn snapshot_of(&self, mut objects: Vec<Listed>) -> (Vec<Listed>, Bytes) {
        let state = self.state();
        objects.retain(|listed| listed.name.is_some_and(|name| state.merged.contains_key(&name)));
        (objects, frame::encode_snapshot(&state.view))
    }

    /// Refreshes, unless the latest refresh `will_do`. One refresh runs at a time; where its caller goes away, the next
    /// one in line begins anew.
    async fn refresh(&self, will_do: impl Fn(&Refresh) -> bool) -> Result<(), ReadError> {
        let mut last = self.inner.last.lock().await;
        if let Some(refresh) = last.as_ref().filter(|refresh| will_do(refresh)) {
            return refresh.result.clone();
        }
        let began = Instant::now();
        let number = self.inner.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let result = self.read_until_complete().await;
        *last = Some(Refresh { number, began, result: result.clone() });
        result
    }

    async fn read_until_complete(&self) -> Result<(), ReadError> {
        for _ in 0..LISTINGS {
            if self.read_once().await? {
                return Ok(());
            }
        }
        Err(ReadError::Changed)
    }

    /// Lists the journal and reads what is new; whether everything was there that was listed.
    async fn read_once(&self) -> Result<bool, StoreError> {
        let listing = {
            let mut state = self.state_mut();
            state.listing += 1;
            state.listing
        };
        let (mut start_after, mut complete) = (None, true);
        loop {
            let (page, next) = self.inner.journal.page(start_after.as_deref()).await?;
            let new = self.mark(listing, page);
            let mut read = pin!(self.inner.journal.read_all(new));
            while let Some((listed, object)) = read.try_next().await? {
                complete &= self.add(listing, listed, object).await;
            }
            if next.is_none() {
                break;
            }
            start_after = next;
        }
        let mut state = self.state_mut();
        state.merged.retain(|_, seen| *seen == listing);
        state.unreadable.retain(|_, (seen, _)| *seen == listing);
        Ok(complete)
    }

    /// Notes that a listing showed `page`, and returns what of it has to be read.
    fn mark(&self, listing: u64, page: Vec<Listed>) -> Vec<Listed> {
        let mut state = self.state_mut();
        let mut new = Vec::new();
        for listed in page {
            let merged = listed.name.and_then(|name| state.merged.get_mut(&name));
            if let Some(seen) = merged {
                *seen = listing;
                continue;
            }
            match state.unreadable.get_mut(&listed.key) {
                Some((seen, refused)) if refused.etag == listed.etag && !refused.error.is_transient() => {
                    *seen = listing;
                }
                _ => new.push(listed),
            }
        }
        new
    }

    /// Adds what was read to the view; whether it was there.
    async fn add(&self, listing: u64, listed: Listed, object: Object<V>) -> bool {
        match object {
            Object::View(view) => {
                let this = self.clone();
                off_thread(listed.size, move || {
                    let mut state = this.state_mut();
                    state.view.merge(view);
                    state.unreadable.remove(&listed.key);
                    state.merged.extend(listed.name.map(|name| (name, listing)));
                })
                .await;
                true
            }
            Object::Gone => false,
            Object::Unreadable(error) => {
                let mut state = self.state_mut();
                if !state.unreadable.contains_key(&listed.key) {
                    tracing::warn!(%error, "an object of the journal cannot be read and is left out");
                }
                let refused = Refused { etag: listed.etag, error: Arc::new(error) };
                state.unreadable.insert(listed.key, (listing, refused));
                true
            }
        }
    }

    // A view that panicked in `apply` or `merge` has at worst merged an object in part, which is merged again.
    fn state(&self) -> RwLockReadGuard<'_, State<V>> {
        self.inner.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State<V>> {
        self.inner.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Clone for Follower<V> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<V> fmt::Debug for Follower<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("journal", &self.inner.journal).finish_non_exhaustive()
    }
}
