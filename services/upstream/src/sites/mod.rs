//! The APIs that are stood in for.

pub(crate) mod apis;
pub(crate) mod atlas;
pub(crate) mod buses;
pub(crate) mod day;
pub(crate) mod paged;
pub(crate) mod post;
pub(crate) mod post_rules;
pub(crate) mod posts;
pub(crate) mod received;
pub(crate) mod stations;
pub(crate) mod weather;
pub(crate) mod weather_rules;
pub(crate) mod window;
