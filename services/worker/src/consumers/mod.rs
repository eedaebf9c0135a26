//! The loops that take messages from the queues.

pub(crate) mod plans;
pub(crate) mod source;
