//! A task of several items, fetched with one request. Where the upstream has no such thing, because it does not
//! know one of them, the items are asked for in halves, until those that it does not know stand alone.
//!
//! So the task's file may come in pieces, each an object of its own: named after the whole batch, and all of
//! one fetch by their time. The newest fetch counts, whatever its pieces are.

use std::{collections::BTreeMap, ops::Range, os::unix::fs::FileExt};

use bytes::Bytes;
use jiff::Timestamp;
use waybill_ledger::MissingItem;
use waybill_source::{Item, ObjectName};
use waybill_store::{StoreError, UploadBody};

use crate::{
    blocking,
    delivery::outcome::{Object, Success, TaskError},
    download::fetch::{Answer, Fetched, Validators},
    task::{
        Task,
        object_versions::{Existing, fetch_time},
        store_object::Piece,
    },
};

/// The largest file of a batch, in bytes: it is read whole once more, to see whom it speaks of.
const LARGEST: u64 = 64 << 20;
/// More pieces than one batch has, and than races leave behind.
const MOST: usize = 5_000;
/// Unknown items that an error names.
const NAMED: usize = 3;

/// ObjectVersions the items, and stores what came of them.
pub(crate) async fn run(task: &Task<'_>, items: &[Item]) -> Result<Success, TaskError> {
    let known = pieces(task).await?;
    let time = fetch_time(Timestamp::now(), known.iter().max_by_key(|name| name.fetched_at));
    let mut arrived = Arrived { stored: None, missing: BTreeMap::new() };
    let mut open: Vec<_> = std::iter::once(0..items.len()).collect();
    while let Some(range) = open.pop() {
        let some = &items[range.clone()];
        let target = task.target(some)?;
        let max_bytes = task.definition.max_bytes().min(LARGEST);
        match task.fetch(some.len(), &target, max_bytes, &Validators::default()).await? {
            Answer::File(file) => {
                if let Some(unchanged) = arrived.take(task, items, range, &target.path, *file, time).await? {
                    return Ok(unchanged);
                }
            }
            Answer::NotFound(reason) if some.len() == 1 => {
                arrived.missing.insert(range.start, reason);
            }
            Answer::NotFound(_) => {
                let middle = range.start + some.len() / 2;
                open.extend([middle..range.end, range.start..middle]);
            }
            Answer::NotModified => {
                let reason = format!("the upstream answered 304 for {}, unasked", target.path);
                return Err(TaskError::Failed { reason });
            }
        }
    }
    let missing = arrived.missing(items);
    let Some(object) = arrived.stored else { return Err(none_of(items.len(), &missing)) };
    remove_older(task).await?;
    Ok(Success::Stored(Object { missing, ..object }))
}

struct Arrived {
    /// The first piece that was stored; its sizes are those of all.
    stored: Option<Object>,
    /// By index, with the reason.
    missing: BTreeMap<usize, String>,
}

impl Arrived {
    /// Stores a piece, if there is something in it. Returns the outcome where the whole batch is as it was.
    async fn take(
        &mut self,
        task: &Task<'_>,
        items: &[Item],
        range: Range<usize>,
        path: &str,
        file: Fetched,
        time: Timestamp,
    ) -> Result<Option<Success>, TaskError> {
        let some = &items[range.clone()];
        if file.scanned.is_ok() {
            let unanswered = task.definition.unanswered(some, &bytes(&file).await?);
            let nothing = unanswered.len() == some.len();
            let reason = || format!("the upstream's answer for {path} has nothing of it");
            self.missing.extend(unanswered.into_iter().map(|index| (range.start + index, reason())));
            if nothing {
                return Ok(None);
            }
        }
        let whole = some.len() == items.len();
        if whole && let Some(existing) = same(task, &file).await? {
            let object = Object { missing: self.missing(items), ..existing.object() };
            let by_us = existing.is_by(&task.request.job.to_string());
            return Ok(Some(if by_us { Success::Stored(object) } else { Success::Unchanged(object) }));
        }
        let key = if whole { task.key.clone() } else { format!("{}~{}-{}", task.key, range.start, range.end) };
        let object = task.keep(&Piece { key: &key, items: some, path, time }, file).await?;
        match &mut self.stored {
            Some(first) => {
                first.bytes += object.bytes;
                first.records += object.records;
            }
            None => self.stored = Some(object),
        }
        Ok(None)
    }

    fn missing(&self, items: &[Item]) -> Vec<MissingItem> {
        let missing = |(index, reason): (&usize, &String)| MissingItem {
            item: items[*index].key.clone(),
            reason: reason.clone(),
        };
        self.missing.iter().map(missing).collect()
    }
}

/// The same bytes, if they are what is stored and counts.
async fn same(task: &Task<'_>, file: &Fetched) -> Result<Option<Existing>, TaskError> {
    let existing = task.fetches().newest().await?;
    let Some(existing) = existing.filter(|it| it.is_of(task.definition.hash()) && it.has_bytes(&file.sha256)) else {
        return Ok(None);
    };
    remove_older(task).await?;
    let newest = pieces(task).await?.into_iter().max_by_key(|name| name.fetched_at);
    Ok(newest.is_some_and(|newest| newest.key() == existing.name.key()).then_some(existing))
}

/// All pieces of all fetches of this batch.
async fn pieces(task: &Task<'_>) -> Result<Vec<ObjectName>, StoreError> {
    let prefix = format!("data/{}/{}/{}", task.definition.name(), task.partition, task.key);
    let entries = task.context.worker.store.list(&prefix, None, MOST).await?;
    let names = entries.iter().filter_map(|entry| ObjectName::parse(&entry.key));
    let is_ours = |name: &ObjectName| {
        name.item.strip_prefix(&task.key).is_some_and(|piece| piece.is_empty() || piece.starts_with('~'))
    };
    Ok(names.filter(is_ours).collect())
}

/// Removes the pieces of all fetches but the newest, whosever it is.
async fn remove_older(task: &Task<'_>) -> Result<(), StoreError> {
    let pieces = pieces(task).await?;
    let newest = pieces.iter().map(|name| name.fetched_at).max();
    let older: Vec<_> = pieces.iter().filter(|name| Some(name.fetched_at) < newest).map(ObjectName::key).collect();
    if older.is_empty() { Ok(()) } else { task.context.worker.store.delete(&older).await }
}

async fn bytes(file: &Fetched) -> Result<Bytes, TaskError> {
    match &file.body {
        UploadBody::Bytes(bytes) => Ok(bytes.clone()),
        UploadBody::File { file, len } => {
            let (file, len) = (file.clone(), *len);
            let read = blocking::compute(move || {
                let mut buffer = vec![0; usize::try_from(len).map_err(std::io::Error::other)?];
                file.read_exact_at(&mut buffer, 0).map(|()| Bytes::from(buffer))
            });
            let read = read.await.ok_or(TaskError::Interrupted)?;
            read.map_err(|error| TaskError::Retry { after: None, reason: format!("the spool cannot be read: {error}") })
        }
    }
}

fn none_of(items: usize, missing: &[MissingItem]) -> TaskError {
    let named = missing.iter().take(NAMED).map(MissingItem::to_string).collect::<Vec<_>>().join("; ");
    let more = if missing.len() > NAMED { "; …" } else { "" };
    TaskError::Failed { reason: format!("the upstream has none of {items} items: {named}{more}") }
}
