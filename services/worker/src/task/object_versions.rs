//! The fetches of one item in data/: the newest is the one that counts, older ones are removed.
//!
//! Nothing here may look at a clock to say which is newer: names decide, the same way for every reader.

use jiff::{SignedDuration, Timestamp};
use waybill_source::ObjectName;
use waybill_store::{Head, Store, StoreError};

use crate::{delivery::outcome::Object, download::fetch::Validators};

/// More fetches of one item than crashes and races can ever leave behind.
const MOST: usize = 1_000;

/// An item's place in data/.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ObjectVersions<'a> {
    pub(crate) store: &'a Store,
    /// As [`waybill_source::item_prefix`] makes it.
    pub(crate) prefix: &'a str,
    /// The item's key.
    pub(crate) item: &'a str,
}

/// A fetch that is stored.
#[derive(Debug)]
pub(crate) struct Existing {
    pub(crate) name: ObjectName,
    pub(crate) head: Head,
}

impl ObjectVersions<'_> {
    /// All of them, oldest first.
    async fn list(&self) -> Result<Vec<ObjectName>, StoreError> {
        let entries = self.store.list(self.prefix, None, MOST).await?;
        let names = entries.iter().filter_map(|entry| ObjectName::parse(&entry.key));
        // The prefix `a.` also begins the names of an item `a.b`.
        let mut names: Vec<_> = names.filter(|name| name.item == self.item).collect();
        names.sort_by_cached_key(ObjectName::key);
        Ok(names)
    }

    /// The one that counts, if there is any.
    pub(crate) async fn newest(&self) -> Result<Option<Existing>, StoreError> {
        while let Some(name) = self.list().await?.pop() {
            if let Some(head) = self.store.head(&name.key()).await? {
                return Ok(Some(Existing { name, head }));
            }
            // Removed since, so there is a newer one.
        }
        Ok(None)
    }

    /// Removes all but the newest, whosever it is, and returns its key. It was committed whole, so that no
    /// reader misses anything.
    pub(crate) async fn remove_older(&self) -> Result<Option<String>, StoreError> {
        let mut names = self.list().await?;
        let newest = names.pop().map(|name| name.key());
        let older: Vec<_> = names.iter().map(ObjectName::key).collect();
        if !older.is_empty() {
            self.store.delete(&older).await?;
        }
        Ok(newest)
    }
}

impl Existing {
    fn get(&self, name: &str) -> Option<&str> {
        self.head.metadata.get(name).map(String::as_str)
    }

    /// Whether its checks and statistics are those of this definition.
    pub(crate) fn is_of(&self, definition: &str) -> bool {
        self.get("definition") == Some(definition)
    }

    pub(crate) fn has_bytes(&self, sha256: &str) -> bool {
        self.get("sha256") == Some(sha256)
    }

    pub(crate) fn is_by(&self, job: &str) -> bool {
        self.get("job") == Some(job)
    }

    /// As an outcome names it.
    pub(crate) fn object(&self) -> Object {
        Object { key: self.name.key(), bytes: self.head.size, records: self.records(), missing: Vec::new() }
    }

    fn records(&self) -> u64 {
        self.get("records").and_then(|records| records.parse().ok()).unwrap_or_default()
    }

    pub(crate) fn validators(&self) -> Validators {
        let text = |name| self.get(name).map(str::to_owned);
        Validators { etag: text("etag"), last_modified: text("last-modified") }
    }
}

/// When a fetch that begins now counts as begun: after the newest there is, so that a clock that jumped
/// back cannot hide new data behind old. Whole microseconds, as in names.
pub(crate) fn fetch_time(now: Timestamp, newest: Option<&ObjectName>) -> Timestamp {
    let after = newest.and_then(|newest| newest.fetched_at.checked_add(SignedDuration::from_micros(1)).ok());
    let time = after.map_or(now, |after| after.max(now));
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use waybill_source::Format;

    use super::*;

    #[test]
    fn a_clock_that_jumped_back_does_not_hide_new_data() {
        let now: Timestamp = "2024-05-01T08:00:00.000001999Z".parse().unwrap();
        assert_eq!(fetch_time(now, None).to_string(), "2024-05-01T08:00:00.000001Z");
        for (newest, expected) in [
            ("2023-01-01T00:00:00Z", "2024-05-01T08:00:00.000001Z"),
            ("2024-05-01T08:00:00.000001Z", "2024-05-01T08:00:00.000002Z"),
            ("2031-01-01T00:00:00Z", "2031-01-01T00:00:00.000001Z"),
        ] {
            let newest = ObjectName::new("s", "p=1", "i", newest.parse().unwrap(), &"a".repeat(64), Format::Json);
            assert_eq!(fetch_time(now, Some(&newest)).to_string(), expected);
        }
    }
}
