//! A file that failed its checks is kept, with a report of what was wrong; never in data/. So is the report of the rows that a
//! load left out.

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use waybill_ledger::JobId;
use waybill_source::{Format, ObjectName, Rejection};
use waybill_store::{Store, StoreError, Upload, UploadBody};

use crate::RejectedRow;

/// The report beside a quarantined file.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    pub(crate) job: JobId,
    /// `None` for a listing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<u32>,
    pub(crate) source: &'a str,
    /// The item's key, or what a listing lists.
    pub(crate) item: &'a str,
    /// Of the request, without its query.
    pub(crate) path: &'a str,
    /// Which of several answers it is, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) page: Option<u64>,
    pub(crate) rejection: &'a Rejection,
    /// Of the file beside the report.
    pub(crate) bytes: u64,
    pub(crate) sha256: &'a str,
    pub(crate) fetched_at: Timestamp,
}

/// Keeps a rejected file under the name it would have had, in quarantine/, and returns its key.
pub(crate) async fn keep(
    store: &Store,
    name: &ObjectName,
    content_type: &'static str,
    body: UploadBody,
    report: &Report<'_>,
) -> Result<String, StoreError> {
    let (file, beside) = keys(name);
    let text = |value: &str| value.to_owned();
    let mut metadata = vec![
        (text("job"), report.job.to_string()),
        (text("sha256"), text(report.sha256)),
        (text("report"), text(beside.rsplit('/').next().unwrap_or(&beside))),
    ];
    metadata.extend(report.task.map(|task| (text("task"), task.to_string())));
    store.upload(&file, Upload { content_type, metadata, body }).await?;
    let json = serde_json::to_vec_pretty(report).expect("texts and numbers are always JSON");
    store.create(&beside, "application/json", json.into()).await?;
    Ok(file)
}

/// Keeps the rows that a load left out, a line of JSON for each, and returns the key: the same for the same rows of a job.
pub(crate) async fn keep_rows(
    store: &Store,
    source: &str,
    job: JobId,
    rows: &[RejectedRow],
) -> Result<String, StoreError> {
    let mut lines = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut lines, row).expect("texts and numbers are always JSON");
        lines.push(b'\n');
    }
    let sha256 = base16ct::lower::encode_string(&Sha256::digest(&lines));
    let name = ObjectName::new(source, &format!("job={job}"), "rows", job.submitted(), &sha256, Format::Ndjson);
    let (file, _) = keys(&name);
    let metadata = vec![("job".to_owned(), job.to_string()), ("sha256".to_owned(), sha256)];
    let body = UploadBody::Bytes(lines.into());
    store.upload(&file, Upload { content_type: Format::Ndjson.media_type(), metadata, body }).await?;
    Ok(file)
}

/// The key that a rejected file has.
pub(crate) fn key(name: &ObjectName) -> String {
    keys(name).0
}

fn keys(name: &ObjectName) -> (String, String) {
    let key = name.key();
    let file = format!("quarantine/{}", key.strip_prefix("data/").unwrap_or(&key));
    let stem = file.strip_suffix(&name.extension).unwrap_or(&file);
    let report = format!("{stem}report.json");
    (file, report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_file_and_its_report_lie_side_by_side() {
        let at = "2024-05-01T08:00:00Z".parse().unwrap();
        let name = ObjectName::new("buses", "country=x/date=2024-05-01", "0-a", at, &"ab".repeat(32), Format::Json);
        let (file, report) = keys(&name);
        let stem = file.strip_suffix(".json").unwrap();
        assert!(stem.starts_with("quarantine/buses/country=x/date=2024-05-01/0-a."), "{file}");
        assert_eq!(report, format!("{stem}.report.json"));
    }
}
