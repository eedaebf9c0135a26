//! Queries in SQL, with PostgreSQL's meaning, over tables that the caller names.
//!
//! An [`Engine`] is made once: it owns the memory, the disk and the threads that all queries of the process share. A
//! [`Session`] is made for each query or connection. Nothing here writes: a statement is a query, or it is refused.
//! `SQL.md` says what is as in PostgreSQL and what is not.

mod answer;
mod cancel;
mod engine;
mod error;
#[cfg(test)]
mod fixture;
mod format;
mod named;
mod postgres;
mod session;
mod statement;

pub use answer::Answer;
pub use engine::Engine;
pub use error::{Mistake, QueryError};
pub use format::{
    Format,
    text::{MAX_SHOWN, text_table},
};
pub use named::NamedTables;
pub use session::{DEFAULT_TIME, MAX_SQL, MAX_TIME, Session};
