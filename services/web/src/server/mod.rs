//! The HTTP server: accepts connections, speaks TLS, limits request heads and idle time, and shuts down gracefully.
//!
//! HTTP/1.1 only: one request at a time on each connection keeps the bound on connections a bound on requests.

pub(crate) mod connection_limit;
pub(crate) mod timeout_stream;
pub(crate) mod tls;

use std::{convert::Infallible, io, pin::Pin, sync::Arc, time::Duration};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::{
    Endpoint, Request, Response,
    http::uri::Scheme,
    web::{LocalAddr, RemoteAddr},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    ClientTimeouts, Metrics, Tls,
    server::{
        connection_limit::{Connection, ConnectionLimit},
        timeout_stream::TimeoutStream,
    },
};

/// How long requests under way may take once the server is to stop.
const GRACE: Duration = Duration::from_secs(10);

/// The longest head of a request, in bytes; nginx and Apache take about as much.
const HEAD_LIMIT: usize = 32 * 1024;

/// The most header fields.
const FIELD_LIMIT: usize = 64;

/// What a client may still send to a connection that is closed, and for how long, so that it gets to read why.
const LEFTOVER: (u64, Duration) = (2 * 1024 * 1024, Duration::from_secs(1));

/// The same where the client sends a file: browsers read why it is refused only once they have sent it.
const FILE_LEFTOVER: (u64, Duration) = (1_000_000_000, Duration::from_secs(30));

/// How a port is served.
#[derive(Debug, Clone)]
pub struct Serving {
    /// The certificate; none for plain HTTP.
    pub tls: Option<Tls>,
    /// The most connections at once.
    pub connections: usize,
    /// How long clients may take.
    pub timeouts: ClientTimeouts,
    /// Counts connections.
    pub metrics: Metrics,
}

impl Default for Serving {
    fn default() -> Self {
        Self { tls: None, connections: 1_000, timeouts: ClientTimeouts::default(), metrics: Metrics::default() }
    }
}

/// What all connections share.
struct Shared<E> {
    app: E,
    tls: Option<Tls>,
    timeouts: ClientTimeouts,
    local: LocalAddr,
    /// Requests under way end, nothing new begins.
    stop: CancellationToken,
    /// Whatever is still under way is given up.
    give_up: CancellationToken,
}

impl<E> Shared<E> {
    /// A handshake, which nobody waits for once the server is to stop: no request has begun.
    async fn unless_stopped<T>(&self, handshake: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        tokio::select! {
            done = handshake => done,
            () = self.stop.cancelled() => Err(io::Error::other("the server stops")),
        }
    }
}

/// Serves until `shutdown`, then lets requests under way finish, for at most 10 seconds.
///
/// # Errors
/// Where the listener has no address. A connection that cannot be accepted is logged, and the next one tried.
pub async fn serve(
    listener: TcpListener,
    app: impl Endpoint<Output = Response> + 'static,
    serving: Serving,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let limit = ConnectionLimit::new(serving.connections, serving.metrics.connections.clone());
    let local = LocalAddr(listener.local_addr()?.into());
    let (stop, give_up) = (shutdown.clone(), CancellationToken::new());
    let shared = Arc::new(Shared { app, tls: serving.tls, timeouts: serving.timeouts, local, stop, give_up });
    let connections = TaskTracker::new();
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    let connection = limit.take().await;
                    let (shared, address) = (Arc::clone(&shared), RemoteAddr(address.into()));
                    connections.spawn(async move { attend(stream, address, connection, &shared).await });
                }
                Err(error) => {
                    // Asked again at once it would take a whole core for as long as that lasts.
                    tracing::warn!(%error, "cannot accept a connection");
                    limit.make_room();
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = shutdown.cancelled() => {}
    }
    drop(listener);
    connections.close();
    if timeout(GRACE, connections.wait()).await.is_err() {
        shared.give_up.cancel();
        connections.wait().await;
    }
    Ok(())
}

/// One connection, from its handshake to its end.
async fn attend(
    stream: TcpStream,
    remote: RemoteAddr,
    connection: Arc<Connection>,
    shared: &Arc<Shared<impl Endpoint<Output = Response> + 'static>>,
) {
    // Answers are small and written whole: nothing is gained by waiting for more. Where that cannot be said, the
    // connection is gone already.
    let _ = stream.set_nodelay(true);
    let attended = async {
        match &shared.tls {
            None => answer(stream, Scheme::HTTP, remote, &connection, shared).await,
            Some(tls) => match timeout(shared.timeouts.head, shared.unless_stopped(tls.accept(stream))).await {
                Ok(Ok(stream)) => answer(stream, Scheme::HTTPS, remote, &connection, shared).await,
                Ok(Err(error)) => tracing::debug!(%remote, %error, "no TLS handshake"),
                Err(_elapsed) => tracing::debug!(%remote, "no TLS handshake in time"),
            },
        }
    };
    tokio::select! {
        () = attended => {}
        () = connection.evicted() => tracing::debug!("closed a connection to make room for another"),
        () = shared.give_up.cancelled() => {}
    }
}

/// Answers the requests of a connection until either side is done with it.
async fn answer<E: Endpoint<Output = Response> + 'static>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    scheme: Scheme,
    remote: RemoteAddr,
    connection: &Arc<Connection>,
    shared: &Arc<Shared<E>>,
) {
    let stream = TokioIo::new(TimeoutStream::new(stream, shared.timeouts, Arc::clone(connection)));
    let service = {
        let (connection, shared) = (Arc::clone(connection), Arc::clone(shared));
        service_fn(move |request: hyper::Request<Incoming>| {
            let (connection, shared) = (Arc::clone(&connection), Arc::clone(&shared));
            let mut request = Request::from((request, shared.local.clone(), remote.clone(), scheme.clone()));
            request.extensions_mut().insert(Arc::clone(&connection));
            async move {
                connection.head_complete();
                let response = shared.app.get_response(request).await;
                connection.answered();
                Ok::<_, Infallible>(hyper::Response::from(response))
            }
        })
    };
    let mut http = http1::Builder::new();
    // Its own limit on the time of a head would hold for idle connections as well.
    http.timer(TokioTimer::new()).header_read_timeout(None).max_headers(FIELD_LIMIT).max_buf_size(HEAD_LIMIT);
    let mut served = Box::pin(http.serve_connection(stream, service));
    let outcome = tokio::select! {
        outcome = served.as_mut() => outcome,
        () = shared.stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.as_mut().await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended early");
    }
    let stream = Pin::into_inner(served).into_parts().io.into_inner();
    // A close with bytes unread would reset the connection, and what was answered could be lost with it.
    let (bytes, time) = if connection.takes_file() { FILE_LEFTOVER } else { LEFTOVER };
    let mut leftover = stream.take(bytes);
    let _ = timeout(time, tokio::io::copy(&mut leftover, &mut tokio::io::sink())).await;
}
