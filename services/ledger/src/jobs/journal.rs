//! The journals of jobs: what a process commits to them, and what of them stays in memory.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use waybill_journal::{CommitError, CompactionError, Follower, Options, ReadError, Unreadable};
use waybill_store::Store;

use crate::{
    JobId,
    jobs::{Fact, Hour, entry::entries, hour_of},
    journals::{AsOf, JOBS, Journals, Kept},
};

/// Hours that stay in memory, and how many outcomes and jobs together: 90 MB.
const HOURS_KEPT: usize = 64;
const OUTCOMES_KEPT: usize = 300_000;

/// The jobs of every source in a bucket.
#[derive(Debug)]
pub(crate) struct Jobs {
    journals: Journals<Hour>,
}

impl Jobs {
    pub(crate) fn new(store: Store, options: Options) -> Self {
        let kept = Kept { journals: HOURS_KEPT, weight: OUTCOMES_KEPT, weigh: Hour::len };
        // It ends with its process: whoever waits for a commit stops waiting.
        Self { journals: Journals::new(store, JOBS, kept, options, CancellationToken::new()) }
    }

    /// Returns when the facts are durable, all together. Waits for as long as the store refuses.
    pub(crate) async fn commit(&self, source: &str, job: JobId, facts: &[Fact]) -> Result<(), CommitError> {
        let entries = facts.iter().flat_map(|fact| entries(job, fact)).collect();
        self.journals.commit((source.to_owned(), hour_of(job)), entries).await
    }

    /// The hour of a job.
    pub(crate) async fn hour(&self, source: &str, job: JobId, as_of: AsOf) -> Result<Follower<Hour>, ReadError> {
        self.view(source, hour_of(job), as_of).await
    }

    pub(super) async fn view(&self, source: &str, hour: String, as_of: AsOf) -> Result<Follower<Hour>, ReadError> {
        self.journals.view((source.to_owned(), hour), as_of).await
    }

    pub(crate) fn unreadable(&self) -> Vec<Arc<Unreadable>> {
        self.journals.unreadable()
    }

    /// Does one compaction in an hour's journal; returns whether another may be due.
    pub(crate) async fn compact(&self, source: &str, hour: &str) -> Result<bool, CompactionError> {
        Ok(self.journals.compactor(&(source.to_owned(), hour.to_owned())).compact().await?.is_some())
    }
}
