//! The housekeeper and its garbage collection.

pub(crate) mod garbage;
pub(crate) mod housekeeper;
