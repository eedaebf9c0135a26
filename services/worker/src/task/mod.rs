//! Running one task: its requests, its objects, their metadata.

pub(crate) mod batch;
pub(crate) mod load;
pub(crate) mod metadata;
pub(crate) mod object_versions;
pub(crate) mod quarantine;
pub(crate) mod rows;
pub(crate) mod run_task;
pub(crate) mod single_item;
pub(crate) mod store_object;

use waybill_ledger::{
    MissingItem, Request,
    index::{Entry, Fact, IndexedFetch, Known},
};
use waybill_source::{Definition, Fetch, Item, JobContext, OnUnknown};
use waybill_store::Head;

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
        pages::{self, fetch::WantedPages},
    },
    limits::throttle::Throttle,
    task::object_versions::{Existing, ItemObjects, Seen},
};

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
}

impl Task<'_> {
    /// Whether a row whose answer was lost is sent again.
    fn resends(&self) -> bool {
        self.definition.upload().is_some_and(|upload| upload.on_unknown() == OnUnknown::Resend)
    }

    /// The task's objects in data/, of all fetches.
    fn objects(&self) -> ItemObjects<'_> {
        let (store, source) = (&self.context.worker.store, self.definition.name());
        ItemObjects { store, source, partition: &self.partition, item: &self.key }
    }

    /// What is stored of the item. A task that may have been begun before looks at the objects: what a worker stored
    /// that died right after is not in the index.
    pub(crate) async fn look(&self) -> Result<Seen, TaskError> {
        if !self.delivery.kind.may_repeat()
            && let Known::Row(row) = self.known().await?
        {
            return Ok(self.objects().of_row(&row));
        }
        Ok(self.objects().look().await?)
    }

    async fn known(&self) -> Result<Known, TaskError> {
        Ok(self.context.index.known(self.request.job, self.definition.name(), &self.partition, &self.key).await?)
    }

    /// Whether nobody stored what counts instead since `existing` was looked at.
    pub(crate) async fn still_counts(&self, seen: &Seen, existing: &Existing) -> Result<bool, TaskError> {
        if seen.is_indexed
            && let Known::Row(row) = self.known().await?
        {
            return Ok(row.fetch().as_ref() == Some(&existing.fetch));
        }
        Ok(self.remove_superseded().await?.is_some_and(|newest| newest.keys == existing.keys))
    }

    /// Looks at all objects of the item, removes what is superseded, and returns what counts. That is in the index
    /// before, whoever stored it: nothing is removed for the sake of what nobody knows of.
    async fn remove_superseded(&self) -> Result<Option<Existing>, TaskError> {
        let (newest, superseded) = self.objects().judge().await?;
        if let Some(newest) = newest.as_ref().filter(|_| !superseded.is_empty()) {
            self.commit(newest.fetch.clone()).await?;
            self.context.worker.store.delete(&superseded).await?;
        }
        Ok(newest)
    }

    /// The upstream has what is stored, but for what is `missing`.
    pub(crate) async fn unchanged(
        &self,
        seen: &Seen,
        existing: &Existing,
        missing: Vec<MissingItem>,
    ) -> Result<Success, TaskError> {
        if !seen.is_indexed {
            // Whoever stored it may have died before it was in the index.
            self.commit(existing.fetch.clone()).await?;
        }
        let object = Object { missing, ..existing.object() };
        // An object of this very job was stored by a delivery that died before it could say so.
        Ok(if existing.is_by(self.request.job) { Success::Stored(object) } else { Success::Unchanged(object) })
    }

    /// Enters a fetch that is stored whole into the index: from then on it counts. Then removes what it supersedes; where
    /// somebody else's stands above it, it is this one that goes.
    pub(crate) async fn enter(&self, seen: &Seen, fetch: Fetch, heads: Vec<Head>) -> Result<(), TaskError> {
        let no_object = TaskError::Failed { reason: format!("{:?} has not the metadata of an object", fetch.keys) };
        let stored = Existing::new((fetch, heads)).ok_or(no_object)?;
        self.commit(stored.fetch.clone()).await?;
        let Known::Row(mut row) = (if seen.is_indexed { self.known().await? } else { Known::Unknown }) else {
            self.remove_superseded().await?;
            return Ok(());
        };
        // A row may be some seconds old, and is never wrong about what it outranks.
        let counts = row.add_stored(&stored.fetch);
        let before = seen.newest.iter().filter(|before| row.fetch().as_ref() != Some(&before.fetch));
        let mut superseded: Vec<_> = before.flat_map(|before| before.keys.clone()).collect();
        if !counts {
            superseded.extend(stored.keys);
        }
        if !superseded.is_empty() {
            self.context.worker.store.delete(&superseded).await?;
        }
        Ok(())
    }

    async fn commit(&self, fetch: IndexedFetch) -> Result<(), TaskError> {
        let (partition, item) = (self.partition.clone(), self.key.clone());
        let entry = Entry { partition, item, fact: Some(Fact::Stored(fetch)) };
        Ok(self.context.index.commit(self.definition.name(), vec![entry]).await?)
    }

    /// What is asked for some of the task's items.
    pub(crate) fn target(&self, items: &[Item]) -> Result<Target, TaskError> {
        let request = self.definition.fetch(&self.about, items, &self.context.worker.env)?;
        let target = self.context.upstream.target(self.definition, &request);
        target.map_err(|reason| TaskError::Failed { reason })
    }

    pub(crate) async fn fetch(
        &self,
        items: &[Item],
        target: &Target,
        max_bytes: u64,
        known: &Validators,
    ) -> Result<Answer, TaskError> {
        let (definition, delivery) = (self.definition, self.delivery);
        if definition.has_pages() {
            let pager = definition.fetch_pages(&self.about, items)?;
            let job = self.request.job;
            let wanted = WantedPages { definition, pager, job, items: items.len(), delivery, max_bytes };
            return Ok(pages::fetch::fetch(self.context, self.throttle, wanted).await?);
        }
        let wanted = Wanted { definition, target, items: items.len(), delivery, max_bytes, known };
        Ok(fetch::fetch(self.context, self.throttle, wanted).await?)
    }
}
