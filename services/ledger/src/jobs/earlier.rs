//! Jobs of earlier releases, which wrote an object in the job's folder for each fact, and jobs whose journal was lost. Whoever
//! looks at such a job enters what its objects say.

use std::pin::pin;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use waybill_journal::Follower;

use crate::{
    JobId, Ledger, LedgerError,
    changes::{cancel::Cancelled, retry::Round},
    jobs::{End, Ended, Fact, Job, Rank, Sealed, Slot},
    layout::{
        keys::{self, Name},
        objects::SMALL,
    },
};

/// Objects read and entered at once.
const AT_ONCE: usize = 64;

/// What the objects in a job's folder say by their names.
#[derive(Debug, Default)]
pub(super) struct Folder {
    pub(super) exists: bool,
    pub(super) is_cancelled: bool,
    names: Vec<Name>,
}

#[derive(Deserialize)]
struct Started {
    started: Timestamp,
}

/// Whether an object says more of a job than is known. Attempts, leases and waits that were written as objects are over
/// soon.
fn is_news(name: Name, job: &Job) -> bool {
    let ended = |task: u32, rank: Rank| job.sealed.is_none() && job.outcomes.get(&task).map(Ended::rank) < Some(rank);
    match name {
        Name::Started => job.started.is_none(),
        Name::Plan => job.planned.is_none(),
        Name::PlanFailed { round } => !job.has_plan_failed_in(round),
        Name::Sent { round } => !job.is_sent_in(round),
        Name::Round(round) => round > job.round(),
        Name::Cancelled => job.cancelled.is_none(),
        Name::Done { task } => ended(task, Rank::Done),
        Name::Partial { task, round } => ended(task, Rank::Round(round, End::Partial)),
        Name::Failed { task, round } => ended(task, Rank::Round(round, End::Failed)),
        Name::Request | Name::Summary | Name::Outcomes { .. } => false,
    }
}

impl Ledger {
    /// One LIST for 1,000 objects.
    pub(super) async fn folder(&self, job: JobId) -> Result<Folder, LedgerError> {
        let prefix = keys::folder(job);
        let mut folder = Folder::default();
        let mut pages = pin!(self.store.pages(&prefix));
        while let Some(page) = pages.try_next().await? {
            folder.names.extend(page.iter().filter_map(|entry| Name::parse(entry.key.strip_prefix(&prefix)?)));
        }
        folder.exists = folder.names.contains(&Name::Request);
        folder.is_cancelled = folder.names.contains(&Name::Cancelled);
        Ok(folder)
    }

    /// Enters that a job is sealed of which the journal knows nothing: it was lost. Every piece has to be there, since a
    /// process may have died while it wrote them.
    pub(super) async fn adopt_seal(
        &self,
        job: JobId,
        folder: &Folder,
        slot: &Follower<Slot>,
    ) -> Result<(), LedgerError> {
        let is_piece = |piece| folder.names.contains(&Name::Outcomes { piece });
        if !is_piece(0) || slot.read(|slot| slot.job(job).is_some_and(|job| job.sealed.is_some())) {
            return Ok(());
        }
        let summary = self.summary(job).await?;
        let sealed = summary.and_then(|summary| Sealed::of(&summary.status));
        if let Some(sealed) = sealed.filter(|sealed| (0..self.pieces(sealed.tasks())).all(is_piece)) {
            tracing::info!(%job, "entering that a job is sealed");
            self.enter(job, vec![Fact::Sealed(sealed)]).await?;
            slot.fresh().await?;
        }
        Ok(())
    }

    /// Enters what the objects of a folder say and the journal does not.
    pub(super) async fn adopt(
        &self,
        source: &str,
        job: JobId,
        folder: &Folder,
        slot: &Follower<Slot>,
    ) -> Result<(), LedgerError> {
        if self.news(job, folder, slot).is_empty() {
            return Ok(());
        }
        // The view may be a second old.
        slot.fresh().await?;
        let news = self.news(job, folder, slot);
        if news.is_empty() {
            return Ok(());
        }
        tracing::info!(%job, source, objects = news.len(), "entering what the objects of a job say");
        // Last what says that a look need not list the folder any more.
        let (last, first): (Vec<_>, Vec<_>) =
            news.into_iter().partition(|name| matches!(name, Name::Started | Name::Plan));
        for names in [first, last] {
            stream::iter(names)
                .map(async |name| self.enter(job, self.said_by(job, name).await?).await)
                .buffer_unordered(AT_ONCE)
                .try_collect::<()>()
                .await?;
        }
        Ok(slot.fresh().await?)
    }

    fn news(&self, job: JobId, folder: &Folder, slot: &Follower<Slot>) -> Vec<Name> {
        slot.read(|slot| {
            let nothing = Job::default();
            let known = slot.job(job).unwrap_or(&nothing);
            folder.names.iter().copied().filter(|name| is_news(*name, known)).collect()
        })
    }

    async fn said_by(&self, job: JobId, name: Name) -> Result<Vec<Fact>, LedgerError> {
        let key = keys::of(job, name);
        let fact = match name {
            Name::Started => Fact::Started(self.seen::<Started>(&key).await?.started),
            Name::Cancelled => Fact::Cancelled(self.seen::<Cancelled>(&key).await?.cancelled),
            Name::Round(round) => Fact::Round(round, self.seen::<Round>(&key).await?.retried),
            Name::Sent { round } => Fact::Sent(round),
            Name::PlanFailed { round } => Fact::PlanFailed(round, self.seen(&key).await?),
            Name::Done { task } => Fact::Ended(task, Ended::Done(self.seen(&key).await?)),
            Name::Partial { task, round } => Fact::Ended(task, Ended::Partial(round, self.seen(&key).await?)),
            Name::Failed { task, round } => Fact::Ended(task, Ended::Failed(round, self.seen(&key).await?)),
            Name::Plan | Name::Request | Name::Summary | Name::Outcomes { .. } => {
                let outline = self.outline(job).await?;
                // Where the journal was lost, nothing else says that it was begun.
                return Ok(vec![Fact::Started(outline.planned), Fact::Planned(outline.planned, outline.total())]);
            }
        };
        Ok(vec![fact])
    }

    async fn seen<T: DeserializeOwned>(&self, key: &str) -> Result<T, LedgerError> {
        self.read(key, SMALL).await?.ok_or_else(|| LedgerError::damaged(key, "it was there, and is gone"))
    }
}
