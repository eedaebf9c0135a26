//! Entries, made of what a worker stored or what a LIST and HEADs show.

use std::collections::HashMap;

use jiff::{Timestamp, civil::Date};
use waybill_source::{Fetch, ObjectName, is_provenance, item_prefix};
use waybill_store::Head;

use crate::{
    data,
    index::proto::{self, Entry, entry::Fact},
};

/// The journal that a partition's rows are in: its month, `2024-05`; `all` where it has no date.
pub fn month_of(partition: &str) -> String {
    let date = partition.split('/').find_map(|part| part.strip_prefix("date=")?.parse::<Date>().ok());
    date.map_or_else(|| "all".to_owned(), |date| date.strftime("%Y-%m").to_string())
}

/// That a fetch is stored, of its objects' heads in the order of its keys; `None` where a key is not an object's, or its
/// metadata not a worker's.
pub fn stored(fetch: &Fetch, heads: &[Head]) -> Option<Entry> {
    let mut entry = None;
    let mut objects = Vec::with_capacity(heads.len());
    let mut latest_common = None::<Timestamp>;
    for (key, head) in fetch.keys.iter().zip(heads) {
        let as_of = data::as_of(&head.metadata)?;
        latest_common = Some(latest_common.map_or(as_of, |least| least.min(as_of)));
        let (place, object) = object(key, head)?;
        entry.get_or_insert(place);
        objects.push(object);
    }
    let (partition, item) = entry?;
    let fetch =
        proto::Fetch { as_of: latest_common?.as_microsecond(), fetched_at: fetch.fetched_at.as_microsecond(), objects };
    Some(Entry { partition, item, fact: Some(Fact::Stored(fetch)) })
}

/// The keys of a fetch's objects.
pub fn object_keys(source: &str, partition: &str, item: &str, fetch: &proto::Fetch) -> Vec<String> {
    let prefix = item_prefix(source, partition, item);
    fetch.objects.iter().map(|object| format!("{prefix}{}", object.name)).collect()
}

/// That the objects of a fetch are gone.
pub(super) fn removed(partition: &str, item: &str, fetch: &proto::Fetch) -> Entry {
    let fact = Some(Fact::Removed(fetch.clone()));
    Entry { partition: partition.to_owned(), item: item.to_owned(), fact }
}

/// That an object lies there whose metadata no worker wrote, or does not any more.
pub(super) fn unreadable(partition: &str, item: &str, file: &str, seen_at: Timestamp, is_there: bool) -> Entry {
    let fact = proto::Unreadable { file: file.to_owned(), seen_at: seen_at.as_microsecond(), is_there };
    Entry { partition: partition.to_owned(), item: item.to_owned(), fact: Some(Fact::Unreadable(fact)) }
}

/// An object's partition and item, and what is kept of it.
fn object(key: &str, head: &Head) -> Option<((String, String), proto::Object)> {
    let name = ObjectName::parse(key)?;
    let (_, partition) = name.folder.strip_prefix("data/")?.split_once('/')?;
    let suffix = key.strip_prefix(&name.folder)?.strip_prefix('/')?.strip_prefix(&name.item)?.strip_prefix('.')?;
    let text = |name: &str| head.metadata.get(name).cloned().unwrap_or_default();
    let object = proto::Object {
        name: suffix.to_owned(),
        sha256: text("sha256"),
        bytes: head.size,
        records: text("records").parse().unwrap_or_default(),
        definition: text("definition"),
        job: text("job"),
        statistics: statistics(&head.metadata),
        etag: text("etag"),
        last_modified: text("last-modified"),
        window_to: text("window-to"),
    };
    Some(((partition.to_owned(), name.item), object))
}

/// `name=value`, one a line, in order of names.
fn statistics(metadata: &HashMap<String, String>) -> String {
    let mut lines: Vec<_> = metadata
        .iter()
        .filter(|(name, value)| !is_provenance(name) && !value.contains('\n'))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    lines.sort_unstable();
    lines.join("\n")
}
