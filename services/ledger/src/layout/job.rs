//! What is known of a job: its request, its plan, and how its tasks and its planning ended.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use waybill_source::{Item, JobContext, Params};

use crate::{
    JobId,
    layout::{keys, upload::Upload},
};

/// `jobs/{day}/{job}/request.json`: from here on the job exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The job.
    pub job: JobId,
    /// The source's name.
    pub source: String,
    /// The parameters.
    pub params: Params,
    /// The definition's hash; its text is in `sources/{name}/{hash}.toml`.
    pub definition: String,
    /// The upload whose rows are the job's items, or that is loaded, where the source takes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<Upload>,
    /// The client's own name for the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// The route that the idempotency key came by; none of earlier releases, whose keys were not scoped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The name of the API key that submitted it; none where no keys are set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it was accepted.
    pub created: Timestamp,
}

impl Request {
    /// What is known of a request that cannot be read.
    pub(crate) fn unreadable(job: JobId) -> Self {
        Self {
            job,
            source: String::new(),
            params: Params::default(),
            definition: String::new(),
            upload: None,
            idempotency_key: None,
            route: None,
            by: None,
            created: job.submitted(),
        }
    }

    /// The job as templates see it.
    pub fn context(&self) -> JobContext {
        let (id, date) = (self.job.to_string(), self.job.day().to_string());
        JobContext { id, date, params: self.params.clone() }
    }

    /// The object that leads from the idempotency key to the job, if there is a key.
    pub(crate) fn key_object(&self) -> Option<String> {
        let key = self.idempotency_key.as_deref()?;
        Some(match &self.route {
            Some(route) => keys::idempotency(route, self.by.as_deref(), &self.source, key),
            None => keys::unscoped_idempotency(&self.source, key),
        })
    }
}

/// `plan.json`: the tasks, each with its items. A task's number is its place in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// When the planning was done.
    pub planned: Timestamp,
    /// The items of each task; none of a load.
    pub tasks: Vec<Vec<Item>>,
}

impl Plan {
    /// The items of a task that loads the job's upload into the source's table.
    pub const LOAD: Vec<Item> = Vec::new();

    /// Whether a task with these items is a load. Every other task has an item.
    pub fn is_load(items: &[Item]) -> bool {
        items.is_empty()
    }
}

/// How a task ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// A new object was stored.
    Stored,
    /// The upstream has what is stored already.
    Unchanged,
}

/// A task that ended well. Without missing items it outranks everything else; with them, the failures of its round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// How.
    pub outcome: Outcome,
    /// The item's object in data/, new or as it was; of a load the table's folder.
    pub object: String,
    /// Its size.
    pub bytes: u64,
    /// Its records.
    pub records: u64,
    /// How long the last attempt took.
    pub seconds: f64,
    /// How many attempts it took.
    pub attempts: u32,
    /// When it ended.
    pub finished: Timestamp,
    /// Items of the task that the upstream does not have. They are not in the object, and the job is no full success.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingItem>,
    /// Where the items are rows of an upload, or of a file that was loaded: how they ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Box<RowTally>>,
    /// The report of the rows that a load left out. Small, since there may be an outcome for each of a million tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<Box<str>>,
}

/// Rows of an upload by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RowTally {
    /// Sent, and accepted by the upstream; or loaded.
    pub done: u64,
    /// Failed their checks, or refused by the upstream.
    pub errors: u64,
    /// Sent perhaps: the answer was lost.
    pub unknown: u64,
}

impl RowTally {
    /// Adds those of another task.
    pub(crate) fn add(&mut self, other: &Self) {
        self.done = self.done.saturating_add(other.done);
        self.errors = self.errors.saturating_add(other.errors);
        self.unknown = self.unknown.saturating_add(other.unknown);
    }
}

/// An item that the upstream does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "MissingItemText")]
pub struct MissingItem {
    /// The item's key.
    pub item: String,
    /// What the upstream said of it.
    pub reason: String,
}

impl fmt::Display for MissingItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.item, self.reason)
    }
}

/// As [`MissingItem`] is spelled in the bucket.
#[derive(Deserialize)]
#[serde(untagged)]
enum MissingItemText {
    Fields {
        item: String,
        reason: String,
    },
    /// `item: reason`, as earlier releases wrote it.
    Line(String),
}

impl From<MissingItemText> for MissingItem {
    fn from(text: MissingItemText) -> Self {
        match text {
            MissingItemText::Fields { item, reason } => Self { item, reason },
            MissingItemText::Line(line) => {
                let (item, reason) = line.split_once(": ").unwrap_or((&line, ""));
                Self { item: item.to_owned(), reason: reason.to_owned() }
            }
        }
    }
}

/// A task, or the planning, that was given up in a round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Why, in words.
    pub reason: String,
    /// Where the file and its report are, if it was one that failed its checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<String>,
    /// How many attempts were made.
    pub attempts: u32,
    /// When it was given up.
    pub finished: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layout::keys::Name,
        testing::{Fixture, ROUTE, at, done, failure, id, plan},
    };

    /// These are read by people and by later versions: a change here is a change of the layout.
    #[tokio::test]
    async fn facts_are_stored_as_this_json() {
        let fixture = Fixture::new().await;
        let job = id(0, 7);
        let request = fixture.submit(job, "2024-05-01", Some("monday")).await.unwrap().request;
        fixture.ledger.record_start(job, at(1)).await.unwrap();
        fixture.ledger.record_plan(job, plan(2)).await.unwrap();
        fixture.ledger.record_done(job, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
        let quarantined =
            Failure { quarantine: Some("quarantine/buses/1-city-1.json".to_owned()), ..failure("not JSON", 4) };
        fixture.ledger.record_failure(job, 1, 0, &quarantined).await.unwrap();
        fixture.ledger.status(job).await.unwrap();

        let mut seen = String::new();
        for name in [Name::Request, Name::Plan, Name::Summary] {
            let key = keys::of(job, name);
            let text = fixture.text(&key).await.unwrap().replace(&request.definition, "{definition}");
            seen += &format!("{key}\n{text}");
        }
        insta::assert_snapshot!(seen, @r#"
        jobs/2024-05-01/018f332a-e400-7000-8000-000000000007/request.json
        {"job":"018f332a-e400-7000-8000-000000000007","source":"buses","params":{"date":"2024-05-01"},"definition":"{definition}","idempotency_key":"monday","route":"POST /v1/jobs","created":"2024-05-01T08:00:00Z"}
        jobs/2024-05-01/018f332a-e400-7000-8000-000000000007/plan.json
        {"planned":"2024-05-01T08:00:02Z","tasks":[[{"key":"0-city-0","values":{"city":{"id":0,"name":"City 0"}}}],[{"key":"1-city-1","values":{"city":{"id":1,"name":"City 1"}}}]]}
        jobs/2024-05-01/018f332a-e400-7000-8000-000000000007/summary.json
        {"round":0,"request":{"job":"018f332a-e400-7000-8000-000000000007","source":"buses","params":{"date":"2024-05-01"},"definition":"{definition}","idempotency_key":"monday","route":"POST /v1/jobs","created":"2024-05-01T08:00:00Z"},"state":"partial","started":"2024-05-01T08:00:01Z","finished":"2024-05-01T08:00:04Z","tasks":{"total":2,"pending":0,"stored":1,"unchanged":0,"failed":1,"incomplete":0},"bytes":1000,"records":10,"errors":[{"task":1,"items":["1-city-1"],"failure":{"reason":"not JSON","quarantine":"quarantine/buses/1-city-1.json","attempts":3,"finished":"2024-05-01T08:00:04Z"}}]}
        "#);
        let key = fixture.text(&keys::idempotency(ROUTE, None, "buses", "monday")).await;
        assert_eq!(key, fixture.text(&keys::of(job, Name::Request)).await);
    }

    #[test]
    fn missing_items_of_earlier_releases_are_read() {
        let read = |json| serde_json::from_str::<Vec<MissingItem>>(json).unwrap();
        let item = MissingItem { item: "7".to_owned(), reason: "404: not here".to_owned() };
        let now = serde_json::to_string(&[&item]).unwrap();
        assert_eq!([read(r#"["7: 404: not here"]"#), read(&now)], [[item.clone()], [item]]);
    }
}
