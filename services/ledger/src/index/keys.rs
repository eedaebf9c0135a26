//! The keys of the index, beside those of the journals in it.

/// Where a source's months lie below `journal/{source}/`.
pub(super) const FOLDER: &str = "index/";
/// The object that says that the index holds whatever is in data/. It sorts after all months.
const BUILT: &str = "built.json";

/// The folder of a source's index.
pub(super) fn folder(source: &str) -> String {
    format!("journal/{source}/{FOLDER}")
}

/// The key of [`super::Built`].
pub(super) fn built_key(source: &str) -> String {
    format!("{}{BUILT}", folder(source))
}

/// The source and the month of an object of a journal; no month where it says that the index is built.
pub(super) fn place(key: &str) -> Option<(&str, Option<&str>)> {
    let (source, rest) = key.strip_prefix("journal/")?.split_once('/')?;
    let rest = rest.strip_prefix(FOLDER)?;
    match rest.split_once('/') {
        Some((month, _)) => Some((source, Some(month))),
        None => (rest == BUILT).then_some((source, None)),
    }
}
