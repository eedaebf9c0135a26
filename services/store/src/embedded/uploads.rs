//! Multipart uploads under way: their parts are drafts, their list is in memory.
//!
//! Only this process can write, so an upload ends with it: nothing here is made durable, and what a crash
//! leaves behind is removed as any draft is. The object that an upload becomes is as durable as any.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use s3s::{S3Result, dto::CompletedPart, s3_error};
use tempfile::TempPath;

use crate::embedded::{
    disk::failure,
    object::{Draft, Footer, Headers, new_etag, now},
    tree::Tree,
};

/// S3's own limits.
const MOST_PARTS: i32 = 10_000;
const SMALLEST_PART: u64 = 5 * 1024 * 1024;

/// A part that has come whole.
#[derive(Debug)]
pub(super) struct Part {
    file: TempPath,
    pub(super) size: u64,
    pub(super) etag: String,
    pub(super) modified: u64,
}

/// An upload that was begun and is neither complete nor aborted.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) begun: u64,
    headers: Headers,
    /// A part that is sent again takes the earlier one's place.
    parts: Mutex<BTreeMap<i32, Arc<Part>>>,
}

impl Upload {
    pub(super) fn parts(&self) -> MutexGuard<'_, BTreeMap<i32, Arc<Part>>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, number: i32, draft: Draft) -> S3Result<String> {
        if !(1..=MOST_PARTS).contains(&number) {
            return Err(s3_error!(InvalidArgument, "a part's number is from 1 to {MOST_PARTS}"));
        }
        let (file, size) = draft.into_part();
        let etag = new_etag(1);
        let part = Arc::new(Part { file, size, etag: etag.clone(), modified: now() });
        self.parts().insert(number, part);
        Ok(etag)
    }

    /// Makes the object of the parts asked for and publishes it: its footer, or `None` where `only_new` and
    /// there is one already.
    ///
    /// Removes each part as soon as the object has its bytes, so that an upload takes its size on disk and one part
    /// more, not twice its size. So where this fails half-way, as on a full disk, the upload has to be begun anew.
    pub(super) fn complete(&self, tree: &Tree, asked: &[CompletedPart], only_new: bool) -> S3Result<Option<Footer>> {
        let parts = self.take_parts(asked)?;
        let count = parts.len();
        let mut draft = Draft::begin(&tree.drafts).map_err(failure)?;
        for part in parts {
            let expected = draft.size + part.size;
            draft.append_file(&part.file).map_err(failure)?;
            if draft.size != expected {
                return Err(s3_error!(InternalError, "a part's file has changed"));
            }
        }
        let (file, footer) = draft.finish(self.headers.clone(), count).map_err(failure)?;
        let made = tree.publish(&self.bucket, &self.key, (file, &footer), only_new).map_err(failure)?;
        Ok(made.then_some(footer))
    }

    /// The parts asked for; all others are removed.
    fn take_parts(&self, asked: &[CompletedPart]) -> S3Result<Vec<Arc<Part>>> {
        if asked.is_empty() {
            return Err(s3_error!(InvalidRequest, "an upload has at least one part"));
        }
        if !asked.is_sorted_by(|one, next| one.part_number < next.part_number) {
            return Err(s3_error!(InvalidPartOrder));
        }
        let mut parts = self.parts();
        let mut chosen = Vec::with_capacity(asked.len());
        for (at, asked_part) in asked.iter().enumerate() {
            let part = asked_part.part_number.and_then(|number| parts.get(&number));
            let part = part.ok_or_else(|| s3_error!(InvalidPart))?;
            if asked_part.e_tag.as_ref().is_some_and(|etag| etag.value() != part.etag) {
                return Err(s3_error!(InvalidPart));
            }
            if part.size < SMALLEST_PART && at + 1 < asked.len() {
                return Err(s3_error!(EntityTooSmall));
            }
            chosen.push(Arc::clone(part));
        }
        parts.clear();
        Ok(chosen)
    }
}

/// All uploads under way, by their ids.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    uploads: Mutex<HashMap<String, Arc<Upload>>>,
}

impl Uploads {
    pub(super) fn begin(&self, bucket: String, key: String, headers: Headers) -> String {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let upload = Upload { bucket, key, begun: now(), headers, parts: Mutex::default() };
        self.lock().insert(id.clone(), Arc::new(upload));
        id
    }

    pub(super) fn get(&self, bucket: &str, key: &str, id: &str) -> S3Result<Arc<Upload>> {
        let found = self.lock().get(id).filter(|upload| upload.bucket == bucket && upload.key == key).cloned();
        found.ok_or_else(|| s3_error!(NoSuchUpload))
    }

    /// Forgets an upload; its parts are removed once nobody writes or reads them any more.
    pub(super) fn end(&self, id: &str) {
        self.lock().remove(id);
    }

    /// The uploads to keys of a bucket that begin with `prefix`, by key and id.
    pub(super) fn list(&self, bucket: &str, prefix: &str) -> Vec<(String, Arc<Upload>)> {
        let uploads = self.lock();
        let found = uploads.iter().filter(|(_, upload)| upload.bucket == bucket && upload.key.starts_with(prefix));
        let mut found: Vec<_> = found.map(|(id, upload)| (id.clone(), Arc::clone(upload))).collect();
        found.sort_by(|(one_id, one), (id, other)| (&one.key, one_id).cmp(&(&other.key, id)));
        found
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Upload>>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
