//! An object's metadata: its statistics, and where it came from.
//!
//! A store takes 2 KB in all. What the statistics and the next fetch need comes first; what is only for
//! people comes after, and is cut, the same way every time.

use waybill_ledger::{JobId, data};
use waybill_source::{Definition, Item, Scanned};

use crate::{download::model::Validators, task::object_versions::Begun};

/// The limit is 2,048 bytes; some stores count the names' `x-amz-meta-` too, which is left to them here.
const ROOM: usize = 2_000;
/// The longest text for people, in characters and in encoded bytes.
const TEXT_CHARS: usize = 200;
const TEXT_BYTES: usize = 600;

/// What an object came from.
#[derive(Debug)]
pub(crate) struct Provenance<'a> {
    pub(crate) definition: &'a Definition,
    pub(crate) job: JobId,
    /// The item's key, or the one that stands for several.
    pub(crate) item: &'a str,
    pub(crate) items: &'a [Item],
    /// Of the request, without its query.
    pub(crate) path: &'a str,
    pub(crate) begun: Begun,
    pub(crate) sha256: &'a str,
    pub(crate) bytes: u64,
    pub(crate) validators: &'a Validators,
    /// Answers that it was made of, where there may be several.
    pub(crate) pages: Option<u64>,
}

/// Names and values of an object that holds `scanned`.
pub(crate) fn metadata(from: &Provenance<'_>, scanned: &Scanned) -> Vec<(String, String)> {
    let mut all = Metadata { pairs: from.definition.statistics().to_metadata(&scanned.totals), room: ROOM };
    all.room = all.pairs.iter().fold(ROOM, |room, (name, value)| room.saturating_sub(size(name, value)));
    all.push("records", scanned.records.to_string());
    all.push("bytes", from.bytes.to_string());
    all.push("sha256", from.sha256.to_owned());
    all.push("definition", from.definition.hash().to_owned());
    all.push("fetched-at", from.begun.at.to_string());
    all.push(data::AS_OF, from.begun.as_of.to_string());
    all.push("source", from.definition.name().to_owned());
    all.push("job", from.job.to_string());
    // A validator that is cut is a wrong one.
    for (name, validator) in [("etag", &from.validators.etag), ("last-modified", &from.validators.last_modified)] {
        if let Some(validator) = validator.as_ref().filter(|it| it.len() <= TEXT_CHARS) {
            all.push(name, validator.clone());
        }
    }
    if let [item] = from.items
        && let Some(to) = from.definition.window_end(item)
    {
        all.push("window-to", to.to_owned());
    }
    if let Some(pages) = from.pages {
        all.push("pages", pages.to_string());
    }
    all.push("item", cut(from.item));
    all.push("url-path", cut(from.path));
    let [item] = from.items else {
        all.push("items", from.items.len().to_string());
        return all.pairs;
    };
    let only_level = item.values.len() == 1;
    for (level, fields) in &item.values {
        for (field, value) in fields {
            let name = if only_level { format!("item-{field}") } else { format!("item-{level}-{field}") };
            let text = match value {
                serde_json::Value::Null => continue,
                serde_json::Value::String(text) => cut(text),
                other => cut(&other.to_string()),
            };
            all.push(&header_name(&name), text);
        }
    }
    all.pairs
}

struct Metadata {
    pairs: Vec<(String, String)>,
    room: usize,
}

impl Metadata {
    /// Adds a pair that fits and whose name is new.
    fn push(&mut self, name: &str, value: String) {
        let size = size(name, &value);
        if size <= self.room && self.pairs.iter().all(|(known, _)| known != name) {
            self.room -= size;
            self.pairs.push((name.to_owned(), value));
        }
    }
}

/// On the wire: everything but plain ASCII is percent-encoded.
fn size(name: &str, value: &str) -> usize {
    name.len() + value.bytes().map(encoded).sum::<usize>()
}

fn encoded(byte: u8) -> usize {
    if byte.is_ascii_graphic() && byte != b'%' { 1 } else { 3 }
}

fn cut(text: &str) -> String {
    let mut room = TEXT_BYTES;
    let fits = |c: &char| {
        let size = c.encode_utf8(&mut [0; 4]).bytes().map(encoded).sum();
        room.checked_sub(size).inspect(|left| room = *left).is_some()
    };
    text.chars().take(TEXT_CHARS).take_while(fits).collect()
}

fn header_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("Saint Kitts & Nevis"), "Saint Kitts & Nevis");
        assert_eq!(cut(&"x".repeat(300)).len(), 200);
        assert_eq!(cut(&"🚌".repeat(300)), "🚌".repeat(50));
        assert_eq!(cut(&"é".repeat(300)), "é".repeat(100));
    }

    #[test]
    fn names_are_header_names() {
        assert_eq!(header_name("item-Straßen Name_1"), "item-stra-en-name-1");
    }
}
