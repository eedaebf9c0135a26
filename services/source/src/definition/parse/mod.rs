//! Parses a definition, table by table.

pub(crate) mod auth;
pub(crate) mod batch;
pub(crate) mod check;
pub(crate) mod dates;
pub(crate) mod defaults;
pub(crate) mod diagnostic;
pub(crate) mod fetch;
pub(crate) mod items;
pub(crate) mod limit;
pub(crate) mod load;
pub(crate) mod pagination;
pub(crate) mod reader;
pub(crate) mod record;
pub(crate) mod records;
pub(crate) mod request;
pub(crate) mod rows;
pub(crate) mod shapes;
pub(crate) mod stats;
pub(crate) mod store;
pub(crate) mod table;
