//! What lies in the bucket: keys, names, and the objects behind them.

pub(crate) mod facts;
pub(crate) mod id;
pub(crate) mod job;
pub(crate) mod keys;
pub(crate) mod objects;
pub(crate) mod walk;
