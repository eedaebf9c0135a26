//! The fetches of one item in data/, as seen by a task that fetches the item again: in the index, or in a LIST where the
//! index cannot say. [`waybill_source::ObjectVersions`] says which of them counts.

use jiff::{SignedDuration, Timestamp};
use waybill_ledger::{
    JobId, data,
    index::{self, Fact, IndexedFetch, IndexedObject, Row},
};
use waybill_source::{Fetch, item_prefix};
use waybill_store::{Head, Store, StoreError};

use crate::{delivery::outcome::Object, download::model::Validators};

/// An item's place in data/.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ItemObjects<'a> {
    pub(crate) store: &'a Store,
    pub(crate) source: &'a str,
    pub(crate) partition: &'a str,
    /// The item's key.
    pub(crate) item: &'a str,
}

/// What is stored of an item when a fetch of it begins.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The fetch that counts.
    pub(crate) newest: Option<Existing>,
    /// Whether the index said so, and no LIST.
    pub(crate) is_indexed: bool,
    /// When the last of all fetches began.
    latest: Option<Timestamp>,
    /// The latest `as-of` of all of them.
    as_of: Option<Timestamp>,
}

/// A fetch that is stored.
#[derive(Debug)]
pub(crate) struct Existing {
    pub(crate) keys: Vec<String>,
    pub(crate) fetch: IndexedFetch,
}

/// What decides between a fetch that begins and others of its item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begun {
    /// For its name.
    pub(crate) at: Timestamp,
    /// For its metadata.
    pub(crate) as_of: Timestamp,
}

impl ItemObjects<'_> {
    /// What the index says.
    pub(crate) fn of_row(&self, row: &Row) -> Seen {
        let time = |microseconds| Timestamp::from_microsecond(microseconds).ok();
        let newest = row
            .fetch()
            .map(|fetch| Existing { keys: index::object_keys(self.source, self.partition, self.item, &fetch), fetch });
        // A fetch whose objects are gone still says after which time the next one has to begin.
        let last = row.last();
        let latest = last.as_ref().and_then(|fetch| time(fetch.fetched_at));
        Seen { newest, is_indexed: true, latest, as_of: last.and_then(|fetch| time(fetch.as_of)) }
    }

    /// What a LIST and HEADs say.
    pub(crate) async fn look(&self) -> Result<Seen, StoreError> {
        let survey = data::survey_item(self.store, &self.prefix(), self.item).await?;
        let (latest, as_of) = (survey.latest, survey.as_of);
        Ok(Seen { newest: survey.newest().and_then(Existing::new), is_indexed: false, latest, as_of })
    }

    fn prefix(&self) -> String {
        item_prefix(self.source, self.partition, self.item)
    }

    /// What a LIST and HEADs say counts, and the keys of what it supersedes, whosever that is.
    pub(crate) async fn judge(&self) -> Result<(Option<Existing>, Vec<String>), StoreError> {
        let mut survey = data::survey_item(self.store, &self.prefix(), self.item).await?;
        let superseded = std::mem::take(&mut survey.verdict.superseded);
        Ok((survey.newest().and_then(Existing::new), superseded))
    }
}

impl Seen {
    /// A fetch of this job that begins now. It stands above all that is seen: its time is after theirs, so that a
    /// clock that jumped back cannot hide new data behind old, in whole microseconds, as in names.
    pub(crate) fn begin(&self, now: Timestamp, job: JobId) -> Begun {
        let after = self.latest.and_then(|latest| latest.checked_add(SignedDuration::from_micros(1)).ok());
        let at = after.map_or(now, |after| after.max(now));
        let at = Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at);
        Begun { at, as_of: self.as_of.map_or(job.submitted(), |seen| seen.max(job.submitted())) }
    }
}

impl Existing {
    /// A fetch with its objects' heads; `None` where their metadata is not a worker's.
    pub(crate) fn new((fetch, heads): (Fetch, Vec<Head>)) -> Option<Self> {
        let Fact::Stored(indexed) = index::stored(&fetch, &heads)?.fact? else { return None };
        Some(Self { keys: fetch.keys, fetch: indexed })
    }

    /// Whether its checks and statistics are those of this definition.
    pub(crate) fn is_of(&self, definition: &str) -> bool {
        self.fetch.objects.iter().all(|object| object.definition == definition)
    }

    /// Whether its objects are these files, by their SHA-256.
    pub(crate) fn has_bytes(&self, sha256: &[&str]) -> bool {
        self.fetch.objects.iter().map(|object| object.sha256.as_str()).eq(sha256.iter().copied())
    }

    /// Whether it is of the same window of time, and of more of it.
    pub(crate) fn reaches_beyond(&self, window_end: &str) -> bool {
        self.fetch.objects.iter().all(|object| object.window_to.as_str() > window_end)
    }

    pub(crate) fn is_by(&self, job: JobId) -> bool {
        let job = job.to_string();
        self.fetch.objects.iter().all(|object| object.job == job)
    }

    /// As an outcome names it.
    pub(crate) fn object(&self) -> Object {
        let sum = |of: fn(&IndexedObject) -> u64| self.fetch.objects.iter().map(of).sum();
        let key = self.keys.first().cloned().unwrap_or_default();
        Object {
            key,
            bytes: sum(|object| object.bytes),
            records: sum(|object| object.records),
            missing: Vec::new(),
            rows: None,
            quarantine: None,
        }
    }

    /// What the upstream said of its only file.
    pub(crate) fn validators(&self) -> Validators {
        let text = |of: fn(&IndexedObject) -> &String| {
            self.fetch.objects.first().map(of).filter(|text| !text.is_empty()).cloned()
        };
        Validators { etag: text(|object| &object.etag), last_modified: text(|object| &object.last_modified) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "018f3253-7a40-7c21-9d5e-6b1f0a2c4e88";

    fn begin(seen: Seen) -> Begun {
        seen.begin("2024-05-01T08:00:00.000001999Z".parse().unwrap(), JOB.parse().unwrap())
    }

    #[test]
    fn a_clock_that_jumped_back_does_not_hide_new_data() {
        let at = |latest: Option<&str>| {
            begin(Seen { latest: latest.map(|latest| latest.parse().unwrap()), ..Seen::default() }).at.to_string()
        };
        assert_eq!(at(None), "2024-05-01T08:00:00.000001Z");
        for (latest, expected) in [
            ("2023-01-01T00:00:00Z", "2024-05-01T08:00:00.000001Z"),
            ("2024-05-01T08:00:00.000001Z", "2024-05-01T08:00:00.000002Z"),
            ("2031-01-01T00:00:00Z", "2031-01-01T00:00:00.000001Z"),
        ] {
            assert_eq!(at(Some(latest)), expected);
        }
    }

    #[test]
    fn a_fetch_takes_over_the_later_submission_of_what_it_has_seen() {
        let submitted = JOB.parse::<JobId>().unwrap().submitted();
        for (seen, expected) in [(-1, submitted), (1, submitted + SignedDuration::from_secs(1))] {
            let as_of = Some(submitted + SignedDuration::from_secs(seen));
            assert_eq!(begin(Seen { as_of, ..Seen::default() }).as_of, expected);
        }
    }
}
