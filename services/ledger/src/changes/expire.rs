//! Deletes jobs after 90 days, in an order in which no half-deleted job runs again, and the journals of a day's slots after
//! the last job of its day. Their data is kept: nothing here names data/.

use jiff::{Timestamp, ToSpan, civil::Date};

use crate::{
    JobId, Ledger, LedgerError, Request,
    journals::{self, JOBS},
    layout::{
        id::utc_day,
        keys::{self, Name},
        objects::SMALL,
    },
};

/// How long a job is kept after the day it was made, in days.
const KEPT: i64 = 90;
/// Jobs deleted by one call.
const AT_ONCE: u64 = 1_000;
/// Sources, and slots of each, whose journals are looked at in one call.
const SOURCES: usize = 1_000;
const SLOTS: usize = 1_000;
/// Objects that S3 deletes in one request, and lists in one answer.
const PAGE: usize = 1_000;

/// Whether a job of this name is past its time.
pub(crate) fn is_expired(job: JobId, now: Timestamp) -> bool {
    job.day() < utc_day(now).saturating_sub(KEPT.days())
}

impl Ledger {
    /// Deletes jobs that were made more than 90 days ago, at most 1,000 in one call, and returns how many. One that
    /// has not ended is cancelled, and deleted by a later call.
    ///
    /// A job that cannot be deleted is logged, and tried again by the next call. An error means that jobs were not
    /// even listed.
    pub async fn expire(&self, now: Timestamp) -> Result<u64, LedgerError> {
        let mut deleted = 0;
        let kept_from = utc_day(now).saturating_sub(KEPT.days());
        for day in self.days(None).await? {
            if day >= kept_from {
                break;
            }
            let mut after = None;
            loop {
                let (jobs, next) = self.ids_page(day, after.as_deref()).await?;
                for job in jobs {
                    match self.expire_job(job, now).await {
                        Ok(is_gone) => deleted += u64::from(is_gone),
                        Err(error) => tracing::warn!(%job, %error, "failed to delete an expired job"),
                    }
                    if deleted == AT_ONCE {
                        return Ok(deleted);
                    }
                }
                match next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        self.expire_journals(kept_from).await?;
        // A job of the first day that is kept may name an upload of the day before.
        self.expire_uploads(kept_from.saturating_sub(1.day())).await?;
        Ok(deleted)
    }

    /// Deletes the journals of slots before a day that has no jobs any more.
    async fn expire_journals(&self, kept_from: Date) -> Result<(), LedgerError> {
        let oldest = self.days(None).await?.first().copied().map_or(kept_from, |day| day.min(kept_from));
        for source in self.store.folders(journals::ROOT, None, SOURCES).await? {
            let folder = journals::folder(&source, JOBS);
            let slots = self.store.folders(&folder, None, SLOTS).await?;
            for slot in slots.into_iter().take_while(|slot| *slot < oldest.to_string()) {
                self.delete_below(&format!("{folder}{slot}/")).await?;
                tracing::info!(source, slot, "deleted the journal of expired jobs");
            }
        }
        Ok(())
    }

    /// Returns whether the job is gone.
    async fn expire_job(&self, job: JobId, now: Timestamp) -> Result<bool, LedgerError> {
        let (exists, has_ended) = match self.facts(job).await {
            Ok(facts) => (facts.exists, facts.cancelled.is_some() || facts.state().is_terminal()),
            // Of an object of an earlier release: its tasks may be running.
            Err(LedgerError::Damaged { .. }) => (true, self.is_cancelled(job).await?),
            Err(error) => return Err(error),
        };
        if exists {
            // From here on it is cancelled, whatever else of it is there.
            self.mark_cancelled(job, now).await?;
            if !has_ended {
                tracing::warn!(%job, "cancelled an expired job that had not ended");
                return Ok(false);
            }
        }
        self.delete_below(&keys::row_logs(job)).await?;
        loop {
            let steps = self.next_deletions(job).await?;
            if steps.is_empty() {
                break;
            }
            for keys in steps {
                self.store.delete(&keys).await?;
            }
        }
        self.forget(job);
        tracing::info!(%job, "deleted an expired job");
        Ok(true)
    }

    /// What is to be deleted next of a job that is cancelled, step by step; nothing once it is gone. It follows from
    /// what is there, so that any process can go on with a half-deleted job.
    ///
    /// The key goes before the request: a client that comes with it again makes a new job, instead of being led to
    /// one that is not there. `cancelled.json` goes after the request, so that no request ever looks like an
    /// unstarted job.
    async fn next_deletions(&self, job: JobId) -> Result<Vec<Vec<String>>, LedgerError> {
        // Of these there may be more than one listing shows.
        for prefix in [keys::tasks(job), keys::outcomes(job)] {
            let names = self.names(&prefix).await?;
            if !names.is_empty() {
                return Ok(vec![names]);
            }
        }
        let last = [Name::Summary, Name::Request, Name::Cancelled].map(|name| keys::of(job, name));
        let (last, others): (Vec<_>, Vec<_>) =
            self.names(&keys::folder(job)).await?.into_iter().partition(|key| last.contains(key));
        let mut steps = vec![others, self.idempotency_key(job).await?.into_iter().collect()];
        for name in [Name::Summary, Name::Request, Name::Cancelled] {
            let key = keys::of(job, name);
            steps.push(last.iter().filter(|there| **there == key).cloned().collect());
        }
        steps.retain(|keys| !keys.is_empty());
        Ok(steps)
    }

    async fn names(&self, prefix: &str) -> Result<Vec<String>, LedgerError> {
        Ok(self.store.list(prefix, None, PAGE).await?.into_iter().map(|entry| entry.key).collect())
    }

    /// The object that leads from the job's idempotency key to it. Of a request that cannot be read it stays, until the
    /// key is used again.
    async fn idempotency_key(&self, job: JobId) -> Result<Option<String>, LedgerError> {
        let request: Option<Request> = self.read_intact(&keys::of(job, Name::Request), SMALL).await?;
        let Some(key) = request.and_then(|request| request.key_object()) else { return Ok(None) };
        let holder: Option<Request> = self.read_intact(&key, SMALL).await?;
        Ok(holder.filter(|holder| holder.job == job).map(|_| key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Outcome, State,
        testing::{Fixture, at, attempt, done, failure, id, lease},
    };

    const DAY: i64 = 86_400;

    /// A job that has ended, in one of six ways, and everything that can lie in its folder.
    async fn ended(fixture: &Fixture, n: u64) -> JobId {
        let job = id(0, n);
        let key = format!("key {n}");
        fixture.submit(job, "2024-05-01", Some(&key)).await.unwrap();
        let ledger = &fixture.ledger;
        match n % 6 {
            // The planning failed, twice.
            0 => {
                ledger.record_start(job, at(1)).await.unwrap();
                ledger.record_plan_failure(job, 0, &failure("500", 2)).await.unwrap();
                ledger.retry(job, at(3)).await.unwrap();
                ledger.record_plan_failure(job, 1, &failure("500", 4)).await.unwrap();
            }
            1 => drop(ledger.cancel(job, at(3)).await.unwrap()),
            // It is sealed.
            5 => {
                ledger.record_start(job, at(1)).await.unwrap();
                ledger.record_plan(job, crate::testing::plan(25)).await.unwrap();
                for task in 0..25 {
                    ledger.record_done(job, task, 0, &done(Outcome::Stored, 3)).await.unwrap();
                }
                fixture.another().recover(at(9), false).await.unwrap();
                let key = keys::of(job, Name::Outcomes { piece: 2 });
                assert!(fixture.store.head(&key).await.unwrap().is_some());
            }
            kind => {
                let request = ledger.request(job).await.unwrap().unwrap();
                ledger.record_start(job, at(1)).await.unwrap();
                let plan = ledger.record_plan(job, crate::testing::plan(3)).await.unwrap();
                ledger.publish_tasks(&request, &plan, false).await.unwrap();
                ledger.record_attempt(job, Some(0), 0, attempt(1)).await.unwrap();
                ledger.record_lease(job, Some(0), 0, lease("one", 5)).await.unwrap();
                for task in 0..3 {
                    match (kind, task) {
                        (2, _) | (3, 0) => ledger.record_done(job, task, 0, &done(Outcome::Stored, 3)).await.unwrap(),
                        _ => ledger.record_failure(job, task, 0, &failure("gone", 4)).await.unwrap(),
                    }
                }
                if kind == 4 {
                    ledger.retry(job, at(5)).await.unwrap();
                    for task in 0..3 {
                        ledger.record_failure(job, task, 1, &failure("gone", 6)).await.unwrap();
                    }
                }
            }
        }
        // Every other one never got a summary.
        if n.is_multiple_of(2) {
            assert!(ledger.status(job).await.unwrap().unwrap().state.is_terminal());
        }
        job
    }

    async fn all_keys(fixture: &Fixture) -> Vec<String> {
        let of = async |prefix: &str| fixture.store.list(prefix, None, 1_000).await.unwrap();
        let (jobs, keys, retries) = (of("jobs/").await, of("keys/").await, of("retries/").await);
        let all = jobs.into_iter().chain(keys).chain(retries).chain(of("journal/").await);
        all.map(|entry| entry.key).collect()
    }

    #[tokio::test]
    async fn jobs_are_kept_for_ninety_days() {
        let fixture = Fixture::new().await;
        for n in 0..10 {
            ended(&fixture, n).await;
        }
        let kept = fixture.planned(id(DAY, 1), 0).await.job;
        assert_eq!(fixture.another().expire(at(90 * DAY)).await.unwrap(), 0);
        assert_eq!(fixture.another().expire(at(91 * DAY)).await.unwrap(), 10);
        assert!(fixture.another().status(id(0, 1)).await.unwrap().is_none());
        assert_eq!(fixture.ledger.status(kept).await.unwrap().unwrap().state, State::Succeeded);
        assert_eq!(fixture.another().recover(at(91 * DAY + 7_200), true).await.unwrap(), 0);
        let left = all_keys(&fixture).await;
        let is_kept =
            |key: &String| key.contains(&kept.to_string()) || key.starts_with("journal/buses/jobs/2024-05-02T");
        assert!(left.iter().all(is_kept), "{left:?}");
    }

    #[tokio::test]
    async fn an_unfinished_expired_job_is_cancelled_before_it_is_deleted() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        fixture.planned(job, 2).await;
        let housekeeper = fixture.another();
        assert_eq!(housekeeper.expire(at(91 * DAY)).await.unwrap(), 0);
        assert!(fixture.ledger.is_cancelled(job).await.unwrap());
        assert_eq!(fixture.ledger.status(job).await.unwrap().unwrap().state, State::Cancelled);
        assert_eq!(housekeeper.expire(at(91 * DAY + 60)).await.unwrap(), 1);
        // A task that ran all the while has no job whose outcome it could be.
        fixture.ledger.record_done(job, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
        assert!(fixture.ledger.status(job).await.unwrap().is_none());
        assert!(fixture.ledger.tasks(job, None, 0, 1).await.unwrap().is_none());
        assert_eq!(housekeeper.expire(at(92 * DAY)).await.unwrap(), 0);
        assert_eq!(all_keys(&fixture).await, [""; 0]);
    }

    /// Killed after every single deletion, in whichever order S3 does those of one request: a job has ended, or is
    /// not there, and nothing of it is begun again.
    #[tokio::test]
    async fn killed_between_any_two_deletions_a_job_does_not_run_again() {
        for kind in 0..6 {
            for backwards in [false, true] {
                let mut killed_after = 0;
                loop {
                    let fixture = Fixture::new().await;
                    let job = ended(&fixture, kind).await;
                    let deleter = fixture.another();
                    deleter.mark_cancelled(job, at(91 * DAY)).await.unwrap();
                    let mut deleted = 0;
                    let is_gone = 'killed: loop {
                        let steps = deleter.next_deletions(job).await.unwrap();
                        if steps.is_empty() {
                            break true;
                        }
                        for mut keys in steps {
                            if backwards {
                                keys.reverse();
                            }
                            for key in keys {
                                if deleted == killed_after {
                                    break 'killed false;
                                }
                                fixture.store.delete(&[key]).await.unwrap();
                                deleted += 1;
                            }
                        }
                    };
                    if is_gone {
                        let left = all_keys(&fixture).await;
                        // Outcomes go after the last job of the day.
                        let is_later = |key: &String| key.starts_with("retries/") || key.starts_with("journal/");
                        assert!(left.iter().all(is_later), "{left:?}");
                    }
                    look(&fixture, job, kind).await;
                    if is_gone {
                        break;
                    }
                    killed_after += 1;
                }
                assert!(killed_after > 3);
            }
        }
    }

    async fn look(fixture: &Fixture, job: JobId, kind: u64) {
        fixture.queue.sent();
        // As if it were young still: the most that a housekeeper would do.
        let housekeeper = fixture.another();
        for second in [100, 4_000] {
            assert_eq!(housekeeper.recover(at(second), second == 100).await.unwrap(), 0);
        }
        assert_eq!(fixture.queue.sent(), [""; 0]);
        let is_there = match fixture.another().status(job).await.unwrap() {
            None => false,
            Some(status) => {
                assert!(status.state.is_terminal());
                true
            }
        };
        assert!(fixture.another().retry(job, at(200)).await.is_err());
        // The same key leads to a job that exists.
        let again = id(91 * DAY, 99);
        let mut submission = fixture.submission(again, "2024-05-01", None);
        submission.idempotency_key = Some(format!("key {kind}"));
        submission.now = at(91 * DAY);
        let submitted = fixture.another().submit(submission).await.unwrap();
        assert!(submitted.request.job == again || is_there);
        assert!(fixture.another().status(submitted.request.job).await.unwrap().is_some());
    }

    /// Its submitter wrote the key and died, a quarter of a year ago.
    #[tokio::test]
    async fn an_old_key_that_leads_nowhere_makes_a_new_job() {
        let fixture = Fixture::new().await;
        fixture.submit(id(0, 1), "2024-05-01", Some("monday")).await.unwrap();
        fixture.store.delete(&[keys::of(id(0, 1), Name::Request)]).await.unwrap();
        let mut submission = fixture.submission(id(91 * DAY, 2), "2024-05-02", Some("monday"));
        submission.now = at(91 * DAY);
        // Another body is another matter, also after so long.
        let submitted = fixture.another().submit(submission).await;
        assert!(submitted.is_err());
        let mut submission = fixture.submission(id(91 * DAY, 2), "2024-05-01", Some("monday"));
        submission.now = at(91 * DAY);
        let submitted = fixture.another().submit(submission).await.unwrap();
        assert!(submitted.is_new && submitted.request.job == id(91 * DAY, 2));
        assert!(fixture.another().status(id(91 * DAY, 2)).await.unwrap().is_some());
    }
}
