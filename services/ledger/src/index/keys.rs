//! The keys of the index, beside those of the journals in it.

use crate::journals::{self, INDEX};

/// The object that says that the index holds whatever is in data/. It sorts after all months.
const BUILT: &str = "built.json";

/// The folder of a source's index.
pub(super) fn folder(source: &str) -> String {
    journals::folder(source, INDEX)
}

/// The key of [`super::Built`].
pub(super) fn built_key(source: &str) -> String {
    format!("{}{BUILT}", folder(source))
}

/// The month of an object of a source's journals; no month where it says that the index is built.
pub(super) fn place<'a>(source: &str, key: &'a str) -> Option<Option<&'a str>> {
    let rest = key.strip_prefix(&folder(source))?;
    match rest.split_once('/') {
        Some((month, _)) => Some(Some(month)),
        None => (rest == BUILT).then_some(None),
    }
}
