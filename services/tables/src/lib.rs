//! Records kept by key in Delta Lake, and asked in SQL. Other engines read the same tables in the bucket.

mod bucket;
mod delta;
mod errors;
mod load;
mod routes;
pub mod sql;
mod system;
mod tables;

pub use datafusion::{catalog::TableProvider, common::DataFusionError};
pub use delta::maintain::Maintained;
pub use errors::{LoadError, Refused, TableError};
pub use load::{Loaded, rejects::Rejected};
pub use routes::QueryApi;
pub use system::SystemTables;
pub use tables::Tables;
