//! Jobs over HTTP: submit, watch, list, retry, cancel; and the sources there are.
//!
//! Nothing slow happens here and nothing is remembered: a request is checked, the ledger is asked, and
//! what it says is put into the words of the API. No state of a job may live in this process.

mod clients;
mod error;
mod id;
mod metrics;
mod responses;
mod routes;
mod submit;

pub use clients::weather::WeatherApi;
pub use metrics::Metrics;
pub use routes::JobsApi;
