//! Extractors: bodies, queries, parameters.

pub(crate) mod body_limit;
pub(crate) mod json_body;
pub(crate) mod preference;
pub(crate) mod query;
pub(crate) mod unchecked_params;
