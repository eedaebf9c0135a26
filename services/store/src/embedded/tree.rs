//! All objects of the store as files: publish, open, remove. Everything here blocks.
//!
//! The order of a write: the file is complete and durable, its folder is durable, it gets its name, the name
//! is durable, it is acknowledged. So a crash at any point leaves the old object, or the new one, or none.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use lru::LruCache;
use tempfile::TempPath;

use crate::embedded::{
    dir_index::{Child, DirIndex, Facts},
    group_commit,
    object::{Footer, Object, PREFIX},
    path,
};

/// Names in memory over all folders: some 150 bytes each.
const MOST_NAMES: usize = 250_000;
/// Folders in memory: some 300 bytes each.
const MOST_FOLDERS: NonZeroUsize = NonZeroUsize::new(50_000).expect("not zero");

/// Every bucket of an embedded store.
#[derive(Debug)]
pub(super) struct Tree {
    buckets_path: PathBuf,
    /// Where files are written before they get their names; in the same file system.
    pub(super) drafts: PathBuf,
    buckets: RwLock<BTreeMap<String, SystemTime>>,
    /// By bucket and folder, `bucket/a/b/`. A folder that is in use is never dropped, else two of them could
    /// disagree.
    folders: Mutex<LruCache<String, Arc<DirIndex>>>,
    names: Arc<AtomicUsize>,
    /// Held as long as anything can write here.
    _lock: File,
}

impl Tree {
    /// Opens what lies below `root`, and removes what an earlier process left unfinished. `lock` is locked.
    pub(super) fn open(root: &Path, lock: File) -> io::Result<Self> {
        let (buckets_path, drafts) = (root.join("buckets"), root.join("drafts"));
        fs::create_dir_all(&buckets_path)?;
        fs::create_dir_all(&drafts)?;
        group_commit::sync(root)?;
        for entry in fs::read_dir(&drafts)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)) {
                fs::remove_file(entry.path())?;
            }
        }
        let mut buckets = BTreeMap::new();
        for entry in fs::read_dir(&buckets_path)? {
            let entry = entry?;
            if let Some(name) = entry.file_name().to_str().filter(|name| s3s::path::check_bucket_name(name)) {
                buckets.insert(name.to_owned(), entry.metadata()?.modified()?);
            }
        }
        let folders = Mutex::new(LruCache::unbounded());
        let names = Arc::new(AtomicUsize::new(0));
        Ok(Self { buckets_path, drafts, buckets: RwLock::new(buckets), folders, names, _lock: lock })
    }

    /// Names and dates of creation.
    pub(super) fn buckets(&self) -> Vec<(String, SystemTime)> {
        let buckets = self.buckets.read().unwrap_or_else(PoisonError::into_inner);
        buckets.iter().map(|(name, made)| (name.clone(), *made)).collect()
    }

    pub(super) fn has_bucket(&self, bucket: &str) -> bool {
        self.buckets.read().unwrap_or_else(PoisonError::into_inner).contains_key(bucket)
    }

    /// Whether it was made just now; its name must be valid.
    pub(super) fn make_bucket(&self, bucket: &str) -> io::Result<bool> {
        let mut buckets = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
        if buckets.contains_key(bucket) {
            return Ok(false);
        }
        create_dir(&self.buckets_path.join(bucket))?;
        group_commit::sync(&self.buckets_path)?;
        buckets.insert(bucket.to_owned(), SystemTime::now());
        Ok(true)
    }

    /// The folder `folder` of a bucket, `""` or `a/b/`, whether or not there is one on disk.
    pub(super) fn folder(&self, bucket: &str, folder: &str) -> Arc<DirIndex> {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let found = folders.get_or_insert(format!("{bucket}/{folder}"), || {
            let path = path::folder(&self.buckets_path.join(bucket), folder);
            Arc::new(DirIndex::new(path, Arc::clone(&self.names)))
        });
        let found = Arc::clone(found);
        // A few at a time, so that no call pays for all.
        for _ in 0..4 {
            if folders.len() <= MOST_FOLDERS.get() && self.names.load(Ordering::Relaxed) <= MOST_NAMES {
                break;
            }
            match folders.pop_lru() {
                Some((name, used)) if Arc::strong_count(&used) > 1 => drop(folders.push(name, used)),
                _ => {}
            }
        }
        found
    }

    /// Makes a folder and those above it, durably. Its bucket exists.
    fn make(&self, bucket: &str, key: &str) -> io::Result<Arc<DirIndex>> {
        let folder = self.folder(bucket, key);
        if folder.is_made() {
            return Ok(folder);
        }
        if let Some((above, segment)) = path::parent(key) {
            let parent = self.make(bucket, above)?;
            make_between(&parent.path, &folder.path)?;
            // It may be there, and its name yet not be durable: the sync is waited for in either case.
            let ticket = parent.change(&format!("{segment}/"), Some(Child::Folder), || {
                create_dir(&folder.path)?;
                Ok(parent.commits.note())
            })?;
            settle(&parent, &folder.path, ticket)?;
        }
        folder.set_made();
        Ok(folder)
    }

    /// Gives a finished file its key; `false` where `only_new` and there is an object of that key. Durable
    /// on return, in both cases: whoever is told that an object exists may build on it.
    pub(super) fn publish(
        &self,
        bucket: &str,
        key: &str,
        (file, footer): (TempPath, &Footer),
        only_new: bool,
    ) -> io::Result<bool> {
        let (folder_key, segment) = path::split(key);
        let folder = self.make(bucket, folder_key)?;
        let target = path::object(&folder.path, segment);
        make_between(&folder.path, &target)?;
        let ticket = folder.change(segment, Some(Child::Object(Some(Facts::from(footer)))), || {
            // Without overwriting this is a rename that fails, or a link, both atomic: no check before it.
            let named = if only_new { file.persist_noclobber(&target) } else { file.persist(&target) };
            named.map_err(|error| error.error)?;
            Ok(folder.commits.note())
        });
        match ticket {
            Ok(ticket) => settle(&folder, &target, ticket).map(|()| true),
            Err(error) if only_new && error.kind() == io::ErrorKind::AlreadyExists => {
                folder.commits.settle(&folder.path)?;
                sync_between(&folder.path, &target)?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens an object; `None` where there is none.
    pub(super) fn object(&self, bucket: &str, key: &str) -> io::Result<Option<Object>> {
        let (folder, segment) = path::split(key);
        let folder = path::folder(&self.buckets_path.join(bucket), folder);
        match Object::open(&path::object(&folder, segment)) {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes objects, durably; those that are not there count as removed. Folders stay.
    pub(super) fn remove(&self, bucket: &str, keys: &[&str]) -> io::Result<()> {
        let mut changed: BTreeMap<PathBuf, (Arc<DirIndex>, PathBuf, u64)> = BTreeMap::new();
        for key in keys {
            let (folder_key, segment) = path::split(key);
            let folder = self.folder(bucket, folder_key);
            let target = path::object(&folder.path, segment);
            let ticket = folder.change(segment, None, || match fs::remove_file(&target) {
                Ok(()) => Ok(Some(folder.commits.note())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            })?;
            if let Some(ticket) = ticket {
                let holder = target.parent().unwrap_or(&folder.path).to_owned();
                changed.insert(holder, (folder, target, ticket));
            }
        }
        changed.values().try_for_each(|(folder, target, ticket)| settle(folder, target, *ticket))
    }

    /// Whether there is any object below a folder, at any depth.
    pub(super) fn holds_object(&self, bucket: &str, folder: &str) -> io::Result<bool> {
        crate::embedded::dir_index::holds_object(&path::folder(&self.buckets_path.join(bucket), folder))
    }
}

/// Makes the folders that hold the pieces of a long segment, durably; mostly there are none.
fn make_between(folder: &Path, target: &Path) -> io::Result<()> {
    let Some(holder) = target.parent().filter(|holder| *holder != folder) else { return Ok(()) };
    make_between(folder, holder)?;
    create_dir(holder)?;
    holder.parent().map_or(Ok(()), group_commit::sync)
}

/// Makes the name of a long segment durable, in the folder that holds its last piece.
fn sync_between(folder: &Path, target: &Path) -> io::Result<()> {
    target.parent().filter(|holder| *holder != folder).map_or(Ok(()), group_commit::sync)
}

/// Waits until a change below `folder` is durable.
fn settle(folder: &DirIndex, target: &Path, ticket: u64) -> io::Result<()> {
    sync_between(&folder.path, target)?;
    folder.commits.wait(&folder.path, ticket)
}

fn create_dir(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    }
}
