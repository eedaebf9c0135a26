//! Messages. They only say what to look at, so any of them may be sent twice, and all of them again.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use waybill_queue::{Lane, Message, PlanJob, RunTask};

use crate::{Ledger, LedgerError, Plan, Request};

/// Publishes that wait for their confirms at once.
const PUBLISHES_AT_ONCE: usize = 32;

impl Ledger {
    /// Sends out every task of the plan that has no marker yet. `again`: they may have been sent before;
    /// only then are the markers looked at. After an error some were sent, and it can be called `again`.
    pub async fn publish_tasks(&self, request: &Request, plan: &Plan, again: bool) -> Result<(), LedgerError> {
        let sent = self.send_tasks(request, plan, again).await?;
        tracing::info!(job.id = %request.job, source = request.source, sent, again, "tasks sent out");
        Ok(())
    }

    /// The same, and how many were sent.
    pub(crate) async fn send_tasks(&self, request: &Request, plan: &Plan, again: bool) -> Result<u64, LedgerError> {
        let facts = if again { self.facts(request.job).await? } else { Default::default() };
        let lane = &Lane::Source(request.source.clone());
        let unmarked = (0..).zip(&plan.tasks).filter(|(task, _)| facts.marker(*task).is_none());
        stream::iter(unmarked)
            .map(|(task, items)| {
                let items = serde_json::to_string(items).expect("items are maps with text keys");
                let message = Message::RunTask(RunTask {
                    job_id: request.job.to_string(),
                    source: request.source.clone(),
                    task,
                    round: facts.round,
                    attempt: 1,
                    again,
                    items,
                });
                async move { self.queue.publish(lane, &message, Duration::ZERO).await }
            })
            .buffer_unordered(PUBLISHES_AT_ONCE)
            .try_fold(0, |sent, ()| async move { Ok(sent + 1) })
            .await
            .map_err(LedgerError::from)
    }

    /// Asks a worker to plan the job.
    pub(crate) async fn publish_plan(&self, request: &Request) -> Result<(), LedgerError> {
        let plan = PlanJob { job_id: request.job.to_string(), source: request.source.clone(), attempt: 1 };
        Ok(self.queue.publish(&Lane::Plans, &Message::PlanJob(plan), Duration::ZERO).await?)
    }
}
