//! The files of counts: their names, what they cover, their format, and which of them count.

pub(crate) mod covers;
pub(crate) mod encoder;
pub(crate) mod listing;
pub(crate) mod merge;
pub(crate) mod name;
pub(crate) mod open_file;
pub(crate) mod visible;

/// Where all files lie.
pub(crate) const ROOT: &str = "hits/";
