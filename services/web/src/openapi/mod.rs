//! Additions to poem-openapi: errors as problems, and 405 answers that list the allowed methods.

pub(crate) mod error_mapping;
pub(crate) mod method_not_allowed;
