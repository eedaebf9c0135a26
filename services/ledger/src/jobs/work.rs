//! Attempts, leases and waits of work that has not ended: of a task, or of the planning (`None`). None of them says how work
//! ended; once it has, none counts any more.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{JobId, Ledger, LedgerError, RowTally, jobs::Fact, journals::AsOf};

/// Which worker runs long work, and until when the lease is valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lease {
    /// The lease's own.
    pub id: Uuid,
    /// How often it was renewed: of what is said of a lease, the greater counts.
    pub renewal: u32,
    /// The worker's own name.
    pub worker: String,
    /// When it expires, unless it is renewed.
    pub until: Timestamp,
    /// Where the task's items are rows of an upload: how they have ended so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<RowTally>,
}

/// The next attempt waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// The task; none for the planning.
    pub task: Option<u32>,
    /// When it goes on.
    pub until: Timestamp,
    /// Why the last attempt failed.
    pub reason: String,
}

impl Lease {
    /// Whether it is valid at `now`.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.until
    }

    fn standing(&self) -> (u32, Timestamp, &str, Option<RowTally>) {
        (self.renewal, self.until, &self.worker, self.rows)
    }
}

/// What is said of a wait, the greatest of which counts: the number of the attempt that waits, until when, and why.
pub(crate) type Waiting = (u32, Timestamp, String);

/// What is known of work in the latest round in which anything was said of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Work {
    round: u32,
    /// By id; whether it is withdrawn.
    attempts: BTreeMap<Uuid, bool>,
    leases: BTreeMap<Uuid, Lease>,
    wait: Option<Waiting>,
}

impl Work {
    /// Of the round, with nothing said yet.
    pub(crate) fn of(round: u32) -> Self {
        Self { round, ..Self::default() }
    }

    pub(crate) fn attempt(round: u32, id: Uuid, is_withdrawn: bool) -> Self {
        Self { attempts: [(id, is_withdrawn)].into(), ..Self::of(round) }
    }

    pub(crate) fn lease(round: u32, lease: Lease) -> Self {
        Self { leases: [(lease.id, lease)].into(), ..Self::of(round) }
    }

    pub(crate) fn wait(round: u32, wait: Waiting) -> Self {
        Self { wait: Some(wait), ..Self::of(round) }
    }

    pub(crate) fn round(&self) -> u32 {
        self.round
    }

    /// What was said in an earlier round counts no more.
    pub(crate) fn merge(&mut self, other: &Self) {
        if other.round > self.round {
            *self = Self::of(other.round);
        }
        if other.round < self.round {
            return;
        }
        for (id, is_withdrawn) in &other.attempts {
            *self.attempts.entry(*id).or_default() |= is_withdrawn;
        }
        for (id, lease) in &other.leases {
            let there = self.leases.entry(*id).or_insert_with(|| lease.clone());
            if lease.standing() > there.standing() {
                there.clone_from(lease);
            }
        }
        if other.wait > self.wait {
            self.wait.clone_from(&other.wait);
        }
    }

    /// Its attempts, whether withdrawn or not, its leases and its wait.
    pub(crate) fn parts(&self) -> (&BTreeMap<Uuid, bool>, &BTreeMap<Uuid, Lease>, Option<&Waiting>) {
        (&self.attempts, &self.leases, self.wait.as_ref())
    }

    /// How often it was begun again.
    pub(crate) fn attempts(&self) -> u32 {
        u32::try_from(self.attempts.values().filter(|is_withdrawn| !**is_withdrawn).count()).unwrap_or(u32::MAX)
    }

    /// Valid and expired.
    pub(crate) fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.leases.values()
    }

    /// What changes when something happens, but for a lease that is renewed.
    pub(crate) fn activity(&self) -> impl std::hash::Hash {
        let waits = self.wait.as_ref().map(|(attempt, ..)| *attempt);
        (self.round, self.attempts.len(), self.leases.len(), waits, self.rows())
    }

    /// The latest time that it names: of an attempt, or until when it is leased or waits.
    pub(crate) fn latest(&self) -> Option<Timestamp> {
        let of_attempts = self.attempts.keys().filter_map(began);
        let of_leases = self.leases.values().map(|lease| lease.until);
        of_attempts.chain(of_leases).chain(self.wait.as_ref().map(|(_, until, _)| *until)).max()
    }

    /// How the rows of a task have ended so far: what the worker says that is farthest.
    pub(crate) fn rows(&self) -> Option<RowTally> {
        self.leases.values().filter_map(|lease| lease.rows).max()
    }

    pub(crate) fn has_attempts(&self) -> bool {
        !self.attempts.is_empty()
    }

    pub(crate) fn is_leased(&self, now: Timestamp) -> bool {
        self.leases.values().any(|lease| lease.is_fresh(now))
    }

    /// Until when it waits, if it does.
    pub(crate) fn waits_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.wait.as_ref().map(|(_, until, _)| *until).filter(|until| *until > now)
    }

    /// What is told of the wait of this task, or of the planning.
    pub(crate) fn told_wait(&self, task: Option<u32>) -> Option<Wait> {
        self.wait.as_ref().map(|(_, until, reason)| Wait { task, until: *until, reason: reason.clone() })
    }
}

/// When an attempt began: its id says so.
fn began(attempt: &Uuid) -> Option<Timestamp> {
    let (seconds, nanoseconds) = attempt.get_timestamp()?.to_unix();
    Timestamp::new(seconds.try_into().ok()?, nanoseconds.try_into().ok()?).ok()
}

impl Ledger {
    /// Records a further attempt at a task, or at the planning (`None`), in this round, and returns how many there were,
    /// this one included. Two that begin at once may both count both.
    pub async fn record_attempt(
        &self,
        job: JobId,
        task: Option<u32>,
        round: u32,
        attempt: Uuid,
    ) -> Result<u32, LedgerError> {
        let round = self.record_work(job, task, Work::attempt(round, attempt, false)).await?;
        let count = |work: Option<&Work>| work.filter(|work| work.round == round).map(Work::attempts);
        Ok(self.look_at_work(job, task, AsOf::Now, count).await?.unwrap_or(1))
    }

    /// Records that an attempt was interrupted by a shutdown, which says nothing about the task.
    pub async fn withdraw_attempt(
        &self,
        job: JobId,
        task: Option<u32>,
        round: u32,
        attempt: Uuid,
    ) -> Result<(), LedgerError> {
        self.record_work(job, task, Work::attempt(round, attempt, true)).await.map(drop)
    }

    /// Takes or renews the lease of a task, or of the planning (`None`).
    pub async fn record_lease(
        &self,
        job: JobId,
        task: Option<u32>,
        round: u32,
        lease: Lease,
    ) -> Result<(), LedgerError> {
        self.record_work(job, task, Work::lease(round, lease)).await.map(drop)
    }

    /// The leases of a task, or of the planning (`None`), valid or expired, as long as it has not ended. What other workers
    /// took in the last second may be missing.
    pub async fn leases(&self, job: JobId, task: Option<u32>) -> Result<Vec<Lease>, LedgerError> {
        let leases = |work: Option<&Work>| work.into_iter().flat_map(|work| work.leases().cloned()).collect();
        self.look_at_work(job, task, AsOf::ASecondAgo, leases).await
    }

    /// Records that the next attempt at a task, or at the planning, waits.
    pub async fn record_wait(&self, job: JobId, round: u32, attempt: u32, wait: Wait) -> Result<(), LedgerError> {
        self.record_work(job, wait.task, Work::wait(round, (attempt, wait.until, wait.reason))).await.map(drop)
    }

    /// Returns the round. A message to plan a job does not name it: it is the latest, or the one that is given if that is
    /// later.
    async fn record_work(&self, job: JobId, task: Option<u32>, work: Work) -> Result<u32, LedgerError> {
        let round = match task {
            Some(_) => work.round,
            None => work.round.max(self.round(job).await?),
        };
        self.enter(job, vec![Fact::Work(task, Work { round, ..work })]).await?;
        Ok(round)
    }

    async fn look_at_work<T>(
        &self,
        job: JobId,
        task: Option<u32>,
        as_of: AsOf,
        look: impl FnOnce(Option<&Work>) -> T,
    ) -> Result<T, LedgerError> {
        let Some(source) = self.source(job).await? else { return Ok(look(None)) };
        let slot = self.memory.jobs.slot(&source, job, as_of).await?;
        Ok(slot.read(|slot| look(slot.job(job).and_then(|job| job.work(task)))))
    }
}

#[cfg(test)]
mod tests {
    use futures::future::try_join_all;

    use super::*;
    use crate::{
        Done, Outcome, Submission, Upload,
        testing::{Fixture, at, attempt, done, id, lease, plan, upload},
    };

    #[tokio::test]
    async fn attempts_are_counted_by_task_and_round() {
        let fixture = Fixture::new().await;
        let job = fixture.planned(id(0, 1), 80).await.job;
        let begin = async |task: Option<u32>, round: u32, n: u128| {
            fixture.another().record_attempt(job, task, round, attempt(n)).await.unwrap()
        };
        for number in 1..=12_u32 {
            assert_eq!(begin(Some(7), 1, number.into()).await, number);
        }
        assert_eq!(begin(Some(7), 1, 12).await, 12, "said once more");
        fixture.ledger.withdraw_attempt(job, Some(7), 1, attempt(12)).await.unwrap();
        assert_eq!(begin(Some(7), 1, 13).await, 12);
        assert_eq!(begin(Some(70), 1, 1).await, 1);
        assert_eq!(begin(Some(7), 12, 1).await, 1);
        // The earlier round is over.
        assert_eq!(begin(Some(7), 1, 14).await, 1);
        for number in 1..=2 {
            let unplanned = fixture.job(id(0, 2)).await.job;
            let count = fixture.another().record_attempt(unplanned, None, 0, attempt(number)).await.unwrap();
            assert_eq!(u128::from(count), number);
        }
    }

    /// Each sees at least itself and those before it, so that none runs more often than is counted.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn attempts_at_once_are_all_counted() {
        let fixture = Fixture::new().await;
        let job = fixture.planned(id(0, 1), 8).await.job;
        let attempts = (0..16).map(|n| {
            let ledger = fixture.another();
            tokio::spawn(async move { ledger.record_attempt(job, Some(7), 0, attempt(n)).await.unwrap() })
        });
        let mut counts = try_join_all(attempts).await.unwrap();
        counts.sort_unstable();
        assert!((1..=16).zip(&counts).all(|(place, count)| *count >= place), "{counts:?}");
        assert_eq!(counts.last(), Some(&16));
    }

    #[tokio::test]
    async fn a_job_says_what_it_waits_for_until_it_goes_on() {
        let fixture = Fixture::new().await;
        let (ledger, job) = (&fixture.ledger, id(0, 1));
        fixture.job(job).await;
        let waits = async |second| ledger.facts(job).await.unwrap().waits(at(second));
        let wait = |task, second| Wait { task, until: at(second), reason: "the upstream answers 429".to_owned() };
        ledger.record_start(job, at(0)).await.unwrap();
        assert_eq!(waits(0).await, []);
        ledger.record_wait(job, 0, 2, wait(None, 5)).await.unwrap();
        assert_eq!(waits(4).await, [wait(None, 5)]);
        ledger.record_plan(job, plan(3)).await.unwrap();
        assert_eq!(waits(4).await, [], "it is planned");
        ledger.record_wait(job, 0, 2, wait(Some(1), 30)).await.unwrap();
        ledger.record_wait(job, 0, 2, wait(Some(2), 20)).await.unwrap();
        assert_eq!(waits(4).await, [wait(Some(2), 20), wait(Some(1), 30)]);
        assert_eq!(waits(20).await, [wait(Some(1), 30)]);
        ledger.record_done(job, 1, 0, &done(Outcome::Stored, 25)).await.unwrap();
        assert_eq!(waits(20).await, []);
    }

    #[tokio::test]
    async fn rows_are_told_while_their_task_runs_and_once_when_it_has_ended() {
        let fixture = Fixture::new().await;
        let upload = Upload { source: "buses".to_owned(), rows: Some(100), ..upload(9) };
        let submission = fixture.submission(id(0, 1), "2024-05-01", None);
        let submission = Submission { upload: Some(upload), ..submission };
        let job = fixture.ledger.submit(submission).await.unwrap().request.job;
        fixture.ledger.record_start(job, at(1)).await.unwrap();
        fixture.ledger.record_plan(job, plan(2)).await.unwrap();
        let rows = |done| RowTally { done, errors: 1, unknown: 0 };
        let told = async || fixture.another().status(job).await.unwrap().unwrap().rows.unwrap();
        assert_eq!(told().await, RowTally::default());
        for (renewal, done) in [(0, 3), (1, 7)] {
            let lease = Lease { renewal, rows: Some(rows(done)), ..lease("one", 0) };
            fixture.ledger.record_lease(job, Some(0), 0, lease).await.unwrap();
            assert_eq!(told().await, rows(done));
        }
        let ended = Done { rows: Some(Box::new(rows(9))), ..done(Outcome::Stored, 3) };
        fixture.ledger.record_done(job, 0, 0, &ended).await.unwrap();
        assert_eq!(told().await, rows(9));
        fixture.ledger.record_done(job, 1, 0, &ended).await.unwrap();
        assert_eq!(told().await, RowTally { done: 18, errors: 2, unknown: 0 });
    }

    #[tokio::test]
    async fn a_lease_is_renewed_ended_and_expires() {
        let fixture = Fixture::new().await;
        let job = fixture.planned(id(0, 1), 8).await.job;
        let leases = async || fixture.another().leases(job, Some(7)).await.unwrap();
        assert_eq!(leases().await, []);
        let renew = async |renewal, second| {
            let lease = Lease { renewal, until: at(second), ..lease("one", 0) };
            fixture.ledger.record_lease(job, Some(7), 0, lease).await.unwrap();
        };
        renew(0, 30).await;
        renew(1, 60).await;
        let [found] = &leases().await[..] else { panic!("one lease") };
        assert_eq!((found.worker.as_str(), found.until), ("one", at(60)));
        assert!(found.is_fresh(at(59)) && !found.is_fresh(at(60)));
        // Ended early, by the worker that has it.
        renew(2, 40).await;
        assert!(!leases().await[0].is_fresh(at(40)));
        // Another worker, whose clock is two hours behind, runs it now.
        fixture.ledger.record_lease(job, Some(7), 0, lease("two", -7_000)).await.unwrap();
        assert_eq!(leases().await.len(), 2);
        fixture.ledger.record_done(job, 7, 0, &done(Outcome::Stored, 3)).await.unwrap();
        assert_eq!(leases().await, []);
    }
}
