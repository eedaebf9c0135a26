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

/// The month of an object by its name in the folder; no month where it says that the index is built.
pub(super) fn place(name: &str) -> Option<Option<&str>> {
    match name.split_once('/') {
        Some((month, _)) => Some(Some(month)),
        None => (name == BUILT).then_some(None),
    }
}
