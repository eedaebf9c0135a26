//! What every HTTP service here has: problems (RFC 9457), probes, API keys, TLS, limits on what comes in, the layout of
//! pages, a way to stop.
//!
//! The services above own their routes; this room knows none of them.

mod app;
mod auth;
mod etag;
mod hit_counter;
mod metrics;
mod openapi;
mod pages;
mod probes;
mod problem;
mod request;
mod response_headers;
mod server;

pub use app::{AppConfig, app};
pub use auth::Caller;
pub use auth::api_keys::{ApiKeys, KeyError, KeySettings, NewKey, RateSettings, Scope};
pub use auth::browsers::refuse_foreign;
pub use etag::matches;
pub use hit_counter::HitCounter;
pub use metrics::Metrics;
pub use pages::negotiation::prefers_html;
pub use pages::{NavEntry, Page, Pages};
pub use probes::{Check, Probes, Warnings};
pub use problem::{Details, Problem, quoted};
pub use request::body_limit::Uploads;
pub use request::json_body::JsonBody;
pub use request::preference::{LONGEST_WAIT, preferred_wait};
pub use request::query::known_query;
pub use request::unchecked_params::{Date, Id};
pub use server::timeout_stream::ClientTimeouts;
pub use server::tls::{Tls, TlsError};
pub use server::{Serving, serve};
