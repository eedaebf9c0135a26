//! What every HTTP service here has: problems (RFC 9457), probes, limits on what comes in, a way to stop.
//!
//! The services above own their routes; this room knows none of them.

mod probes;
mod problem;
mod serve;

pub use probes::{Check, Probes};
pub use problem::Problem;
pub use serve::{app, serve};
