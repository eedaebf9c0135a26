//! One job planned: its items asked for, its plan written, its tasks sent out.
//!
//! The plan that was written first is the one that counts, whoever wrote it.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hasher as _},
    sync::Arc,
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use waybill_ledger::{Plan, Request};
use waybill_source::{
    Definition, Format, Item, ItemDraft, JobContext, ObjectName, PageParts, Pager, PagingError, Rejection,
};
use waybill_store::UploadBody;

use crate::{
    blocking,
    context::Context,
    delivery::{
        outcome::{Success, TaskError, Work},
        redelivery,
        work_delivery::WorkDelivery,
    },
    download::{
        client::Target,
        pages::{self, answer::Contents},
        refusal::{incomplete, mask, mask_rejection},
    },
    plan::{listing::ListingReader, upload},
    task::quarantine::{self, Report},
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
        if self.definition.loads_upload().is_some() {
            return Ok(vec![Plan::LOAD]);
        }
        if self.definition.upload().is_some() {
            return upload::tasks(self.context, &self.definition, &self.request).await;
        }
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
        let (definition, job) = (self.definition.clone(), self.request.context());
        let tasks = blocking::compute(move || into_tasks(&definition, &job, drafts));
        tasks.await.ok_or(TaskError::Interrupted)
    }

    /// The items of `level` below one item of the level above.
    async fn below(&self, level: usize, parent: ItemDraft) -> Result<Vec<ItemDraft>, TaskError> {
        let job = self.request.context();
        if let Some(items) = self.definition.fixed(level, &job, &parent)? {
            return Ok(items);
        }
        let mut pager = self.definition.listing_pages(level, &job, &parent)?;
        let mut target = self.target(&pager)?;
        let mut items = Vec::new();
        let mut reader = ListingReader::begin(self.context, &self.definition).await?;
        loop {
            let (head, body) = reader.page(&target).await?;
            let (definition, above, listed) = (self.definition.clone(), parent.clone(), body.clone());
            let page = blocking::compute(move || read_page(&definition, level, &above, &listed));
            match page.await.ok_or(TaskError::Interrupted)? {
                Ok((mut some, contents)) => {
                    items.append(&mut some);
                    if items.len() > MOST {
                        return Err(too_many());
                    }
                    let goes_on = pager.next(&target.query(), &head.with(&contents));
                    if !goes_on.map_err(|error| self.incomplete(&target.path, &error))? {
                        return Ok(items);
                    }
                    target = self.target(&pager)?;
                }
                Err(rejection) => {
                    let page = pager.has_pages().then(|| pager.page());
                    return Err(self.reject(level, (&target.path, page), body, rejection).await?);
                }
            }
        }
    }

    fn incomplete(&self, path: &str, error: &PagingError) -> TaskError {
        let reason = incomplete(path, error).to_string();
        TaskError::Failed { reason: mask(&reason, &self.definition, &self.context.worker.env) }
    }

    /// Where a page of a listing is asked for.
    fn target(&self, pager: &Pager<'_>) -> Result<Target, TaskError> {
        pages::target(self.context, &self.definition, pager).map_err(|reason| TaskError::Failed { reason })
    }

    /// Keeps a listing that cannot be used, as a file is kept.
    async fn reject(
        &self,
        level: usize,
        (path, page): (&str, Option<u64>),
        body: Bytes,
        rejection: Rejection,
    ) -> Result<TaskError, TaskError> {
        let rejection = mask_rejection(rejection, &self.definition, &self.context.worker.env);
        let (source, job) = (self.definition.name(), self.request.job);
        let listed = self.definition.level_name(level);
        let sha256 = base16ct::lower::encode_string(&Sha256::digest(&body));
        let now = Timestamp::now();
        let report = Report {
            job,
            task: None,
            source,
            item: listed,
            path,
            page,
            rejection: &rejection,
            bytes: body.len() as u64,
            sha256: &sha256,
            fetched_at: now,
        };
        let partition = format!("listing={listed}");
        let name = ObjectName::new(source, &partition, &job.to_string(), now, &sha256, Format::Json);
        let store = &self.context.worker.store;
        let quarantine = quarantine::keep(store, &name, "application/json", UploadBody::Bytes(body), &report).await?;
        self.context.counts(source).quarantined.inc();
        Ok(TaskError::Rejected { reason: format!("the listing {path} cannot be used: {rejection}"), quarantine })
    }
}

/// The items of a page, and what else is in it.
fn read_page(
    definition: &Definition,
    level: usize,
    parent: &ItemDraft,
    body: &[u8],
) -> Result<(Vec<ItemDraft>, Contents), Rejection> {
    let parts = PageParts { body: true, last: true, lines: true };
    let (items, page) = definition.expand_page(level, parent, body, parts)?;
    let mut digest = DefaultHasher::new();
    digest.write(&page.lines);
    let (records, digest) = (page.scanned.records, digest.finish());
    Ok((items, Contents { records, body: page.body, last: page.last, digest }))
}

/// Items in the order in which they were listed, a batch of them to a task. What is listed twice is one item; an item
/// without a key of its own in its partition is a task of its own, which fails.
fn into_tasks(definition: &Definition, job: &JobContext, drafts: Vec<ItemDraft>) -> Vec<Vec<Item>> {
    let mut items: Vec<Item> = Vec::with_capacity(drafts.len());
    let mut by_key = HashMap::with_capacity(drafts.len());
    // Of keys that several items have: few, but where windows of time are told apart by their partition alone.
    let mut by_place = HashMap::new();
    let place = |item: &Item| {
        let partition = definition.partition(job, std::slice::from_ref(item));
        (partition.unwrap_or_default(), item.key.clone())
    };
    for draft in drafts {
        let mut item = definition.item(&job.params, draft);
        let number = items.len();
        let mut first = *by_key.entry(item.key.clone()).or_insert(number);
        if let Some(of_key) = items.get(first) {
            by_place.entry(place(of_key)).or_insert(first);
            first = *by_place.entry(place(&item)).or_insert(number);
        }
        if let Some(first) = items.get_mut(first) {
            if first.values == item.values {
                continue;
            }
            let problem = format!("two items have the key `{}`: the definition's `key` must tell them apart", item.key);
            first.problem.get_or_insert_with(|| problem.clone());
            item.problem.get_or_insert(problem);
        }
        items.push(item);
    }
    let (good, bad): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| item.problem.is_none());
    batches(good, definition.batch()).into_iter().chain(bad.into_iter().map(|item| vec![item])).collect()
}

fn batches(items: Vec<Item>, batch: usize) -> Vec<Vec<Item>> {
    let mut items = items.into_iter();
    std::iter::from_fn(|| Some(items.by_ref().take(batch).collect()).filter(|some: &Vec<_>| !some.is_empty())).collect()
}

fn too_many() -> TaskError {
    TaskError::Failed { reason: format!("the upstream lists more than {MOST} items") }
}
