//! From routes to a server: documentation, probes, limits, errors as problems, shutdown.

use poem::{Endpoint, Response};
use poem_openapi::OpenApi;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Probes;

/// The routes of `apis`, with `/openapi.json`, `/docs` (which needs no internet), `/live`, `/ready`, a
/// limit on bodies, a timeout, and every error as a [`crate::Problem`].
pub fn app<A: OpenApi + 'static>(apis: A, probes: Probes) -> impl Endpoint<Output = Response> {
    let _ = (apis, probes);
    poem::endpoint::make_sync(|_| Response::default())
}

/// Serves until `shutdown`, then lets requests under way finish, for at most 10 seconds.
pub async fn serve(
    listener: TcpListener,
    app: impl Endpoint<Output = Response> + 'static,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    todo!()
}
