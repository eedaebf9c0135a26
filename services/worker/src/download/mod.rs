//! Requests to upstreams, and the bodies they answer with.

pub(crate) mod body;
pub(crate) mod client;
pub(crate) mod content_encoding;
pub(crate) mod fetch;
pub(crate) mod model;
pub(crate) mod pages;
pub(crate) mod refusal;
pub(crate) mod scan_sink;
pub(crate) mod spool;
