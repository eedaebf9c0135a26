//! Iterates over all jobs, newest first. S3 lists upwards only, so a day's ids are collected, 16 bytes each.

use std::collections::VecDeque;

use jiff::civil::Date;

use crate::{JobId, Ledger, LedgerError, layout::keys};

/// Folders a LIST answers at a time, which is S3's own limit.
const PAGE: usize = 1_000;
/// Ids collected of one day. Where there are more, the newest are kept; a later page begins further down
/// and so reaches the others.
const IDS_LIMIT: usize = 1_000_000;
/// Days that are looked at: more than two centuries.
const DAYS_LIMIT: usize = 100_000;

/// Where a way through all jobs stands.
#[derive(Debug)]
pub(crate) struct Walk {
    /// Oldest first; the last is next.
    days: Vec<Date>,
    /// Of the day begun, oldest first; the last is next.
    ids: VecDeque<JobId>,
    /// Only jobs older than this one.
    before: Option<JobId>,
}

impl Walk {
    /// The next jobs, at most `limit`; none at the end.
    pub(crate) async fn next(&mut self, ledger: &Ledger, limit: usize) -> Result<Vec<JobId>, LedgerError> {
        while self.ids.is_empty()
            && let Some(day) = self.days.pop()
        {
            self.ids = ledger.ids(day, self.before).await?;
        }
        let rest = self.ids.len().saturating_sub(limit);
        Ok(self.ids.drain(rest..).rev().collect())
    }

    /// Whether there may be more.
    pub(crate) fn has_more(&self) -> bool {
        !self.ids.is_empty() || !self.days.is_empty()
    }
}

impl Ledger {
    /// A way through all jobs older than `before`.
    pub(crate) async fn walk(&self, before: Option<JobId>) -> Result<Walk, LedgerError> {
        let mut days = self.days(None).await?;
        if let Some(job) = before {
            days.retain(|day| *day <= job.day());
        }
        Ok(Walk { days, ids: VecDeque::new(), before })
    }

    /// The days that have jobs, oldest first, after `after`.
    pub(crate) async fn days(&self, after: Option<Date>) -> Result<Vec<Date>, LedgerError> {
        let after = after.map(|day| day.to_string());
        let names = self.store.folders(keys::JOBS, after.as_deref(), DAYS_LIMIT).await?;
        Ok(names.iter().filter_map(|name| name.parse().ok().filter(|day: &Date| day.to_string() == *name)).collect())
    }

    /// A page of a day's jobs, oldest first, and the name after which the next page begins.
    pub(crate) async fn ids_page(
        &self,
        day: Date,
        after: Option<&str>,
    ) -> Result<(Vec<JobId>, Option<String>), LedgerError> {
        let names = self.store.folders(&keys::day(day), after, PAGE).await?;
        let ids = names.iter().filter_map(|name| name.parse().ok().filter(|job: &JobId| job.to_string() == *name));
        let ids = ids.collect();
        Ok((ids, names.into_iter().nth(PAGE - 1)))
    }

    async fn ids(&self, day: Date, before: Option<JobId>) -> Result<VecDeque<JobId>, LedgerError> {
        let mut ids = VecDeque::new();
        let mut after = None;
        loop {
            let (page, next) = self.ids_page(day, after.as_deref()).await?;
            for job in page {
                if before.is_some_and(|before| job >= before) {
                    return Ok(ids);
                }
                if ids.len() == IDS_LIMIT {
                    ids.pop_front();
                }
                ids.push_back(job);
            }
            if next.is_none() {
                return Ok(ids);
            }
            after = next;
        }
    }
}
