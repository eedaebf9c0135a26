//! A listing: a small answer that is read whole, because its items have to be known before anything is done.

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use reqwest::StatusCode;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;
use waybill_source::Definition;

use crate::{
    context::Context,
    download::{
        client::{Target, dropped},
        content_encoding::Decoder,
        refusal::{more_pages, refusal},
    },
    limits::throttle::{Passed, Throttle},
    retry::{Fault, GaveUp, RetryBudget},
};

/// The largest listing that is accepted, in bytes.
const LARGEST: usize = 64 << 20;

/// Reads a listing, as patiently as a file.
pub(crate) async fn read(context: &Context, definition: &Definition, target: &Target) -> Result<Bytes, GaveUp> {
    persist(context, definition, target).instrument(tracing::info_span!("fetch", path = target.path)).await
}

async fn persist(context: &Context, definition: &Definition, target: &Target) -> Result<Bytes, GaveUp> {
    let throttle = context.throttle(definition.name()).ok_or(GaveUp::Elsewhere)?;
    let within = definition.timeout();
    let late = || GaveUp::Later { after: None, reason: format!("{} was not complete within {within:?}", target.path) };
    let mut budget = RetryBudget::new(context.worker.retry, &context.shutdown);
    let mut deadline = Instant::now() + within;
    loop {
        let mut passed = throttle.pass(1, &context.shutdown).await?;
        deadline += passed.waited;
        let attempt =
            timeout_at(deadline, attempt(context, throttle, definition, target, &mut passed)).await.map_err(|_| late());
        drop(passed);
        match attempt? {
            Ok(body) => return Ok(body),
            Err(fault) => timeout_at(deadline, budget.wait(fault)).await.map_err(|_| late())??,
        }
        context.counts(definition.name()).retries.inc();
    }
}

async fn attempt(
    context: &Context,
    throttle: &Throttle,
    definition: &Definition,
    target: &Target,
    passed: &mut Passed<'_>,
) -> Result<Bytes, Fault> {
    let counts = context.counts(definition.name());
    let request = context.upstream.request(target);
    let mut response = context.upstream.send(request, target, counts, passed, &context.shutdown).await?;
    if response.status() != StatusCode::OK {
        throttle.pause_as_asked(response.status(), response.headers(), Timestamp::now());
        return Err(refusal(context, definition, target, response).await);
    }
    more_pages(response.headers(), &target.path)?;
    let path = &target.path;
    let mut decoder = Decoder::new(response.headers());
    let mut body = BytesMut::new();
    let mut is_last = false;
    while !is_last {
        match response.chunk().await.map_err(|error| dropped(&error, path, body.len() as u64))? {
            Some(chunk) => decoder.push(chunk),
            None => {
                is_last = true;
                decoder.end();
            }
        }
        while let Some(piece) = decoder.pull(path)? {
            if body.len() + piece.len() > LARGEST {
                return Err(Fault::permanent(format!("the listing {path} is larger than {LARGEST} bytes")));
            }
            body.extend_from_slice(&piece);
        }
    }
    Ok(body.freeze())
}
