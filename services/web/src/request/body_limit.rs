//! Limits the size and the read time of a request body.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use poem::{Body, Request, http::header};
use tokio::time::{Instant, timeout_at};

use crate::{Problem, server::connection_limit::Connection};

/// The largest body that a route reads, in bytes.
pub(crate) const BODY_LIMIT: usize = 1024 * 1024;

/// The longest that a body may take to come in.
pub(crate) const BODY_TIME: Duration = Duration::from_secs(10);

/// Why a body of no announced length ends early.
#[derive(Debug, thiserror::Error)]
#[error("the body is larger than {BODY_LIMIT} bytes")]
pub(crate) struct TooLarge;

/// Why a body ends before its end.
#[derive(Debug, thiserror::Error)]
#[error("the body is not complete after {} seconds", BODY_TIME.as_secs())]
pub(crate) struct TooSlow;

struct Intake {
    body: BoxStream<'static, io::Result<Bytes>>,
    left: usize,
    deadline: Instant,
    connection: Option<Arc<Connection>>,
}

/// Refuses a body whose announced length is too large; ends one that turns out too large, or is not complete `within`
/// this time, there.
pub(crate) fn limited(mut request: Request, within: Duration) -> Result<Request, Problem> {
    // A length that is no number never comes here: hyper refuses it.
    let announced = request.header(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| length > BODY_LIMIT as u64) {
        return Err(Problem::payload_too_large(BODY_LIMIT));
    }
    // A test has no connection.
    let connection = request.data::<Arc<Connection>>().cloned();
    let body = request.take_body();
    if body.is_empty() {
        complete(connection.as_ref());
        return Ok(request);
    }
    let body = body.into_bytes_stream().boxed();
    let intake = Intake { body, left: BODY_LIMIT, deadline: Instant::now() + within, connection };
    request.set_body(Body::from_bytes_stream(stream::unfold(intake, next)));
    Ok(request)
}

async fn next(mut intake: Intake) -> Option<(io::Result<Bytes>, Intake)> {
    let chunk = match timeout_at(intake.deadline, intake.body.next()).await {
        Ok(Some(Ok(chunk))) => match intake.left.checked_sub(chunk.len()) {
            Some(left) => {
                intake.left = left;
                return Some((Ok(chunk), intake));
            }
            None => Err(io::Error::other(TooLarge)),
        },
        Ok(Some(Err(error))) => Err(error),
        Ok(None) => {
            complete(intake.connection.as_ref());
            return None;
        }
        Err(_elapsed) => Err(io::Error::other(TooSlow)),
    };
    intake.body = stream::empty().boxed();
    intake.connection = None;
    Some((chunk, intake))
}

/// From here on the connection waits for us.
fn complete(connection: Option<&Arc<Connection>>) {
    if let Some(connection) = connection {
        connection.request_complete();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a handler gets of a body.
    async fn read(body: Body, within: Duration) -> Result<usize, String> {
        let request = limited(Request::builder().body(body), within).map_err(|problem| problem.detail.clone())?;
        let read = request.into_body().into_bytes().await;
        read.map(|bytes| bytes.len()).map_err(|error| format!("{error:?}"))
    }

    #[tokio::test]
    async fn a_body_that_never_ends_ends() {
        let long = Duration::from_secs(60);
        let endless =
            Body::from_bytes_stream(stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from_static(&[0; 1000]))));
        assert!(read(endless, long).await.unwrap_err().contains("TooLarge"));
        let begun = stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"{"))]).chain(stream::pending());
        assert!(read(Body::from_bytes_stream(begun), Duration::from_millis(1)).await.unwrap_err().contains("TooSlow"));
        let whole = Body::from_bytes_stream(stream::iter([Ok::<_, io::Error>(Bytes::from_static(&[0; BODY_LIMIT]))]));
        assert_eq!(read(whole, long).await, Ok(BODY_LIMIT));
    }
}
