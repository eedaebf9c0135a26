//! What every HTTP service here has: problems (RFC 9457), probes, API keys, TLS, limits on what comes in, a way to
//! stop.
//!
//! The services above own their routes; this room knows none of them.

mod access;
mod allow;
mod body;
mod convert;
mod etag;
mod frame;
mod guard;
mod headers;
mod intake;
mod keys;
mod listen;
mod metrics;
mod patient;
mod probes;
mod problem;
mod query;
mod rate;
mod seats;
mod text;
mod tls;

pub use access::Caller;
pub use body::JsonBody;
pub use etag::matches;
pub use frame::{Front, app};
pub use keys::{KeyError, KeySettings, Keys, NewKey, RateSettings, Scope};
pub use listen::{Serving, serve};
pub use metrics::Metrics;
pub use patient::Patience;
pub use probes::{Check, Probes};
pub use problem::{Details, Problem, quoted};
pub use query::known_query;
pub use text::{Date, Id};
pub use tls::{Tls, TlsError};
