//! The embedded store on a port, for other people's tools: read-only, whoever asks.

use std::{io, pin::pin, sync::Arc, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use s3s::{
    S3Result,
    access::{S3Access, S3AccessContext},
    auth::SimpleAuth,
    s3_error,
    service::{S3Service, S3ServiceBuilder},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::embedded::s3_protocol::Service;

/// Further connections wait to be accepted.
const CONNECTIONS: usize = 256;
/// Request line and headers: a key of 1,024 bytes, encoded, and a signature.
const HEADER_BYTES: usize = 32 * 1024;
const HEADERS: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// Answers under way may take this long after shutdown.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// After an accept that failed, for want of file descriptors mostly.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Known to everybody: it protects nothing, but some tools cannot do without signing.
const KEY: &str = "waybill";

/// The operations that change nothing. Whatever is added to the service is refused here until it is named.
const READS: &[&str] = &[
    "GetBucketLocation",
    "GetObject",
    "HeadBucket",
    "HeadObject",
    "ListBuckets",
    "ListMultipartUploads",
    "ListObjects",
    "ListObjectsV2",
    "ListParts",
];

struct ReadOnly;

#[async_trait::async_trait]
impl S3Access for ReadOnly {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if READS.contains(&context.s3_op().name()) {
            return Ok(());
        }
        Err(s3_error!(AccessDenied, "this port is read-only"))
    }
}

/// The service as outsiders see it.
fn read_only(service: Service) -> S3Service {
    let mut builder = S3ServiceBuilder::new(service);
    // Access is only checked where there is authentication.
    builder.set_auth(SimpleAuth::from_single(KEY, KEY));
    builder.set_access(ReadOnly);
    builder.build()
}

pub(super) async fn serve(service: Service, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
    let service = read_only(service);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    let accept = async {
        loop {
            let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
            match listener.accept().await {
                Ok((stream, _)) => {
                    let connection = answer(stream, service.clone(), shutdown.clone());
                    connections.spawn(async move {
                        let _place = place;
                        connection.await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the embedded store could not accept a connection");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    };
    let result = tokio::select! {
        result = accept => result,
        () = shutdown.cancelled() => Ok(()),
    };
    connections.close();
    // Those that take longer are dropped with the runtime.
    if tokio::time::timeout(LAST_ANSWERS, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "answers of the embedded store were cut off");
    }
    result
}

async fn answer(stream: TcpStream, service: S3Service, shutdown: CancellationToken) {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(HEADERS)
        .max_buf_size(HEADER_BYTES);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        // The other side went away, mostly.
        tracing::debug!(%error, "a connection to the embedded store ended");
    }
}
