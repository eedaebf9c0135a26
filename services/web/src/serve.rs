//! From routes to a server: documentation, probes, limits, errors as problems, shutdown.

use std::{io, sync::Arc, time::Duration};

use poem::{
    Endpoint, EndpointExt, Response, Route, RouteMethod, Server,
    endpoint::make_sync,
    http::{header, uri::Scheme},
    listener::{Acceptor, TcpAcceptor},
    middleware::{NormalizePath, TrailingSlash},
    web::{LocalAddr, RemoteAddr},
};
use poem_openapi::{ApiResponse, OpenApi, OpenApiService};
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::{
    Probes,
    allow::{Allowing, named, refuse},
    convert::Choices,
    guard::{TIME_LIMIT, guard},
    metrics::{self, Metrics},
};

/// What stands around the routes of a process.
#[derive(Debug, Clone, Default)]
pub struct Front {
    /// What is counted of HTTP.
    pub metrics: Metrics,
    /// What `/metrics` shows.
    pub registry: Arc<Registry>,
}

/// How long requests under way may take once the server is to stop.
const GRACE: Duration = Duration::from_secs(10);

/// A connection on which nothing comes or goes for so long is closed.
const IDLE: Duration = Duration::from_secs(75);

/// The page loads nothing: no script, style, font or image of another host. It may ask this one.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                           img-src data:; font-src data:; connect-src 'self'; frame-ancestors 'none'";

/// The routes of `apis`, with `/openapi.json`, `/docs` (which needs no internet), `/live`, `/ready`, `/metrics`, a
/// limit on bodies, a timeout, and every error as a [`crate::Problem`].
pub fn app<A: OpenApi + 'static>(apis: A, probes: Probes, front: Front) -> impl Endpoint<Output = Response> {
    let choices = Arc::new(Choices::of::<A>());
    let service = OpenApiService::new(Allowing((apis, probes, Home)), "Waybill", env!("CARGO_PKG_VERSION"))
        .description("Files and records from slow upstreams, brought into S3, and statistics of them.");
    let spec = page("application/json", service.spec());
    let docs =
        page("text/html; charset=utf-8", service.swagger_ui_html().replace("Swagger UI</title>", "Waybill</title>"));
    let routes = Route::new()
        .at("/docs", only_get("/docs", docs))
        .at("/openapi.json", only_get("/openapi.json", spec))
        .at("/metrics", only_get("/metrics", metrics::page(front.registry)))
        .nest("/", service);
    // Old clients ask for `/collect/`; poem-openapi knows paths without a slash at the end only.
    routes.with(NormalizePath::new(TrailingSlash::Trim)).around(move |inner, request| {
        let (choices, metrics) = (Arc::clone(&choices), front.metrics.clone());
        async move { Ok(guard(inner, request, &choices, &metrics, TIME_LIMIT).await) }
    })
}

/// Serves until `shutdown`, then lets requests under way finish, for at most 10 seconds.
pub async fn serve(
    listener: TcpListener,
    app: impl Endpoint<Output = Response> + 'static,
    shutdown: CancellationToken,
) -> io::Result<()> {
    Server::new_with_acceptor(Patient(TcpAcceptor::from_tokio(listener)?))
        .idle_timeout(IDLE)
        .run_with_graceful_shutdown(app, shutdown.cancelled_owned(), Some(GRACE))
        .await
}

/// Where somebody lands who types the bare address.
struct Home;

#[derive(ApiResponse)]
enum Elsewhere {
    #[oai(status = 307)]
    At(#[oai(header = "location")] String),
}

#[OpenApi]
impl Home {
    #[oai(path = "/", method = "get", hidden)]
    async fn home(&self) -> Elsewhere {
        Elsewhere::At("/docs".to_owned())
    }
}

fn only_get(path: &str, endpoint: impl Endpoint + 'static) -> RouteMethod {
    use poem::http::Method;
    let endpoint = named(path, endpoint.map_to_response().boxed());
    [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS, Method::TRACE]
        .into_iter()
        .fold(RouteMethod::new().get(endpoint), |route, method| route.method(method, refuse("GET, HEAD".to_owned())))
}

fn page(content_type: &'static str, text: String) -> impl Endpoint<Output = Response> {
    let body = bytes::Bytes::from(text);
    make_sync(move |_| {
        Response::builder()
            .content_type(content_type)
            .header(header::CONTENT_SECURITY_POLICY, DOCS_POLICY)
            .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
            .body(body.clone())
    })
}

/// Accepts connections, and waits a moment where the system has no more of them to give: asking again at
/// once would take a whole core for as long as that lasts.
struct Patient(TcpAcceptor);

impl Acceptor for Patient {
    type Io = TcpStream;

    fn local_addr(&self) -> Vec<LocalAddr> {
        self.0.local_addr()
    }

    async fn accept(&mut self) -> io::Result<(TcpStream, LocalAddr, RemoteAddr, Scheme)> {
        match self.0.accept().await {
            Ok(accepted) => {
                // Answers are small and written whole: nothing is gained by waiting for more.
                accepted.0.set_nodelay(true)?;
                Ok(accepted)
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                Err(error)
            }
        }
    }
}
