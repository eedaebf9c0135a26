//! The commands that run on their own.

pub(crate) mod check;
#[cfg(feature = "upstream")]
pub(crate) mod demo;
pub(crate) mod index;
pub(crate) mod key;
#[cfg(feature = "upstream")]
pub(crate) mod upstream;
