//! A connection with timeouts: for the first byte of a request, for the end of its head, for writes to the client.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use crate::server::connection_limit::Connection;

/// How long a connection waits for its client.
#[derive(Debug, Clone, Copy)]
pub struct ClientTimeouts {
    /// For a request to begin.
    pub idle: Duration,
    /// From a request's first byte to the end of its head; also for a TLS handshake.
    pub head: Duration,
    /// For a client to take some more of an answer.
    pub write: Duration,
}

impl Default for ClientTimeouts {
    /// Longer than proxies keep idle connections (60 s), so that it is they who close them.
    fn default() -> Self {
        Self { idle: Duration::from_secs(75), head: Duration::from_secs(10), write: Duration::from_secs(10) }
    }
}

/// A stream that ends where its client is too slow.
pub(crate) struct TimeoutStream<S> {
    stream: S,
    timeouts: ClientTimeouts,
    connection: Arc<Connection>,
    /// The turn of the connection that the wait for reading is of.
    turn: u64,
    has_begun: bool,
    reading: Option<Pin<Box<Sleep>>>,
    writing: Option<Pin<Box<Sleep>>>,
}

impl<S> TimeoutStream<S> {
    pub(crate) fn new(stream: S, timeouts: ClientTimeouts, connection: Arc<Connection>) -> Self {
        Self { stream, timeouts, connection, turn: 0, has_begun: false, reading: None, writing: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimeoutStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.turn != this.connection.turn() {
            (this.turn, this.has_begun, this.reading) = (this.connection.turn(), false, None);
        }
        let is_head_awaited = this.turn.is_multiple_of(2);
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(read) => {
                if is_head_awaited && !this.has_begun {
                    (this.has_begun, this.reading) = (true, Some(Box::pin(sleep(this.timeouts.head))));
                }
                Poll::Ready(read)
            }
            // What comes of a body is awaited by whoever reads it.
            Poll::Pending if !is_head_awaited => Poll::Pending,
            Poll::Pending => {
                let idle = this.timeouts.idle;
                ready!(this.reading.get_or_insert_with(|| Box::pin(sleep(idle))).as_mut().poll(cx));
                Poll::Ready(Err(too_slow()))
            }
        }
    }
}

impl<S> TimeoutStream<S> {
    /// The same, unless it has been pending for too long.
    fn written<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.writing = None;
            return outcome;
        }
        let write = self.timeouts.write;
        ready!(self.writing.get_or_insert_with(|| Box::pin(sleep(write))).as_mut().poll(cx));
        Poll::Ready(Err(too_slow()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimeoutStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.written(cx, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.written(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_flush(cx);
        this.written(cx, outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.written(cx, outcome)
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client is too slow")
}
