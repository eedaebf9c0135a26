//! One journal in the bucket: its keys, its pages, and the reading of one object.

use std::{fmt, marker::PhantomData, sync::Arc};

use futures::{Stream, StreamExt, stream};
use waybill_store::{Entry, StoreError};

use crate::{Bucket, Options, Reason, Unreadable, View, frame, name::Name};

/// Objects over this size are decoded and merged on a thread of their own, and read one by one.
const LARGE: u64 = 1 << 20;

/// Where a journal lies and which bounds it has. Cheap to clone; asks the store nothing.
pub struct Journal<V> {
    pub(crate) bucket: Arc<dyn Bucket>,
    pub(crate) options: Arc<Options>,
    /// `journal/{name}/`
    prefix: Arc<str>,
    view: PhantomData<fn() -> V>,
}

/// An object of the journal in a listing.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) key: String,
    /// `None` where it is not a name of ours.
    pub(crate) name: Option<Name>,
    pub(crate) size: u64,
    /// Tells an object that was written anew under its name, as from a backup.
    pub(crate) etag: String,
}

/// What became of reading an object.
pub(crate) enum Object<V> {
    View(V),
    /// A compactor deleted it. What it held is in a snapshot whose name sorts after it.
    Gone,
    Unreadable(Unreadable),
}

impl<V: View> Journal<V> {
    /// The journal `name` in `bucket`: a source, or a folder of it, as `buses/index/2024-05`. No journal lies in another.
    ///
    /// # Panics
    /// Where a segment of the name is empty.
    pub fn new(bucket: impl Bucket, name: &str, options: Options) -> Self {
        assert!(name.split('/').all(|segment| !segment.is_empty()), "not the name of a journal: {name:?}");
        Self {
            bucket: Arc::new(bucket),
            options: Arc::new(options),
            prefix: format!("journal/{name}/").into(),
            view: PhantomData,
        }
    }

    pub(crate) fn key(&self, name: Name) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A page of the listing after the key `start_after`, and where the next one starts if there may be one.
    pub(crate) async fn page(&self, start_after: Option<&str>) -> Result<(Vec<Listed>, Option<String>), StoreError> {
        let entries = self.bucket.list(&self.prefix, start_after, self.options.page).await?;
        let full = entries.len() >= self.options.page;
        let next = entries.last().filter(|_| full).map(|entry| entry.key.clone());
        let listed = entries.into_iter().map(|Entry { key, size, etag, .. }| {
            let name = key.strip_prefix(&*self.prefix).and_then(Name::parse);
            Listed { key, name, size, etag }
        });
        Ok((listed.collect(), next))
    }

    /// Reads objects: those of up to [`LARGE`] bytes some at once, then the larger ones one by one.
    pub(crate) fn read_all(&self, objects: Vec<Listed>) -> impl Stream<Item = Result<(Listed, Object<V>), StoreError>> {
        let (large, small): (Vec<_>, Vec<_>) = objects.into_iter().partition(|listed| listed.size > LARGE);
        let read = move |listed: Listed| async move {
            let object = self.read(&listed).await?;
            Ok((listed, object))
        };
        let small = stream::iter(small).map(read).buffer_unordered(self.options.parallel_reads);
        small.chain(stream::iter(large).then(read))
    }

    async fn read(&self, listed: &Listed) -> Result<Object<V>, StoreError> {
        let unreadable = |reason| Ok(Object::Unreadable(Unreadable { key: listed.key.clone(), reason }));
        let Some(name) = listed.name else { return unreadable(Reason::ForeignName) };
        let limit = self.options.object_bytes;
        let too_large = |size| Reason::TooLarge { size, limit: limit as u64 };
        if listed.size > limit as u64 {
            return unreadable(too_large(listed.size));
        }
        let object = match self.bucket.get(&listed.key, limit).await {
            Ok(Some(object)) => object,
            Ok(None) => return Ok(Object::Gone),
            Err(StoreError::TooLarge { .. }) => return unreadable(too_large(limit as u64 + 1)),
            Err(error @ StoreError::Refused { .. }) => return unreadable(Reason::Refused(error)),
            Err(error) => return Err(error),
        };
        let max_entries = self.options.segment_entries;
        match off_thread(listed.size, move || frame::decode(name, object, max_entries)).await {
            Ok(view) => Ok(Object::View(view)),
            Err(reason) => unreadable(reason),
        }
    }
}

/// Runs what takes long where `size` is large, on a thread on which it may.
pub(crate) async fn off_thread<T: Send + 'static>(size: u64, work: impl FnOnce() -> T + Send + 'static) -> T {
    if size <= LARGE {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

impl<V> Clone for Journal<V> {
    fn clone(&self) -> Self {
        Self {
            bucket: Arc::clone(&self.bucket),
            options: Arc::clone(&self.options),
            prefix: Arc::clone(&self.prefix),
            view: PhantomData,
        }
    }
}

impl<V> fmt::Debug for Journal<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
