//! Refuses what web pages of other sites make a browser send: DNS rebinding and cross-site requests. Checked before
//! any route.
//!
//! A service without API keys on a loopback address trusts whoever reaches it, and every page that its user visits can
//! make the browser reach it. Two things tell such a request apart, and no script or command line has them: a host name
//! of somebody else (DNS rebinding), and an origin of another site on a request that changes something.

use std::net::IpAddr;

use poem::{
    Addr, Request,
    http::{Method, StatusCode, Version, header, uri::Scheme},
};

use crate::{ApiKeys, Problem};

/// Refuses what does not say one host (RFC 9112 §3.2), and requests that another site made a browser send. A request that came over no connection, as in tests, has no host to judge.
pub(crate) fn check(request: &Request, keys: &ApiKeys) -> Result<(), Problem> {
    let Addr::SocketAddr(local) = &request.local_addr().0 else { return Ok(()) };
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        (None, _) if request.version() == Version::HTTP_10 => return Ok(()),
        _ => None,
    };
    let Some(host) = host else {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-request", "expected exactly one Host header"));
    };
    if !keys.is_empty() {
        // Pages do not know a key.
        return Ok(());
    }
    // With TLS a browser finds that the certificate is not of the name that it was led here by.
    let is_plain = request.scheme() != &Scheme::HTTPS;
    if is_plain && local.ip().to_canonical().is_loopback() && !is_local_name(host) {
        return Err(forbidden(format!("expected localhost or an address as the host, found {host:?}")));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) && is_cross_site(request, host) {
        return Err(forbidden("a page of another site made this request".to_owned()));
    }
    Ok(())
}

/// The same check for a port that asks for no keys and serves no routes of ours.
///
/// # Errors
/// A problem with status 400 or 403.
pub fn refuse_foreign(request: &Request) -> Result<(), Problem> {
    check(request, &ApiKeys::default())
}

/// Whether a host can only mean this machine or an address: a name of somebody else's DNS cannot.
pub(crate) fn is_local_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok()
}

/// What browsers say of who made them send a request; nobody else says it.
fn is_cross_site(request: &Request, host: &str) -> bool {
    let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(site) = header("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    header("origin").is_some_and(|origin| {
        let authority = origin.split_once("://").map_or("", |(_, authority)| authority);
        !authority.eq_ignore_ascii_case(host)
    })
}

fn forbidden(detail: String) -> Problem {
    let detail = format!("{detail}; a service without API keys answers programs and its own pages only");
    Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_and_addresses_are_local_names() {
        for local in
            ["localhost", "localhost:8080", "LOCALHOST.:1", "a.localhost", "127.0.0.1:80", "[::1]:80", "10.0.0.9"]
        {
            assert!(is_local_name(local), "{local}");
        }
        for other in
            ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "", "[", ":80"]
        {
            assert!(!is_local_name(other), "{other}");
        }
    }
}
