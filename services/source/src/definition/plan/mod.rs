//! A definition at work: from a job to its items, requests and keys.

pub(crate) mod batch_match;
pub(crate) mod inline_items;
pub(crate) mod listing;
pub(crate) mod requests;
