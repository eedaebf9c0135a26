//! Seals a large job that succeeded: how its tasks ended moves from the journal into objects of the job's folder, which are
//! read only where somebody asks for its tasks.
//!
//! First the pieces, while the summary is there, then the entry *sealed*, then the journal is written anew without the
//! outcomes. Where the process dies in between, the next pass of a housekeeper does all of it again: nothing of it can
//! have changed.

use crate::{
    Ledger, LedgerError, State, Status,
    jobs::{Ended, Fact, Facts, Sealed},
};

/// Which jobs are sealed, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sealing {
    /// So many tasks at least: 3 MB in each process that looks at the slot. The outcomes of a smaller job cost less there than
    /// the requests are worth.
    pub(crate) tasks: u32,
    /// Outcomes in a piece: about 1.5 MB, read for one page of tasks. A part of the layout: pieces of another size are not
    /// read.
    pub(crate) piece: u32,
}

impl Default for Sealing {
    fn default() -> Self {
        Self { tasks: 10_000, piece: 10_000 }
    }
}

impl Ledger {
    /// Whether the outcomes of a job are to leave the journal, if they have not.
    pub(crate) fn is_to_be_sealed(&self, status: &Status) -> bool {
        status.state == State::Succeeded && status.tasks.total >= self.memory.sealing.tasks.into()
    }

    /// Seals a job whose summary has this status. Any number of processes may do it at once.
    pub(crate) async fn seal(&self, status: &Status) -> Result<(), LedgerError> {
        let (job, source) = (status.request.job, &status.request.source);
        let facts = self.facts(job).await?;
        let Some(sealed) = Sealed::of(status).filter(|_| facts.exists) else { return Ok(()) };
        if facts.sealed.is_none() {
            if facts.state() != State::Succeeded {
                tracing::warn!(%job, source, "a job that succeeded is not sealed: its journal has lost facts of it");
                return Ok(());
            }
            // It may be remembered here, and deleted.
            if !self.is_there(job).await? {
                return Ok(());
            }
            if self.write_pieces(&facts, sealed).await? {
                self.enter(job, vec![Fact::Sealed(sealed)]).await?;
                tracing::info!(%job, source, tasks = sealed.tasks(), "job sealed");
            }
        }
        self.memory.jobs.collapse(source, job).await
    }

    /// Returns whether all were written. Where another process has sealed the job meanwhile, it has written all.
    async fn write_pieces(&self, facts: &Facts, sealed: Sealed) -> Result<bool, LedgerError> {
        for piece in 0..self.pieces(sealed.tasks()) {
            let (first, tasks) = self.tasks_of_piece(piece, sealed.tasks());
            let outcomes: Vec<Ended> = facts.look(|job| job.done(first, tasks).cloned().collect());
            if outcomes.len() < tasks as usize {
                return Ok(false);
            }
            self.write_piece(facts.job, piece, &outcomes).await?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;
    use crate::{
        CancelError, Done, JobId, Outcome, RetryError, TaskState, TaskStatus,
        layout::keys::{self, Name},
        testing::{Fixture, at, attempt, done, failure, id, lease, partial, plan},
    };

    /// Four pieces, the last of which has three outcomes.
    const TASKS: u32 = 33;
    const DAY: i64 = 86_400;

    fn outcome(task: u32) -> Done {
        let outcome = if task.is_multiple_of(11) { Outcome::Unchanged } else { Outcome::Stored };
        Done { object: format!("data/{task}"), bytes: task.into(), ..done(outcome, i64::from(task) + 3) }
    }

    /// A job of which every task is done.
    async fn succeeded(fixture: &Fixture, job: JobId, tasks: u32) {
        let request = fixture.planned(job, tasks as usize).await;
        fixture.ledger.publish_tasks(&request, &plan(tasks as usize), false).await.unwrap();
        for task in 0..tasks {
            fixture.ledger.record_done(job, task, 0, &outcome(task)).await.unwrap();
        }
        fixture.queue.sent();
    }

    /// What clients see of a job: its status, and its tasks in pages.
    #[derive(Debug, PartialEq)]
    struct Seen {
        status: Status,
        tasks: Vec<TaskStatus>,
        unchanged: Vec<TaskStatus>,
    }

    async fn seen(ledger: &Ledger, job: JobId) -> Seen {
        let page = async |state, from, limit| ledger.tasks(job, state, from, limit).await.unwrap().unwrap();
        let mut tasks: Vec<TaskStatus> = Vec::new();
        loop {
            let next = page(None, tasks.len() as u64, 7).await;
            if next.is_empty() {
                break;
            }
            tasks.extend(next);
        }
        assert_eq!(page(None, 0, 1_000).await, tasks);
        for state in [TaskState::Pending, TaskState::Failed] {
            assert_eq!(page(Some(state), 0, 10).await, []);
        }
        assert_eq!(
            page(Some(TaskState::Stored), 8, 5).await.iter().map(|it| it.task).collect::<Vec<_>>(),
            [8, 9, 10, 12, 13]
        );
        let unchanged = page(Some(TaskState::Unchanged), 1, 10).await;
        Seen { status: ledger.status(job).await.unwrap().unwrap(), tasks, unchanged }
    }

    async fn is_sealed(ledger: &Ledger, job: JobId) -> bool {
        ledger.facts(job).await.unwrap().sealed.is_some()
    }

    async fn size(fixture: &Fixture, prefix: &str) -> u64 {
        fixture.store.list(prefix, None, 1_000).await.unwrap().iter().map(|entry| entry.size).sum()
    }

    async fn pieces(fixture: &Fixture, job: JobId) -> Vec<String> {
        let pieces = fixture.store.list(&keys::outcomes(job), None, 1_000).await.unwrap();
        pieces.into_iter().map(|entry| entry.key).collect()
    }

    /// A housekeeper that has just started, with an empty queue: what it takes for lost it sends.
    async fn housekeeper_passes(fixture: &Fixture) {
        let sent = fixture.another().recover(at(100), true).await.unwrap();
        assert_eq!((sent, fixture.queue.sent().len()), (0, 0));
    }

    #[tokio::test]
    async fn a_sealed_job_looks_as_before_to_all_and_weighs_nothing() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        succeeded(&fixture, job, TASKS).await;
        let (reader, ledger) = (fixture.another(), &fixture.ledger);
        let before = seen(&reader, job).await;
        assert_eq!((before.status.state, before.status.tasks.unchanged, before.tasks.len()), (State::Succeeded, 3, 33));
        assert_eq!(before.unchanged.iter().map(|task| task.task).collect::<Vec<_>>(), [11, 22]);
        let journal = size(&fixture, "journal/").await;

        housekeeper_passes(&fixture).await;
        assert_eq!(pieces(&fixture, job).await.len(), 4);
        for ledger in [&reader, ledger, &fixture.another()] {
            assert_eq!(seen(ledger, job).await, before);
            assert!(is_sealed(ledger, job).await);
            let slot = ledger.journal_slot("buses", &Ledger::journal_slot_of(job), Some(job)).await.unwrap();
            assert_eq!(slot.jobs[0].outcomes, []);
            assert_eq!(slot.jobs[0].sealed.unwrap().tasks(), TASKS);
            assert_eq!(slot.jobs[0].tasks, Some(TASKS));
        }
        let after = size(&fixture, "journal/").await;
        assert!(after < 400 && after * 10 < journal, "{journal} bytes, then {after}");
        // A second one finds nothing to do, and the first does not look again.
        let objects = fixture.store.list("", None, 1_000).await.unwrap();
        housekeeper_passes(&fixture).await;
        assert_eq!(fixture.store.list("", None, 1_000).await.unwrap(), objects);
    }

    #[tokio::test]
    async fn only_large_jobs_that_succeeded_are_sealed() {
        let fixture = Fixture::new().await;
        let [small, failed, lacking, cancelled] = [1, 2, 3, 4].map(|number| id(0, number));
        succeeded(&fixture, small, 24).await;
        for job in [failed, lacking, cancelled] {
            fixture.planned(job, TASKS as usize).await;
            for task in 1..TASKS {
                fixture.ledger.record_done(job, task, 0, &outcome(task)).await.unwrap();
            }
        }
        fixture.ledger.record_failure(failed, 0, 0, &failure("gone", 9)).await.unwrap();
        fixture.ledger.record_done(lacking, 0, 0, &partial(9)).await.unwrap();
        fixture.ledger.cancel(cancelled, at(9)).await.unwrap();
        fixture.queue.sent();
        housekeeper_passes(&fixture).await;
        for job in [small, failed, lacking, cancelled] {
            assert!(!is_sealed(&fixture.another(), job).await);
            assert!(pieces(&fixture, job).await.is_empty());
        }
        // After a retry one of them has succeeded.
        fixture.ledger.retry(failed, at(10)).await.unwrap();
        fixture.queue.sent();
        fixture.ledger.record_done(failed, 0, 1, &outcome(0)).await.unwrap();
        let retries = async || fixture.store.list(keys::RETRIES, None, 10).await.unwrap().len();
        housekeeper_passes(&fixture).await;
        assert!(is_sealed(&fixture.another(), failed).await);
        assert_eq!(retries().await, 1, "it is looked after until it is sealed");
        housekeeper_passes(&fixture).await;
        assert_eq!(retries().await, 0);
    }

    /// Before any step, and between any two.
    #[tokio::test]
    async fn killed_at_any_step_a_job_looks_the_same_and_is_sealed_by_the_next() {
        for killed in 0..7 {
            let fixture = Fixture::new().await;
            let job = id(0, 1);
            succeeded(&fixture, job, TASKS).await;
            let before = seen(&fixture.another(), job).await;
            let dying = fixture.another();
            let facts = dying.facts(job).await.unwrap();
            for piece in 0..killed.min(4) {
                let (first, tasks) = dying.tasks_of_piece(piece, TASKS);
                let outcomes: Vec<_> = facts.look(|job| job.done(first, tasks).cloned().collect());
                dying.write_piece(job, piece, &outcomes).await.unwrap();
            }
            if killed >= 5 {
                let sealed = Sealed::of(&before.status).unwrap();
                dying.enter(job, vec![Fact::Sealed(sealed)]).await.unwrap();
            }
            if killed >= 6 {
                dying.memory.jobs.collapse("buses", job).await.unwrap();
            }
            for ledger in [&fixture.ledger, &fixture.another()] {
                assert_eq!(seen(ledger, job).await, before, "{killed}");
                assert_eq!(is_sealed(ledger, job).await, killed >= 5, "{killed}");
            }
            housekeeper_passes(&fixture).await;
            for ledger in [&fixture.ledger, &fixture.another()] {
                assert_eq!(seen(ledger, job).await, before, "{killed}");
                assert!(is_sealed(ledger, job).await, "{killed}");
            }
            assert!(size(&fixture, "journal/").await < 400, "{killed}");
        }
    }

    #[tokio::test]
    async fn what_is_said_late_of_a_sealed_job_changes_nothing() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        succeeded(&fixture, job, TASKS).await;
        let before = seen(&fixture.ledger, job).await;
        // A worker that has looked before.
        let worker = fixture.another();
        assert!(worker.has_task_ended(job, 3, 0).await.unwrap());
        housekeeper_passes(&fixture).await;
        worker.record_done(job, 3, 0, &Done { bytes: 7_777, ..done(Outcome::Stored, 1) }).await.unwrap();
        worker.record_failure(job, 4, 5, &failure("gone", 9)).await.unwrap();
        worker.record_lease(job, Some(5), 0, lease("one", 1_000)).await.unwrap();
        worker.record_attempt(job, None, 0, attempt(1)).await.unwrap();
        for ledger in [&worker, &fixture.ledger, &fixture.another()] {
            assert_eq!(seen(ledger, job).await, before);
            assert!(ledger.has_task_ended(job, 3, 0).await.unwrap() && ledger.has_task_ended(job, 4, 6).await.unwrap());
            assert!(ledger.leases(job, Some(5)).await.unwrap().is_empty());
            let slot = ledger.journal_slot("buses", &Ledger::journal_slot_of(job), Some(job)).await.unwrap();
            assert_eq!((slot.jobs[0].outcomes.len(), slot.jobs[0].work.len()), (0, 0));
        }
        housekeeper_passes(&fixture).await;
        while fixture.another().compact_jobs("buses", &Ledger::journal_slot_of(job)).await.unwrap() {}
        assert_eq!(seen(&fixture.another(), job).await, before);
    }

    /// Also where the summary is gone, or cannot be read.
    #[tokio::test]
    async fn a_sealed_job_can_neither_be_retried_nor_cancelled_nor_sent() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        succeeded(&fixture, job, TASKS).await;
        let before = seen(&fixture.ledger, job).await;
        housekeeper_passes(&fixture).await;
        let summary = keys::of(job, Name::Summary);
        let request = fixture.ledger.request(job).await.unwrap().unwrap();
        for damage in ["none", "gone", "unreadable"] {
            for change in ["retry", "cancel", "plan message", "recovery", "look"] {
                match damage {
                    "gone" => fixture.store.delete(std::slice::from_ref(&summary)).await.unwrap(),
                    "unreadable" => fixture.store.put(&summary, "application/json", "{".into()).await.unwrap(),
                    _ => {}
                }
                let ledger = fixture.another();
                match change {
                    "retry" => {
                        assert!(matches!(ledger.retry(job, at(50)).await, Err(RetryError::NothingFailed)), "{damage}");
                    }
                    "cancel" => {
                        let cancelled = ledger.cancel(job, at(50)).await;
                        assert!(matches!(cancelled, Err(CancelError::Finished(State::Succeeded))), "{damage}");
                    }
                    "plan message" => {
                        ledger.publish_tasks(&request, &plan(TASKS as usize), true).await.unwrap();
                        assert_eq!(ledger.facts(job).await.unwrap().pending(0), [0; 0]);
                    }
                    "recovery" => housekeeper_passes(&fixture).await,
                    _ => {}
                }
                assert_eq!(fixture.queue.sent(), [""; 0], "{damage}, {change}");
                assert_eq!(seen(&fixture.another(), job).await, before, "{damage}, {change}");
            }
        }
        assert!(!fixture.ledger.is_cancelled(job).await.unwrap());
    }

    #[tokio::test]
    async fn where_the_journal_is_lost_the_objects_answer() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        succeeded(&fixture, job, TASKS).await;
        let before = seen(&fixture.ledger, job).await;
        housekeeper_passes(&fixture).await;
        let lose = async || fixture.ledger.delete_below("journal/").await.unwrap();
        lose().await;
        // Those that clients ask, and one that looks after all jobs.
        assert_eq!(seen(&fixture.another(), job).await, before);
        lose().await;
        housekeeper_passes(&fixture).await;
        assert_eq!(seen(&fixture.another(), job).await, before);
        assert!(is_sealed(&fixture.another(), job).await);
        // A piece that is not there says that the job may never have been sealed.
        lose().await;
        fixture.store.delete(&[keys::of(job, Name::Outcomes { piece: 3 })]).await.unwrap();
        housekeeper_passes(&fixture).await;
        let ledger = fixture.another();
        assert!(!is_sealed(&ledger, job).await);
        assert_eq!(ledger.status(job).await.unwrap().unwrap(), before.status);
    }

    #[tokio::test]
    async fn a_piece_that_cannot_be_read_is_named_and_the_others_are_read() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        succeeded(&fixture, job, TASKS).await;
        let before = seen(&fixture.ledger, job).await;
        housekeeper_passes(&fixture).await;
        let key = keys::of(job, Name::Outcomes { piece: 1 });
        let whole = fixture.store.get(&key, 1 << 20).await.unwrap().unwrap();
        let other = fixture.store.get(&keys::of(job, Name::Outcomes { piece: 2 }), 1 << 20).await.unwrap();
        let mut changed = whole.to_vec();
        changed[99] ^= 1;
        for (damage, reason) in [
            (Some(changed.into()), "its checksum does not match"),
            (other, "it does not say how task 10 was done"),
            (None, "it was there, and is gone"),
        ] {
            match damage {
                Some(body) => fixture.store.put(&key, "text/plain", body).await.unwrap(),
                None => fixture.store.delete(std::slice::from_ref(&key)).await.unwrap(),
            }
            let ledger = fixture.another();
            assert_eq!(ledger.status(job).await.unwrap().unwrap(), before.status);
            for (from, limit) in [(0, 10), (20, 100)] {
                let tasks = ledger.tasks(job, None, from, limit).await.unwrap().unwrap();
                let from = usize::try_from(from).unwrap();
                assert_eq!(tasks, before.tasks[from..][..tasks.len()]);
            }
            for (from, limit) in [(0, 11), (10, 1), (19, 3)] {
                let error = ledger.tasks(job, None, from, limit).await.unwrap_err();
                assert_eq!(error.to_string(), format!("{key} is damaged: {reason}"));
            }
            housekeeper_passes(&fixture).await;
        }
        fixture.store.put(&key, "text/plain", whole).await.unwrap();
        assert_eq!(seen(&fixture.another(), job).await, before);
    }

    #[tokio::test]
    async fn any_number_may_seal_a_job_at_once() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        succeeded(&fixture, job, TASKS).await;
        let before = seen(&fixture.ledger, job).await;
        let behind = fixture.another();
        let facts = behind.facts(job).await.unwrap();
        let ledgers: Vec<_> = (0..4).map(|_| fixture.another()).collect();
        let sealing = join_all(ledgers.iter().map(|ledger| ledger.seal(&before.status))).await;
        assert!(sealing.iter().all(Result::is_ok), "{sealing:?}");
        for ledger in ledgers.iter().chain([&fixture.another(), &behind]) {
            assert_eq!(seen(ledger, job).await, before);
            assert!(is_sealed(ledger, job).await);
        }
        // What one has begun it leaves, once it sees that another was faster.
        assert!(!behind.write_pieces(&facts, Sealed::of(&before.status).unwrap()).await.unwrap());
        behind.seal(&before.status).await.unwrap();
        assert_eq!(seen(&fixture.another(), job).await, before);
    }

    /// Its journal was lost while it ran.
    #[tokio::test]
    async fn a_job_whose_outcomes_are_lost_is_not_sealed() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        succeeded(&fixture, job, TASKS).await;
        let status = fixture.ledger.status(job).await.unwrap().unwrap();
        fixture.ledger.delete_below("journal/").await.unwrap();
        let ledger = fixture.another();
        ledger.seal(&status).await.unwrap();
        assert!(!is_sealed(&ledger, job).await && pieces(&fixture, job).await.is_empty());
        assert_eq!(ledger.status(job).await.unwrap().unwrap(), status);
    }

    #[tokio::test]
    async fn a_sealed_job_expires_whole() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        succeeded(&fixture, job, TASKS).await;
        housekeeper_passes(&fixture).await;
        let reader = fixture.another();
        let status = reader.status(job).await.unwrap().unwrap();
        assert_eq!(reader.tasks(job, None, 0, 100).await.unwrap().unwrap().len(), 33);
        assert_eq!(fixture.another().expire(at(91 * DAY)).await.unwrap(), 1);
        for prefix in ["jobs/", "journal/"] {
            assert_eq!(size(&fixture, prefix).await, 0, "{prefix}");
        }
        assert!(reader.tasks(job, None, 0, 100).await.unwrap().is_none());
        // A process that does not know yet does not bring it back.
        reader.seal(&status).await.unwrap();
        assert!(pieces(&fixture, job).await.is_empty());
    }
}
