//! The sorted names of one folder, and the lock under which they change.
//!
//! Names in a folder change only under its lock, and its listing changes with them, so that a listing that
//! begins after a write was acknowledged shows it. Nobody holds two folders' locks, or waits for the disk's
//! acknowledgement under one.

use std::{
    collections::BTreeMap,
    fs, io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use crate::embedded::{
    group_commit::GroupCommit,
    object::{Footer, Object},
    path::{self, Name},
};

/// What a listing says of an object.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) size: u64,
    pub(super) modified: u64,
    pub(super) etag: Box<str>,
}

impl From<&Footer> for Facts {
    fn from(footer: &Footer) -> Self {
        Self { size: footer.size, modified: footer.modified, etag: footer.etag.as_str().into() }
    }
}

/// What a name in a listing stands for.
#[derive(Debug, Clone)]
pub(super) enum Child {
    /// Its facts are read from its file when they are first asked for.
    Object(Option<Facts>),
    Folder,
}

/// The names in a folder, in the order of the keys: a folder's name has its slash, so that `a.json` comes
/// before `a/`. A name with a slash is a folder's, any other an object's.
type Names = BTreeMap<Box<str>, Child>;

/// A name and what it stands for.
pub(super) type Named = (Box<str>, Child);

/// The first name, or key, behind another.
pub(super) fn key_after(name: &str) -> String {
    format!("{name}\0")
}

/// Names of one folder in memory. Of a larger one, a stretch of this length from where it was last asked
/// for. A test has so few that every folder is a larger one.
const CACHED_RANGE: usize = if cfg!(test) { 5 } else { 120_000 };

/// A stretch of a folder's names.
#[derive(Debug)]
struct CachedRange {
    /// Which reading of the disk it is; see [`DirIndex::read_facts`].
    reading: usize,
    names: Names,
    /// Every name from here on is in it,
    from: String,
    /// up to here; `None` is up to the end.
    to: Option<String>,
}

impl CachedRange {
    fn covers(&self, name: &str) -> bool {
        self.from.as_str() <= name && self.to.as_deref().is_none_or(|to| name <= to)
    }
}

/// A folder of keys.
#[derive(Debug)]
pub(super) struct DirIndex {
    pub(super) path: PathBuf,
    pub(super) commits: GroupCommit,
    made: AtomicBool,
    /// `None` until it has been listed.
    listing: Mutex<Option<CachedRange>>,
    readings: AtomicUsize,
    /// Names in memory, over all folders.
    total: Arc<AtomicUsize>,
}

impl DirIndex {
    pub(super) fn new(path: PathBuf, total: Arc<AtomicUsize>) -> Self {
        Self {
            path,
            commits: GroupCommit::default(),
            made: AtomicBool::new(false),
            listing: Mutex::new(None),
            readings: AtomicUsize::new(0),
            total,
        }
    }

    /// Whether the folder is known to be on disk, durably. Folders are never removed.
    pub(super) fn is_made(&self) -> bool {
        self.made.load(Ordering::Acquire)
    }

    pub(super) fn set_made(&self) {
        self.made.store(true, Ordering::Release);
    }

    /// Runs `change` on the disk, and puts `child` into the listing (or takes the name out) if it succeeds.
    pub(super) fn change<T>(
        &self,
        name: &str,
        child: Option<Child>,
        change: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let mut listing = self.lock();
        let done = change()?;
        if let Some(stretch) = listing.as_mut().filter(|stretch| stretch.covers(name)) {
            let before = stretch.names.len();
            match child {
                Some(child) => drop(stretch.names.insert(name.into(), child)),
                None => drop(stretch.names.remove(name)),
            }
            self.total.fetch_add(stretch.names.len().wrapping_sub(before), Ordering::Relaxed);
            if stretch.names.len() > 2 * CACHED_RANGE {
                self.forget(&mut listing);
            }
        }
        Ok(done)
    }

    /// At most `limit` children from the name `from` on that begin with `prefix`, and the name from which to
    /// ask for more, if there may be any.
    pub(super) fn children(&self, from: &str, prefix: &str, limit: usize) -> io::Result<(Vec<Named>, Option<String>)> {
        let from = from.max(prefix);
        let mut listing = self.lock();
        let stretch = match &mut *listing {
            Some(stretch) if stretch.covers(from) => stretch,
            other => {
                self.forget(other);
                let mut read = self.read("")?;
                if !read.covers(from) {
                    read = self.read(from)?;
                }
                self.total.fetch_add(read.names.len(), Ordering::Relaxed);
                other.insert(read)
            }
        };
        let mut found = Vec::new();
        for (name, child) in stretch.names.range::<str, _>((Bound::Included(from), Bound::Unbounded)) {
            if !name.starts_with(prefix) {
                return Ok((found, None));
            }
            found.push((name.clone(), child.clone()));
            if found.len() == limit {
                let next = key_after(name);
                return Ok((found, Some(next)));
            }
        }
        let next = stretch.to.as_deref().map(key_after);
        Ok((found, next))
    }

    /// An object's facts, from its file; `None` where it is gone, or damaged.
    pub(super) fn read_facts(&self, name: &str) -> io::Result<Option<Facts>> {
        let reading = self.lock().as_ref().map(|stretch| stretch.reading);
        let facts = match Object::open(&path::object(&self.path, name)) {
            Ok(object) => Facts::from(&object.footer),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::error!(%error, "left out of a listing");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        // Read without the lock, so perhaps overtaken by a writer: but that one has put its own facts there, unless
        // the names were read anew since.
        if let Some(stretch) = self.lock().as_mut().filter(|stretch| Some(stretch.reading) == reading)
            && let Some(Child::Object(empty @ None)) = stretch.names.get_mut(name)
        {
            *empty = Some(facts.clone());
        }
        Ok(Some(facts))
    }

    /// The names on disk from `from` on, as many as a stretch has.
    fn read(&self, from: &str) -> io::Result<CachedRange> {
        let reading = self.readings.fetch_add(1, Ordering::Relaxed);
        let mut stretch = CachedRange { reading, names: Names::new(), from: from.to_owned(), to: None };
        read_names(&self.path, "", &mut |name, child| {
            if !stretch.covers(&name) {
                return;
            }
            stretch.names.insert(name, child);
            if stretch.names.len() > CACHED_RANGE {
                stretch.names.pop_last();
                stretch.to = stretch.names.last_key_value().map(|(last, _)| last.to_string());
            }
        })?;
        Ok(stretch)
    }

    fn forget(&self, listing: &mut Option<CachedRange>) {
        if let Some(stretch) = listing.take() {
            self.total.fetch_sub(stretch.names.len(), Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<CachedRange>> {
        // Whoever panicked between the disk and the listing leaves them apart: read the disk again.
        self.listing.lock().unwrap_or_else(|poisoned| {
            let mut listing = poisoned.into_inner();
            self.forget(&mut listing);
            self.listing.clear_poison();
            listing
        })
    }
}

impl Drop for DirIndex {
    fn drop(&mut self) {
        let mut listing = self.lock().take();
        self.forget(&mut listing);
    }
}

/// Calls `each` with a folder's names, in no order; `beginning` is what the folders before it hold of a long
/// segment.
fn read_names(folder: &Path, beginning: &str, each: &mut dyn FnMut(Box<str>, Child)) -> io::Result<()> {
    for_each_name(folder, &mut |name| {
        match name {
            Name::Object(rest) => {
                if let Some(segment) = path::decode(&format!("{beginning}{rest}")) {
                    each(segment.into(), Child::Object(None));
                }
            }
            Name::Folder(rest) => {
                if let Some(segment) = path::decode(&format!("{beginning}{rest}")) {
                    each(format!("{segment}/").into(), Child::Folder);
                }
            }
            Name::Continued(piece) => {
                read_names(&folder.join(format!("{piece}+")), &format!("{beginning}{piece}"), each)?;
            }
        }
        Ok(true)
    })
    .map(drop)
}

/// Whether there is any object below, at any depth. Reads no more of the folder than it takes to know.
pub(super) fn holds_object(folder: &Path) -> io::Result<bool> {
    let whole = for_each_name(folder, &mut |name| match name {
        Name::Object(_) => Ok(false),
        Name::Folder(name) => Ok(!holds_object(&folder.join(name))?),
        Name::Continued(piece) => Ok(!holds_object(&folder.join(format!("{piece}+")))?),
    })?;
    Ok(!whole)
}

/// Calls `each` until it says no more; whether all was read. A folder that is not there is empty.
fn for_each_name(folder: &Path, each: &mut dyn FnMut(Name<'_>) -> io::Result<bool>) -> io::Result<bool> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|name| entry.file_type().ok().map(|kind| (name, kind))) else {
            continue;
        };
        let Some(name) = Name::of(name.0, name.1.is_dir()) else { continue };
        if !each(name)? {
            return Ok(false);
        }
    }
    Ok(true)
}
