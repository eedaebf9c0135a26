//! A job's state, derived from the objects that are there.

pub(crate) mod listing;
pub(crate) mod progress;
pub(crate) mod status;
pub(crate) mod tasks;
