//! Jobs over HTTP: submit, watch, list, retry, cancel; and the sources.
//!
//! A request is checked, the ledger is asked, and its answer becomes a response. The process keeps no state of a job.

mod bodies;
mod clients;
mod error;
mod id;
mod metrics;
mod receive;
mod responses;
mod routes;
mod submit;
mod wait;

pub use clients::{
    hits::HitsApi,
    relay::{RelayApi, pages},
    weather::WeatherApi,
};
pub use metrics::Metrics;
pub use routes::JobsApi;

/// The paths that files are POSTed to.
pub const UPLOAD_PATHS: &[&str] = &["/v1/jobs", "/v1/uploads", "/api/v1/file"];
