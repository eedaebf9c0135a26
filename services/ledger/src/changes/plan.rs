//! Plans: written once, read whole by workers, and in outline where tasks are only counted.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;

use crate::{
    JobId, Ledger, LedgerError, Plan,
    jobs::Fact,
    layout::{
        keys::{self, Name},
        objects,
    },
};

/// A plan without its items' values, which a status does not need: about a twentieth of the memory.
#[derive(Debug, Deserialize)]
pub(crate) struct Outline {
    pub(crate) planned: Timestamp,
    tasks: Vec<Vec<ItemKey>>,
}

#[derive(Debug, Deserialize)]
struct ItemKey {
    key: Box<str>,
}

impl Outline {
    pub(crate) fn total(&self) -> u32 {
        u32::try_from(self.tasks.len()).expect("a plan of 4 billion tasks is larger than any plan that is read")
    }

    /// The keys of a task's items.
    pub(crate) fn items(&self, task: u32) -> Vec<String> {
        self.tasks.get(task as usize).into_iter().flatten().map(|item| item.key.to_string()).collect()
    }

    fn weight(&self) -> usize {
        self.tasks.iter().map(|items| 1 + items.len()).sum()
    }
}

/// What the journal says of a plan.
pub(crate) fn planned(plan: &Plan) -> Fact {
    Fact::Planned(plan.planned, u32::try_from(plan.tasks.len()).unwrap_or(u32::MAX))
}

impl Ledger {
    /// Writes the plan unless there is one, and returns the one that counts.
    pub async fn record_plan(&self, job: JobId, plan: Plan) -> Result<Arc<Plan>, LedgerError> {
        let plan = self.create_or_read(&keys::of(job, Name::Plan), plan, objects::PLAN).await?;
        self.enter(job, vec![planned(&plan)]).await?;
        tracing::info!(%job, tasks = plan.tasks.len(), "job planned");
        Ok(self.remember_plan(job, plan))
    }

    /// The plan, once there is one. Cached.
    pub async fn plan(&self, job: JobId) -> Result<Option<Arc<Plan>>, LedgerError> {
        if let Some(plan) = self.memory.plans.get(&job) {
            return Ok(Some(plan));
        }
        let plan = self.read(&keys::of(job, Name::Plan), objects::PLAN).await?;
        Ok(plan.map(|plan| self.remember_plan(job, plan)))
    }

    fn remember_plan(&self, job: JobId, plan: Plan) -> Arc<Plan> {
        let plan = Arc::new(plan);
        let weight = plan.tasks.iter().map(|items| 1 + items.len()).sum();
        self.memory.plans.insert(job, plan.clone(), weight);
        plan
    }

    /// The outline of a plan that was seen in the bucket.
    pub(crate) async fn outline(&self, job: JobId) -> Result<Arc<Outline>, LedgerError> {
        if let Some(outline) = self.memory.outlines.get(&job) {
            return Ok(outline);
        }
        let key = keys::of(job, Name::Plan);
        let outline: Option<Outline> = self.read(&key, objects::PLAN).await?;
        let outline = Arc::new(outline.ok_or_else(|| LedgerError::damaged(key, "it was there, and is gone"))?);
        let weight = outline.weight();
        self.memory.outlines.insert(job, outline.clone(), weight);
        Ok(outline)
    }
}
