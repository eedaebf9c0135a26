//! The embedded store over HTTP, for tools such as `aws s3`, rclone and DuckDB: read-only for every client.

use s3s::{
    S3Result,
    access::{S3Access, S3AccessContext},
    auth::SimpleAuth,
    s3_error,
    service::{S3Service, S3ServiceBuilder},
};

use crate::embedded::s3_protocol::Service;

/// Known to everybody: it protects nothing, but some tools cannot do without signing.
const KEY: &str = "waybill";

/// The operations that change nothing. Whatever is added to the service is refused here until it is named.
const READS: &[&str] = &[
    "GetBucketLocation",
    "GetObject",
    "HeadBucket",
    "HeadObject",
    "ListBuckets",
    "ListMultipartUploads",
    "ListObjects",
    "ListObjectsV2",
    "ListParts",
];

struct ReadOnly;

#[async_trait::async_trait]
impl S3Access for ReadOnly {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if READS.contains(&context.s3_op().name()) {
            return Ok(());
        }
        Err(s3_error!(AccessDenied, "this port is read-only"))
    }
}

/// The service as outsiders see it.
pub(super) fn read_only(service: Service) -> S3Service {
    let mut builder = S3ServiceBuilder::new(service);
    // Access is only checked where there is authentication.
    builder.set_auth(SimpleAuth::from_single(KEY, KEY));
    builder.set_access(ReadOnly);
    builder.build()
}
