//! How a task ended: what counts of it, and how the journal says it.

use jiff::Timestamp;

use crate::{
    Done, Failure, MissingItem, Outcome, RowTally,
    jobs::proto::{self, TaskOutcome, task_outcome},
};

/// What counts of a task's outcome: of two, the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Rank {
    /// Counts until a later round begins, in which the task is tried again.
    Round(u32, End),
    /// Ended well, for good.
    Done,
}

impl Rank {
    /// Whether it ends a task in this round: what failed or lacked items in an earlier one is being tried again.
    pub(crate) fn counts_in(self, round: u32) -> bool {
        self >= Self::Round(round, End::Failed)
    }

    /// How many ranks there are up to this one: more for a greater one.
    pub(crate) fn steps(self) -> u64 {
        match self {
            Self::Round(round, end) => 2 * u64::from(round) + 1 + u64::from(end == End::Partial),
            Self::Done => 1 << 34,
        }
    }
}

/// How a task ended that a retry tries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum End {
    /// Given up.
    Failed,
    /// Ended well, but without items that the upstream does not have.
    Partial,
}

/// How a task ended, whole.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ended {
    /// In a round.
    Failed(u32, Failure),
    /// In a round.
    Partial(u32, Done),
    /// For good. In buckets of earlier releases some of these lack items, and no retry tries them again.
    Done(Done),
}

impl Ended {
    pub(crate) fn rank(&self) -> Rank {
        match self {
            Self::Failed(round, _) => Rank::Round(*round, End::Failed),
            Self::Partial(round, _) => Rank::Round(*round, End::Partial),
            Self::Done(_) => Rank::Done,
        }
    }

    pub(crate) fn finished(&self) -> Timestamp {
        match self {
            Self::Failed(_, failure) => failure.finished,
            Self::Partial(_, done) | Self::Done(done) => done.finished,
        }
    }
}

pub(super) fn outcome(task: u32, ended: &Ended) -> TaskOutcome {
    let (round, end) = match ended {
        Ended::Failed(round, failure) => (*round, task_outcome::End::Failed(from_failure(failure))),
        Ended::Partial(round, done) => (*round, task_outcome::End::Partial(from_done(done))),
        Ended::Done(done) => (0, task_outcome::End::Done(from_done(done))),
    };
    TaskOutcome { task, round, end: Some(end) }
}

/// How a task ended, as an entry or a snapshot says it; `None` where this release cannot make sense of it.
pub(super) fn ended(outcome: &TaskOutcome) -> Option<Ended> {
    Some(match outcome.end.as_ref()? {
        task_outcome::End::Done(done) => Ended::Done(to_done(done)?),
        task_outcome::End::Partial(done) => Ended::Partial(outcome.round, to_done(done)?),
        task_outcome::End::Failed(failure) => Ended::Failed(outcome.round, to_failure(failure)?),
    })
}

fn from_done(done: &Done) -> proto::Done {
    let missing = |it: &MissingItem| proto::MissingItem { item: it.item.clone(), reason: it.reason.clone() };
    proto::Done {
        is_unchanged: done.outcome == Outcome::Unchanged,
        object: done.object.clone(),
        bytes: done.bytes,
        records: done.records,
        seconds: done.seconds,
        attempts: done.attempts,
        finished: done.finished.as_microsecond(),
        missing: done.missing.iter().map(missing).collect(),
        rows: done.rows.as_deref().map(from_rows),
        quarantine: done.quarantine.as_deref().unwrap_or_default().to_owned(),
    }
}

pub(super) fn from_rows(rows: &RowTally) -> proto::RowTally {
    proto::RowTally { done: rows.done, errors: rows.errors, unknown: rows.unknown }
}

pub(super) fn to_rows(rows: &proto::RowTally) -> RowTally {
    RowTally { done: rows.done, errors: rows.errors, unknown: rows.unknown }
}

fn to_done(done: &proto::Done) -> Option<Done> {
    let missing = |it: &proto::MissingItem| MissingItem { item: it.item.clone(), reason: it.reason.clone() };
    Some(Done {
        outcome: if done.is_unchanged { Outcome::Unchanged } else { Outcome::Stored },
        object: done.object.clone(),
        bytes: done.bytes,
        records: done.records,
        seconds: done.seconds,
        attempts: done.attempts,
        finished: Timestamp::from_microsecond(done.finished).ok()?,
        missing: done.missing.iter().map(missing).collect(),
        rows: done.rows.as_ref().map(|rows| Box::new(to_rows(rows))),
        quarantine: Some(done.quarantine.as_str()).filter(|key| !key.is_empty()).map(Into::into),
    })
}

pub(super) fn from_failure(failure: &Failure) -> proto::Failure {
    proto::Failure {
        reason: failure.reason.clone(),
        quarantine: failure.quarantine.clone().unwrap_or_default(),
        attempts: failure.attempts,
        finished: failure.finished.as_microsecond(),
    }
}

pub(super) fn to_failure(failure: &proto::Failure) -> Option<Failure> {
    Some(Failure {
        reason: failure.reason.clone(),
        quarantine: Some(failure.quarantine.clone()).filter(|key| !key.is_empty()),
        attempts: failure.attempts,
        finished: Timestamp::from_microsecond(failure.finished).ok()?,
    })
}
