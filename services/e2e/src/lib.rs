//! Whole-system tests: real processes, the same scenarios in one process and as separate services.
//!
//! Nothing here reaches into a process: a scenario sees what a user sees, HTTP, the command line and
//! the bucket.

mod bucket;
mod chaos;
mod collector;
mod exposition;
mod fault;
mod process;
mod proxy;
mod reference;
mod system;
mod tools;

pub use bucket::Bucket;
pub use chaos::{Chaos, Report};
pub use collector::{Collector, Span};
pub use exposition::{Exposition, Named, Sample, grouped, named};
pub use fault::Fault;
pub use process::{Process, binary, run};
pub use proxy::{Proxy, Weather};
pub use reference::reference_country_stats;
pub use system::{Mode, Proxies, System};
pub use tools::{rabbitmqctl, required, wait_until, weather_definition};
