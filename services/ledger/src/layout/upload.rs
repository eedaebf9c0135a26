//! What is known of an upload: a file of a client whose rows are the items of a job, or that is loaded into a table.

use std::{fmt, str::FromStr};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use waybill_source::Format;

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
    /// The source that it was checked for.
    pub source: String,
    /// How it is spelled. Those of earlier releases are CSV.
    #[serde(default = "csv", skip_serializing_if = "is_csv")]
    pub format: Format,
    /// Its size.
    pub bytes: u64,
    /// Its rows, without the header; not known of a file that is loaded, whose rows the load counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// SHA-256 of its bytes, in lower-case hex.
    pub sha256: String,
    /// The name of the API key that sent it; none where no keys are set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

fn csv() -> Format {
    Format::Csv
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_csv(format: &Format) -> bool {
    *format == Format::Csv
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::upload;

    #[test]
    fn uploads_are_stored_as_this_json() {
        let rows = upload(1);
        let loaded = Upload { format: Format::Ndjson, rows: None, ..upload(1) };
        let texts = [&rows, &loaded].map(|upload| serde_json::to_string(upload).unwrap().replace(&"5".repeat(64), "…"));
        // The first as earlier releases wrote it.
        insta::assert_snapshot!(texts.join("\n"), @r#"
        {"id":"018f332a-e400-7000-8000-000000000001","source":"relay","bytes":9,"rows":1,"sha256":"…"}
        {"id":"018f332a-e400-7000-8000-000000000001","source":"relay","format":"ndjson","bytes":9,"sha256":"…"}
        "#);
        for upload in [rows, loaded] {
            let text = serde_json::to_string(&upload).unwrap();
            assert_eq!(serde_json::from_str::<Upload>(&text).unwrap(), upload);
        }
    }
}
