//! The loops that take messages from the queues.

pub(crate) mod serial;
pub(crate) mod source;
