//! Addresses that lead to other pages.

use poem::{Request, http::header};

/// Below this, an upstream plays another origin: nobody should send credentials there.
pub(crate) const ELSEWHERE: &str = "/elsewhere";

/// The host and port by which this upstream was asked.
pub(crate) fn host(request: &Request) -> &str {
    request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost")
}

/// The same upstream by the other name of this machine, which makes it another origin.
pub(crate) fn other_origin(host: &str) -> String {
    let (name, port) = host.rsplit_once(':').map_or((host, String::new()), |(name, port)| (name, format!(":{port}")));
    let other = if name == "localhost" { "127.0.0.1" } else { "localhost" };
    format!("http://{other}{port}")
}
