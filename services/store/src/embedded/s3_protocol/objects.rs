//! Objects: write, read, delete.

use std::{io, os::unix::fs::FileExt, sync::Arc, time::SystemTime};

use bytes::Bytes;
use futures::{StreamExt, stream};
use s3s::{
    S3Error, S3Request, S3Result,
    dto::{
        DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag,
        ETagCondition, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, PutObjectInput,
        PutObjectOutput, StreamingBlob,
    },
    s3_error,
};

use crate::embedded::{
    disk::{Disk, failure},
    object::{Headers, Object},
    s3_protocol::{Service, refuse_checksums},
};

/// A body is read from the disk in pieces of this size; one that is no larger comes with its headers.
const PIECE: u64 = 256 * 1024;

impl Service {
    pub(super) async fn put(&self, request: S3Request<PutObjectInput>) -> S3Result<PutObjectOutput> {
        refuse_checksums(&request)?;
        let input = request.input;
        self.bucket(&input.bucket)?;
        let only_new = only_new(input.if_none_match.as_ref(), input.if_match.as_ref())?;
        let headers = Headers { content_type: input.content_type, metadata: input.metadata.unwrap_or_default() };
        let (bucket, key) = (input.bucket, input.key);
        let written = self.disk.receive(input.body, input.content_length, move |tree, draft| {
            let (file, footer) = draft.finish(headers, 1).map_err(failure)?;
            if !tree.publish(&bucket, &key, (file, &footer), only_new).map_err(failure)? {
                return Err(exists());
            }
            Ok(footer)
        });
        let footer = written.await?;
        Ok(PutObjectOutput { e_tag: Some(ETag::Strong(footer.etag)), ..PutObjectOutput::default() })
    }

    pub(super) async fn get(&self, request: S3Request<GetObjectInput>) -> S3Result<GetObjectOutput> {
        let input = request.input;
        if input.part_number.is_some() {
            return Err(s3_error!(NotImplemented, "partNumber is not known to this store"));
        }
        let object = self.open(input.bucket, input.key);
        let object = object.await?;
        let footer = object.footer;
        check_conditions(&footer.etag, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let range = match &input.range {
            Some(range) => range.check(footer.size)?,
            None => 0..footer.size,
        };
        let content_range =
            input.range.is_some().then(|| format!("bytes {}-{}/{}", range.start, range.end - 1, footer.size));
        let len = range.end - range.start;
        let modified = footer.modified();
        Ok(GetObjectOutput {
            body: Some(self.body(object.file, range).await?),
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(i64::try_from(len).map_err(S3Error::internal_error)?),
            content_range,
            content_type: footer.headers.content_type,
            e_tag: Some(ETag::Strong(footer.etag)),
            last_modified: Some(SystemTime::into(modified)),
            metadata: Some(footer.headers.metadata),
            ..GetObjectOutput::default()
        })
    }

    pub(super) async fn head(&self, request: S3Request<HeadObjectInput>) -> S3Result<HeadObjectOutput> {
        let input = request.input;
        let footer = self.open(input.bucket, input.key).await?.footer;
        check_conditions(&footer.etag, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let modified = footer.modified();
        Ok(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(i64::try_from(footer.size).map_err(S3Error::internal_error)?),
            content_type: footer.headers.content_type,
            e_tag: Some(ETag::Strong(footer.etag)),
            last_modified: Some(SystemTime::into(modified)),
            metadata: Some(footer.headers.metadata),
            ..HeadObjectOutput::default()
        })
    }

    pub(super) async fn delete(&self, request: S3Request<DeleteObjectInput>) -> S3Result<DeleteObjectOutput> {
        let input = request.input;
        self.bucket(&input.bucket)?;
        if input.if_match.is_some() {
            return Err(s3_error!(NotImplemented, "If-Match is not known to this store"));
        }
        self.disk.run(move |tree| tree.remove(&input.bucket, &[&input.key])).await?;
        Ok(DeleteObjectOutput::default())
    }

    pub(super) async fn delete_many(&self, request: S3Request<DeleteObjectsInput>) -> S3Result<DeleteObjectsOutput> {
        let input = request.input;
        self.bucket(&input.bucket)?;
        let quiet = input.delete.quiet.unwrap_or(false);
        let keys: Vec<String> = input.delete.objects.into_iter().map(|object| object.key).collect();
        let keys = self.disk.run(move |tree| {
            tree.remove(&input.bucket, &keys.iter().map(String::as_str).collect::<Vec<_>>())?;
            Ok(keys)
        });
        let deleted = keys.await?.into_iter().map(|key| DeletedObject { key: Some(key), ..DeletedObject::default() });
        Ok(DeleteObjectsOutput { deleted: (!quiet).then(|| deleted.collect()), ..DeleteObjectsOutput::default() })
    }

    async fn open(&self, bucket: String, key: String) -> S3Result<Object> {
        self.bucket(&bucket)?;
        let object = self.disk.run(move |tree| tree.object(&bucket, &key)).await?;
        object.ok_or_else(|| s3_error!(NoSuchKey))
    }

    /// A range of a file as a body: at once where it is small, else piece by piece as it is taken.
    async fn body(&self, file: std::fs::File, range: std::ops::Range<u64>) -> S3Result<StreamingBlob> {
        let file = Arc::new(file);
        if range.end - range.start <= PIECE {
            let bytes = read_piece(&self.disk, &file, &range).await?;
            return Ok(s3s::Body::from(bytes).into());
        }
        let disk = self.disk.clone();
        let pieces = stream::unfold(range, move |rest| {
            let (disk, file) = (disk.clone(), Arc::clone(&file));
            async move {
                let piece = rest.start..rest.end.min(rest.start + PIECE);
                if piece.is_empty() {
                    return None;
                }
                let read = read_piece(&disk, &file, &piece).await.map_err(io::Error::other);
                // After an error the stream ends.
                let rest = if read.is_ok() { piece.end..rest.end } else { rest.end..rest.end };
                Some((read, rest))
            }
        });
        Ok(StreamingBlob::wrap(pieces.fuse()))
    }
}

async fn read_piece(disk: &Disk, file: &Arc<std::fs::File>, range: &std::ops::Range<u64>) -> S3Result<Bytes> {
    let (file, range) = (Arc::clone(file), range.clone());
    let read = move || {
        let mut bytes = vec![0; usize::try_from(range.end - range.start).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, range.start)?;
        Ok(Bytes::from(bytes))
    };
    disk.run(move |_| read()).await
}

/// `If-None-Match: *` is the one condition that this store knows on a write.
pub(super) fn only_new(if_none_match: Option<&ETagCondition>, if_match: Option<&ETagCondition>) -> S3Result<bool> {
    match (if_none_match, if_match) {
        (None, None) => Ok(false),
        (Some(condition), None) if condition.is_any() => Ok(true),
        _ => Err(s3_error!(NotImplemented, "of conditions on a write, this store knows If-None-Match: * alone")),
    }
}

pub(super) fn exists() -> S3Error {
    s3_error!(PreconditionFailed, "there is an object of this key")
}

fn check_conditions(
    etag: &str,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<()> {
    let matches = |condition: &ETagCondition| condition.as_etag().is_none_or(|asked| asked.value() == etag);
    if if_match.is_some_and(|condition| !matches(condition)) {
        return Err(s3_error!(PreconditionFailed));
    }
    if if_none_match.is_some_and(matches) {
        return Err(s3_error!(NotModified));
    }
    Ok(())
}
