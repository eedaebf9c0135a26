//! The download of one file: conditional where there is something to compare, resumed where it broke off.
//!
//! A file is never short: a length that is not as announced, or a range that is not the one asked for, is
//! a fault, and the download goes on where it stopped or begins anew. No request goes out but through the
//! source's gate.

use std::sync::Arc;

use jiff::Timestamp;
use reqwest::StatusCode;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, field::Empty};
use waybill_source::Definition;

use crate::{
    context::Context,
    delivery::work_delivery::WorkDelivery,
    download::{
        body::{Broken, PartialBody},
        client::Target,
        model::{Fetched, Validators},
        pages::answer::{Contents, Head},
        refusal::{incomplete, refusal},
    },
    limits::throttle::{Passed, Throttle},
    retry::{Fault, GaveUp, RetryBudget},
};

/// What came of a download.
#[derive(Debug)]
pub(crate) enum Answer {
    /// What the validators belong to is still so. Only where there were any.
    NotModified,
    /// The upstream has no such thing; in words.
    NotFound(String),
    /// A file.
    File(Box<Fetched>),
}

/// A download.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) definition: &'a Definition,
    pub(crate) target: &'a Target,
    /// How many items it is for: so many of the source's rate each request takes.
    pub(crate) items: usize,
    /// What it is for.
    pub(crate) delivery: &'a WorkDelivery,
    /// The largest file that is accepted, in bytes.
    pub(crate) max_bytes: u64,
    /// What is known of the file already.
    pub(crate) known: &'a Validators,
}

/// Downloads a file within the definition's timeout: all tries and the waits between them included, but not the
/// waits at the throttle.
pub(crate) async fn fetch(context: &Context, throttle: &Throttle, wanted: Wanted<'_>) -> Result<Answer, GaveUp> {
    let span = tracing::info_span!("fetch", path = wanted.target.path, items = wanted.items, error = Empty);
    let answer = Download { context, throttle, wanted, partial: None }.persist().instrument(span.clone()).await;
    if let Err(GaveUp::Later { reason, .. } | GaveUp::Never { reason }) = &answer {
        span.record("error", reason);
    }
    answer
}

struct Download<'a> {
    context: &'a Context,
    throttle: &'a Throttle,
    wanted: Wanted<'a>,
    /// What came before the last fault, where the upstream lets a download go on.
    partial: Option<PartialBody>,
}

impl Download<'_> {
    async fn persist(mut self) -> Result<Answer, GaveUp> {
        let Wanted { definition, target, items, delivery, .. } = self.wanted;
        let within = definition.timeout();
        let late =
            || GaveUp::Later { after: None, reason: format!("{} was not complete within {within:?}", target.path) };
        let counts = self.context.counts(definition.name());
        let mut budget = RetryBudget::new(self.context.worker.retry, &self.context.shutdown);
        let mut began = Instant::now();
        let mut deadline = began + within;
        loop {
            let mut passed = self.throttle.pass(items, &self.context.shutdown).await?;
            (began, deadline) = (began + passed.waited, deadline + passed.waited);
            delivery.has_started();
            let attempt = timeout_at(deadline, self.attempt(&mut passed)).await.map_err(|_| late());
            drop(passed);
            self.throttle.downloaded(began.elapsed());
            match attempt? {
                Ok(answer) => {
                    counts.fetch.observe(began.elapsed().as_secs_f64());
                    delivery.has_downloaded();
                    return Ok(answer);
                }
                Err(fault) => timeout_at(deadline, budget.wait(fault)).await.map_err(|_| late())??,
            }
            counts.retries.inc();
        }
    }

    async fn attempt(&mut self, passed: &mut Passed<'_>) -> Result<Answer, Fault> {
        let request = self.context.upstream.request(self.wanted.target);
        let request = match &self.partial {
            Some(partial) => request.headers(partial.ask_for_the_rest()),
            None if self.wanted.target.is_get() => request.headers(self.wanted.known.ask_for_news()),
            None => request,
        };
        let counts = self.context.counts(self.wanted.definition.name());
        let Self { context, wanted, .. } = self;
        let mut response = context.upstream.send(request, wanted.target, counts, passed, &context.shutdown).await?;
        let head = Head::of(&response);
        let file = match response.status() {
            StatusCode::OK => {
                // Before all of a part has come.
                self.check_whole(&[], &head, &Contents::default())?;
                self.partial = None;
                PartialBody::begin(self.wanted.definition, &response, Arc::clone(counts))
            }
            StatusCode::PARTIAL_CONTENT if self.partial.is_some() => {
                self.partial.take().and_then(|partial| partial.go_on(response.headers())).ok_or_else(|| {
                    Fault::transient(format!(
                        "the upstream sent another part of {} than asked for",
                        self.wanted.target.path
                    ))
                })?
            }
            StatusCode::RANGE_NOT_SATISFIABLE if self.partial.take().is_some() => {
                return Err(Fault::transient(format!("the upstream has no rest of {}", self.wanted.target.path)));
            }
            StatusCode::NOT_MODIFIED if self.partial.is_none() && *self.wanted.known != Validators::default() => {
                return Ok(Answer::NotModified);
            }
            StatusCode::NOT_FOUND => {
                let fault = refusal(self.context, self.wanted.definition, self.wanted.target, response).await;
                return Ok(Answer::NotFound(fault.to_string()));
            }
            status => {
                self.throttle.pause_as_asked(status, response.headers(), Timestamp::now());
                return Err(refusal(self.context, self.wanted.definition, self.wanted.target, response).await);
            }
        };
        match file.read(&mut response, &self.wanted.target.path, self.wanted.max_bytes).await {
            Ok((file, contents)) => {
                if file.scanned.is_ok() {
                    self.check_whole(&self.wanted.target.query(), &head, &contents)?;
                }
                Ok(Answer::File(Box::new(file)))
            }
            Err(Broken::Download { fault, partial }) => {
                self.partial = partial.can_resume().then_some(*partial);
                Err(fault)
            }
            Err(Broken::Encoding(fault)) => Err(fault),
            Err(Broken::Spool(error)) => {
                Err(Fault::transient(format!("{} cannot be spooled: {error}", self.wanted.target.path)))
            }
        }
    }

    /// A part must not look like the whole.
    fn check_whole(&self, query: &[(String, String)], head: &Head, contents: &Contents) -> Result<(), Fault> {
        let Wanted { definition, target, .. } = self.wanted;
        definition.check_whole(query, &head.with(contents)).map_err(|error| incomplete(&target.path, &error))
    }
}
