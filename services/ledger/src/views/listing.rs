//! Jobs, newest first.

use futures::{StreamExt, TryStreamExt, stream};

use crate::{JobId, Ledger, LedgerError, State, Status};

/// Jobs looked at in one go.
const AT_ONCE: usize = 16;
/// Jobs looked at for one page, where a filter may let none of them through.
const LOOKED_AT_LIMIT: usize = 1_000;

/// Which jobs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Of one source.
    pub source: Option<String>,
    /// In one state.
    pub state: Option<State>,
}

/// Jobs of a page, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct JobPage {
    /// The jobs; a page may be short, even empty, though more follow: a filter looks at a bounded number.
    pub jobs: Vec<Status>,
    /// Where the next page begins: after this job. None on the last page.
    pub next: Option<JobId>,
}

impl JobFilter {
    fn lets_all_through(&self) -> bool {
        self.source.is_none() && self.state.is_none()
    }

    fn lets_through(&self, status: &Status) -> bool {
        self.source.as_ref().is_none_or(|source| *source == status.request.source)
            && self.state.is_none_or(|state| state == status.state)
    }
}

impl Ledger {
    /// Jobs, newest first, after `after`; at most `limit`, at least one.
    pub async fn jobs(&self, filter: &JobFilter, after: Option<JobId>, limit: usize) -> Result<JobPage, LedgerError> {
        let limit = limit.max(1);
        let mut walk = self.walk(after).await?;
        let mut jobs = Vec::new();
        let mut looked_at = 0;
        loop {
            let wanted = if filter.lets_all_through() { AT_ONCE.min(limit - jobs.len()) } else { AT_ONCE };
            let batch = walk.next(self, wanted).await?;
            if batch.is_empty() {
                return Ok(JobPage { jobs, next: None });
            }
            let looks = stream::iter(batch).map(|job| async move { Ok((job, self.look(job, filter).await?)) });
            let looks: Result<Vec<_>, LedgerError> = looks.buffered(AT_ONCE).try_collect().await;
            let mut looks = looks?.into_iter().peekable();
            while let Some((job, status)) = looks.next() {
                jobs.extend(status);
                looked_at += 1;
                if jobs.len() == limit || looked_at == LOOKED_AT_LIMIT {
                    let more = looks.peek().is_some() || walk.has_more();
                    return Ok(JobPage { jobs, next: more.then_some(job) });
                }
            }
        }
    }

    /// A job's status, if the filter lets it through. The request is cheaper than the status.
    async fn look(&self, job: JobId, filter: &JobFilter) -> Result<Option<Status>, LedgerError> {
        if let Some(source) = &filter.source {
            match self.request(job).await {
                Ok(Some(request)) if request.source == *source => {}
                Ok(_) => return Ok(None),
                // A summary may know the source.
                Err(LedgerError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.status(job).await?.filter(|status| filter.lets_through(status)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fixture, id};

    async fn walk(ledger: &Ledger, filter: &JobFilter, limit: usize) -> Vec<JobId> {
        let (mut jobs, mut after) = (Vec::new(), None);
        loop {
            let page = ledger.jobs(filter, after, limit).await.unwrap();
            assert!(page.jobs.len() <= limit);
            jobs.extend(page.jobs.iter().map(|status| status.request.job));
            match page.next {
                Some(next) => after = Some(next),
                None => return jobs,
            }
        }
    }

    #[tokio::test]
    async fn pages_together_are_the_whole_list_newest_first() {
        let fixture = Fixture::new().await;
        assert_eq!(
            fixture.ledger.jobs(&JobFilter::default(), None, 10).await.unwrap(),
            JobPage { jobs: vec![], next: None }
        );
        // Five days, fifty jobs on each.
        let mut all: Vec<JobId> = (0..250).map(|n| id(n / 50 * 86_400 + n % 7, n.cast_unsigned())).collect();
        let making = stream::iter(all.iter().enumerate())
            .map(async |(n, job)| if n % 10 == 0 { fixture.planned(*job, 0).await } else { fixture.job(*job).await });
        making.buffer_unordered(AT_ONCE).for_each(async |_| {}).await;
        let succeeded: Vec<JobId> = all.iter().copied().step_by(10).collect();
        all.sort_unstable_by(|left, right| right.cmp(left));

        let any = JobFilter::default();
        let state = JobFilter { source: Some("buses".to_owned()), state: Some(State::Succeeded) };
        for limit in [30, 1_000] {
            assert_eq!(walk(&fixture.ledger, &any, limit).await, all, "limit {limit}");
            let mut found = walk(&fixture.ledger, &state, limit).await;
            assert!(found.is_sorted_by(|left, right| left > right));
            found.sort_unstable();
            let mut expected = succeeded.clone();
            expected.sort_unstable();
            assert_eq!(found, expected, "limit {limit}");
        }
        let other = JobFilter { source: Some("weather".to_owned()), state: None };
        assert_eq!(walk(&fixture.another(), &other, 10).await, []);
    }
}
