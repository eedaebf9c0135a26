//! Statistics over HTTP, added up on request and never stale.
//!
//! Every answer begins with a LIST of the source's object index. A sum that was made before is reused only for the same
//! journal objects; no name is written twice, so such a sum cannot be old. Nothing here writes. What an answer lacks is
//! said in it: [`Report::not_added`], and the jobs that have not ended.
//!
//! Beside them, how often each path was requested: [`HitStatsApi`].

mod api;
mod collect;
mod country;
mod hits;
mod range;
mod report;

pub use api::StatsApi;
pub use collect::{CollectError, Collector};
pub use hits::HitStatsApi;
pub use range::Range;
pub use report::{NotAdded, Reason, Report};
