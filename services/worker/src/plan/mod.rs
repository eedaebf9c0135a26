//! Planning: which items a job has, and how they become tasks.

pub(crate) mod listing;
pub(crate) mod planner;
pub(crate) mod upload;
