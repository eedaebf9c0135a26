//! Publishes messages. They only say which work to look at: any of them may be published twice.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use waybill_queue::{Message, PlanJob, QueueName, RunTask};

use crate::{
    Ledger, LedgerError, Plan, Request,
    changes::{plan::planned, task_items},
    jobs::{Fact, Facts},
};

/// Publishes that wait for their confirms at once.
const PUBLISHES_AT_ONCE: usize = 32;

/// How far a job's tasks were sent out.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    up_to: AtomicU32,
    messages: AtomicU32,
}

impl Sent {
    pub(crate) fn from(task: u32) -> Self {
        Self { up_to: task.into(), messages: AtomicU32::default() }
    }

    /// The first task that was not sent.
    pub(crate) fn up_to(&self) -> u32 {
        self.up_to.load(Ordering::Relaxed)
    }

    pub(crate) fn messages(&self) -> u32 {
        self.messages.load(Ordering::Relaxed)
    }

    fn count(&self, task: u32) {
        self.up_to.store(task + 1, Ordering::Relaxed);
        self.messages.fetch_add(1, Ordering::Relaxed);
    }
}

impl Ledger {
    /// Sends out every task of the plan that has not ended in the latest round, unless that was done before, or the
    /// job is cancelled. `again`: some may have been sent before. After an error some were sent, and it can be
    /// called `again`.
    ///
    /// That it was done is written down, so that a second message to plan a job does not send out again all that
    /// waits. Messages which the queue lost afterwards are sent by [`Self::recover`].
    pub async fn publish_tasks(&self, request: &Request, plan: &Plan, resent: bool) -> Result<(), LedgerError> {
        let mut facts = self.facts(request.job).await?;
        if facts.planned.is_none() {
            // Whoever wrote the plan died before it said so.
            self.enter(request.job, vec![planned(plan)]).await?;
            facts = self.facts(request.job).await?;
        }
        if facts.is_sent || facts.cancelled.is_some() {
            return Ok(());
        }
        let sent = Sent::default();
        self.send_tasks(request, plan, &facts, resent, &HashSet::new(), &sent).await?;
        let sent = sent.messages();
        tracing::info!(job = %request.job, source = request.source, sent, resent, "published a job's tasks");
        Ok(())
    }

    /// Sends out what has not ended and is not in `held`, in the plan's order, from where `sent` stands. `sent` is
    /// kept up to date, so that it is right also where this is dropped half-way.
    pub(crate) async fn send_tasks(
        &self,
        request: &Request,
        plan: &Plan,
        facts: &Facts,
        resent: bool,
        held: &HashSet<u32>,
        sent: &Sent,
    ) -> Result<(), LedgerError> {
        let queue_name = &QueueName::Source(request.source.clone());
        let is_planned = |task: &u32| (*task as usize) < plan.tasks.len() && !held.contains(task);
        // Numbers of their own: borrowed items would keep this from being moved between threads.
        let pending: Vec<u32> = facts.pending(sent.up_to()).into_iter().filter(is_planned).collect();
        stream::iter(pending)
            .map(|task| async move {
                let message = Message::RunTask(RunTask {
                    job_id: request.job.to_string(),
                    source: request.source.clone(),
                    task,
                    round: facts.round,
                    attempt: 1,
                    resent,
                    items: task_items::to_message(&plan.tasks[task as usize]),
                    requeued: false,
                });
                self.queue.publish(queue_name, &message, Duration::ZERO).await.map(|()| task)
            })
            .buffered(PUBLISHES_AT_ONCE)
            .try_for_each(|task| {
                sent.count(task);
                std::future::ready(Ok(()))
            })
            .await?;
        if !facts.is_sent {
            self.enter(request.job, vec![Fact::Sent(facts.round)]).await?;
        }
        Ok(())
    }

    /// Asks a worker to plan the job.
    pub(crate) async fn publish_plan(&self, request: &Request) -> Result<(), LedgerError> {
        let plan =
            PlanJob { job_id: request.job.to_string(), source: request.source.clone(), attempt: 1, requeued: false };
        Ok(self.queue.publish(&QueueName::Plans, &Message::PlanJob(plan), Duration::ZERO).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Outcome,
        testing::{Fixture, at, done, failure, id},
    };

    #[tokio::test]
    async fn a_task_is_sent_with_all_that_it_takes_to_run_it() {
        let fixture = Fixture::new().await;
        let request = fixture.planned(id(0, 1), 3).await;
        let plan = fixture.ledger.plan(id(0, 1)).await.unwrap().unwrap();
        fixture.queue.messages();
        fixture.ledger.publish_tasks(&request, &plan, false).await.unwrap();
        let messages = fixture.queue.messages();
        assert_eq!(messages.len(), 3);
        let expected = RunTask {
            job_id: id(0, 1).to_string(),
            source: "buses".to_owned(),
            task: 0,
            round: 0,
            attempt: 1,
            resent: false,
            items: task_items::to_message(&plan.tasks[0]),
            requeued: false,
        };
        assert_eq!(messages[0], Message::RunTask(expected));
    }

    #[tokio::test]
    async fn tasks_that_ended_in_the_round_are_not_republished() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        let request = fixture.planned(job, 4).await;
        let plan = fixture.another().plan(job).await.unwrap().unwrap();
        fixture.ledger.record_done(job, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
        fixture.ledger.record_failure(job, 1, 0, &failure("gone", 3)).await.unwrap();
        fixture.queue.take_only(1);
        fixture.queue.sent();
        fixture.ledger.publish_tasks(&request, &plan, true).await.unwrap_err();
        fixture.queue.take_all();
        fixture.queue.sent();
        fixture.ledger.publish_tasks(&request, &plan, true).await.unwrap();
        assert_eq!(fixture.queue.sent(), [format!("again {job} 2"), format!("again {job} 3")]);
        assert!(fixture.ledger.has_task_ended(job, 0, 0).await.unwrap());
        assert!(fixture.ledger.has_task_ended(job, 1, 0).await.unwrap());
        assert!(!fixture.ledger.has_task_ended(job, 2, 0).await.unwrap());

        // It was done, and is not done over.
        fixture.another().publish_tasks(&request, &plan, true).await.unwrap();
        assert_eq!(fixture.queue.sent(), [""; 0]);

        fixture.ledger.enter(job, vec![Fact::Round(1, at(9))]).await.unwrap();
        fixture.ledger.publish_tasks(&request, &plan, true).await.unwrap();
        let Some(Message::RunTask(first)) = fixture.queue.messages().into_iter().next() else { panic!("a task") };
        assert_eq!((first.task, first.round), (1, 1));
    }
}
