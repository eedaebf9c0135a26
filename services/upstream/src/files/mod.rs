//! Files of any size, as functions of a seed.

pub(crate) mod content;
pub(crate) mod file;
pub(crate) mod mix;
pub(crate) mod pool;
pub(crate) mod spoil;
