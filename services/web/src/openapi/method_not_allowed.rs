//! 405 answers list the methods that the path has (RFC 9110 §15.5.6).

use std::collections::HashMap;

use poem::{
    Endpoint, EndpointExt, Request,
    endpoint::{BoxEndpoint, make_sync},
    http::Method,
};
use poem_openapi::{
    OpenApi,
    registry::{MetaApi, Registry},
};

use crate::{Problem, metrics::Pattern};

/// The same routes, with an answer to every other method.
pub(crate) struct Allowing<A>(pub(crate) A);

/// HEAD is not here: poem answers it where there is a GET.
const METHODS: [Method; 7] =
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS, Method::TRACE];

impl<A: OpenApi> OpenApi for Allowing<A> {
    fn meta() -> Vec<MetaApi> {
        A::meta()
    }

    fn register(registry: &mut Registry) {
        A::register(registry);
    }

    fn add_routes(self, table: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {
        self.0.add_routes(table);
        let patterns = patterns(&A::meta());
        for (path, routes) in table {
            let path = patterns.get(path).unwrap_or(path);
            let allow = allowed(routes.keys());
            for method in METHODS.into_iter().chain((!routes.contains_key(&Method::GET)).then_some(Method::HEAD)) {
                routes.entry(method).or_insert_with(|| refuse(allow.clone()));
            }
            for (method, route) in std::mem::take(routes) {
                routes.insert(method, named(path, route));
            }
        }
    }
}

/// Tells whoever counts the answers which path they are of.
pub(crate) fn named(path: &str, route: BoxEndpoint<'static>) -> BoxEndpoint<'static> {
    let pattern = Pattern(path.into());
    route
        .around(move |route, request| {
            let pattern = pattern.clone();
            async move {
                match route.call(request).await {
                    Ok(mut response) => {
                        response.extensions_mut().insert(pattern);
                        Ok(response)
                    }
                    Err(mut error) => {
                        error.set_data(pattern);
                        Err(error)
                    }
                }
            }
        })
        .boxed()
}

/// Answers every method that is not allowed; `allow` as in the header.
pub(crate) fn refuse(allow: String) -> BoxEndpoint<'static> {
    make_sync(move |request: Request| {
        let path = request.uri().path();
        Err::<(), _>(poem::Error::from(Problem::method_not_allowed(request.method().as_str(), path, allow.clone())))
    })
    .map_to_response()
    .boxed()
}

/// What the documentation calls each path, by what the router calls it: `/jobs/{id}` by `/jobs/:param0`.
fn patterns(apis: &[MetaApi]) -> HashMap<String, String> {
    let documented = apis.iter().flat_map(|api| &api.paths).map(|path| path.path.clone());
    let routed = |path: &String| {
        let mut count = 0_usize..;
        let segments = path.split('/').map(|segment| match segment.strip_prefix('{') {
            Some(_) => format!(":param{}", count.next().unwrap_or_default()),
            None => segment.to_owned(),
        });
        segments.collect::<Vec<_>>().join("/")
    };
    documented.map(|path| (routed(&path), path)).collect()
}

fn allowed<'a>(methods: impl Iterator<Item = &'a Method>) -> String {
    let mut names: Vec<&str> = methods.map(Method::as_str).collect();
    if names.contains(&"GET") {
        names.push("HEAD");
    }
    names.sort_unstable();
    names.join(", ")
}
