//! An upload in parts of the writer's size, which become parts of [`Store::upload_stream`]'s: one task uploads what
//! comes, in the order in which the parts were given.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    FutureExt, Stream,
    future::{BoxFuture, Shared},
    stream,
};
use object_store::{Error, MultipartUpload, PutPayload, PutResult, Result, UploadPart};
use tokio::sync::{
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    oneshot,
};
use waybill_store::{Store, StoreError};

use crate::bucket::generic;

/// An upload under way. Dropped before it is complete, it is aborted.
pub(super) struct Parts {
    /// Not bounded here: a writer has so many parts on their way as it wants acknowledged, eight or ten.
    messages: UnboundedSender<Message>,
    upload: Upload,
}

/// How the upload ended: every part that it did not take fails of the same.
type Upload = Shared<BoxFuture<'static, std::result::Result<u64, Arc<Ended>>>>;

enum Message {
    /// Acknowledged once it has become part of the upload.
    Part(PutPayload, oneshot::Sender<()>),
    /// All parts were given. A channel that closes without it means that the writer gave up.
    Complete,
}

/// Why an upload ended early.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the writer gave up")]
    Abandoned,
    #[error(transparent)]
    Panicked(#[from] tokio::task::JoinError),
}

impl Parts {
    pub(super) fn begin(store: Store, key: String, content_type: &'static str) -> Self {
        let (messages, received) = unbounded_channel();
        let upload = tokio::spawn(async move { store.upload_stream(&key, content_type, chunks(received)).await });
        let upload = async move { upload.await.map_err(Ended::from).flatten().map_err(Arc::new) };
        Self { messages, upload: upload.boxed().shared() }
    }
}

fn chunks(messages: UnboundedReceiver<Message>) -> impl Stream<Item = std::result::Result<Bytes, Ended>> {
    stream::try_unfold(messages, async |mut messages| match messages.recv().await {
        Some(Message::Part(payload, taken)) => {
            // The writer may have gone.
            let _ = taken.send(());
            Ok(Some((Bytes::from(payload), messages)))
        }
        Some(Message::Complete) => Ok(None),
        None => Err(Ended::Abandoned),
    })
}

async fn ended(upload: Upload) -> Error {
    match upload.await {
        Ok(_) => generic("a part came after the end of its upload".into()),
        Err(error) => generic(Box::new(error)),
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

#[async_trait]
impl MultipartUpload for Parts {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let (taken, was_taken) = oneshot::channel();
        let sent = self.messages.send(Message::Part(payload, taken)).is_ok();
        let upload = self.upload.clone();
        async move { if sent && was_taken.await.is_ok() { Ok(()) } else { Err(ended(upload).await) } }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        // Not received only if the upload has failed, and then its end says why.
        let _ = self.messages.send(Message::Complete);
        self.upload.clone().await.map_err(|error| generic(Box::new(error)))?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        (self.messages, _) = unbounded_channel();
        // It ends with an error, as it should.
        let _ = self.upload.clone().await;
        Ok(())
    }
}
