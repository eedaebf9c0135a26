//! Applies a definition to a job: items, requests and keys.

pub(crate) mod batch_match;
pub(crate) mod calendar;
pub(crate) mod inline_items;
pub(crate) mod listing;
pub(crate) mod mark;
pub(crate) mod names;
pub(crate) mod pager;
pub(crate) mod requests;
pub(crate) mod signs;
pub(crate) mod windows;
