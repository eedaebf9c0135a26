//! Objects in data/: listed, and looked into where their names do not decide which of them counts.

use std::{collections::HashMap, pin::pin};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use waybill_source::{Fetch, ObjectName, ObjectVersions, Verdict};
use waybill_store::{Head, Store, StoreError};

use crate::JobId;

/// HEADs side by side.
const AT_ONCE: usize = 16;

/// The metadata name of the time that decides between two fetches of an item, as
/// [`ObjectVersions::judge`] wants it.
pub const AS_OF: &str = "as-of";

/// What is known of an item's objects.
#[derive(Debug, Default)]
pub struct Survey {
    /// Which of them counts, and which do not.
    pub verdict: Verdict,
    /// The heads of what counts, in the order of its keys.
    pub heads: Vec<Head>,
    /// When the last fetch of all began, complete and readable or not.
    pub latest: Option<Timestamp>,
    /// The latest [`as_of`] of all that are readable, complete or not.
    pub as_of: Option<Timestamp>,
}

impl Survey {
    /// What counts, and its heads.
    pub fn newest(self) -> Option<(Fetch, Vec<Head>)> {
        self.verdict.newest.map(|fetch| (fetch, self.heads))
    }
}

/// When what an object holds was asked for; `None` where its metadata is not a worker's.
pub fn as_of(metadata: &HashMap<String, String>) -> Option<Timestamp> {
    let submitted = metadata.get("job")?.parse::<JobId>().ok()?.submitted();
    let is_whole = metadata.contains_key("sha256") && metadata.contains_key("definition");
    is_whole.then(|| metadata.get(AS_OF).and_then(|time| time.parse().ok()).unwrap_or(submitted))
}

/// Every object's name below a prefix, of those that `wanted` lets through.
async fn names(
    store: &Store,
    prefix: &str,
    wanted: impl Fn(&ObjectName) -> bool,
) -> Result<Vec<ObjectName>, StoreError> {
    let mut names = Vec::new();
    let mut pages = pin!(store.pages(prefix));
    while let Some(page) = pages.try_next().await? {
        names.extend(page.iter().filter_map(|entry| ObjectName::parse(&entry.key)).filter(&wanted));
    }
    Ok(names)
}

/// Looks into an item's objects; `None` where one of them is gone, since something newer has come.
pub async fn survey(store: &Store, versions: &ObjectVersions) -> Result<Option<Survey>, StoreError> {
    let heads: Vec<_> = stream::iter(versions.keys().collect::<Vec<_>>())
        .map(async |key| Ok::<_, StoreError>((store.head(&key).await?, key)))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let mut known = HashMap::new();
    for (head, key) in heads {
        let Some(head) = head else { return Ok(None) };
        known.insert(key, head);
    }
    let verdict = versions.judge(|key| as_of(&known.get(key)?.metadata));
    let latest_as_of = known.values().filter_map(|head| as_of(&head.metadata)).max();
    let keys = verdict.newest.iter().flat_map(|fetch| &fetch.keys);
    let heads = keys.filter_map(|key| known.remove(key)).collect();
    Ok(Some(Survey { verdict, heads, latest: versions.latest(), as_of: latest_as_of }))
}

/// Lists an item's objects and looks into them. `prefix` is as [`waybill_source::item_prefix`] makes it.
pub async fn survey_item(store: &Store, prefix: &str, item: &str) -> Result<Survey, StoreError> {
    loop {
        if let Some(survey) = survey(store, &list_item(store, prefix, item).await?).await? {
            return Ok(survey);
        }
    }
}

async fn list_item(store: &Store, prefix: &str, item: &str) -> Result<ObjectVersions, StoreError> {
    // The prefix `a.` also begins the names of an item `a.b`.
    let mut versions = ObjectVersions::default();
    names(store, prefix, |name| name.item == item).await?.into_iter().for_each(|name| versions.add(name));
    Ok(versions)
}

/// The fetches that count of all items below a prefix.
pub async fn newest_below(store: &Store, prefix: &str) -> Result<Vec<Fetch>, StoreError> {
    'list: loop {
        let mut newest = Vec::new();
        for versions in ObjectVersions::by_item(names(store, prefix, |_| true).await?).into_values() {
            if let Some(only) = versions.only() {
                newest.push(only);
                continue;
            }
            let Some(survey) = survey(store, &versions).await? else { continue 'list };
            newest.extend(survey.verdict.newest);
        }
        return Ok(newest);
    }
}
