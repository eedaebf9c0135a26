//! A file that comes in several answers, each of which says whether there is another one.

pub(crate) mod answer;
pub(crate) mod fetch;
mod sink;
