//! Builds the application from a service's routes: adds documentation, probes, metrics and the middleware.

use std::sync::Arc;

use poem::{
    Endpoint, EndpointExt, Response, Route, RouteMethod,
    endpoint::make_sync,
    http::header,
    middleware::{NormalizePath, TrailingSlash},
};
use poem_openapi::{ApiResponse, OpenApi, OpenApiService};
use prometheus_client::registry::Registry;
use serde_json::json;

use crate::{
    ApiKeys, HitCounter, Pages, Probes, Uploads,
    auth::{
        self,
        middleware::{Guard, TIME_LIMIT},
    },
    metrics::{self, Metrics},
    openapi::{
        error_mapping::Choices,
        method_not_allowed::{Allowing, named, refuse},
    },
    pages::assets::{PROGRESS, STYLESHEET},
};

/// What stands around the routes of a process.
#[derive(Debug, Clone, Default)]
pub struct AppConfig {
    /// Who may ask.
    pub keys: ApiKeys,
    /// What is counted of HTTP.
    pub metrics: Metrics,
    /// What `/metrics` shows.
    pub registry: Arc<Registry>,
    /// Routes that take files.
    pub uploads: Uploads,
    /// Routes whose POST changes nothing: a key that may read may use them.
    pub reads: &'static [&'static str],
    /// Pages for people.
    pub pages: Pages,
    /// Who counts requests by path.
    pub hits: HitCounter,
}

/// The page loads nothing: no script, style, font or image of another host. It may ask this one.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                           img-src data:; font-src data:; connect-src 'self'; frame-ancestors 'none'";

/// The routes of `apis`, with `/openapi.json`, `/docs` (which needs no internet), `/live`, `/ready`, `/metrics`, a
/// limit on bodies, a timeout, and every error as a [`crate::Problem`].
pub fn app<A: OpenApi + 'static>(apis: A, probes: Probes, front: AppConfig) -> impl Endpoint<Output = Response> {
    let service = OpenApiService::new(Allowing((apis, probes, Home)), "Waybill", env!("CARGO_PKG_VERSION"))
        .description("Files and records from slow upstreams, brought into S3, and statistics of them.");
    let document = secured(&service.spec());
    let docs = service.swagger_ui_html().replace("Swagger UI</title>", "Waybill</title>");
    let docs = page("text/html; charset=utf-8", docs.replace(&service.spec(), &document));
    let spec = page("application/json", document);
    let AppConfig { keys, metrics, registry, uploads, reads, pages, hits } = front;
    let choices = Choices::of::<A>();
    let guard = Arc::new(Guard { choices, keys, metrics, uploads, reads, pages, hits, limit: TIME_LIMIT });
    let routes = Route::new()
        .at("/docs", only_get("/docs", docs))
        .at("/openapi.json", only_get("/openapi.json", spec))
        .at(STYLESHEET.path, only_get(STYLESHEET.path, STYLESHEET.endpoint()))
        .at(PROGRESS.path, only_get(PROGRESS.path, PROGRESS.endpoint()))
        .at("/metrics", only_get("/metrics", metrics::page(registry)))
        .nest("/", service);
    // Old clients ask for `/collect/`; poem-openapi knows paths without a slash at the end only.
    routes.with(NormalizePath::new(TrailingSlash::Trim)).around(move |inner, request| {
        let guard = Arc::clone(&guard);
        async move { Ok(guard.answer(inner, request).await) }
    })
}

/// The document, saying how to present a key, and which paths need none.
fn secured(document: &str) -> String {
    let mut document: serde_json::Value = serde_json::from_str(document).expect("an OpenAPI document is JSON");
    let description = "An API key of scope `read` for every GET, of scope `submit` for POST, or of scope `admin`. \
                       Without keys in its settings, a service asks for none.";
    document["components"]["securitySchemes"]["key"] =
        json!({ "type": "http", "scheme": "bearer", "description": description });
    document["security"] = json!([{ "key": [] }]);
    for path in auth::OPEN {
        let operations = document["paths"].get_mut(path).and_then(serde_json::Value::as_object_mut);
        for operation in operations.into_iter().flat_map(|operations| operations.values_mut()) {
            operation["security"] = json!([]);
        }
    }
    serde_json::to_string_pretty(&document).expect("JSON can be written")
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
            .body(body.clone())
    })
}
