//! The journals of jobs: what a process commits to them, and what of them stays in memory.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use waybill_journal::{CommitError, CompactionError, Follower, Options, ReadError, Unreadable};
use waybill_store::Store;

use crate::{
    JobId, LedgerError,
    jobs::{Fact, Slot, entry::entries, slot_of},
    journals::{AsOf, JOBS, Journals, Kept},
};

/// Slots that stay in memory, and how many outcomes and jobs together, of 320 bytes each. One of more counts as half of that:
/// two such stay, whatever they weigh, since a look would else read all of it again. 512 slots are those of a day and a half of
/// a source.
const SLOTS_KEPT: usize = 512;
const OUTCOMES_KEPT: usize = 300_000;
/// Who waits for a job stops looking when it has succeeded, before it is sealed: what it weighed then must not stay for ever.
const IDLE: Duration = Duration::from_mins(10);
/// A slot of more outcomes is not written anew when a job of it was sealed: it is done for the next that is.
const COLLAPSED: usize = 100_000;

fn weigh(slot: &Slot) -> usize {
    slot.len().min(OUTCOMES_KEPT / 2)
}

/// The jobs of every source in a bucket.
#[derive(Debug)]
pub(crate) struct Jobs {
    journals: Journals<Slot>,
}

impl Jobs {
    pub(crate) fn new(store: Store, options: Options) -> Self {
        let kept = Kept { journals: SLOTS_KEPT, weight: OUTCOMES_KEPT, weigh, idle: IDLE };
        // It ends with its process: whoever waits for a commit stops waiting.
        Self { journals: Journals::new(store, JOBS, kept, options, CancellationToken::new()) }
    }

    /// Returns when the facts are durable, all together. Waits for as long as the store refuses.
    pub(crate) async fn commit(&self, source: &str, job: JobId, facts: &[Fact]) -> Result<(), CommitError> {
        let entries = facts.iter().flat_map(|fact| entries(job, fact)).collect();
        self.journals.commit((source.to_owned(), slot_of(job)), entries).await
    }

    /// The slot of a job.
    pub(crate) async fn slot(&self, source: &str, job: JobId, as_of: AsOf) -> Result<Follower<Slot>, ReadError> {
        self.view(source, slot_of(job), as_of).await
    }

    pub(super) async fn view(&self, source: &str, slot: String, as_of: AsOf) -> Result<Follower<Slot>, ReadError> {
        self.journals.view((source.to_owned(), slot), as_of).await
    }

    pub(crate) fn unreadable(&self) -> Vec<Arc<Unreadable>> {
        self.journals.unreadable()
    }

    /// Does one compaction in a slot's journal; returns whether another may be due.
    pub(crate) async fn compact(&self, source: &str, slot: &str) -> Result<bool, CompactionError> {
        Ok(self.journals.compactor(&(source.to_owned(), slot.to_owned())).compact().await?.is_some())
    }

    /// Writes the journal of a job's slot anew without what was dropped with the outcomes of sealed jobs, where that was most
    /// of it.
    pub(crate) async fn collapse(&self, source: &str, job: JobId) -> Result<(), LedgerError> {
        if self.slot(source, job, AsOf::Now).await?.read(Slot::len) <= COLLAPSED {
            self.journals.compactor(&(source.to_owned(), slot_of(job))).collapse().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{
        Outcome,
        jobs::Ended,
        testing::{Fixture, done, id},
    };

    /// Whoever waited for a job has stopped looking.
    #[tokio::test]
    async fn a_slot_that_nobody_looks_at_leaves_the_memory() {
        let fixture = Fixture::new().await;
        let idle = Duration::from_millis(200);
        let kept = Kept { journals: 4, weight: 10, weigh, idle };
        let journals = Journals::new(fixture.store.clone(), JOBS, kept, Options::default(), CancellationToken::new());
        let [forgotten, looked_at] = [0, 300].map(|second| ("buses".to_owned(), slot_of(id(second, 1))));
        journals.view(forgotten.clone(), AsOf::Now).await.unwrap();
        let began = Instant::now();
        while journals.kept(&forgotten).is_some() {
            assert!(began.elapsed() < Duration::from_secs(30), "it is still in memory");
            journals.view(looked_at.clone(), AsOf::Now).await.unwrap();
        }
        assert!(began.elapsed() > idle / 2, "it left at once");
        assert!(journals.kept(&looked_at).is_some());
    }

    /// Every look would else read it whole.
    #[tokio::test]
    async fn a_slot_that_is_heavier_than_the_bound_stays_in_memory() {
        let fixture = Fixture::new().await;
        let kept = Kept { journals: 4, weight: 10, weigh: |slot: &Slot| slot.len().min(5), idle: IDLE };
        let journals = Journals::new(fixture.store.clone(), JOBS, kept, Options::default(), CancellationToken::new());
        let part = |number: u64| ("buses".to_owned(), slot_of(id(300 * number.cast_signed(), number)));
        for number in 0..3_u64 {
            let ended = |task| Fact::Ended(task, Ended::Done(done(Outcome::Stored, 3)));
            let job = id(300 * number.cast_signed(), number);
            journals.commit(part(number), (0..40).flat_map(|task| entries(job, &ended(task))).collect()).await.unwrap();
            let view = journals.view(part(number), AsOf::Now).await.unwrap();
            assert_eq!(view.read(Slot::len), 41);
        }
        let is_kept = |number| journals.kept(&part(number)).is_some();
        assert_eq!([is_kept(0), is_kept(1), is_kept(2)], [false, true, true]);
    }
}
