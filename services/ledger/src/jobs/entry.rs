//! Entries of the journal, made of facts, and read back.

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    Failure, JobId, Lease,
    jobs::{
        Ended, Sealed, Work,
        outcome::{ended, from_failure, from_rows, outcome, to_failure, to_rows},
        proto::{self, Entry, fact},
    },
};

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fact {
    /// A worker began to plan.
    Started(Timestamp),
    /// `plan.json` was written, with so many tasks.
    Planned(Timestamp, u32),
    /// The planning was given up in a round.
    PlanFailed(u32, Failure),
    /// Every task that was pending in a round was published.
    Sent(u32),
    /// A retry began a round.
    Round(u32, Timestamp),
    /// No more tasks are begun.
    Cancelled(Timestamp),
    /// Something about a task, or the planning, that has not ended.
    Work(Option<u32>, Work),
    /// A task ended.
    Ended(u32, Ended),
    /// Every task is done, and how stands in the job's folder.
    Sealed(Sealed),
}

/// Minutes of a slot: whoever looks at a job has its slot in memory, and a slot of a thousand tasks a second has as many
/// outcomes as stay there.
pub(crate) const SLOT: i64 = 5;

/// The journal of a job: the five minutes in which it was submitted, by their beginning, `2024-05-01T0805`.
pub(crate) fn slot_of(job: JobId) -> String {
    slot_at(job.submitted())
}

/// The journal of jobs that are submitted at this time.
pub(crate) fn slot_at(time: Timestamp) -> String {
    let second = time.as_second();
    let begin = Timestamp::from_second(second - second.rem_euclid(SLOT * 60)).unwrap_or(time);
    begin.strftime("%Y-%m-%dT%H%M").to_string()
}

/// The entries of a fact: one, unless several things are said of one piece of work.
pub(crate) fn entries(job: JobId, fact: &Fact) -> Vec<Entry> {
    let job = Uuid::from(job).as_bytes().to_vec();
    match fact {
        Fact::Ended(task, ended) => vec![Entry { job, outcome: Some(outcome(*task, ended)), fact: None }],
        fact => messages(fact).map(|fact| Entry { job: job.clone(), outcome: None, fact: Some(fact) }).collect(),
    }
}

/// What an entry says; `None` where this release cannot make sense of it.
pub(super) fn fact_of(entry: &Entry) -> Option<(JobId, Fact)> {
    let fact = match (&entry.outcome, &entry.fact) {
        (Some(outcome), _) => Fact::Ended(outcome.task, ended(outcome)?),
        (None, fact) => from_message(fact.as_ref()?)?,
    };
    Some((job(&entry.job)?, fact))
}

pub(super) fn job(bytes: &[u8]) -> Option<JobId> {
    JobId::try_from(id(bytes)?).ok()
}

fn id(bytes: &[u8]) -> Option<Uuid> {
    Uuid::from_slice(bytes).ok()
}

/// The messages of a fact, as an entry or a snapshot holds them. How a task ended has a message of its own.
pub(super) fn messages(fact: &Fact) -> impl Iterator<Item = proto::Fact> + use<> {
    let messages = match fact {
        Fact::Started(at) => vec![fact::Fact::Started(at.as_microsecond())],
        Fact::Planned(at, tasks) => {
            vec![fact::Fact::Planned(proto::Planned { at: at.as_microsecond(), tasks: *tasks })]
        }
        Fact::PlanFailed(round, failure) => {
            let failure = Some(from_failure(failure));
            vec![fact::Fact::PlanFailed(proto::PlanFailed { round: *round, failure })]
        }
        Fact::Sent(round) => vec![fact::Fact::Sent(*round)],
        Fact::Round(round, at) => vec![fact::Fact::Round(proto::Round { round: *round, at: at.as_microsecond() })],
        Fact::Cancelled(at) => vec![fact::Fact::Cancelled(at.as_microsecond())],
        Fact::Work(task, work) => from_work(*task, work),
        Fact::Sealed(sealed) => vec![fact::Fact::Sealed(from_sealed(sealed))],
        Fact::Ended(..) => Vec::new(),
    };
    messages.into_iter().map(|fact| proto::Fact { fact: Some(fact) })
}

fn from_work(task: Option<u32>, work: &Work) -> Vec<fact::Fact> {
    let of = Some(proto::Work { task, round: work.round() });
    let (attempts, leases, wait) = work.parts();
    let attempt = |(id, is_withdrawn): (&Uuid, &bool)| {
        fact::Fact::Attempt(proto::Attempt { work: of, id: id.as_bytes().to_vec(), is_withdrawn: *is_withdrawn })
    };
    let lease = |lease: &Lease| {
        fact::Fact::Lease(proto::Lease {
            work: of,
            id: lease.id.as_bytes().to_vec(),
            renewal: lease.renewal,
            worker: lease.worker.clone(),
            until: lease.until.as_microsecond(),
            rows: lease.rows.as_ref().map(from_rows),
        })
    };
    let wait = wait.map(|(attempt, until, reason)| {
        let (attempt, until, reason) = (*attempt, until.as_microsecond(), reason.clone());
        fact::Fact::Wait(proto::Wait { work: of, attempt, until, reason })
    });
    attempts.iter().map(attempt).chain(leases.values().map(lease)).chain(wait).collect()
}

fn from_sealed(sealed: &Sealed) -> proto::Sealed {
    let Sealed { stored, unchanged, bytes, records, rows, finished } = *sealed;
    let (rows, finished) = (Some(from_rows(&rows)), finished.as_microsecond());
    proto::Sealed { stored, unchanged, bytes, records, rows, finished }
}

fn to_sealed(sealed: &proto::Sealed) -> Option<Sealed> {
    let proto::Sealed { stored, unchanged, bytes, records, rows, finished } = *sealed;
    let (rows, finished) =
        (rows.as_ref().map(to_rows).unwrap_or_default(), Timestamp::from_microsecond(finished).ok()?);
    Some(Sealed { stored, unchanged, bytes, records, rows, finished })
}

/// What a message says; `None` where this release cannot make sense of it.
pub(super) fn from_message(message: &proto::Fact) -> Option<Fact> {
    let at = |at: i64| Timestamp::from_microsecond(at).ok();
    Some(match message.fact.as_ref()? {
        fact::Fact::Started(started) => Fact::Started(at(*started)?),
        fact::Fact::Planned(planned) => Fact::Planned(at(planned.at)?, planned.tasks),
        fact::Fact::PlanFailed(failed) => Fact::PlanFailed(failed.round, to_failure(failed.failure.as_ref()?)?),
        fact::Fact::Sent(round) => Fact::Sent(*round),
        fact::Fact::Round(round) => Fact::Round(round.round, at(round.at)?),
        fact::Fact::Cancelled(cancelled) => Fact::Cancelled(at(*cancelled)?),
        fact::Fact::Attempt(attempt) => {
            let work = attempt.work?;
            Fact::Work(work.task, Work::attempt(work.round, id(&attempt.id)?, attempt.is_withdrawn))
        }
        fact::Fact::Lease(lease) => {
            let work = lease.work?;
            let (id, worker, until) = (id(&lease.id)?, lease.worker.clone(), at(lease.until)?);
            let rows = lease.rows.as_ref().map(to_rows);
            Fact::Work(work.task, Work::lease(work.round, Lease { id, renewal: lease.renewal, worker, until, rows }))
        }
        fact::Fact::Wait(wait) => {
            let work = wait.work?;
            Fact::Work(work.task, Work::wait(work.round, (wait.attempt, at(wait.until)?, wait.reason.clone())))
        }
        fact::Fact::Sealed(sealed) => Fact::Sealed(to_sealed(sealed)?),
    })
}
