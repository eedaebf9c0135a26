//! Uploads: files of clients. An upload is written as it arrives; once it is whole and has passed its checks that is
//! written beside it, and a job may name it.

use bytes::Bytes;
use futures::Stream;
use jiff::{Timestamp, ToSpan, civil::Date};
use waybill_source::Format;
use waybill_store::StoreError;

use crate::{
    Ledger, LedgerError, Upload, UploadId,
    layout::{id::utc_day, keys, objects::SMALL},
};

/// Days of uploads that one call of [`Ledger::expire_uploads`] looks at.
const DAYS: usize = 1_000;

impl Ledger {
    /// Writes an upload's file from what arrives, and returns its size. Where that fails, or the future is dropped,
    /// nothing stays; so it is with an error among the chunks, which is returned.
    ///
    /// Memory: two parts of 8 MiB.
    pub async fn write_upload<E: From<StoreError>>(
        &self,
        upload: UploadId,
        format: Format,
        chunks: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<u64, E> {
        self.store.upload_stream(&keys::upload_file(upload, format), format.media_type(), chunks).await
    }

    /// Notes that an upload is whole: from here on a job may name it.
    pub async fn record_upload(&self, upload: &Upload) -> Result<(), LedgerError> {
        self.create(&keys::upload(upload.id), upload, SMALL).await.map(drop)
    }

    /// What is known of an upload; `None` where there is none, or it is not whole, or no job may name it any more: an
    /// upload waits for its job for a day.
    pub async fn upload(&self, upload: UploadId, now: Timestamp) -> Result<Option<Upload>, LedgerError> {
        if upload.day() < utc_day(now).saturating_sub(1.day()) {
            return Ok(None);
        }
        self.read(&keys::upload(upload), SMALL).await
    }

    /// Reads a part of an upload's file; `None` where the upload is not there any more.
    pub async fn read_upload(&self, upload: &Upload, offset: u64, len: usize) -> Result<Option<Bytes>, LedgerError> {
        Ok(self.store.get_range(&keys::upload_file(upload.id, upload.format), offset, len).await?)
    }

    /// Deletes an upload that no job names.
    pub async fn delete_upload(&self, upload: &Upload) -> Result<(), LedgerError> {
        Ok(self.store.delete(&[keys::upload(upload.id), keys::upload_file(upload.id, upload.format)]).await?)
    }

    /// Deletes the uploads of days before `kept_from`, by whose jobs they are not needed any more.
    pub(super) async fn expire_uploads(&self, kept_from: Date) -> Result<(), LedgerError> {
        for name in self.store.folders(keys::UPLOADS, None, DAYS).await? {
            let Some(day) = name.parse().ok().filter(|day: &Date| *day < kept_from) else { continue };
            self.delete_below(&keys::uploads(day)).await?;
            tracing::info!(%day, "deleted expired uploads");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;
    use crate::testing::{Fixture, at, upload};

    const DAY: i64 = 86_400;

    #[tokio::test]
    async fn an_upload_is_there_once_it_is_whole_and_waits_for_its_job_for_a_day() {
        let fixture = Fixture::new().await;
        let (ledger, upload) = (&fixture.ledger, upload(1));
        let chunks = |end: Option<StoreError>| {
            stream::iter(["id\n", "1\n"].map(|text| Ok(Bytes::from(text))).into_iter().chain(end.map(Err)))
        };
        let cut = StoreError::Unavailable { operation: "test", key: String::new(), reason: "cut".to_owned() };
        ledger.write_upload(upload.id, Format::Csv, chunks(Some(cut))).await.unwrap_err();
        assert_eq!(ledger.read_upload(&upload, 0, 10).await.unwrap(), None);
        assert_eq!(ledger.write_upload(upload.id, Format::Csv, chunks(None)).await.unwrap(), 5);
        assert_eq!(ledger.upload(upload.id, at(0)).await.unwrap(), None);
        ledger.record_upload(&upload).await.unwrap();
        assert_eq!(ledger.upload(upload.id, at(DAY)).await.unwrap(), Some(upload.clone()));
        assert_eq!(ledger.upload(upload.id, at(2 * DAY)).await.unwrap(), None);
        assert_eq!(ledger.read_upload(&upload, 3, 10).await.unwrap().unwrap(), "1\n");
        ledger.delete_upload(&upload).await.unwrap();
        assert_eq!(ledger.upload(upload.id, at(0)).await.unwrap(), None);
        assert_eq!(ledger.read_upload(&upload, 0, 10).await.unwrap(), None);
    }

    #[tokio::test]
    async fn uploads_go_after_the_last_job_that_may_name_them() {
        let fixture = Fixture::new().await;
        let ledger = &fixture.ledger;
        ledger.record_upload(&upload(1)).await.unwrap();
        for (days, is_there) in [(91, true), (92, false)] {
            ledger.expire(at(days * DAY)).await.unwrap();
            assert_eq!(ledger.upload(upload(1).id, at(0)).await.unwrap().is_some(), is_there, "{days} days");
        }
    }
}
