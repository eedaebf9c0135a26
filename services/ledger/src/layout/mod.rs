//! The layout of the bucket: object keys, and the facts behind them.

pub(crate) mod id;
pub(crate) mod job;
pub(crate) mod keys;
pub(crate) mod objects;
pub(crate) mod upload;
pub(crate) mod walk;
