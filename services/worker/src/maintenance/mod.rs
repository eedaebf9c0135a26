//! The housekeeper, its garbage collection, the journals, and the counts of requests.

pub(crate) mod garbage;
pub(crate) mod hits;
pub(crate) mod housekeeper;
pub(crate) mod journals;
pub(crate) mod tables;
