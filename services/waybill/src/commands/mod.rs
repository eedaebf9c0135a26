//! The commands that run on their own.

pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod key;
pub(crate) mod upstream;
