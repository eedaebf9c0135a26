//! A stand-in for the servers that Waybill talks to: bus files of any size, weather, posts, pages of
//! every kind, and faults on request.
//!
//! Everything it says is a pure function of a seed, so two machines get the same bytes, and a file of
//! gigabytes is never held: any part of it is computed where it is asked for. It shares no code with
//! the rooms that fetch from it, so that no misreading of HTTP can cancel out. It must never be told
//! anything about who fetches.
//!
//! ```
//! # async fn example() -> std::io::Result<()> {
//! use waybill_upstream::{CityFault, Options, Upstream};
//!
//! let upstream = Upstream::new(Options { records: 100, ..Options::default() }).start().await?;
//! upstream.set_city_fault(3, CityFault::Status(500));
//! println!("{}/cities/0/stats?date=2024-05-01", upstream.base_url());
//! # Ok(()) }
//! ```

mod fault;
mod files;
mod http;
mod options;
mod server;
mod sites;
mod state;

pub use fault::{Chance, CityFault, Faults, NotAChance};
pub use http::requests::{PostRequests, Requests};
pub use options::{Changes, Options};
pub use server::{Running, Upstream};
pub use sites::{
    atlas::City,
    paged::{Auth, Collection, Lead, Paging, PagingFault, Shape, TokenEndpoint, TokenFault, Total, collections},
    received::{Received, RepeatedPost},
};
