//! Runs a task of one item. A file whose bytes have not changed is not stored again.

use jiff::Timestamp;
use waybill_source::{Fetch, Item};

use crate::{
    delivery::outcome::{Success, TaskError},
    download::{
        client::Target,
        fetch::Answer,
        model::{Fetched, Validators},
    },
    task::{
        Task,
        object_versions::{Begun, Existing, Seen},
        store_object::{FileOf, Stored},
    },
};

/// Fetches the item, and stores what is new.
pub(crate) async fn run(task: &Task<'_>, item: &Item) -> Result<Success, TaskError> {
    let target = task.target(std::slice::from_ref(item))?;
    let seen = task.look().await?;
    // An open window ends with its job, and what a later job fetched of it is more.
    if let Some(end) = task.definition.window_end(item)
        && let Some(existing) = seen.newest.as_ref().filter(|existing| existing.reaches_beyond(end))
        && task.still_counts(&seen, existing).await?
    {
        return task.unchanged(&seen, existing, Vec::new()).await;
    }
    // What was checked by another definition has to be checked again, though it be the same bytes.
    let existing = seen.newest.as_ref().filter(|it| it.is_of(task.definition.hash()));
    let known = existing.map(Existing::validators).unwrap_or_default();
    let begun = seen.begin(Timestamp::now(), task.request.job);
    let file = match (fetch(task, item, &target, &known).await?, existing) {
        (Answer::File(file), Some(existing)) if existing.has_bytes(&[&file.sha256]) => {
            if task.still_counts(&seen, existing).await? {
                return task.unchanged(&seen, existing, Vec::new()).await;
            }
            file
        }
        (Answer::File(file), _) => file,
        (Answer::NotFound(reason), _) => return Err(TaskError::Failed { reason }),
        (Answer::NotModified, Some(existing)) if task.still_counts(&seen, existing).await? => {
            return task.unchanged(&seen, existing, Vec::new()).await;
        }
        // What the upstream still has is not what counts any more, and no bytes of it came.
        (Answer::NotModified, _) => return run_anew(task, item, &target).await,
    };
    store(task, item, &target, *file, begun, &seen).await
}

/// Fetches and stores, whatever is there.
async fn run_anew(task: &Task<'_>, item: &Item, target: &Target) -> Result<Success, TaskError> {
    let seen = task.look().await?;
    let begun = seen.begin(Timestamp::now(), task.request.job);
    match fetch(task, item, target, &Validators::default()).await? {
        Answer::File(file) => store(task, item, target, *file, begun, &seen).await,
        Answer::NotFound(reason) => Err(TaskError::Failed { reason }),
        Answer::NotModified => {
            Err(TaskError::Failed { reason: format!("the upstream answered 304 for {}, unasked", target.path) })
        }
    }
}

async fn fetch(task: &Task<'_>, item: &Item, target: &Target, known: &Validators) -> Result<Answer, TaskError> {
    task.fetch(std::slice::from_ref(item), target, task.definition.max_bytes(), known).await
}

async fn store(
    task: &Task<'_>,
    item: &Item,
    target: &Target,
    file: Fetched,
    begun: Begun,
    seen: &Seen,
) -> Result<Success, TaskError> {
    let file_of = FileOf { items: std::slice::from_ref(item), path: &target.path, begun, piece: None };
    let Stored { object, head } = task.store(&file_of, file).await?;
    task.enter(seen, Fetch { fetched_at: begun.at, keys: vec![object.key.clone()] }, vec![head]).await?;
    Ok(Success::Stored(object))
}
