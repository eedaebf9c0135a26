//! Every object key of the ledger. No other file may spell one.

use std::fmt;

use jiff::civil::Date;
use sha2::{Digest, Sha256};

use crate::JobId;

/// What all jobs' keys begin with.
pub(crate) const JOBS: &str = "jobs/";

/// A definition's text, by its hash.
pub(crate) fn definition(source: &str, hash: &str) -> String {
    format!("sources/{source}/{hash}.toml")
}

/// What leads from an idempotency key to its job. The newline keeps (`a`, `bc`) and (`ab`, `c`) apart: no
/// source's name has one.
pub(crate) fn idempotency(source: &str, key: &str) -> String {
    let hash = Sha256::digest(format!("{source}\n{key}"));
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("keys/{hex}.json")
}

/// What all keys of a day's jobs begin with.
pub(crate) fn day(day: Date) -> String {
    format!("{JOBS}{day}/")
}

/// What all of a job's keys begin with.
pub(crate) fn folder(job: JobId) -> String {
    format!("{JOBS}{}/{job}/", job.day())
}

/// An object of a job.
pub(crate) fn of(job: JobId, name: Name) -> String {
    format!("{}{name}", folder(job))
}

/// An object's name in its job's folder. In key order the tasks come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Request,
    Started,
    Plan,
    PlanFailed { round: u32 },
    Round(u32),
    Cancelled,
    Summary,
    Done { task: u32 },
    Failed { task: u32, round: u32 },
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request => f.write_str("request.json"),
            Self::Started => f.write_str("started.json"),
            Self::Plan => f.write_str("plan.json"),
            Self::PlanFailed { round } => write!(f, "plan.failed.{round}"),
            Self::Round(round) => write!(f, "rounds/{round}.json"),
            Self::Cancelled => f.write_str("cancelled.json"),
            Self::Summary => f.write_str("summary.json"),
            Self::Done { task } => write!(f, "tasks/{task:06}.done"),
            Self::Failed { task, round } => write!(f, "tasks/{task:06}.failed.{round}"),
        }
    }
}

impl Name {
    /// Takes a name apart; `None` where it is not one of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let name = match text {
            "request.json" => Self::Request,
            "started.json" => Self::Started,
            "plan.json" => Self::Plan,
            "cancelled.json" => Self::Cancelled,
            "summary.json" => Self::Summary,
            _ => Self::parse_numbered(text)?,
        };
        // A number has one spelling, so that no two objects can be the same marker.
        (name.to_string() == text).then_some(name)
    }

    fn parse_numbered(text: &str) -> Option<Self> {
        if let Some(round) = text.strip_prefix("plan.failed.") {
            return Some(Self::PlanFailed { round: round.parse().ok()? });
        }
        if let Some(round) = text.strip_prefix("rounds/").and_then(|rest| rest.strip_suffix(".json")) {
            return Some(Self::Round(round.parse().ok()?));
        }
        let (task, end) = text.strip_prefix("tasks/")?.split_once('.')?;
        let task = task.parse().ok()?;
        match end.strip_prefix("failed.") {
            Some(round) => Some(Self::Failed { task, round: round.parse().ok()? }),
            None if end == "done" => Some(Self::Done { task }),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_laid_out_by_day_and_job() {
        let job: JobId = "018f3253-7a40-7c21-9d5e-6b1f0a2c4e88".parse().unwrap();
        let keys = [
            of(job, Name::Request),
            of(job, Name::PlanFailed { round: 1 }),
            of(job, Name::Done { task: 7 }),
            of(job, Name::Failed { task: 1_234_567, round: 12 }),
            idempotency("buses", "monday"),
            definition("buses", "abc"),
        ];
        insta::assert_snapshot!(keys.join("\n"), @r"
        jobs/2024-05-01/018f3253-7a40-7c21-9d5e-6b1f0a2c4e88/request.json
        jobs/2024-05-01/018f3253-7a40-7c21-9d5e-6b1f0a2c4e88/plan.failed.1
        jobs/2024-05-01/018f3253-7a40-7c21-9d5e-6b1f0a2c4e88/tasks/000007.done
        jobs/2024-05-01/018f3253-7a40-7c21-9d5e-6b1f0a2c4e88/tasks/1234567.failed.12
        keys/59e4d49dca7b7d9ef4de873a036c5d210868de6e64ada10fc068abf55f766128.json
        sources/buses/abc.toml
        ");
    }

    #[test]
    fn foreign_names_are_not_ours() {
        for name in
            ["", "tasks/", "tasks/1.done", "tasks/000001.done.bak", "tasks/+00001.done", "rounds/01.json", "x.json"]
        {
            assert_eq!(Name::parse(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_read_back_as_written(task: u32, round: u32) {
            for name in [
                Name::Request, Name::Started, Name::Plan, Name::Cancelled, Name::Summary, Name::Round(round),
                Name::PlanFailed { round }, Name::Done { task }, Name::Failed { task, round },
            ] {
                prop_assert_eq!(Name::parse(&name.to_string()), Some(name));
            }
        }
    }
}
