//! A listing: a small answer that is read whole, because its items have to be known before anything is done.

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use reqwest::StatusCode;
use tracing::Instrument;
use waybill_source::Definition;

use crate::{
    context::Context,
    download::client::{Target, dropped, refused},
    retry::{Fault, GaveUp, RetryBudget},
};

/// The largest listing that is accepted, in bytes.
const LARGEST: usize = 64 << 20;

/// Reads a listing, as patiently as a file.
pub(crate) async fn read(context: &Context, definition: &Definition, target: &Target) -> Result<Bytes, GaveUp> {
    let within = definition.timeout();
    let listing = persist(context, definition, target).instrument(tracing::info_span!("fetch", path = target.path));
    tokio::time::timeout(within, listing).await.unwrap_or_else(|_| {
        Err(GaveUp::Later { after: None, reason: format!("{} was not complete within {within:?}", target.path) })
    })
}

async fn persist(context: &Context, definition: &Definition, target: &Target) -> Result<Bytes, GaveUp> {
    let mut lost_after = RetryBudget::new(context.worker.retry, &context.shutdown);
    loop {
        match attempt(context, definition, target).await {
            Ok(body) => return Ok(body),
            Err(fault) => lost_after.wait(fault).await?,
        }
        context.counts(definition.name()).retries.inc();
    }
}

async fn attempt(context: &Context, definition: &Definition, target: &Target) -> Result<Bytes, Fault> {
    let counts = context.counts(definition.name());
    let mut response = context.upstream.send(context.upstream.get(target), target, counts).await?;
    if response.status() != StatusCode::OK {
        return Err(refused(response.status(), response.headers(), &target.path, Timestamp::now()));
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| dropped(&error, &target.path, body.len() as u64))? {
        if body.len() + chunk.len() > LARGEST {
            return Err(Fault::permanent(format!("the listing {} is larger than {LARGEST} bytes", target.path)));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
