//! One task: fetch → spool → check every record and add up → store with metadata. Its marker is written
//! by whoever settles the outcome.
//!
//! Everything here may be done twice, by two workers at once, or be broken off at any line: the newest
//! fetch of an item counts, and is there whole. Here is what comes before the fetch; how one item is fetched is
//! in single.rs, how several are in batch.rs.

use std::time::Duration;

use jiff::Timestamp;
use waybill_ledger::{JobId, Request};
use waybill_queue::RunTask;
use waybill_source::{Definition, Item, JobContext, item_prefix};

use crate::{
    batch,
    context::Context,
    fetch::{self, Answer, Validators, Wanted},
    fetches::Fetches,
    gate::Gate,
    outcome::Outcome,
    parcel::Parcel,
    single,
    upstream::Target,
};

/// Runs the task that a message asks for.
pub(crate) async fn run(context: &Context, job: JobId, message: &RunTask, parcel: &Parcel) -> Outcome {
    start(context, job, message, parcel).await.unwrap_or_else(|ended| ended)
}

async fn start(context: &Context, job: JobId, message: &RunTask, parcel: &Parcel) -> Result<Outcome, Outcome> {
    let ledger = &context.worker.ledger;
    let again = is_again(message, parcel);
    if again && ledger.is_settled(job, message.task, message.round).await? {
        return Ok(Outcome::Settled);
    }
    let Some(request) = ledger.request(job).await? else {
        return Err(Outcome::Orphaned { reason: "there is no such job".to_owned() });
    };
    if context.is_cancelled(job).await? {
        return Ok(Outcome::Cancelled);
    }
    if again {
        begin_again(context, job, message).await?;
    }
    let definition = &*ledger.definition(&request.source, &request.definition).await?;
    let items: Vec<Item> = serde_json::from_str(&message.items)
        .map_err(|error| Outcome::Failed { reason: format!("the task's items cannot be read: {error}") })?;
    let about = job_context(&request);
    let partition = definition.partition(&about, &items)?;
    let key = definition.object_item_key(&items)?;
    tracing::Span::current().record("item", &key);
    let Some(gate) = context.gate(&request.source) else {
        // Only a message on the wrong lane gets here.
        return Err(Outcome::Failed { reason: format!("there is no source `{}` here", request.source) });
    };
    let prefix = item_prefix(definition.name(), &partition, &key);
    let task = Task {
        context,
        gate,
        parcel,
        definition,
        request: &request,
        about,
        number: message.task,
        partition,
        key,
        prefix,
    };
    match items.as_slice() {
        [item] if definition.batch() == 1 => single::run(&task, item).await,
        items => batch::run(&task, items).await,
    }
}

/// Whether the task may have been begun before.
fn is_again(message: &RunTask, parcel: &Parcel) -> bool {
    parcel.redelivered || message.again || message.attempt > 1
}

/// A worker that goes down as it should is no reason to give a task up.
pub(crate) async fn forget_attempt(context: &Context, job: JobId, message: &RunTask, parcel: &Parcel) {
    if is_again(message, parcel)
        && let Err(error) = context.worker.ledger.forget_attempt(job, message.task, message.round).await
    {
        tracing::warn!(%error, "an attempt counts that was broken off");
    }
}

/// Looks at a task that may be in other hands, or may have ended its worker before: the one must not be run
/// beside, and the other not for ever.
async fn begin_again(context: &Context, job: JobId, message: &RunTask) -> Result<(), Outcome> {
    let ledger = &context.worker.ledger;
    not_elsewhere(context, job, Some(message.task)).await?;
    let (most, number) =
        (context.worker.retry.attempts, ledger.record_attempt(job, message.task, message.round).await?);
    if number > most {
        let reason = format!("given up: it was begun again {most} times, and neither ended well nor said why");
        return Err(Outcome::Failed { reason });
    }
    Ok(())
}

/// Ends here where another worker says that it has a task, or the planning (`None`), in hand.
pub(crate) async fn not_elsewhere(context: &Context, job: JobId, task: Option<u32>) -> Result<(), Outcome> {
    let (lease, now) = (context.worker.ledger.lease_of(job, task).await?, Timestamp::now());
    match lease.filter(|lease| lease.is_fresh(now) && lease.worker != context.name) {
        Some(lease) => Err(Outcome::Elsewhere {
            remaining: Duration::try_from(lease.until.duration_since(now)).unwrap_or_default(),
        }),
        None => Ok(()),
    }
}

/// A job as templates see it.
pub(crate) fn job_context(request: &Request) -> JobContext {
    JobContext { id: request.job.to_string(), date: request.job.day().to_string(), params: request.params.clone() }
}

/// A task that is run.
#[derive(Debug)]
pub(crate) struct Task<'a> {
    pub(crate) context: &'a Context,
    gate: &'a Gate,
    parcel: &'a Parcel,
    pub(crate) definition: &'a Definition,
    pub(crate) request: &'a Request,
    about: JobContext,
    pub(crate) number: u32,
    pub(crate) partition: String,
    /// The item's, or the one that stands for all of them.
    pub(crate) key: String,
    prefix: String,
}

impl Task<'_> {
    pub(crate) fn fetches(&self) -> Fetches<'_> {
        Fetches { store: &self.context.worker.store, prefix: &self.prefix, item: &self.key }
    }

    /// What is asked for some of the task's items.
    pub(crate) fn target(&self, items: &[Item]) -> Result<Target, Outcome> {
        let request = self.definition.fetch(&self.about, items, &self.context.worker.env)?;
        let target = self.context.upstream.target(self.definition, &request);
        target.map_err(|reason| Outcome::Failed { reason })
    }

    pub(crate) async fn fetch(
        &self,
        items: usize,
        target: &Target,
        max_bytes: u64,
        known: &Validators,
    ) -> Result<Answer, Outcome> {
        let wanted = Wanted { definition: self.definition, target, items, parcel: self.parcel, max_bytes, known };
        Ok(fetch::fetch(self.context, self.gate, wanted).await?)
    }
}
