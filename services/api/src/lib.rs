//! Jobs over HTTP: submit, watch, list, retry, cancel; and the sources.
//!
//! A request is checked, the ledger is asked, and its answer becomes a response. The process keeps no state of a job.

mod clients;
mod error;
mod id;
mod metrics;
mod responses;
mod routes;
mod submit;
mod wait;

pub use clients::weather::WeatherApi;
pub use metrics::Metrics;
pub use routes::JobsApi;
