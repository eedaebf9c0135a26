//! The embedded store on a port, as `waybill up` has it.

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use waybill_store::Embedded;

/// Answers until `shutdown`.
pub(crate) async fn reads(embedded: &Embedded, listener: TcpListener, shutdown: CancellationToken) {
    let accepting = async {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection can be accepted");
            let service = embedded.reader();
            tokio::spawn(async move {
                // The other side may go away whenever it likes.
                let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    };
    shutdown.run_until_cancelled(accepting).await;
}
