//! The object store: aws-sdk-s3 against any S3, and the embedded S3 that needs no server.
//!
//! Everything above this room reads and writes through [`Store`]. Which S3 is behind it is decided once,
//! by whether it was made with [`Store::connect`] or [`Embedded::open`]. Nothing but this crate names the
//! AWS SDK, and no caller may assume more of a store than: a PUT is atomic, per-key reads are
//! consistent, LIST is sorted, and (where [`Store::refuses_overwrites`]) create-only is honoured.

pub mod embedded;
mod errors;
mod metadata;
mod metrics;
mod s3;

pub use embedded::Embedded;
pub use errors::StoreError;
pub use metrics::Metrics;
pub use s3::{Created, Entry, Head, S3Settings, Store, Upload, UploadBody};
