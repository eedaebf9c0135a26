//! An upload in responses.

use poem_openapi::Object;
use uuid::Uuid;
use waybill_ledger::Upload;

/// A file that a job may name.
#[derive(Debug, Object)]
#[oai(rename = "Upload")]
pub(crate) struct UploadResponse {
    id: Uuid,
    /// The source's name.
    source: String,
    /// Its size.
    bytes: u64,
    /// Its rows, without the header line; absent of a file that is loaded, whose rows the load counts.
    #[oai(skip_serializing_if_is_none)]
    rows: Option<u64>,
    /// SHA-256 of its bytes, in lower-case hex.
    sha256: String,
}

impl From<Upload> for UploadResponse {
    fn from(upload: Upload) -> Self {
        let Upload { id, source, format: _, bytes, rows, sha256, by: _ } = upload;
        Self { id: id.into(), source, bytes, rows, sha256 }
    }
}
