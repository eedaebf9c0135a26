//! Changes of a job. Each is one fact, and a message that may be lost.

pub(crate) mod cancel;
pub(crate) mod expire;
pub(crate) mod plan;
pub(crate) mod publish;
pub(crate) mod retry;
pub(crate) mod seal;
pub(crate) mod submit;
pub mod task_items;
pub(crate) mod upload;
