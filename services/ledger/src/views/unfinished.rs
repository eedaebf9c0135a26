//! Jobs of a source that have not ended: what statistics of a range may still lack.
//!
//! A job without a summary has not ended. What has ended is remembered. So a look costs one LIST for the retries and one
//! for the days, one for every 1,000 jobs of the last two days and of older ones that have not ended, and of jobs that
//! are not known to have ended one HEAD each, or one LIST for about 300 where they are many.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::{Timestamp, ToSpan, civil::Date};
use waybill_store::StoreError;

use crate::{
    JobId, Ledger, LedgerError, Request,
    cache::Cache,
    layout::{
        id::utc_day,
        keys::{self, Name},
    },
    recovery::DAYS,
};

/// LISTs of days in one look.
const LISTS: usize = 50;
/// Objects in one LIST.
const PAGE: usize = 1_000;
/// Jobs that one HEAD each is sent for, side by side; beyond that their objects are listed.
const HEADS: usize = 32;
/// Retries looked for in one LIST.
const RETRIES: usize = 1_000;

/// What a process has seen to end.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Jobs with a summary.
    ended: Cache<JobId, ()>,
    /// Days that are over and whose jobs have all ended.
    days: Mutex<BTreeSet<Date>>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { ended: Cache::new(100_000), days: Mutex::default() }
    }
}

/// Jobs of a source that have not ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Unfinished {
    /// Newest first.
    pub jobs: Vec<Arc<Request>>,
    /// Whether every job was looked at: a process that has just started may need several looks.
    pub is_whole: bool,
}

/// What a look may still cost, and what it has found.
struct Look {
    lists: usize,
    open: BTreeSet<JobId>,
    is_whole: bool,
}

impl Look {
    /// Takes one LIST of what the look may cost.
    fn may_list(&mut self) -> bool {
        self.is_whole &= self.lists > 0;
        self.lists = self.lists.saturating_sub(1);
        self.is_whole
    }
}

impl Ledger {
    /// Jobs of a source, submitted in the last 30 days, that have not ended; and those that were retried, however old.
    pub async fn unfinished(&self, source: &str, now: Timestamp) -> Result<Unfinished, LedgerError> {
        self.unfinished_within(LISTS, source, now).await
    }

    async fn unfinished_within(&self, lists: usize, source: &str, now: Timestamp) -> Result<Unfinished, LedgerError> {
        let mut look = Look { lists, open: BTreeSet::new(), is_whole: true };
        self.look_at_retried(&mut look).await?;
        let today = utc_day(now);
        let oldest = today.saturating_sub((DAYS + 1).days());
        self.seen_days().retain(|day| *day > oldest);
        for day in self.days(Some(oldest)).await?.into_iter().rev() {
            let is_known = self.seen_days().contains(&day);
            // No job is made for a day that is over, and no clock is a day wrong.
            if !is_known && self.look_at_day(day, &mut look).await? && day < today.saturating_sub(1.day()) {
                self.seen_days().insert(day);
            }
        }
        let mut jobs = Vec::new();
        for job in look.open.into_iter().rev() {
            jobs.extend(readable(self.request(job).await)?.filter(|request| request.source == source));
        }
        Ok(Unfinished { jobs, is_whole: look.is_whole })
    }

    /// Jobs that had ended, and have work again.
    async fn look_at_retried(&self, look: &mut Look) -> Result<(), LedgerError> {
        let entries = self.store.list(keys::RETRIES, None, RETRIES).await?;
        look.is_whole &= entries.len() < RETRIES;
        for (job, _) in entries.iter().filter_map(|entry| keys::parse_retry(&entry.key)) {
            if readable(self.status(job).await)?.is_some_and(|status| !status.state.is_terminal()) {
                look.open.insert(job);
            }
        }
        Ok(())
    }

    /// Returns whether every job of the day has ended.
    async fn look_at_day(&self, day: Date, look: &mut Look) -> Result<bool, LedgerError> {
        let ended = &self.memory.seen.ended;
        let mut all_ended = true;
        let mut after = None;
        loop {
            if !look.may_list() {
                return Ok(false);
            }
            let (jobs, next) = self.ids_page(day, after.as_deref()).await?;
            let unknown: BTreeSet<_> = jobs.into_iter().filter(|job| ended.get(job).is_none()).collect();
            let Some(summaries) = self.summaries(&unknown, look).await? else { return Ok(false) };
            for job in unknown {
                if summaries.contains(&job) {
                    ended.insert(job, (), 1);
                } else {
                    look.open.insert(job);
                    all_ended = false;
                }
            }
            if next.is_none() {
                return Ok(all_ended);
            }
            after = next;
        }
    }

    /// Those of one day's `jobs` that have a summary; `None` where the look may cost no more.
    async fn summaries(&self, jobs: &BTreeSet<JobId>, look: &mut Look) -> Result<Option<BTreeSet<JobId>>, LedgerError> {
        if jobs.len() <= HEADS {
            let jobs: Vec<_> = jobs.iter().copied().collect();
            let heads = stream::iter(jobs).map(async |job| {
                let summary = self.store.head(&keys::of(job, Name::Summary)).await?;
                Ok::<_, LedgerError>(summary.map(|_| job))
            });
            let found: Vec<_> = heads.buffer_unordered(HEADS).try_collect().await?;
            return Ok(Some(found.into_iter().flatten().collect()));
        }
        let (Some(first), Some(last)) = (jobs.first(), jobs.last()) else { return Ok(Some(BTreeSet::new())) };
        let mut found = BTreeSet::new();
        let mut after = keys::folder(*first);
        loop {
            if !look.may_list() {
                return Ok(None);
            }
            let page = self.store.list(&keys::day(first.day()), Some(&after), PAGE).await?;
            let named = page.iter().filter_map(|entry| keys::parse_of(&entry.key));
            found.extend(named.filter(|(_, name)| *name == Name::Summary.to_string()).map(|(job, _)| job));
            let Some(end) = page.last().filter(|_| page.len() == PAGE) else { return Ok(Some(found)) };
            after.clone_from(&end.key);
            if let Some((job, name)) = keys::parse_of(&end.key) {
                if job > *last {
                    return Ok(Some(found));
                }
                // Jobs of earlier releases have objects for each task, which come after the summary.
                if name > Name::Summary.to_string().as_str() {
                    after = keys::folder(job) + "~";
                }
            }
        }
    }

    fn seen_days(&self) -> MutexGuard<'_, BTreeSet<Date>> {
        self.memory.seen.days.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job that cannot be read hides no other: nobody knows which source it is of.
fn readable<T>(read: Result<Option<T>, LedgerError>) -> Result<Option<T>, LedgerError> {
    match read {
        Err(LedgerError::Damaged { .. } | LedgerError::Store(StoreError::TooLarge { .. })) => Ok(None),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Outcome,
        testing::{Fixture, at, done, failure, id},
    };

    async fn unfinished(ledger: &Ledger, source: &str) -> Vec<JobId> {
        let found = ledger.unfinished(source, at(60)).await.unwrap();
        assert!(found.is_whole);
        found.jobs.iter().map(|request| request.job).collect()
    }

    #[tokio::test]
    async fn jobs_are_unfinished_until_they_have_a_summary() {
        let fixture = Fixture::new().await;
        let reader = fixture.another();
        assert_eq!(unfinished(&reader, "buses").await, []);
        let (first, second, yesterday) = (id(0, 1), id(0, 2), id(-86_400, 3));
        fixture.job(second).await;
        fixture.planned(first, 1).await;
        fixture.planned(yesterday, 1).await;
        assert_eq!(unfinished(&reader, "buses").await, [second, first, yesterday]);
        assert_eq!(unfinished(&reader, "weather").await, []);
        fixture.ledger.record_done(first, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
        fixture.ledger.record_failure(yesterday, 0, 0, &failure("gone", 4)).await.unwrap();
        fixture.ledger.recover(at(61), false).await.unwrap();
        assert_eq!(unfinished(&reader, "buses").await, [second]);
        assert_eq!(unfinished(&fixture.another(), "buses").await, [second]);
        // A retry makes an ended one unfinished again.
        fixture.ledger.retry(yesterday, at(70)).await.unwrap();
        assert_eq!(unfinished(&reader, "buses").await, [second, yesterday]);
    }

    #[tokio::test]
    async fn a_damaged_job_hides_no_other() {
        let fixture = Fixture::new().await;
        fixture.job(id(0, 1)).await;
        fixture.job(id(0, 2)).await;
        let key = keys::of(id(0, 1), Name::Request);
        fixture.store.put(&key, "application/json", "[]".into()).await.unwrap();
        assert_eq!(unfinished(&fixture.another(), "buses").await, [id(0, 2)]);
    }

    #[tokio::test]
    async fn many_jobs_cost_few_lists_and_an_end_of_the_budget_is_told() {
        let fixture = Fixture::new().await;
        let jobs: Vec<_> = (0..300_u64).map(|n| id(0, n)).collect();
        let (first, others) = jobs.split_first().unwrap();
        fixture.job(*first).await;
        let written = stream::iter(others).map(async |job| {
            for name in ["plan.json", "request.json", "summary.json", "tasks/000000.done", "tasks/000001.done"] {
                let key = format!("{}{name}", keys::folder(*job));
                fixture.store.put(&key, "application/json", "{}".into()).await.unwrap();
            }
        });
        written.buffer_unordered(32).collect::<Vec<_>>().await;
        // One page of jobs, two of their objects.
        assert!(!fixture.another().unfinished_within(2, "buses", at(60)).await.unwrap().is_whole);
        let reader = fixture.another();
        let found = reader.unfinished_within(3, "buses", at(60)).await.unwrap();
        assert!(found.is_whole);
        assert_eq!(found.jobs.iter().map(|request| request.job).collect::<Vec<_>>(), [*first]);
        // What has ended is remembered.
        assert!(reader.unfinished_within(1, "buses", at(60)).await.unwrap().is_whole);
    }
}
