//! Routes that existing clients rely on; their shapes are fixed.

pub(crate) mod hits;
pub(crate) mod relay;
pub(crate) mod weather;
