//! Statistics over HTTP, added up on request and never stale.
//!
//! An answer is made from the objects that a LIST shows now. What was added up before is reused only
//! for the very keys it was made from; since no key is ever written twice, such a number cannot be old.
//! Nothing here writes to data/.

mod aggregate;
mod api;
mod collect;
mod country;
mod range;
mod report;

pub use api::StatsApi;
pub use collect::{CollectError, Collector};
pub use range::Range;
pub use report::{NotAdded, Reason, Report};
