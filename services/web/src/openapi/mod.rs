//! What poem-openapi leaves to us: errors as problems, and methods that a path lacks.

pub(crate) mod error_mapping;
pub(crate) mod method_not_allowed;
