//! Runs a task of one item. A file whose bytes have not changed is not stored again.

use jiff::Timestamp;
use waybill_source::Item;

use crate::{
    delivery::outcome::{Success, TaskError},
    download::{
        client::Target,
        fetch::Answer,
        model::{Fetched, Validators},
    },
    task::{
        Task,
        object_versions::{Begun, Existing},
        store_object::FileOf,
    },
};

/// Fetches the item, and stores what is new.
pub(crate) async fn run(task: &Task<'_>, item: &Item) -> Result<Success, TaskError> {
    let target = task.target(std::slice::from_ref(item))?;
    let seen = task.objects().look().await?;
    let begun = seen.begin(Timestamp::now(), task.request.job);
    // What was checked by another definition has to be checked again, though it be the same bytes.
    let existing = seen.newest.filter(|it| it.is_of(task.definition.hash()));
    let known = existing.as_ref().map(Existing::validators).unwrap_or_default();
    let file = match (fetch(task, &target, &known).await?, existing) {
        (Answer::File(file), Some(existing)) if existing.has_bytes(&[&file.sha256]) => {
            if task.still_counts(&existing).await? {
                return Ok(task.unchanged(&existing, Vec::new()));
            }
            file
        }
        (Answer::File(file), _) => file,
        (Answer::NotFound(reason), _) => return Err(TaskError::Failed { reason }),
        (Answer::NotModified, Some(existing)) if task.still_counts(&existing).await? => {
            return Ok(task.unchanged(&existing, Vec::new()));
        }
        // What the upstream still has is not what counts any more, and no bytes of it came.
        (Answer::NotModified, _) => return run_anew(task, item, &target).await,
    };
    store(task, item, &target, *file, begun).await
}

/// Fetches and stores, whatever is there.
async fn run_anew(task: &Task<'_>, item: &Item, target: &Target) -> Result<Success, TaskError> {
    let begun = task.objects().look().await?.begin(Timestamp::now(), task.request.job);
    match fetch(task, target, &Validators::default()).await? {
        Answer::File(file) => store(task, item, target, *file, begun).await,
        Answer::NotFound(reason) => Err(TaskError::Failed { reason }),
        Answer::NotModified => {
            Err(TaskError::Failed { reason: format!("the upstream answered 304 for {}, unasked", target.path) })
        }
    }
}

async fn fetch(task: &Task<'_>, target: &Target, known: &Validators) -> Result<Answer, TaskError> {
    task.fetch(1, target, task.definition.max_bytes(), known).await
}

async fn store(
    task: &Task<'_>,
    item: &Item,
    target: &Target,
    file: Fetched,
    begun: Begun,
) -> Result<Success, TaskError> {
    let object =
        task.store(&FileOf { items: std::slice::from_ref(item), path: &target.path, begun, piece: None }, file).await?;
    // Where somebody else's fetch stands above it, it is this one that goes.
    task.objects().remove_superseded().await?;
    Ok(Success::Stored(object))
}
