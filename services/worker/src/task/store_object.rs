//! Stores a downloaded file: in data/ if it passed its checks, else in quarantine/.

use std::time::Instant;

use tracing::{Instrument, Span};
use waybill_source::{Item, ObjectName, Piece};
use waybill_store::{Head, Upload, UploadBody};

use crate::{
    delivery::outcome::{Object, TaskError},
    download::{model::Fetched, refusal::mask_rejection},
    task::{
        Task,
        metadata::{Provenance, metadata},
        object_versions::Begun,
        quarantine::{self, Report},
    },
};

/// What of its task a file holds.
#[derive(Debug)]
pub(crate) struct FileOf<'a> {
    pub(crate) items: &'a [Item],
    /// Of the request, without its query.
    pub(crate) path: &'a str,
    pub(crate) begun: Begun,
    /// Where the fetch has several files.
    pub(crate) piece: Option<Piece>,
}

/// An object that was stored.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) object: Object,
    /// As the store would show it.
    pub(crate) head: Head,
}

impl Task<'_> {
    /// Stores a file: in data/ if it passed its checks, else in quarantine/; unless the job was cancelled meanwhile.
    pub(crate) async fn store(&self, of: &FileOf<'_>, file: Fetched) -> Result<Stored, TaskError> {
        if self.context.is_cancelled(self.request.job).await? {
            return Err(TaskError::Cancelled);
        }
        self.store_always(of, file).await
    }

    /// The same, also where the job was cancelled.
    pub(crate) async fn store_always(&self, of: &FileOf<'_>, file: Fetched) -> Result<Stored, TaskError> {
        let Fetched { body, bytes, scanned, sha256, validators, format, pages } = file;
        let job = self.request.job;
        let store = &self.context.worker.store;
        let counts = self.context.counts(self.definition.name());
        let source = self.definition.name();
        let name = ObjectName::new(source, &self.partition, &self.key, of.begun.at, &sha256, format);
        let name = ObjectName { piece: of.piece, ..name };
        let scanned = match scanned {
            Ok(scanned) => scanned,
            Err(rejection) => {
                let rejection = mask_rejection(rejection, self.definition, &self.context.worker.env);
                let report = Report {
                    job,
                    task: Some(self.number),
                    source,
                    item: &self.key,
                    path: of.path,
                    page: pages,
                    rejection: &rejection,
                    bytes,
                    sha256: &sha256,
                    fetched_at: of.begun.at,
                };
                let storing = storing(&quarantine::key(&name), bytes);
                let kept = quarantine::keep(store, &name, format.media_type(), body, &report).instrument(storing);
                let quarantine = kept.await?;
                counts.quarantined.inc();
                let page = pages.map(|page| format!("page {page}: ")).unwrap_or_default();
                let reason = format!("the file was rejected: {page}{rejection}");
                return Err(TaskError::Rejected { reason, quarantine });
            }
        };
        let provenance = Provenance {
            definition: self.definition,
            job,
            item: &self.key,
            items: of.items,
            path: of.path,
            begun: of.begun,
            sha256: &sha256,
            bytes,
            validators: &validators,
            pages,
        };
        let metadata = metadata(&provenance, &scanned);
        let key = name.key();
        let began = Instant::now();
        let head = Head { size: bytes, etag: String::new(), metadata: metadata.iter().cloned().collect() };
        let body = match body {
            UploadBody::Bytes(bytes) => UploadBody::Hashed { bytes, sha256 },
            body => body,
        };
        let upload = Upload { content_type: format.media_type(), metadata, body };
        store.upload(&key, upload).instrument(storing(&key, bytes)).await?;
        counts.store.observe(began.elapsed().as_secs_f64());
        Ok(Stored {
            object: Object { key, bytes, records: scanned.records, missing: Vec::new(), rows: None, quarantine: None },
            head,
        })
    }
}

fn storing(key: &str, bytes: u64) -> Span {
    tracing::info_span!("store", s3_key = key, size_bytes = bytes)
}
