//! The download of one file: conditional where there is something to compare, resumed where it broke off.
//!
//! A file is never short: a length that is not as announced, or a range that is not the one asked for, is
//! a fault, and the download goes on where it stopped or begins anew.

use jiff::Timestamp;
use reqwest::{
    StatusCode,
    header::{ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED},
};
use waybill_source::{Definition, Rejection, Scanned};

use crate::{
    context::Context,
    partial::{Broken, Partial},
    retry::{Fault, GaveUp, Patience},
    spool::Spool,
    upstream::{Target, refused},
};

/// What an upstream said of a file, to be sent back the next time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Validators {
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
}

/// A file, whole, and what is known of it.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// Its bytes.
    pub(crate) spool: Spool,
    /// Its records added up, or why it is not accepted.
    pub(crate) scanned: Result<Scanned, Rejection>,
    /// Of its bytes, in hex.
    pub(crate) sha256: String,
    /// The upstream's.
    pub(crate) validators: Validators,
}

/// What came of a download.
#[derive(Debug)]
pub(crate) enum Answer {
    /// What the validators belong to is still so. Only where there were any.
    NotModified,
    /// A file.
    File(Box<Fetched>),
}

/// Downloads a file within the definition's timeout, all tries and waits included.
pub(crate) async fn fetch(
    context: &Context,
    definition: &Definition,
    target: &Target,
    known: &Validators,
) -> Result<Answer, GaveUp> {
    let within = definition.timeout();
    let download = Download { context, definition, target, known, partial: None };
    tokio::time::timeout(within, download.persist()).await.unwrap_or_else(|_| {
        Err(GaveUp::Later { after: None, reason: format!("{} was not complete within {within:?}", target.path) })
    })
}

struct Download<'a> {
    context: &'a Context,
    definition: &'a Definition,
    target: &'a Target,
    known: &'a Validators,
    /// What came before the last fault, where the upstream lets a download go on.
    partial: Option<Partial>,
}

impl Download<'_> {
    async fn persist(mut self) -> Result<Answer, GaveUp> {
        let mut patience = Patience::new(self.context.worker.retry, &self.context.shutdown);
        loop {
            match self.attempt().await {
                Ok(answer) => return Ok(answer),
                Err(fault) => patience.wait(fault).await?,
            }
        }
    }

    async fn attempt(&mut self) -> Result<Answer, Fault> {
        let request = self.context.upstream.get(self.target);
        let request = match &self.partial {
            Some(partial) => request.headers(partial.ask_for_the_rest()),
            None => request.headers(self.known.ask_for_news()),
        };
        let mut response = self.context.upstream.send(request, self.target).await?;
        let file = match response.status() {
            StatusCode::OK => {
                self.partial = None;
                Partial::begin(self.definition, &response)
            }
            StatusCode::PARTIAL_CONTENT if self.partial.is_some() => {
                self.partial.take().and_then(|partial| partial.go_on(response.headers())).ok_or_else(|| {
                    Fault::transient(format!("the upstream sent another part of {} than asked for", self.target.path))
                })?
            }
            StatusCode::RANGE_NOT_SATISFIABLE if self.partial.take().is_some() => {
                return Err(Fault::transient(format!("the upstream has no rest of {}", self.target.path)));
            }
            StatusCode::NOT_MODIFIED if self.partial.is_none() && *self.known != Validators::default() => {
                return Ok(Answer::NotModified);
            }
            status => return Err(refused(status, response.headers(), &self.target.path, Timestamp::now())),
        };
        match file.read(&mut response, &self.target.path, self.definition.max_bytes()).await {
            Ok(file) => Ok(Answer::File(Box::new(file))),
            Err(Broken::Download { fault, partial }) => {
                self.partial = partial.can_resume().then_some(*partial);
                Err(fault)
            }
            Err(Broken::Spool(error)) => {
                Err(Fault::transient(format!("{} cannot be spooled: {error}", self.target.path)))
            }
        }
    }
}

impl Validators {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::to_owned);
        Self { etag: text(ETAG), last_modified: text(LAST_MODIFIED) }
    }

    fn ask_for_news(&self) -> HeaderMap {
        let pairs = [(IF_NONE_MATCH, &self.etag), (IF_MODIFIED_SINCE, &self.last_modified)];
        pairs.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?.parse().ok()?))).collect()
    }
}
