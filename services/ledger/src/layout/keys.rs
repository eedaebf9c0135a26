//! Every object key of the ledger. No other file may spell one.

use std::fmt;

use jiff::civil::Date;
use sha2::{Digest, Sha256};
use waybill_source::{Format, Params};

use crate::{JobId, UploadId};

/// What all jobs' keys begin with.
pub(crate) const JOBS: &str = "jobs/";

/// A definition's text, by its hash.
pub(crate) fn definition(source: &str, hash: &str) -> String {
    format!("sources/{source}/{hash}.toml")
}

/// How far the jobs of a source have come whose other parameters are these.
pub(crate) fn mark(source: &str, others: &Params) -> String {
    let others = serde_json::to_string(others).expect("texts are JSON");
    format!("marks/{source}/{}.json", base16ct::lower::encode_string(&Sha256::digest(others)))
}

/// The object that leads from a request's idempotency key to its job. Keys are scoped by route, caller and source.
pub(crate) fn idempotency(route: &str, by: Option<&str>, source: &str, key: &str) -> String {
    // JSON keeps (`a`, `bc`) and (`ab`, `c`) apart.
    keyed(&serde_json::to_string(&(route, by, source, key)).expect("texts are JSON"))
}

/// The object of an idempotency key from before keys were scoped. Nothing is looked up in it any more; it is deleted
/// with its job.
pub(crate) fn unscoped_idempotency(source: &str, key: &str) -> String {
    keyed(&format!("{source}\n{key}"))
}

fn keyed(text: &str) -> String {
    format!("keys/{}.json", base16ct::lower::encode_string(&Sha256::digest(text)))
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

/// The job and the name of an object in a job's folder; `None` where the key is none of such an object.
pub(crate) fn parse_of(key: &str) -> Option<(JobId, &str)> {
    let (_, in_day) = key.strip_prefix(JOBS)?.split_once('/')?;
    let (job, name) = in_day.split_once('/')?;
    Some((job.parse().ok()?, name))
}

/// What all uploads' keys begin with.
pub(crate) const UPLOADS: &str = "uploads/";

/// What all keys of a day's uploads begin with.
pub(crate) fn uploads(day: Date) -> String {
    format!("{UPLOADS}{day}/")
}

/// An upload's file. `.json` alone is what is known of it.
pub(crate) fn upload_file(upload: UploadId, format: Format) -> String {
    let extension = match format {
        Format::Csv => "csv",
        Format::Ndjson => "ndjson",
        Format::Json | Format::Rows => "file.json",
    };
    format!("{}{upload}.{extension}", uploads(upload.day()))
}

/// What is known of an upload that is whole.
pub(crate) fn upload(upload: UploadId) -> String {
    format!("{}{upload}.json", uploads(upload.day()))
}

/// What the keys of all row logs of a job begin with.
pub(crate) fn row_logs(job: JobId) -> String {
    format!("rows/{job}/")
}

/// What the keys of a task's row log begin with.
pub(crate) fn row_log(job: JobId, task: u32) -> String {
    format!("{}{task:06}/", row_logs(job))
}

/// A record of a task's row log.
pub(crate) fn row_record(job: JobId, task: u32, number: u32) -> String {
    format!("{}{number:08}.json", row_log(job, task))
}

/// The number of a record of a row log; `None` where the key is none of one.
pub(crate) fn parse_row_record(key: &str) -> Option<u32> {
    key.strip_suffix(".json")?.rsplit_once('/')?.1.parse().ok()
}

/// What the keys of all asked retries begin with.
pub(crate) const RETRIES: &str = "retries/";

/// Says that a job which had ended has work again, since a round was begun. It lies outside the job's folder, so that
/// one LIST finds all such jobs, however old they are.
pub(crate) fn retry(job: JobId, round: u32) -> String {
    format!("{RETRIES}{job}.{round}")
}

/// Takes such a key apart; `None` where it is not one of ours.
pub(crate) fn parse_retry(key: &str) -> Option<(JobId, u32)> {
    let (job, round) = key.strip_prefix(RETRIES)?.split_once('.')?;
    let (job, round) = (job.parse().ok()?, round.parse().ok()?);
    (retry(job, round) == key).then_some((job, round))
}

/// What all keys of a job's tasks begin with.
pub(crate) fn tasks(job: JobId) -> String {
    format!("{}tasks/", folder(job))
}

/// What all keys of a sealed job's outcomes begin with.
pub(crate) fn outcomes(job: JobId) -> String {
    format!("{}outcomes/", folder(job))
}

/// An object's name in its job's folder. The journal says what those said that only earlier releases wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Request,
    Plan,
    Cancelled,
    Summary,
    /// Outcomes of a sealed job's tasks.
    Outcomes {
        piece: u32,
    },
    /// Earlier releases: a worker began to plan.
    Started,
    /// Earlier releases: the planning was given up.
    PlanFailed {
        round: u32,
    },
    /// Earlier releases: every task that was pending in this round was published.
    Sent {
        round: u32,
    },
    /// Earlier releases: a retry began this round.
    Round(u32),
    /// Earlier releases: a task ended well; items may be missing.
    Done {
        task: u32,
    },
    /// Earlier releases: a task was given up.
    Failed {
        task: u32,
        round: u32,
    },
    /// Earlier releases: a task ended well in this round, but without items that the upstream does not have.
    Partial {
        task: u32,
        round: u32,
    },
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request => f.write_str("request.json"),
            Self::Started => f.write_str("started.json"),
            Self::Plan => f.write_str("plan.json"),
            Self::PlanFailed { round } => write!(f, "plan.failed.{round}"),
            Self::Sent { round } => write!(f, "plan.sent.{round}"),
            Self::Round(round) => write!(f, "rounds/{round}.json"),
            Self::Cancelled => f.write_str("cancelled.json"),
            Self::Summary => f.write_str("summary.json"),
            Self::Outcomes { piece } => write!(f, "outcomes/{piece:06}"),
            Self::Done { task } => write!(f, "tasks/{task:06}.done"),
            Self::Failed { task, round } => write!(f, "tasks/{task:06}.failed.{round}"),
            Self::Partial { task, round } => write!(f, "tasks/{task:06}.partial.{round}"),
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
        // A number has one spelling, so that no two objects can be the same fact.
        (name.to_string() == text).then_some(name)
    }

    fn parse_numbered(text: &str) -> Option<Self> {
        if let Some(round) = text.strip_prefix("plan.failed.") {
            return Some(Self::PlanFailed { round: round.parse().ok()? });
        }
        if let Some(round) = text.strip_prefix("plan.sent.") {
            return Some(Self::Sent { round: round.parse().ok()? });
        }
        if let Some(round) = text.strip_prefix("rounds/").and_then(|rest| rest.strip_suffix(".json")) {
            return Some(Self::Round(round.parse().ok()?));
        }
        if let Some(piece) = text.strip_prefix("outcomes/") {
            return Some(Self::Outcomes { piece: piece.parse().ok()? });
        }
        let (task, end) = text.strip_prefix("tasks/")?.split_once('.')?;
        let task = task.parse().ok()?;
        match end.split_once('.') {
            Some(("failed", round)) => Some(Self::Failed { task, round: round.parse().ok()? }),
            Some(("partial", round)) => Some(Self::Partial { task, round: round.parse().ok()? }),
            None if end == "done" => Some(Self::Done { task }),
            _ => None,
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
            of(job, Name::Partial { task: 7, round: 1 }),
            of(job, Name::Sent { round: 1 }),
            of(job, Name::Outcomes { piece: 7 }),
            retry(job, 1),
            idempotency("POST /v1/jobs", Some("nightly"), "buses", "monday"),
            unscoped_idempotency("buses", "monday"),
            definition("buses", "abc"),
        ];
        insta::assert_snapshot!(keys.join("\n"), @r"
        jobs/2024-05-01/018f3253-7a40-7c21-9d5e-6b1f0a2c4e88/request.json
        jobs/2024-05-01/018f3253-7a40-7c21-9d5e-6b1f0a2c4e88/plan.failed.1
        jobs/2024-05-01/018f3253-7a40-7c21-9d5e-6b1f0a2c4e88/tasks/000007.done
        jobs/2024-05-01/018f3253-7a40-7c21-9d5e-6b1f0a2c4e88/tasks/1234567.failed.12
        jobs/2024-05-01/018f3253-7a40-7c21-9d5e-6b1f0a2c4e88/tasks/000007.partial.1
        jobs/2024-05-01/018f3253-7a40-7c21-9d5e-6b1f0a2c4e88/plan.sent.1
        jobs/2024-05-01/018f3253-7a40-7c21-9d5e-6b1f0a2c4e88/outcomes/000007
        retries/018f3253-7a40-7c21-9d5e-6b1f0a2c4e88.1
        keys/8c1f3b08c3eceb0065082f7f75276ed083c7bf52d36b7ff32e31b6ac071910bd.json
        keys/59e4d49dca7b7d9ef4de873a036c5d210868de6e64ada10fc068abf55f766128.json
        sources/buses/abc.toml
        ");
    }

    #[test]
    fn unknown_object_names_are_ignored() {
        for name in [
            "",
            "tasks/",
            "tasks/1.done",
            "tasks/000001.done.bak",
            "tasks/+00001.done",
            "rounds/01.json",
            "x.json",
            "tasks/000001.failed.01",
            "tasks/000001.running",
        ] {
            assert_eq!(Name::parse(name), None, "{name}");
        }
        let job: JobId = "018f3253-7a40-7c21-9d5e-6b1f0a2c4e88".parse().unwrap();
        assert_eq!(parse_retry(&retry(job, 12)), Some((job, 12)));
        assert_eq!(parse_retry(&format!("retries/{job}.012")), None);
    }

    proptest! {
        #[test]
        fn a_name_is_read_back_as_written(task: u32, round: u32) {
            for name in [
                Name::Request, Name::Started, Name::Plan, Name::Cancelled, Name::Summary, Name::Round(round),
                Name::PlanFailed { round }, Name::Sent { round }, Name::Done { task }, Name::Failed { task, round },
                Name::Partial { task, round }, Name::Outcomes { piece: task },
            ] {
                prop_assert_eq!(Name::parse(&name.to_string()), Some(name));
            }
        }
    }
}
