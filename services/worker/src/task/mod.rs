//! Running one task: its requests, its objects, their metadata.

pub(crate) mod batch;
pub(crate) mod metadata;
pub(crate) mod object_versions;
pub(crate) mod quarantine;
pub(crate) mod run_task;
pub(crate) mod single_item;
pub(crate) mod store_object;

use waybill_ledger::{MissingItem, Request};
use waybill_source::{Definition, Item, JobContext};

use crate::{
    context::Context,
    delivery::{
        outcome::{Object, Success, TaskError},
        work_delivery::WorkDelivery,
    },
    download::{
        client::Target,
        fetch::{self, Answer, Wanted},
        model::Validators,
    },
    limits::throttle::Throttle,
    task::object_versions::{Existing, ItemObjects},
};

/// A job as templates see it.
pub(crate) fn job_context(request: &Request) -> JobContext {
    JobContext { id: request.job.to_string(), date: request.job.day().to_string(), params: request.params.clone() }
}

/// A task that is run.
#[derive(Debug)]
pub(crate) struct Task<'a> {
    pub(crate) context: &'a Context,
    pub(crate) throttle: &'a Throttle,
    pub(crate) delivery: &'a WorkDelivery,
    pub(crate) definition: &'a Definition,
    pub(crate) request: &'a Request,
    pub(crate) about: JobContext,
    pub(crate) number: u32,
    pub(crate) partition: String,
    /// The item's, or the one that stands for all of them.
    pub(crate) key: String,
    pub(crate) prefix: String,
}

impl Task<'_> {
    /// The task's objects in data/, of all fetches.
    pub(crate) fn objects(&self) -> ItemObjects<'_> {
        ItemObjects { store: &self.context.worker.store, prefix: &self.prefix, item: &self.key }
    }

    /// Whether nobody stored what counts instead since `existing` was looked at.
    pub(crate) async fn still_counts(&self, existing: &Existing) -> Result<bool, TaskError> {
        Ok(self.objects().remove_superseded().await?.is_some_and(|newest| newest == existing.fetch))
    }

    /// The upstream has what is stored, but for what is `missing`.
    pub(crate) fn unchanged(&self, existing: &Existing, missing: Vec<MissingItem>) -> Success {
        let object = Object { missing, ..existing.object() };
        // An object of this very job was stored by a delivery that died before it could say so.
        if existing.is_by(self.request.job) { Success::Stored(object) } else { Success::Unchanged(object) }
    }

    /// What is asked for some of the task's items.
    pub(crate) fn target(&self, items: &[Item]) -> Result<Target, TaskError> {
        let request = self.definition.fetch(&self.about, items, &self.context.worker.env)?;
        let target = self.context.upstream.target(self.definition, &request);
        target.map_err(|reason| TaskError::Failed { reason })
    }

    pub(crate) async fn fetch(
        &self,
        items: usize,
        target: &Target,
        max_bytes: u64,
        known: &Validators,
    ) -> Result<Answer, TaskError> {
        let wanted = Wanted { definition: self.definition, target, items, delivery: self.delivery, max_bytes, known };
        Ok(fetch::fetch(self.context, self.throttle, wanted).await?)
    }
}
