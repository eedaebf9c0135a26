//! The housekeeper, its garbage collection, and the journals.

pub(crate) mod garbage;
pub(crate) mod housekeeper;
pub(crate) mod journals;
