//! A job's tasks, in pages.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Done, Failure, JobId, Ledger, LedgerError, Outcome, Sealed, jobs::Ended, journals::AsOf};

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

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Stored => "stored",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
        })
    }
}

impl TaskState {
    fn of(ended: Option<&Ended>) -> Self {
        match ended {
            None => Self::Pending,
            Some(Ended::Failed(..)) => Self::Failed,
            Some(Ended::Partial(_, done) | Ended::Done(done)) => match done.outcome {
                Outcome::Stored => Self::Stored,
                Outcome::Unchanged => Self::Unchanged,
            },
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
        let facts = self.facts_as_of(job, AsOf::ASecondAgo).await?;
        if !facts.exists || (facts.state().is_terminal() && !self.is_there(job).await?) {
            return Ok(None);
        }
        if facts.tallied.is_none() {
            return Ok(Some(Vec::new()));
        }
        let outline = self.outline(job).await?;
        let from = u32::try_from(from).unwrap_or(u32::MAX);
        // In one look: it may be sealed just now.
        let (sealed, mut chosen) = facts.look(|job| match job.sealed {
            Some(sealed) => (Some(sealed), Chosen::new()),
            None => (None, choose((from..outline.total()).map(|task| (task, job.outcome(task))), state, limit)),
        });
        if let Some(sealed) = sealed {
            chosen = self.chosen_of_sealed(job, sealed, state, from, limit).await?;
        }
        let tasks = chosen.into_iter().map(|(task, ended)| {
            let state = TaskState::of(ended.as_ref());
            let (done, failure) = match ended {
                None => (None, None),
                Some(Ended::Partial(_, done) | Ended::Done(done)) => (Some(done), None),
                Some(Ended::Failed(_, failure)) => (None, Some(failure)),
            };
            TaskStatus { task: task.into(), items: outline.items(task), state, done, failure }
        });
        Ok(Some(tasks.collect()))
    }

    /// Reads the pieces from `from` on, one after the other, until it has enough.
    async fn chosen_of_sealed(
        &self,
        job: JobId,
        sealed: Sealed,
        state: Option<TaskState>,
        from: u32,
        limit: usize,
    ) -> Result<Chosen, LedgerError> {
        let mut chosen = Chosen::new();
        let has_none = match state {
            None => false,
            Some(TaskState::Stored) => sealed.stored == 0,
            Some(TaskState::Unchanged) => sealed.unchanged == 0,
            Some(TaskState::Pending | TaskState::Failed) => true,
        };
        if has_none {
            return Ok(chosen);
        }
        for number in self.piece_of(from)..self.pieces(sealed.tasks()) {
            let piece = self.piece(job, number, sealed).await?;
            let (first, _) = self.tasks_of_piece(number, sealed.tasks());
            let tasks = (first..).zip(piece.iter().map(Some)).filter(|(task, _)| *task >= from);
            chosen.extend(choose(tasks, state, limit - chosen.len()));
            if chosen.len() == limit {
                break;
            }
        }
        Ok(chosen)
    }
}

/// Tasks by number, and how they ended, if they did.
type Chosen = Vec<(u32, Option<Ended>)>;

/// The first `limit` that stand so.
fn choose<'a>(tasks: impl Iterator<Item = (u32, Option<&'a Ended>)>, state: Option<TaskState>, limit: usize) -> Chosen {
    let chosen = tasks.filter(|(_, ended)| state.is_none_or(|state| TaskState::of(*ended) == state));
    chosen.take(limit).map(|(task, ended)| (task, ended.cloned())).collect()
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
