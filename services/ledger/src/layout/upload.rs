//! What is known of an upload: a file of a client whose rows are the items of a job.

use std::{fmt, str::FromStr};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{JobId, JobIdError};

/// An upload's name: a UUIDv7, so that its day is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UploadId(JobId);

impl UploadId {
    /// An upload's name, from a UUIDv7 made when it began.
    pub fn new(id: Uuid) -> Self {
        Self(JobId::new(id))
    }

    /// The day it began, in UTC.
    pub(crate) fn day(self) -> Date {
        self.0.day()
    }
}

impl From<UploadId> for Uuid {
    fn from(id: UploadId) -> Self {
        id.0.into()
    }
}

impl FromStr for UploadId {
    type Err = JobIdError;

    fn from_str(text: &str) -> Result<Self, JobIdError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `uploads/{day}/{upload}.json`: the file beside it is whole, and passed its checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// The upload.
    pub id: UploadId,
    /// The source that its header was checked for.
    pub source: String,
    /// Its size.
    pub bytes: u64,
    /// Its rows, without the header.
    pub rows: u64,
    /// SHA-256 of its bytes, in lower-case hex.
    pub sha256: String,
    /// The name of the API key that sent it; none where no keys are set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}
