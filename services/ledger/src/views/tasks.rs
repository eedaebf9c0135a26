//! A job's tasks, in pages. Only the markers of the page are read.

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::{
    Done, Failure, JobId, Ledger, LedgerError, Outcome,
    layout::facts::{End, Marker},
    views::progress::{Body, READS_AT_ONCE, lock},
};

/// How one task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Waiting or running.
    Pending,
    /// A new object was stored.
    Stored,
    /// The upstream had what was stored already.
    Unchanged,
    /// Given up.
    Failed,
}

impl From<Outcome> for TaskState {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Stored => Self::Stored,
            Outcome::Unchanged => Self::Unchanged,
        }
    }
}

/// One task, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskStatus {
    /// Its number.
    pub task: u64,
    /// Its items' keys.
    pub items: Vec<String>,
    /// How it stands.
    pub state: TaskState,
    /// How it ended well, if it did.
    pub done: Option<Done>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
}

impl Ledger {
    /// A job's tasks, in the plan's order, from number `from`, at most `limit`; none before it is planned.
    /// `None` for an unknown job.
    pub async fn tasks(
        &self,
        job: JobId,
        state: Option<TaskState>,
        from: u64,
        limit: usize,
    ) -> Result<Option<Vec<TaskStatus>>, LedgerError> {
        if self.request(job).await?.is_none() {
            return Ok(None);
        }
        let facts = self.facts(job).await?;
        if !facts.exists {
            return Ok(None);
        }
        if !facts.planned {
            return Ok(Some(Vec::new()));
        }
        let outline = self.outline(job).await?;
        let from = u32::try_from(from).unwrap_or(u32::MAX);
        let all = (from..outline.total()).map(|task| (task, facts.marker(task)));
        let chosen: Vec<(u32, Option<Marker>)> = match state {
            None => all.take(limit).collect(),
            Some(TaskState::Pending) => all.filter(|(_, marker)| marker.is_none()).take(limit).collect(),
            Some(TaskState::Failed) => {
                all.filter(|(_, marker)| matches!(marker, Some(Marker::Round(_, End::Failed)))).take(limit).collect()
            }
            Some(wanted @ (TaskState::Stored | TaskState::Unchanged)) => {
                // Names do not tell these two apart.
                let progress = self.progress(job, &facts).await?;
                let progress = lock(&progress);
                let ended = all.filter_map(|(task, _)| Some((task, progress.ended_well(task)?)));
                let wanted = ended.filter(|(_, (outcome, _))| TaskState::from(*outcome) == wanted);
                wanted.map(|(task, (_, marker))| (task, Some(marker))).take(limit).collect()
            }
        };
        let outline = &outline;
        let tasks = stream::iter(chosen).map(|(task, marker)| async move {
            let (state, done, failure) = match marker {
                None => (TaskState::Pending, None, None),
                Some(marker) => match self.marker(job, task, marker).await? {
                    Body::Partial(_, done) | Body::Done(done) => (done.outcome.into(), Some(done), None),
                    Body::Failed(_, failure) => (TaskState::Failed, None, Some(failure)),
                },
            };
            Ok::<_, LedgerError>(TaskStatus { task: task.into(), items: outline.items(task), state, done, failure })
        });
        Ok(Some(tasks.buffered(READS_AT_ONCE).try_collect().await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fixture, done, failure, id};

    #[tokio::test]
    async fn tasks_are_paged_and_filtered() {
        let fixture = Fixture::new().await;
        let (ledger, job) = (&fixture.ledger, id(0, 1));
        assert_eq!(ledger.tasks(job, None, 0, 10).await.unwrap(), None);
        fixture.job(job).await;
        assert_eq!(ledger.tasks(job, None, 0, 10).await.unwrap(), Some(vec![]));
        fixture.planned(job, 20).await;
        for task in 0..20 {
            match task % 4 {
                0 => ledger.record_done(job, task, 0, &done(Outcome::Stored, 3)).await.unwrap(),
                1 => ledger.record_done(job, task, 0, &done(Outcome::Unchanged, 3)).await.unwrap(),
                2 => ledger.record_failure(job, task, 0, &failure("gone", 4)).await.unwrap(),
                _ => {}
            }
        }
        let states = [TaskState::Stored, TaskState::Unchanged, TaskState::Failed, TaskState::Pending];
        for (n, state) in (0..).zip(states) {
            let page = ledger.tasks(job, Some(state), 2, 3).await.unwrap().unwrap();
            let expected: Vec<u64> = (2..20).filter(|task| task % 4 == n).take(3).collect();
            assert_eq!(page.iter().map(|task| task.task).collect::<Vec<_>>(), expected);
            assert!(page.iter().all(|task| task.state == state));
        }
        let page = ledger.tasks(job, None, 17, 10).await.unwrap().unwrap();
        assert_eq!(page.iter().map(|task| task.task).collect::<Vec<_>>(), [17, 18, 19]);
        assert_eq!(page[0].items, ["17-city-17"]);
        assert_eq!(page[0].done.as_ref().map(|done| done.outcome), Some(Outcome::Unchanged));
        assert_eq!(page[1].failure.as_ref().map(|failure| failure.reason.as_str()), Some("gone"));
        assert_eq!((&page[2].done, &page[2].failure), (&None, &None));
        assert_eq!(ledger.tasks(job, None, u64::MAX, 10).await.unwrap(), Some(vec![]));
    }
}
