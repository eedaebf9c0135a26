//! What loads rows into tables: a trait, since no service knows another. The program implements it.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use waybill_source::Definition;

/// Loads files into tables.
#[async_trait]
pub trait Loader: fmt::Debug + Send + Sync + 'static {
    /// Loads a file into the table of its definition. Once this returns, its rows are durable.
    ///
    /// It is called with the lock of the table held, and never twice at a time in a process. A load of an id may be asked
    /// for again, whatever became of it before: its rows take effect once, and the answer is the same.
    ///
    /// The future is dropped where the job is cancelled, the lock is lost or the process goes down: then nothing more may
    /// be committed, save what was being committed already.
    async fn load(&self, load: Load) -> Result<Loaded, LoadError>;

    /// Keeps a table small, and returns how many files it deleted. It is called as a load is, with the lock of the table held,
    /// and may be dropped at any step.
    async fn maintain(&self, table: &str) -> Result<u64, LoadError>;
}

/// A load to be done.
pub struct Load {
    /// Tells it from others: the job's id.
    pub id: String,
    /// The definition that the job was submitted with. It has a table.
    pub definition: Arc<Definition>,
    /// The file, in parts of at most 4 MiB, each read when it is asked for.
    pub bytes: BoxStream<'static, Result<Bytes, LoadError>>,
}

impl fmt::Debug for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load").field("id", &self.id).field("source", &self.definition.name()).finish_non_exhaustive()
    }
}

/// What a load did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Rows that were loaded.
    pub rows: u64,
    /// Rows that were left out, since they are not as the definition says.
    pub rejected: u64,
    /// The first of those: at most 1,000.
    pub report: Vec<RejectedRow>,
}

/// A row that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedRow {
    /// Where it begins: the line in CSV and NDJSON, the number of the record in JSON, from 1.
    pub place: u64,
    /// What was expected, and what was found.
    pub reason: String,
}

/// Why a load was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// It may be done later: the store is away, or another writer was faster.
    #[error("{0}")]
    Transient(String),
    /// Trying again does not help: the file cannot be read, or its columns are not those of the table.
    #[error("{0}")]
    Refused(String),
}
