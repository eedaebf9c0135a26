//! A listing: small answers that are read whole, because their items have to be known before anything is done. All of its
//! pages are one piece of work: one timeout, one permit of a concurrency.

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
        pages::answer::Head,
        refusal::refusal,
    },
    limits::throttle::{Passed, Throttle},
    retry::{Fault, GaveUp, RetryBudget},
};

/// The largest page of a listing that is accepted, in bytes.
const LARGEST: usize = 64 << 20;

/// Reads the pages of one listing, as patiently as files.
pub(crate) struct ListingReader<'a> {
    context: &'a Context,
    throttle: &'a Throttle,
    definition: &'a Definition,
    passed: Passed<'a>,
    deadline: Instant,
    /// Whether a page was asked for.
    has_begun: bool,
}

impl<'a> ListingReader<'a> {
    /// Waits for the source's throttle.
    pub(crate) async fn begin(context: &'a Context, definition: &'a Definition) -> Result<Self, GaveUp> {
        let throttle = context.throttle(definition.name()).ok_or(GaveUp::Elsewhere)?;
        let passed = throttle.pass(1, &context.shutdown).await?;
        let deadline = Instant::now() + definition.timeout();
        Ok(Self { context, throttle, definition, passed, deadline, has_begun: false })
    }

    /// One page, with all its tries.
    pub(crate) async fn page(&mut self, target: &Target) -> Result<(Head, Bytes), GaveUp> {
        let span = tracing::info_span!("fetch", path = target.path);
        self.persist(target).instrument(span).await
    }

    async fn persist(&mut self, target: &Target) -> Result<(Head, Bytes), GaveUp> {
        let within = self.definition.timeout();
        let late =
            || GaveUp::Later { after: None, reason: format!("{} was not complete within {within:?}", target.path) };
        let mut budget = RetryBudget::new(self.context.worker.retry, &self.context.shutdown);
        loop {
            if std::mem::replace(&mut self.has_begun, true) {
                self.deadline += self.passed.again(&self.context.shutdown).await?;
            }
            let deadline = self.deadline;
            match timeout_at(deadline, self.attempt(target)).await.map_err(|_| late())? {
                Ok(page) => return Ok(page),
                Err(fault) => timeout_at(deadline, budget.wait(fault)).await.map_err(|_| late())??,
            }
            self.context.counts(self.definition.name()).retries.inc();
        }
    }

    async fn attempt(&mut self, target: &Target) -> Result<(Head, Bytes), Fault> {
        let Self { context, definition, .. } = *self;
        let counts = context.counts(definition.name());
        let request = context.upstream.request(target);
        let mut response = context.upstream.send(request, target, counts, &mut self.passed, &context.shutdown).await?;
        if response.status() != StatusCode::OK {
            self.throttle.pause_as_asked(response.status(), response.headers(), Timestamp::now());
            return Err(refusal(context, definition, target, response).await);
        }
        let head = Head::of(&response);
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
        Ok((head, body.freeze()))
    }
}
