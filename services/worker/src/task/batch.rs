//! Runs a task of several items, fetched with one request. Where the upstream answers 404, because it does not know one
//! of the items, each half of them is requested, until the unknown items stand alone.
//!
//! So a fetch may have several files, each stored as a piece of the batch. Pieces are stored once all files have been
//! downloaded, and their names say how many there are: a fetch that was interrupted counts for no reader.

use std::{collections::BTreeMap, ops::Range, os::unix::fs::FileExt};

use bytes::Bytes;
use jiff::Timestamp;
use waybill_ledger::MissingItem;
use waybill_source::{Fetch, Item, Piece};
use waybill_store::UploadBody;

use crate::{
    blocking,
    delivery::outcome::{Object, Success, TaskError},
    download::{
        fetch::Answer,
        model::{Fetched, Validators},
    },
    task::{
        Task,
        object_versions::{Begun, Seen},
        store_object::{FileOf, Stored},
    },
};

/// The largest file of a batch, in bytes. A file is read into memory once more, to find the items that it lacks.
const LARGEST: u64 = 64 << 20;
/// Unknown items that an error names.
const NAMED: usize = 3;

/// Fetches the items, and stores what came of them.
pub(crate) async fn run(task: &Task<'_>, items: &[Item]) -> Result<Success, TaskError> {
    let seen = task.look().await?;
    let begun = seen.begin(Timestamp::now(), task.request.job);
    let mut arrived = Arrived::default();
    let mut open: Vec<_> = std::iter::once(0..items.len()).collect();
    while let Some(range) = open.pop() {
        let some = &items[range.clone()];
        let target = task.target(some)?;
        let max_bytes = task.definition.max_bytes().min(LARGEST);
        match task.fetch(some, &target, max_bytes, &Validators::default()).await? {
            Answer::File(file) if file.scanned.is_err() => {
                let file_of = FileOf { items: some, path: &target.path, begun, piece: None };
                return task.store(&file_of, *file).await.map(|stored| Success::Stored(stored.object));
            }
            Answer::File(file) => arrived.take(task, some, range, target.path, *file).await?,
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
    arrived.store(task, items, seen, begun).await
}

/// What has come of the items, in their order.
#[derive(Default)]
struct Arrived {
    files: Vec<(Range<usize>, String, Fetched)>,
    /// By index, with the reason.
    missing: BTreeMap<usize, String>,
}

impl Arrived {
    /// Takes a file, if there is something in it.
    async fn take(
        &mut self,
        task: &Task<'_>,
        some: &[Item],
        range: Range<usize>,
        path: String,
        file: Fetched,
    ) -> Result<(), TaskError> {
        let unanswered = task.definition.unanswered(some, &bytes(&file).await?);
        let nothing = unanswered.len() == some.len();
        let reason = || format!("the upstream's answer for {path} has nothing of it");
        self.missing.extend(unanswered.into_iter().map(|index| (range.start + index, reason())));
        if !nothing {
            self.files.push((range, path, file));
        }
        Ok(())
    }

    /// Stores all files, unless they are what is stored and counts.
    async fn store(self, task: &Task<'_>, items: &[Item], seen: Seen, begun: Begun) -> Result<Success, TaskError> {
        let missing = self.missing.into_iter();
        let missing: Vec<_> =
            missing.map(|(index, reason)| MissingItem { item: items[index].key.clone(), reason }).collect();
        if self.files.is_empty() {
            return Err(none_of(items.len(), &missing));
        }
        let hashes: Vec<_> = self.files.iter().map(|(_, _, file)| file.sha256.as_str()).collect();
        if let Some(existing) = &seen.newest
            && existing.is_of(task.definition.hash())
            && existing.has_bytes(&hashes)
            && task.still_counts(&seen, existing).await?
        {
            return task.unchanged(&seen, existing, missing).await;
        }
        let of = u16::try_from(self.files.len()).expect("a batch has at most 1,000 items");
        let mut all = Object { key: String::new(), bytes: 0, records: 0, missing, rows: None, quarantine: None };
        let (mut fetch, mut heads) = (Fetch { fetched_at: begun.at, keys: Vec::new() }, Vec::new());
        for (number, (range, path, file)) in (1..).zip(self.files) {
            let piece = (of > 1).then_some(Piece { number, of });
            let Stored { object, head } =
                task.store(&FileOf { items: &items[range], path: &path, begun, piece }, file).await?;
            all.bytes += object.bytes;
            all.records += object.records;
            fetch.keys.push(object.key);
            heads.push(head);
        }
        all.key.clone_from(&fetch.keys[0]);
        task.enter(&seen, fetch, heads).await?;
        Ok(Success::Stored(all))
    }
}

async fn bytes(file: &Fetched) -> Result<Bytes, TaskError> {
    match &file.body {
        UploadBody::Bytes(bytes) | UploadBody::Hashed { bytes, .. } => Ok(bytes.clone()),
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
