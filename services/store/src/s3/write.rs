//! Writing objects with metadata: one PUT for what is small, parallel parts for the rest.
//!
//! Parts that stay behind cost money and cannot be seen in a listing, so every way out of a multipart
//! upload but success leads through an abort.

use std::{
    collections::HashMap,
    fs::File,
    pin::{Pin, pin},
    sync::Arc,
};

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextMut},
    error::{BoxError, ProvideErrorMetadata},
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, TryStreamExt, stream};

use crate::{
    StoreError, metadata,
    s3::{
        Store, Upload, UploadBody,
        error_mapping::{failed, status},
        file_range::FileRange,
        multipart::{AT_ONCE, PART, Part, SINGLE, cut},
    },
};

/// A multipart upload that has begun. Dropped before it is complete, it is aborted in the background: the
/// future of an upload may be dropped at any await, and a destructor cannot wait.
struct Begun {
    store: Store,
    key: String,
    id: String,
    over: bool,
}

/// What one request carries.
struct Piece {
    body: ByteStream,
    len: u64,
    /// Its SHA-256, where it is known; else the SDK takes it of what is in memory.
    sha256: Option<String>,
}

impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Self { len: bytes.len() as u64, body: ByteStream::from(bytes), sha256: None }
    }
}

/// Signs a request by this SHA-256 of its body, if it is known, in place of one that the SDK would take once more.
#[derive(Debug)]
struct SignedHash(Option<String>);

impl Intercept for SignedHash {
    fn name(&self) -> &'static str {
        "SignedHash"
    }

    fn modify_before_signing(
        &self,
        _: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(sha256) = &self.0 {
            config.interceptor_state().store_put(PayloadSigningOverride::Precomputed(sha256.clone()));
        }
        Ok(())
    }
}

impl Store {
    pub(super) async fn write(&self, key: &str, upload: Upload) -> Result<(), StoreError> {
        let metadata = metadata::encode(&upload.metadata).map_err(|size| StoreError::Refused {
            operation: "PutObject",
            key: key.to_owned(),
            reason: format!("its metadata has {size} bytes, and S3 takes at most {}", metadata::LIMIT),
        })?;
        match upload.body {
            UploadBody::Bytes(bytes) => self.put_piece(key, upload.content_type, metadata, Piece::from(bytes)).await,
            UploadBody::Hashed { bytes, sha256 } => {
                let piece = Piece { sha256: Some(sha256), ..Piece::from(bytes) };
                self.put_piece(key, upload.content_type, metadata, piece).await
            }
            UploadBody::File { file, len } if len <= SINGLE => {
                let piece = self.piece_of_file(key, FileRange { file, offset: 0, len }).await?;
                self.put_piece(key, upload.content_type, metadata, piece).await
            }
            UploadBody::File { file, len } => {
                let begun = self.begin(key, upload.content_type, metadata).await?;
                let sent = begun.send(&file, len).await;
                begun.end(sent).await
            }
        }
    }

    /// Writes what arrives, in parts of [`PART`]: one is sent while the next is gathered.
    pub(super) async fn write_stream<E: From<StoreError>>(
        &self,
        key: &str,
        content_type: &'static str,
        chunks: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<u64, E> {
        let mut chunks = pin!(chunks);
        let mut gathered = BytesMut::new();
        if gather(&mut gathered, chunks.as_mut()).await? {
            let len = gathered.len() as u64;
            self.put_piece(key, content_type, HashMap::new(), Piece::from(gathered.freeze())).await?;
            return Ok(len);
        }
        let begun = self.begin(key, content_type, HashMap::new()).await?;
        let sent = begun.send_stream(gathered, chunks).await;
        begun.end(sent).await
    }

    async fn put_piece(
        &self,
        key: &str,
        content_type: &str,
        metadata: HashMap<String, String>,
        piece: Piece,
    ) -> Result<(), StoreError> {
        let timeouts = self.timeouts_for(piece.len);
        let call = self.inner.client.put_object().bucket(&self.inner.bucket).key(key).content_type(content_type);
        let call = call.set_metadata(Some(metadata)).body(piece.body).customize().interceptor(SignedHash(piece.sha256));
        call.config_override(timeouts).send().await.map_err(|error| failed("PutObject", key, &error))?;
        Ok(())
    }

    async fn piece_of_file(&self, key: &str, range: FileRange) -> Result<Piece, StoreError> {
        let len = range.len;
        let sha256 = if self.inner.signs { Some(range.sha256().await) } else { None };
        let sha256 = sha256.transpose().map_err(|error| StoreError::Unavailable {
            operation: "PutObject",
            key: key.to_owned(),
            reason: format!("the file to upload cannot be read: {error}"),
        })?;
        Ok(Piece { body: range.into_body(), len, sha256 })
    }

    async fn begin(
        &self,
        key: &str,
        content_type: &'static str,
        metadata: HashMap<String, String>,
    ) -> Result<Begun, StoreError> {
        // In a task of its own: dropped while the answer is on its way, the upload would have begun with
        // nobody to abort it. Nobody waits for the task then, and what it returns is dropped and aborted.
        let (store, key) = (self.clone(), key.to_owned());
        let begun = tokio::spawn(async move { store.create_multipart(&key, content_type, metadata).await });
        begun.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    async fn create_multipart(
        &self,
        key: &str,
        content_type: &str,
        metadata: HashMap<String, String>,
    ) -> Result<Begun, StoreError> {
        const OPERATION: &str = "CreateMultipartUpload";
        let call = self.inner.client.create_multipart_upload().bucket(&self.inner.bucket).key(key);
        let call = call.content_type(content_type).set_metadata(Some(metadata));
        let begun = call.send().await.map_err(|error| failed(OPERATION, key, &error))?;
        let id = begun.upload_id.ok_or_else(|| StoreError::Unavailable {
            operation: OPERATION,
            key: key.to_owned(),
            reason: "the store gave the upload no id".to_owned(),
        })?;
        Ok(Begun { store: self.clone(), key: key.to_owned(), id, over: false })
    }
}

impl Begun {
    async fn send(&self, file: &Arc<File>, len: u64) -> Result<(), StoreError> {
        let sent = stream::iter(cut(len)).map(|part| self.send_part(file, part)).buffer_unordered(AT_ONCE);
        let mut parts: Vec<CompletedPart> = sent.try_collect().await?;
        parts.sort_unstable_by_key(|part| part.part_number);
        self.complete(parts, len).await
    }

    async fn send_part(&self, file: &Arc<File>, part: Part) -> Result<CompletedPart, StoreError> {
        let range = FileRange { file: Arc::clone(file), offset: part.offset, len: part.len };
        self.send_piece(part.number, self.store.piece_of_file(&self.key, range).await?).await
    }

    async fn send_piece(&self, number: i32, piece: Piece) -> Result<CompletedPart, StoreError> {
        let (inner, timeouts) = (&self.store.inner, self.store.timeouts_for(piece.len));
        let call = inner.client.upload_part().bucket(&inner.bucket).key(&self.key).upload_id(&self.id);
        let call = call.part_number(number).body(piece.body).customize().interceptor(SignedHash(piece.sha256));
        let sent = call.config_override(timeouts).send().await;
        let sent = sent.map_err(|error| failed("UploadPart", &self.key, &error))?;
        Ok(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build())
    }

    /// Sends what is gathered and what arrives after it; its length.
    async fn send_stream<E: From<StoreError>>(
        &self,
        mut gathered: BytesMut,
        mut chunks: Pin<&mut impl Stream<Item = Result<Bytes, E>>>,
    ) -> Result<u64, E> {
        let (mut parts, mut len, mut is_last) = (Vec::new(), 0, false);
        while !gathered.is_empty() {
            // All parts but the last are of one size, as Cloudflare's R2 wants it.
            let part = gathered.split_to(gathered.len().min(PART as usize)).freeze();
            len += part.len() as u64;
            let number = i32::try_from(parts.len() + 1).unwrap_or(i32::MAX);
            let sending = async { Ok(self.send_piece(number, Piece::from(part)).await?) };
            let gathering = async { if is_last { Ok(true) } else { gather(&mut gathered, chunks.as_mut()).await } };
            let (sent, ended) = futures::future::try_join(sending, gathering).await?;
            parts.push(sent);
            is_last = ended;
        }
        Ok(self.complete(parts, len).await.map(|()| len)?)
    }

    /// Aborts the upload, unless all of it was sent.
    async fn end<T, E>(mut self, sent: Result<T, E>) -> Result<T, E> {
        if sent.is_err() {
            self.abort().await;
        }
        self.over = true;
        sent
    }

    async fn complete(&self, parts: Vec<CompletedPart>, len: u64) -> Result<(), StoreError> {
        let inner = &self.store.inner;
        let upload = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let call = inner.client.complete_multipart_upload().bucket(&inner.bucket).key(&self.key);
        let call = call.upload_id(&self.id).multipart_upload(upload).customize();
        // A store may copy all parts before it answers.
        let Err(error) = call.config_override(self.store.timeouts_for(len)).send().await else { return Ok(()) };
        // An SDK retry after a lost answer finds the upload gone, and an answer of 200 may not be readable (moto
        // 5.2 names its element differently). Keys are new, so an object of this size under this one is ours.
        let perhaps_done = error.code() == Some("NoSuchUpload") || status(&error) == Some(200);
        if perhaps_done && self.store.read_head(&self.key).await?.is_some_and(|head| head.size == len) {
            return Ok(());
        }
        Err(failed("CompleteMultipartUpload", &self.key, &error))
    }

    async fn abort(&self) {
        let inner = &self.store.inner;
        let call = inner.client.abort_multipart_upload().bucket(&inner.bucket).key(&self.key).upload_id(&self.id);
        if let Err(error) = call.send().await {
            let error = failed("AbortMultipartUpload", &self.key, &error);
            tracing::warn!(s3_key = self.key, %error, "parts of a failed upload may have stayed behind");
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        // Without a runtime the process is on its way out, and a lifecycle rule of the bucket has to clean up.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let begun = Self { store: self.store.clone(), key: self.key.clone(), id: self.id.clone(), over: true };
            runtime.spawn(async move { begun.abort().await });
        }
    }
}

/// Gathers chunks until there is a part; whether that was the end.
async fn gather<E>(
    gathered: &mut BytesMut,
    mut chunks: Pin<&mut impl Stream<Item = Result<Bytes, E>>>,
) -> Result<bool, E> {
    while (gathered.len() as u64) < PART {
        let Some(chunk) = chunks.next().await else { return Ok(true) };
        gathered.extend_from_slice(&chunk?);
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use aws_sdk_s3::config::{Builder, Credentials, http::HttpRequest};
    use aws_smithy_runtime_api::client::{
        http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        orchestrator::HttpResponse,
    };
    use aws_smithy_types::body::SdkBody;

    use super::*;
    use crate::s3::behavior;

    /// An S3 that says yes, and remembers by which hash a request was signed.
    #[derive(Debug, Clone, Default)]
    struct Hashes(Arc<Mutex<Vec<String>>>);

    impl HttpClient for Hashes {
        fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
            SharedHttpConnector::new(self.clone())
        }
    }

    impl HttpConnector for Hashes {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            let hash = request.headers().get("x-amz-content-sha256").unwrap_or_default().to_owned();
            self.0.lock().unwrap().push(hash);
            HttpConnectorFuture::ready(Ok(HttpResponse::new(200.try_into().unwrap(), SdkBody::empty())))
        }
    }

    #[tokio::test]
    async fn a_body_is_signed_by_the_hash_that_is_known_or_by_its_own() {
        let hashes = Hashes::default();
        let config = Builder::new()
            .behavior_version(behavior())
            .http_client(hashes.clone())
            .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
            .endpoint_url("http://s3.invalid");
        let store = Store::with_config(config, "bucket", std::time::Duration::from_secs(5), Some(true));
        let known = "5".repeat(64);
        let bytes = Bytes::from_static(b"hello");
        for body in [UploadBody::Hashed { bytes: bytes.clone(), sha256: known.clone() }, UploadBody::Bytes(bytes)] {
            store.upload("k", Upload { content_type: "text/plain", metadata: Vec::new(), body }).await.unwrap();
        }
        let of_hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        assert_eq!(*hashes.0.lock().unwrap(), [known.as_str(), of_hello]);
    }
}
