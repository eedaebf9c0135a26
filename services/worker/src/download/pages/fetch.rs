//! The download of a file in pages. All of them are one piece of work: one timeout, one permit of a concurrency, one
//! object. Each takes a start of a rate, and is tried as often as any other request.
//!
//! Nothing is resumed or asked for conditionally: a page that breaks off begins anew.

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use reqwest::{Response, StatusCode};
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, field::Empty};
use waybill_ledger::JobId;
use waybill_source::{Definition, Pager};

use crate::{
    context::Context,
    delivery::work_delivery::WorkDelivery,
    download::{
        client::{Target, dropped},
        content_encoding::Decoder,
        fetch::Answer,
        pages::{
            self,
            answer::{Contents, Head},
            sink::{Ended, PagesSink},
        },
        refusal::{incomplete, mask, refusal},
    },
    limits::throttle::{Passed, Throttle},
    metrics::Counts,
    retry::{Fault, GaveUp, RetryBudget},
};

/// Bytes are handed on in pieces of at least so many, where the network's are smaller.
const PIECE: usize = 64 << 10;

/// A download in pages.
#[derive(Debug)]
pub(crate) struct WantedPages<'a> {
    pub(crate) definition: &'a Definition,
    pub(crate) pager: Pager<'a>,
    /// Once it is cancelled, no further page is asked for.
    pub(crate) job: JobId,
    /// How many items it is for: so many of the source's rate each request takes.
    pub(crate) items: usize,
    /// What it is for.
    pub(crate) delivery: &'a WorkDelivery,
    /// The most bytes that all pages may have.
    pub(crate) max_bytes: u64,
}

/// Downloads all pages within the definition's timeout: all tries and the waits between them included, but not the
/// waits at the throttle.
pub(crate) async fn fetch(context: &Context, throttle: &Throttle, wanted: WantedPages<'_>) -> Result<Answer, GaveUp> {
    let path = wanted.definition.fetch_path();
    let span = tracing::info_span!("fetch", path, items = wanted.items, pages = Empty, error = Empty);
    let sink = PagesSink::new(wanted.definition);
    let download = Download { context, throttle, wanted, sink, decoded: 0, deadline: Instant::now() };
    let answer = download.persist().instrument(span.clone()).await;
    match &answer {
        Err(GaveUp::Later { reason, .. } | GaveUp::Never { reason }) => drop(span.record("error", reason)),
        Ok(Answer::File(file)) => drop(span.record("pages", file.pages)),
        _ => {}
    }
    answer
}

struct Download<'a> {
    context: &'a Context,
    throttle: &'a Throttle,
    wanted: WantedPages<'a>,
    sink: PagesSink,
    /// Of all pages that are whole.
    decoded: u64,
    deadline: Instant,
}

/// What came of one page.
enum Page {
    Whole(Head, Contents),
    /// It ends the download.
    Last(Answer),
}

impl Download<'_> {
    async fn persist(mut self) -> Result<Answer, GaveUp> {
        let (definition, context) = (self.wanted.definition, self.context);
        let mut passed = self.throttle.pass(self.wanted.items, &context.shutdown).await?;
        let began = Instant::now();
        self.deadline = began + definition.timeout();
        self.wanted.delivery.has_started();
        let last = self.pages(&mut passed).await;
        drop(passed);
        self.throttle.downloaded(began.elapsed());
        let last = last?;
        let counts = context.counts(definition.name());
        counts.fetch.observe(began.elapsed().as_secs_f64());
        self.wanted.delivery.has_downloaded();
        if let Some(answer) = last {
            return Ok(answer);
        }
        let (file, checking) =
            self.sink.finish(definition, self.wanted.pager.page()).map_err(|error| unspooled(&error))?;
        counts.check.observe(checking.as_secs_f64());
        Ok(Answer::File(Box::new(file)))
    }

    /// All pages; an answer where it takes the place of what came.
    async fn pages(&mut self, passed: &mut Passed<'_>) -> Result<Option<Answer>, GaveUp> {
        let context = self.context;
        let counts = context.counts(self.wanted.definition.name());
        loop {
            let target = pages::target(context, self.wanted.definition, &self.wanted.pager);
            let target = target.map_err(|reason| GaveUp::Never { reason })?;
            let (head, contents) = match self.page(&target, passed).await? {
                Page::Whole(head, contents) => (head, contents),
                Page::Last(answer) => return Ok(Some(answer)),
            };
            counts.records.inc_by(contents.records);
            let goes_on = self.wanted.pager.next(&target.query(), &head.with(&contents));
            if !goes_on.map_err(|error| self.never(&incomplete(&target.path, &error).to_string()))? {
                return Ok(None);
            }
            // Where it cannot be looked at, it is before anything is stored.
            if context.is_cancelled(self.wanted.job).await.unwrap_or_default() {
                return Err(GaveUp::Cancelled);
            }
            self.deadline += passed.again(&context.shutdown).await?;
        }
    }

    fn never(&self, reason: &str) -> GaveUp {
        GaveUp::Never { reason: mask(reason, self.wanted.definition, &self.context.worker.env) }
    }

    /// One page, with all its tries.
    async fn page(&mut self, target: &Target, passed: &mut Passed<'_>) -> Result<Page, GaveUp> {
        let (definition, context) = (self.wanted.definition, self.context);
        let within = definition.timeout();
        let number = self.wanted.pager.page();
        let late = || {
            let reason = format!("{} was not complete within {within:?}: page {number} had begun", target.path);
            GaveUp::Later { after: None, reason }
        };
        let mut budget = RetryBudget::new(context.worker.retry, &context.shutdown);
        loop {
            let deadline = self.deadline;
            let attempt = timeout_at(deadline, self.attempt(target, passed)).await.map_err(|_| late())?;
            let fault = match attempt? {
                Ok(page) => return Ok(page),
                Err(fault) => on_page(number, fault),
            };
            timeout_at(deadline, budget.wait(fault)).await.map_err(|_| late())??;
            context.counts(definition.name()).retries.inc();
            self.deadline += passed.again(&context.shutdown).await?;
        }
    }

    /// One try. The outer error is of the spool: what came is lost.
    async fn attempt(&mut self, target: &Target, passed: &mut Passed<'_>) -> Result<Result<Page, Fault>, GaveUp> {
        let (definition, context) = (self.wanted.definition, self.context);
        self.sink.begin(definition).await.map_err(|error| unspooled(&error))?;
        let counts = context.counts(definition.name());
        let request = context.upstream.request(target);
        let response = match context.upstream.send(request, target, counts, passed, &context.shutdown).await {
            Ok(response) => response,
            Err(error) => return Ok(Err(error.into())),
        };
        let head = match response.status() {
            StatusCode::OK => Head::of(&response),
            StatusCode::NOT_FOUND if self.wanted.pager.page() == 1 => {
                let fault = refusal(context, definition, target, response).await;
                return Ok(Ok(Page::Last(Answer::NotFound(fault.to_string()))));
            }
            status => {
                self.throttle.pause_as_asked(status, response.headers(), Timestamp::now());
                return Ok(Err(refusal(context, definition, target, response).await));
            }
        };
        self.body(target, response, counts, head).await
    }

    async fn body(
        &mut self,
        target: &Target,
        mut response: Response,
        counts: &Counts,
        head: Head,
    ) -> Result<Result<Page, Fault>, GaveUp> {
        let path = &target.path;
        let mut decoder = Decoder::new(response.headers());
        let announced = response.content_length();
        let (mut received, mut decoded) = (0, 0);
        let mut pending = BytesMut::new();
        let mut is_last = false;
        while !is_last {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    received += chunk.len() as u64;
                    decoder.push(chunk);
                }
                Ok(None) => {
                    if let Some(announced) = announced.filter(|announced| *announced != received) {
                        let reason = format!("{path} ended after {received} bytes, though {announced} were announced");
                        return Ok(Err(Fault::transient(reason)));
                    }
                    is_last = true;
                    decoder.end();
                }
                Err(error) => return Ok(Err(dropped(&error, path, received))),
            }
            loop {
                let piece = match decoder.pull(path) {
                    Ok(Some(piece)) => piece,
                    Ok(None) => break,
                    Err(fault) => return Ok(Err(fault)),
                };
                decoded += piece.len() as u64;
                if self.decoded + decoded > self.wanted.max_bytes {
                    let most = self.wanted.max_bytes;
                    return Ok(Err(Fault::permanent(format!("the pages of {path} have more than {most} bytes"))));
                }
                pending.extend_from_slice(&piece);
                if pending.len() >= PIECE {
                    self.push(pending.split().freeze(), counts).await?;
                }
            }
        }
        self.push(pending.freeze(), counts).await?;
        let number = self.wanted.pager.page();
        let ended = self.sink.end(self.wanted.definition, number).await.map_err(|error| unspooled(&error))?;
        Ok(match ended {
            Ended::Whole(contents) => {
                self.decoded += decoded;
                Ok(Page::Whole(head, contents))
            }
            Ended::Rejected(file) => Ok(Page::Last(Answer::File(file))),
            Ended::OtherHeader => Err(Fault::permanent(format!(
                "the upstream's answer for {path} has another header than the first page"
            ))),
            Ended::TooLarge(reason) => Err(Fault::permanent(reason)),
        })
    }

    async fn push(&mut self, piece: Bytes, counts: &Counts) -> Result<(), GaveUp> {
        counts.fetched.inc_by(piece.len() as u64);
        self.sink.push(piece).await.map_err(|error| unspooled(&error))
    }
}

fn unspooled(error: &std::io::Error) -> GaveUp {
    GaveUp::Later { after: None, reason: format!("the pages cannot be spooled: {error}") }
}

/// The first page is named by its path alone, as a file is.
fn on_page(number: u64, fault: Fault) -> Fault {
    let on = |reason: String| if number == 1 { reason } else { format!("page {number}: {reason}") };
    match fault {
        Fault::Permanent(reason) => Fault::Permanent(on(reason)),
        Fault::Transient { err, retry_after } => Fault::Transient { err: on(err), retry_after },
    }
}
