//! One task: fetch → spool → check every record and add up → store with metadata. Its marker is written
//! by whoever settles the outcome.
//!
//! Everything here may be done twice, by two workers at once, or be broken off at any line: the newest
//! fetch of an item counts, and is there whole.

use jiff::Timestamp;
use waybill_ledger::{JobId, Request};
use waybill_queue::RunTask;
use waybill_source::{Definition, Env, Format, Item, JobContext, ObjectName, item_prefix};
use waybill_store::Upload;

use crate::{
    context::Context,
    fetch::{self, Answer, Fetched, Validators},
    fetches::{Existing, Fetches, fetch_time},
    metadata::{Provenance, metadata},
    outcome::{Object, Outcome},
    quarantine::{self, Report},
    upstream::Target,
};

/// Runs the task that a message asks for.
pub(crate) async fn run(context: &Context, job: JobId, message: &RunTask, redelivered: bool) -> Outcome {
    start(context, job, message, redelivered).await.unwrap_or_else(|ended| ended)
}

async fn start(context: &Context, job: JobId, message: &RunTask, redelivered: bool) -> Result<Outcome, Outcome> {
    let ledger = &context.worker.ledger;
    let again = redelivered || message.again || message.attempt > 1;
    if again && ledger.is_settled(job, message.task, message.round).await? {
        return Ok(Outcome::Settled);
    }
    let Some(request) = ledger.request(job).await? else {
        return Err(Outcome::Orphaned { reason: "there is no such job".to_owned() });
    };
    let definition = &*ledger.definition(&request.source, &request.definition).await?;
    let item = &only_item(&message.items)?;
    let about = job_context(&request);
    let items = std::slice::from_ref(item);
    let partition = definition.partition(&about, items)?;
    let target = context.upstream.target(definition, &definition.fetch(&about, items, &Env::new())?);
    let prefix = item_prefix(definition.name(), &partition, &item.key);
    let task = Task {
        context,
        definition,
        request: &request,
        number: message.task,
        item,
        target: target.map_err(|reason| Outcome::Failed { reason })?,
        fetches: Fetches { store: &context.worker.store, prefix, item: &item.key },
        partition,
    };
    task.run().await
}

/// A job as templates see it.
pub(crate) fn job_context(request: &Request) -> JobContext {
    JobContext { id: request.job.to_string(), date: request.job.day().to_string(), params: request.params.clone() }
}

fn only_item(items: &str) -> Result<Item, Outcome> {
    let items: Vec<Item> = serde_json::from_str(items)
        .map_err(|error| Outcome::Failed { reason: format!("the task's items cannot be read: {error}") })?;
    let found = items.len();
    let only: Result<[Item; 1], _> = items.try_into();
    only.map(|[item]| item)
        .map_err(|_| Outcome::Failed { reason: format!("expected a task of one item, found {found}") })
}

struct Task<'a> {
    context: &'a Context,
    definition: &'a Definition,
    request: &'a Request,
    number: u32,
    item: &'a Item,
    partition: String,
    target: Target,
    fetches: Fetches<'a>,
}

impl Task<'_> {
    async fn run(&self) -> Result<Outcome, Outcome> {
        let existing = self.fetches.newest().await?;
        let time = fetch_time(Timestamp::now(), existing.as_ref().map(|it| &it.name));
        // What was checked by another definition has to be checked again, though it be the same bytes.
        let existing = existing.filter(|it| it.is_of(self.definition.hash()));
        let known = existing.as_ref().map(Existing::validators).unwrap_or_default();
        let file = match (self.fetch(&known).await?, existing) {
            (Answer::File(file), Some(existing)) if existing.has_bytes(&file.sha256) => {
                if self.is_newest(&existing).await? {
                    return Ok(self.unchanged(&existing));
                }
                file
            }
            (Answer::File(file), _) => file,
            (Answer::NotModified, Some(existing)) if self.is_newest(&existing).await? => {
                return Ok(self.unchanged(&existing));
            }
            // What the upstream still has is not what counts any more, and no bytes of it came.
            (Answer::NotModified, _) => return self.run_anew().await,
        };
        self.store(*file, time).await
    }

    /// Fetches and stores, whatever is there.
    async fn run_anew(&self) -> Result<Outcome, Outcome> {
        let existing = self.fetches.newest().await?;
        let time = fetch_time(Timestamp::now(), existing.as_ref().map(|it| &it.name));
        match self.fetch(&Validators::default()).await? {
            Answer::File(file) => self.store(*file, time).await,
            Answer::NotModified => {
                let reason = format!("the upstream answered 304 for {}, unasked", self.target.path);
                Err(Outcome::Failed { reason })
            }
        }
    }

    async fn fetch(&self, known: &Validators) -> Result<Answer, Outcome> {
        Ok(fetch::fetch(self.context, self.definition, &self.target, known).await?)
    }

    /// Whether nobody stored anything since `existing` was looked at.
    async fn is_newest(&self, existing: &Existing) -> Result<bool, Outcome> {
        Ok(self.fetches.remove_older().await?.is_some_and(|newest| newest == existing.name.key()))
    }

    fn unchanged(&self, existing: &Existing) -> Outcome {
        let object = Object { key: existing.name.key(), bytes: existing.head.size, records: existing.records() };
        // An object of this very job was stored by a delivery that died before it could say so.
        if existing.is_by(&self.request.job.to_string()) { Outcome::Stored(object) } else { Outcome::Unchanged(object) }
    }

    async fn store(&self, file: Fetched, time: Timestamp) -> Result<Outcome, Outcome> {
        let Fetched { spool, scanned, sha256, validators } = file;
        let store = &self.context.worker.store;
        let (source, format) = (self.definition.name(), self.definition.format());
        let name = ObjectName::new(source, &self.partition, &self.item.key, time, &sha256, format);
        let (bytes, body) = (spool.len(), spool.into_body());
        let scanned = match scanned {
            Ok(scanned) => scanned,
            Err(rejection) => {
                let report = Report {
                    job: self.request.job,
                    task: self.number,
                    source,
                    item: &self.item.key,
                    path: &self.target.path,
                    rejection: &rejection,
                    bytes,
                    sha256: &sha256,
                    fetched_at: time,
                };
                let quarantine = quarantine::keep(store, &name, content_type(format), body, &report).await?;
                return Ok(Outcome::Rejected { reason: format!("the file was rejected: {rejection}"), quarantine });
            }
        };
        let provenance = Provenance {
            definition: self.definition,
            job: self.request.job,
            item: self.item,
            path: &self.target.path,
            fetched_at: time,
            sha256: &sha256,
            bytes,
            validators: &validators,
        };
        let metadata = metadata(&provenance, &scanned);
        let key = name.key();
        store.upload(&key, Upload { content_type: content_type(format), metadata, body }).await?;
        // Where somebody else's fetch began later, it is this one that goes.
        self.fetches.remove_older().await?;
        Ok(Outcome::Stored(Object { key, bytes, records: scanned.records }))
    }
}

fn content_type(format: Format) -> &'static str {
    match format {
        Format::Json => "application/json",
        Format::Ndjson => "application/x-ndjson",
        Format::Csv => "text/csv",
    }
}
