//! The commands for tables: files loaded into them, and questions in SQL. Each talks to a running Waybill, or, where none
//! runs here, does its work alone.

mod anywhere;
mod input;
pub(crate) mod load;
pub(crate) mod query;
