//! A content as an answer: whole, in part or not at all, at the pace that is set.
//!
//! A body is made while it is sent, one piece after the other, so nothing here grows with the file.

use std::{io, time::Duration};

use bytes::Bytes;
use futures::{Stream, stream};
use poem::{
    Body, Request, Response,
    http::{HeaderMap, Method, StatusCode, header},
};
use tokio::time::{Instant, sleep_until};

use crate::{
    files::content::Content,
    http::{
        conditions::{Part, not_modified, part},
        problem::problem,
        requests::{Counters, UnderWay},
    },
    state::Manner,
};

/// Bytes made at once: few enough for any number of requests, enough that the making is most of the
/// work.
const PIECE: usize = 64 * 1024;

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With its last byte.
    Whole,
    /// The connection drops halfway.
    HangUp,
    /// Nothing more comes after the half.
    Stall,
}

/// Closes the connection without an answer.
pub(crate) fn hang_up() -> ! {
    // poem answers every error, and sends a head before a body that fails. Only a panic ends a connection; this one
    // reaches no panic hook, so nobody is told.
    std::panic::resume_unwind(Box::new("hung up on request"))
}

/// What of a request decides about the answer.
#[derive(Debug)]
pub(crate) struct Asked {
    get: bool,
    headers: HeaderMap,
}

impl Asked {
    pub(crate) fn of(request: &Request) -> Self {
        Self { get: request.method() == Method::GET, headers: request.headers().clone() }
    }
}

/// The answer to a request for `content`.
pub(crate) fn answer(
    asked: &Asked,
    content: Content,
    media_type: &'static str,
    manner: Manner,
    ending: Ending,
    under_way: UnderWay,
) -> Response {
    let length = content.len();
    let etag = manner.etag.then(|| content.etag());
    let mut response = Response::builder();
    if let Some(etag) = &etag {
        response = response.header(header::ETAG, etag);
        if not_modified(&asked.headers, etag) {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
    }
    if manner.range {
        response = response.header(header::ACCEPT_RANGES, "bytes");
    }
    // A range in anything but a GET is to be ignored.
    let part = if manner.range && asked.get { part(&asked.headers, etag.as_deref(), length) } else { Part::Whole };
    let range = match part {
        Part::Whole => 0..length,
        Part::Some(range) => {
            response = response
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_RANGE, format!("bytes {}-{}/{length}", range.start, range.end - 1));
            range
        }
        Part::Beyond => {
            let mut refused = problem(StatusCode::RANGE_NOT_SATISFIABLE, &format!("the file has {length} bytes"));
            let whole = format!("bytes */{length}").parse().expect("digits are a header value");
            refused.headers_mut().insert(header::CONTENT_RANGE, whole);
            return refused;
        }
    };
    response = response.content_type(media_type).header(header::CONTENT_LENGTH, range.end - range.start);
    let stop = if ending == Ending::Whole { range.end } else { range.start + (range.end - range.start) / 2 };
    let pace = manner.bytes_per_second.filter(|pace| *pace > 0);
    let sending = Sending { content, start: range.start, next: range.start, stop, ending, pace, under_way };
    response.body(Body::from_bytes_stream(sending.stream()))
}

struct Sending {
    content: Content,
    start: u64,
    next: u64,
    stop: u64,
    ending: Ending,
    pace: Option<u64>,
    under_way: UnderWay,
}

impl Sending {
    fn stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let began = Instant::now();
        stream::unfold(Some(self), move |sending| async move {
            let mut sending = sending?;
            if sending.next == sending.stop {
                return sending.end().await.map(|error| (Err(error), None));
            }
            let piece = sending.piece(began).await;
            Some((Ok(piece), Some(sending)))
        })
    }

    async fn piece(&mut self, began: Instant) -> Bytes {
        let mut limit = PIECE.min((self.stop - self.next) as usize);
        if let Some(pace) = self.pace {
            // Ten pieces a second, each when it is due: late ones do not add up.
            limit = limit.min((pace / 10).max(1) as usize);
            sleep_until(began + Duration::from_secs_f64((self.next - self.start) as f64 / pace as f64)).await;
        }
        let piece = self.content.read(self.next, limit);
        self.next += piece.len() as u64;
        self.counters().sent(piece.len());
        piece
    }

    async fn end(self) -> Option<io::Error> {
        match self.ending {
            Ending::Whole => None,
            Ending::HangUp => {
                // What was sent so far is flushed only when the stream has nothing ready; without this
                // the client would often not even see the head of the answer.
                tokio::task::yield_now().await;
                Some(io::Error::other("hung up on request"))
            }
            Ending::Stall => std::future::pending().await,
        }
    }

    fn counters(&self) -> &Counters {
        self.under_way.counters()
    }
}
