//! Jobs over HTTP: submit, watch, list, retry, cancel; and the sources there are.
//!
//! Nothing slow happens here and nothing is remembered: a request is checked, the ledger is asked, and
//! what it says is put into the words of the API. No state of a job may live in this process.

mod document;
mod id;
mod metrics;
mod moment;
mod pages;
mod routes;
mod sources;
mod submit;
mod tasks;
mod trouble;
mod weather;

pub use metrics::Metrics;
pub use routes::JobsApi;
pub use weather::WeatherApi;
