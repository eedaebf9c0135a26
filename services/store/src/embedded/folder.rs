//! One folder of keys: what is in it, and the lock under which that changes.
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
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use super::{
    commits::Commits,
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

/// A folder of keys.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) commits: Commits,
    made: AtomicBool,
    /// `None` until it has been listed.
    names: Mutex<Option<Names>>,
    /// Names in memory, over all folders.
    total: Arc<AtomicUsize>,
}

impl Folder {
    pub(super) fn new(path: PathBuf, total: Arc<AtomicUsize>) -> Self {
        Self { path, commits: Commits::default(), made: AtomicBool::new(false), names: Mutex::new(None), total }
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
        let mut names = self.lock();
        let done = change()?;
        if let Some(names) = names.as_mut() {
            let before = names.len();
            match child {
                Some(child) => drop(names.insert(name.into(), child)),
                None => drop(names.remove(name)),
            }
            self.total.fetch_add(names.len().wrapping_sub(before), Ordering::Relaxed);
        }
        Ok(done)
    }

    /// At most `limit` children from the name `from` on that begin with `prefix`.
    pub(super) fn children(&self, from: &str, prefix: &str, limit: usize) -> io::Result<Vec<(Box<str>, Child)>> {
        let mut names = self.lock();
        let names = match &mut *names {
            Some(names) => names,
            empty => {
                let mut read = Names::new();
                read_names(&self.path, "", &mut read)?;
                self.total.fetch_add(read.len(), Ordering::Relaxed);
                empty.insert(read)
            }
        };
        let from = Bound::Included(from.max(prefix));
        let found = names.range::<str, _>((from, Bound::Unbounded)).take_while(|(name, _)| name.starts_with(prefix));
        Ok(found.take(limit).map(|(name, child)| (name.clone(), child.clone())).collect())
    }

    /// An object's facts, from its file; `None` where it is gone, or damaged.
    pub(super) fn read_facts(&self, name: &str) -> io::Result<Option<Facts>> {
        let facts = match Object::open(&path::object(&self.path, name)) {
            Ok(object) => Facts::from(&object.footer),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::error!(%error, "left out of a listing");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        // Read without the lock: a writer that came in between has put its own facts there.
        if let Some(Child::Object(empty @ None)) = self.lock().as_mut().and_then(|names| names.get_mut(name)) {
            *empty = Some(facts.clone());
        }
        Ok(Some(facts))
    }

    /// How many names of it are in memory.
    pub(super) fn listed(&self) -> usize {
        self.lock().as_ref().map_or(0, BTreeMap::len)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Names>> {
        // Whoever panicked between the disk and the listing leaves them apart: read the disk again.
        self.names.lock().unwrap_or_else(|poisoned: PoisonError<MutexGuard<'_, Option<Names>>>| {
            let mut names = poisoned.into_inner();
            if let Some(dropped) = names.take() {
                self.total.fetch_sub(dropped.len(), Ordering::Relaxed);
            }
            self.names.clear_poison();
            names
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let listed = self.listed();
        self.total.fetch_sub(listed, Ordering::Relaxed);
    }
}

/// Reads a folder's names; `beginning` is what the folders before it hold of a long segment.
fn read_names(folder: &Path, beginning: &str, names: &mut Names) -> io::Result<()> {
    for_each_name(folder, &mut |name| {
        match name {
            Name::Object(rest) => {
                if let Some(segment) = path::decode(&format!("{beginning}{rest}")) {
                    names.insert(segment.into(), Child::Object(None));
                }
            }
            Name::Folder(rest) => {
                if let Some(segment) = path::decode(&format!("{beginning}{rest}")) {
                    names.insert(format!("{segment}/").into(), Child::Folder);
                }
            }
            Name::Continued(piece) => {
                read_names(&folder.join(format!("{piece}+")), &format!("{beginning}{piece}"), names)?;
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
