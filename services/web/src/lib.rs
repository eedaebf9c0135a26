//! What every HTTP service here has: problems (RFC 9457), probes, limits on what comes in, a way to stop.
//!
//! The services above own their routes; this room knows none of them.

mod allow;
mod body;
mod convert;
mod etag;
mod guard;
mod metrics;
mod probes;
mod problem;
mod query;
mod serve;
mod text;

pub use body::JsonBody;
pub use etag::matches;
pub use metrics::Metrics;
pub use probes::{Check, Probes};
pub use problem::{Details, Problem, quoted};
pub use query::known_query;
pub use serve::{Front, app, serve};
pub use text::{Date, Id};
