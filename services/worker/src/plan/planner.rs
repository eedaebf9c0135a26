//! One job planned: its items asked for, its plan written, its tasks sent out.
//!
//! The plan that was written first is the one that counts, whoever wrote it.

use std::{collections::HashSet, sync::Arc};

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use waybill_ledger::{Plan, Request};
use waybill_source::{Definition, Item, ItemDraft, ItemError, Params};

use crate::{
    blocking,
    context::Context,
    delivery::{
        outcome::{Success, TaskError, Work},
        redelivery,
        work_delivery::WorkDelivery,
    },
    plan::listing,
    task::job_context,
};

/// Listings of one level asked for at once.
const AT_ONCE: usize = 8;
/// The most items of a job.
const MOST: usize = 1_000_000;

/// Plans the job that a message asks for.
pub(crate) async fn run(context: &Context, work: Work, delivery: &WorkDelivery) -> Result<Success, TaskError> {
    let may_repeat = delivery.kind.may_repeat();
    let (ledger, job) = (&context.worker.ledger, work.job);
    let Some(request) = ledger.request(job).await? else {
        return Err(TaskError::JobNotFound);
    };
    if ledger.is_cancelled(job).await? {
        return Err(TaskError::Cancelled);
    }
    // Whoever sends out a large plan says so too, and is not to be helped.
    redelivery::check_lease(context, work).await?;
    if let Some(plan) = ledger.plan(job).await? {
        return send_out(context, request, plan, true).await;
    }
    if may_repeat && ledger.status(job).await?.is_some_and(|status| status.state.is_terminal()) {
        return Ok(Success::AlreadyEnded);
    }
    if may_repeat {
        redelivery::count(context, work).await?;
    }
    ledger.record_start(job, Timestamp::now()).await?;
    let definition = ledger.definition(&request.source, &request.definition).await?;
    let tasks = Planner { context, definition, request: request.clone() }.tasks().await?;
    let planned = Timestamp::now();
    let plan = ledger.record_plan(job, Plan { planned, tasks }).await?;
    // Whoever wrote another plan first has sent out its tasks, or died before all were sent.
    let again = plan.planned != planned;
    send_out(context, request, plan, again).await
}

async fn send_out(
    context: &Context,
    request: Arc<Request>,
    plan: Arc<Plan>,
    again: bool,
) -> Result<Success, TaskError> {
    context.worker.ledger.publish_tasks(&request, &plan, again).await?;
    Ok(Success::Planned { tasks: plan.tasks.len() })
}

struct Planner<'a> {
    context: &'a Context,
    definition: Arc<Definition>,
    request: Arc<Request>,
}

impl Planner<'_> {
    async fn tasks(&self) -> Result<Vec<Vec<Item>>, TaskError> {
        let mut drafts = vec![ItemDraft::default()];
        for level in 0..self.definition.levels() {
            drafts = stream::iter(drafts)
                .map(|parent| self.below(level, parent).boxed())
                .buffered(AT_ONCE)
                .try_fold(Vec::new(), |mut all, mut some| async move {
                    all.append(&mut some);
                    if all.len() > MOST { Err(too_many()) } else { Ok(all) }
                })
                .await?;
        }
        let (definition, request) = (self.definition.clone(), self.request.clone());
        let tasks = blocking::compute(move || into_tasks(&definition, &request.params, drafts));
        tasks.await.ok_or(TaskError::Interrupted)?
    }

    /// The items of `level` below one item of the level above.
    async fn below(&self, level: usize, parent: ItemDraft) -> Result<Vec<ItemDraft>, TaskError> {
        if let Some(items) = self.definition.fixed(level, &parent) {
            return Ok(items);
        }
        let listing = self.definition.listing(level, &job_context(&self.request), &parent, &self.context.worker.env)?;
        let target = self.context.upstream.target(&self.definition, &listing);
        let target = target.map_err(|reason| TaskError::Failed { reason })?;
        let body = listing::read(self.context, &self.definition, &target).await?;
        let (definition, request) = (self.definition.clone(), self.request.clone());
        let items = blocking::compute(move || {
            definition.expand(level, &request.params, &parent, &body).map_err(|error| TaskError::Failed {
                reason: format!("the listing {} cannot be used: {error}", target.path),
            })
        });
        items.await.ok_or(TaskError::Interrupted)?
    }
}

/// Items in the order in which they were listed, a batch of them to a task.
fn into_tasks(definition: &Definition, params: &Params, drafts: Vec<ItemDraft>) -> Result<Vec<Vec<Item>>, TaskError> {
    let items = drafts.into_iter().map(|draft| definition.item(params, draft));
    let items: Vec<Item> = items.collect::<Result<_, ItemError>>()?;
    let mut keys = HashSet::with_capacity(items.len());
    match items.iter().find(|item| !keys.insert(&item.key)) {
        Some(item) => Err(TaskError::Failed {
            reason: format!("two items have the key `{}`: the definition's `key` must tell them apart", item.key),
        }),
        None => Ok(batches(items, definition.batch())),
    }
}

fn batches(items: Vec<Item>, batch: usize) -> Vec<Vec<Item>> {
    let mut items = items.into_iter();
    std::iter::from_fn(|| Some(items.by_ref().take(batch).collect()).filter(|some: &Vec<_>| !some.is_empty())).collect()
}

fn too_many() -> TaskError {
    TaskError::Failed { reason: format!("the upstream lists more than {MOST} items") }
}
