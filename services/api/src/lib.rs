//! Jobs over HTTP: submit, watch, list, retry, cancel; and the sources.
//!
//! A request is checked, the ledger is asked, and its answer becomes a response. The process keeps no state of a job.

mod bodies;
mod clients;
mod error;
mod id;
mod load_check;
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
use waybill_web::Uploads;

/// The routes that files are POSTed to.
pub fn uploads() -> Uploads {
    Uploads {
        paths: &["/v1/jobs", "/v1/uploads", "/api/v1/file"],
        // On the others it is a request.
        json_paths: &["/v1/uploads"],
        ..Uploads::default()
    }
}
