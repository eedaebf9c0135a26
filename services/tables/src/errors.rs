//! Errors of tables, in words for people.

use std::error::Error;

use datafusion::{arrow::error::ArrowError, error::DataFusionError};
use deltalake_core::DeltaTableError;
use waybill_source::Unreadable;
use waybill_store::StoreError;

/// Why a load failed. Nothing of it is in the table.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file or the table is not as the definition says, or the store refuses it: the same load fails again.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The store, the disk, or another writer: the same load may succeed later.
    #[error(transparent)]
    Transient(TableError),
}

/// What makes a load useless to try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The definition has no `[table]`.
    #[error("the definition of {source_name} has no table")]
    NoTable {
        /// The source.
        source_name: String,
    },
    /// What is loaded is no such file.
    #[error("the file cannot be read: {0}")]
    Unreadable(String),
    /// A column of the table has another type.
    #[error("column {column} of table {table} is {there}, and the definition says {here}")]
    TypeChanged {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Its type in the table.
        there: String,
        /// Its type in the definition.
        here: String,
    },
    /// The store does not let this be read or written, such as for a lack of rights: an operator has to change that.
    #[error("the store refuses it: {0}")]
    Store(String),
    /// Another program made or changed the table in a way that loads do not know.
    #[error("table {table} cannot be loaded into: {reason}")]
    Foreign {
        /// The table.
        table: String,
        /// What there is about it.
        reason: String,
    },
}

/// Why a table could not be read or written just now.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The Delta log, or a data file.
    #[error("{0}")]
    Delta(#[from] DeltaTableError),
    /// A query over the table, such as the sort of a load.
    #[error("{0}")]
    Query(#[from] DataFusionError),
    /// Rows in memory.
    #[error("{0}")]
    Arrow(#[from] ArrowError),
    /// The list of tables.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The disk on which a load sorts.
    #[error("the scratch folder: {0}")]
    Scratch(#[from] std::io::Error),
    /// The file that is loaded.
    #[error("the file could not be read to its end: {0}")]
    Source(#[source] Box<dyn Error + Send + Sync>),
    /// A task of this process ended in a panic.
    #[error(transparent)]
    Task(#[from] tokio::task::JoinError),
}

impl From<Unreadable> for LoadError {
    fn from(Unreadable(reason): Unreadable) -> Self {
        Refused::Unreadable(reason).into()
    }
}

/// What the store has refused, where that is how an error began. Libraries wrap its error, some of them several times;
/// one that keeps only its text cannot be told from others, and is tried again.
fn refusal(error: &(dyn Error + 'static)) -> Option<Refused> {
    std::iter::successors(Some(error), |&error| cause(error))
        .filter_map(|error| error.downcast_ref::<StoreError>())
        .find(|error| matches!(error, StoreError::Refused { .. }))
        .map(|error| Refused::Store(error.to_string()))
}

/// The source of an error, also where Delta's kernel does not name the store's error as the source of its own.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref() {
        Some(delta_kernel::Error::ObjectStore(error)) => Some(error),
        _ => error.source(),
    }
}

impl From<TableError> for LoadError {
    /// Errors of libraries may pass later, unless the store refuses what was asked of it.
    fn from(error: TableError) -> Self {
        match refusal(&error) {
            Some(refused) => refused.into(),
            None => Self::Transient(error),
        }
    }
}

macro_rules! of_table {
    ($($error:ty),+) => {
        $(impl From<$error> for LoadError {
            fn from(error: $error) -> Self {
                TableError::from(error).into()
            }
        })+
    };
}

of_table!(DeltaTableError, DataFusionError, ArrowError, StoreError, std::io::Error, tokio::task::JoinError);
