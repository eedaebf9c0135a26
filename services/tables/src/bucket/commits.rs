//! Commits that were read. Each is created once, and read again by every load and query until a checkpoint covers it: a
//! snapshot of a table alone reads it two or three times.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use waybill_store::Entry;

/// Bytes that are kept, over all tables: some ten thousand small commits.
const MOST: usize = 16 * 1024 * 1024;

/// The commits that are in memory, by key.
#[derive(Debug, Default)]
pub(super) struct Commits {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    commits: HashMap<String, (Entry, Bytes)>,
    bytes: usize,
}

impl Commits {
    pub(super) fn get(&self, key: &str) -> Option<(Entry, Bytes)> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).commits.get(key).cloned()
    }

    /// Keeps a commit; with too many, those before it are forgotten.
    pub(super) fn keep(&self, entry: &Entry, bytes: &Bytes) {
        if !is_commit(&entry.key) || bytes.len() > MOST {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes + bytes.len() > MOST {
            *kept = Kept::default();
        }
        // Not a slice of something larger, which would stay as a whole.
        if kept.commits.insert(entry.key.clone(), (entry.clone(), Bytes::copy_from_slice(bytes))).is_none() {
            kept.bytes += bytes.len();
        }
    }

    /// A listing shows this object: a table that was deleted and made anew has other commits under the same keys. A
    /// reader lists the log before it reads it.
    pub(super) fn listed(&self, entry: &Entry) {
        if !is_commit(&entry.key) {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.commits.get(&entry.key).is_some_and(|(known, _)| known.etag != entry.etag)
            && let Some((_, bytes)) = kept.commits.remove(&entry.key)
        {
            kept.bytes -= bytes.len();
        }
    }
}

fn is_commit(key: &str) -> bool {
    key.contains("/_delta_log/") && key.ends_with(".json")
}
