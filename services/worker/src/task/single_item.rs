//! A task of one item: what is as it was is not stored again.

use jiff::Timestamp;
use waybill_source::Item;

use crate::{
    delivery::outcome::{Success, TaskError},
    download::{
        client::Target,
        fetch::{Answer, Validators},
    },
    task::{
        Task,
        object_versions::{Existing, fetch_time},
        store_object::Piece,
    },
};

/// ObjectVersions the item, and stores what is new.
pub(crate) async fn run(task: &Task<'_>, item: &Item) -> Result<Success, TaskError> {
    let target = task.target(std::slice::from_ref(item))?;
    let existing = task.fetches().newest().await?;
    let time = fetch_time(Timestamp::now(), existing.as_ref().map(|it| &it.name));
    // What was checked by another definition has to be checked again, though it be the same bytes.
    let existing = existing.filter(|it| it.is_of(task.definition.hash()));
    let known = existing.as_ref().map(Existing::validators).unwrap_or_default();
    let file = match (fetch(task, &target, &known).await?, existing) {
        (Answer::File(file), Some(existing)) if existing.has_bytes(&file.sha256) => {
            if is_newest(task, &existing).await? {
                return Ok(unchanged(task, &existing));
            }
            file
        }
        (Answer::File(file), _) => file,
        (Answer::NotFound(reason), _) => return Err(TaskError::Failed { reason }),
        (Answer::NotModified, Some(existing)) if is_newest(task, &existing).await? => {
            return Ok(unchanged(task, &existing));
        }
        // What the upstream still has is not what counts any more, and no bytes of it came.
        (Answer::NotModified, _) => return run_anew(task, item, &target).await,
    };
    keep(task, item, &target, *file, time).await
}

/// ObjectVersions and stores, whatever is there.
async fn run_anew(task: &Task<'_>, item: &Item, target: &Target) -> Result<Success, TaskError> {
    let existing = task.fetches().newest().await?;
    let time = fetch_time(Timestamp::now(), existing.as_ref().map(|it| &it.name));
    match fetch(task, target, &Validators::default()).await? {
        Answer::File(file) => keep(task, item, target, *file, time).await,
        Answer::NotFound(reason) => Err(TaskError::Failed { reason }),
        Answer::NotModified => {
            Err(TaskError::Failed { reason: format!("the upstream answered 304 for {}, unasked", target.path) })
        }
    }
}

async fn fetch(task: &Task<'_>, target: &Target, known: &Validators) -> Result<Answer, TaskError> {
    task.fetch(1, target, task.definition.max_bytes(), known).await
}

async fn keep(
    task: &Task<'_>,
    item: &Item,
    target: &Target,
    file: crate::download::fetch::Fetched,
    time: Timestamp,
) -> Result<Success, TaskError> {
    let piece = Piece { key: &task.key, items: std::slice::from_ref(item), path: &target.path, time };
    let object = task.keep(&piece, file).await?;
    // Where somebody else's fetch began later, it is this one that goes.
    task.fetches().remove_older().await?;
    Ok(Success::Stored(object))
}

/// Whether nobody stored anything since `existing` was looked at.
async fn is_newest(task: &Task<'_>, existing: &Existing) -> Result<bool, TaskError> {
    Ok(task.fetches().remove_older().await?.is_some_and(|newest| newest == existing.name.key()))
}

fn unchanged(task: &Task<'_>, existing: &Existing) -> Success {
    let object = existing.object();
    // An object of this very job was stored by a delivery that died before it could say so.
    if existing.is_by(&task.request.job.to_string()) { Success::Stored(object) } else { Success::Unchanged(object) }
}
