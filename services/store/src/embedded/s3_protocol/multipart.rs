//! Multipart uploads.

use std::{ops::Bound, sync::Arc, time::SystemTime};

use s3s::{
    S3Request, S3Result,
    dto::{
        AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
        CompleteMultipartUploadOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput, ETag,
        ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput, MultipartUpload, Part,
        UploadPartInput, UploadPartOutput,
    },
};

use crate::embedded::{
    object::{Headers, time},
    s3_protocol::{
        Service,
        objects::{exists, only_new},
        refuse_checksums,
    },
};

/// S3's own limit for both lists, and its default.
const PAGE: usize = 1_000;

impl Service {
    pub(super) async fn begin(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<CreateMultipartUploadOutput> {
        refuse_checksums(&request)?;
        let input = request.input;
        self.bucket(&input.bucket)?;
        let headers = Headers { content_type: input.content_type, metadata: input.metadata.unwrap_or_default() };
        let id = self.uploads.begin(input.bucket.clone(), input.key.clone(), headers);
        Ok(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..CreateMultipartUploadOutput::default()
        })
    }

    pub(super) async fn receive_part(&self, request: S3Request<UploadPartInput>) -> S3Result<UploadPartOutput> {
        refuse_checksums(&request)?;
        let input = request.input;
        let upload = self.uploads.get(&input.bucket, &input.key, &input.upload_id)?;
        let number = input.part_number;
        let received = self.disk.receive(input.body, input.content_length, move |_, draft| upload.add(number, draft));
        let etag = received.await?;
        Ok(UploadPartOutput { e_tag: Some(ETag::Strong(etag)), ..UploadPartOutput::default() })
    }

    pub(super) async fn complete(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let input = request.input;
        let only_new = only_new(input.if_none_match.as_ref(), input.if_match.as_ref())?;
        let upload = self.uploads.get(&input.bucket, &input.key, &input.upload_id)?;
        let asked = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let uploads = Arc::clone(&self.uploads);
        // The list is changed on the same thread, so that a caller who went away leaves no upload behind.
        let completed = self.disk.try_run(move |tree| {
            let footer = upload.complete(tree, &asked, only_new)?.ok_or_else(exists)?;
            uploads.end(&input.upload_id);
            Ok(footer)
        });
        let footer = completed.await?;
        Ok(CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(footer.etag)),
            ..CompleteMultipartUploadOutput::default()
        })
    }

    pub(super) async fn abort(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<AbortMultipartUploadOutput> {
        let input = request.input;
        let upload = self.uploads.get(&input.bucket, &input.key, &input.upload_id)?;
        let uploads = Arc::clone(&self.uploads);
        // Dropping the parts removes their files, which blocks.
        let aborted = self.disk.run(move |_| {
            uploads.end(&input.upload_id);
            drop(upload);
            Ok(())
        });
        aborted.await?;
        Ok(AbortMultipartUploadOutput::default())
    }

    pub(super) async fn list_parts_of(&self, request: S3Request<ListPartsInput>) -> S3Result<ListPartsOutput> {
        let input = request.input;
        let upload = self.uploads.get(&input.bucket, &input.key, &input.upload_id)?;
        let most = page_size(input.max_parts);
        let after = input.part_number_marker.unwrap_or(0);
        let parts = upload.parts();
        let mut rest = parts.range((Bound::Excluded(after), Bound::Unbounded));
        let listed: Vec<Part> = rest
            .by_ref()
            .take(most)
            .map(|(number, part)| Part {
                part_number: Some(*number),
                size: i64::try_from(part.size).ok(),
                e_tag: Some(ETag::Strong(part.etag.clone())),
                last_modified: Some(SystemTime::into(time(part.modified))),
                ..Part::default()
            })
            .collect();
        Ok(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            max_parts: i32::try_from(most).ok(),
            part_number_marker: Some(after),
            next_part_number_marker: listed.last().and_then(|part| part.part_number),
            is_truncated: Some(rest.next().is_some()),
            parts: Some(listed),
            ..ListPartsOutput::default()
        })
    }

    pub(super) async fn list_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<ListMultipartUploadsOutput> {
        let input = request.input;
        self.bucket(&input.bucket)?;
        let most = page_size(input.max_uploads);
        let found = self.uploads.list(&input.bucket, input.prefix.as_deref().unwrap_or_default());
        // Without an id marker, all uploads to the key marker were on the last page.
        let behind_marker = |(id, upload): &(String, Arc<_>)| {
            let upload: &crate::embedded::uploads::Upload = upload;
            match (input.key_marker.as_deref(), input.upload_id_marker.as_deref()) {
                (None | Some(""), _) => true,
                (Some(key), None) => upload.key.as_str() > key,
                (Some(key), Some(id_marker)) => (upload.key.as_str(), id.as_str()) > (key, id_marker),
            }
        };
        let mut rest = found.into_iter().filter(behind_marker);
        let uploads: Vec<MultipartUpload> = rest
            .by_ref()
            .take(most)
            .map(|(id, upload)| MultipartUpload {
                key: Some(upload.key.clone()),
                upload_id: Some(id),
                initiated: Some(SystemTime::into(time(upload.begun))),
                ..MultipartUpload::default()
            })
            .collect();
        Ok(ListMultipartUploadsOutput {
            is_truncated: Some(rest.next().is_some()),
            bucket: Some(input.bucket),
            prefix: input.prefix,
            max_uploads: i32::try_from(most).ok(),
            next_key_marker: uploads.last().and_then(|upload| upload.key.clone()),
            next_upload_id_marker: uploads.last().and_then(|upload| upload.upload_id.clone()),
            uploads: Some(uploads),
            ..ListMultipartUploadsOutput::default()
        })
    }
}

fn page_size(asked: Option<i32>) -> usize {
    asked.and_then(|asked| usize::try_from(asked).ok()).unwrap_or(PAGE).min(PAGE)
}
