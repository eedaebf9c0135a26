//! Views of jobs, derived from their objects: state, numbers, tasks, lists.

pub(crate) mod listing;
pub(crate) mod mark;
pub(crate) mod status;
pub(crate) mod tasks;
pub(crate) mod unfinished;
