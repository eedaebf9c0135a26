//! The HTTP client, and what its errors mean.
//!
//! No text made here may show more of an address than its path: a base URL may name a private host, and
//! a query may carry a secret.

use std::{collections::HashMap, error::Error, fmt, time::Duration};

use anyhow::{Context as _, bail};
use hyper_util::client::proxy::matcher::Matcher;
use jiff::Timestamp;
use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode, Url,
    header::{
        ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
        LOCATION, RANGE,
    },
    redirect::Policy,
};
use tokio_util::sync::CancellationToken;
use url::Origin;
use waybill_source::{Credentials, Definition, Hosts, Request};

use crate::{
    download::content_encoding::ACCEPTED,
    limits::{retry_after::retry_after, throttle::Passed},
    metrics::Counts,
    retry::Fault,
};

/// To connect, name resolution and TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// Between two reads.
const IDLE: Duration = Duration::from_secs(60);
/// Redirects followed, all within the upstream's own origin and the hosts that the definition names.
const REDIRECTS: usize = 5;
/// Headers about a file, which go where it is; all others stay at home.
const OF_THE_FILE: [HeaderName; 4] = [RANGE, IF_RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE];

/// Every upstream, over one pool of connections.
#[derive(Debug)]
pub(crate) struct Upstream {
    client: Client,
    base_urls: HashMap<String, String>,
    /// As the client finds them, in the environment.
    proxies: Matcher,
}

/// Something to ask an upstream for.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    method: Method,
    url: Url,
    /// The path, for people: never with the query.
    pub(crate) path: String,
    /// The path behind that of the base URL.
    sent: String,
    headers: HeaderMap,
    body: Option<String>,
    /// The base URL's.
    home: Origin,
    /// What requests to the home origin are given.
    credentials: Pairs,
    hosts: Hosts,
}

/// Headers and query pairs that take the place of others of their names.
#[derive(Clone, Default)]
struct Pairs {
    headers: HeaderMap,
    query: Vec<(String, String)>,
}

impl Pairs {
    fn add_to_query(&self, url: &mut Url) {
        if self.query.is_empty() {
            return;
        }
        let is_own = |name: &str| self.query.iter().any(|(own, _)| own == name);
        if url.query_pairs().any(|(name, _)| is_own(&name)) {
            let others = url.query_pairs().filter(|(name, _)| !is_own(name));
            let others: Vec<(String, String)> = others.map(|(name, value)| (name.into(), value.into())).collect();
            url.query_pairs_mut().clear().extend_pairs(others);
        }
        url.query_pairs_mut().extend_pairs(&self.query);
    }
}

impl fmt::Debug for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pairs").finish_non_exhaustive()
    }
}

impl Target {
    /// Whether it reads only.
    pub(crate) fn is_get(&self) -> bool {
        self.method == Method::GET
    }

    /// The query as it is sent.
    pub(crate) fn query(&self) -> Vec<(String, String)> {
        self.url.query_pairs().map(|(name, value)| (name.into(), value.into())).collect()
    }

    /// Where a redirect may lead from `from`: within the origin with its credentials, or to one of the hosts without
    /// any. `None` where it may not.
    fn follow(&self, from: &Url, mut location: Url, next: &mut reqwest::Request) -> Option<()> {
        if !location.username().is_empty() || location.password().is_some() {
            return None;
        }
        if location.origin() == self.home && from.origin() == self.home {
            self.credentials.add_to_query(&mut location);
        } else if self.is_host(&location) && self.is_get() {
            let names: Vec<_> = next.headers().keys().filter(|name| !OF_THE_FILE.contains(name)).cloned().collect();
            for name in names {
                next.headers_mut().remove(name);
            }
        } else {
            return None;
        }
        *next.url_mut() = location;
        Some(())
    }

    fn is_host(&self, url: &Url) -> bool {
        is_host(&self.hosts, &self.home, url)
    }
}

/// Whether this is one of the hosts, over a connection that is no worse than the upstream's own.
fn is_host(hosts: &Hosts, home: &Origin, url: &Url) -> bool {
    let is_plain = |scheme: &str| scheme == "http";
    let home_is_plain = matches!(home, Origin::Tuple(scheme, ..) if is_plain(scheme));
    (url.scheme() == "https" || is_plain(url.scheme()) && home_is_plain) && hosts.contains(url)
}

/// Why a request got no answer.
#[derive(Debug)]
pub(crate) struct SendError {
    pub(crate) fault: Fault,
    /// Whether the upstream may have the request all the same.
    pub(crate) may_have_arrived: bool,
}

impl SendError {
    /// Of a request that the upstream did not take.
    fn refused(fault: Fault) -> Self {
        Self { fault, may_have_arrived: false }
    }
}

/// What is fetched may be asked for again, whether or not it arrived.
impl From<SendError> for Fault {
    fn from(error: SendError) -> Self {
        error.fault
    }
}

impl Upstream {
    /// Refuses a base URL that cannot be used.
    pub(crate) fn new(base_urls: HashMap<String, String>) -> anyhow::Result<Self> {
        for (source, base) in &base_urls {
            if let Err(reason) = parse_base(base) {
                bail!("the base URL of source `{source}` {reason}");
            }
        }
        let client = Client::builder()
            .user_agent(concat!("waybill/", env!("CARGO_PKG_VERSION")))
            .default_headers(HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(ACCEPTED))]))
            // Each redirect is a request, which has to pass the throttle.
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .read_timeout(IDLE)
            .build()
            .context("the HTTP client cannot be made")?;
        Ok(Self { client, base_urls, proxies: Matcher::from_system() })
    }

    /// Where a request of this source goes. The error says, for people, why it goes nowhere.
    pub(crate) fn target(&self, definition: &Definition, request: &Request) -> Result<Target, String> {
        let base = self.base_urls.get(definition.name()).map_or_else(|| definition.base_url(), String::as_str);
        let base = parse_base(base).map_err(|why| format!("the base URL of source `{}` {why}", definition.name()))?;
        match &request.url {
            None => target(base, definition, request),
            Some(url) => address(&base, definition, request, url),
        }
    }

    /// A request that can still be given headers.
    pub(crate) fn request(&self, target: &Target) -> RequestBuilder {
        let request = self.client.request(target.method.clone(), target.url.clone()).headers(target.headers.clone());
        match &target.body {
            Some(body) => request.body(body.clone()),
            None => request,
        }
    }

    /// Sends a request that has passed the throttle, and waits for the head of the answer, whatever its status.
    /// Follows redirects within the upstream's own origin, and to the definition's hosts without credentials, each as one
    /// more request. What is no GET is sent again only
    /// where a redirect asks for just that (307, 308).
    pub(crate) async fn send(
        &self,
        request: RequestBuilder,
        target: &Target,
        counts: &Counts,
        passed: &mut Passed<'_>,
        shutdown: &CancellationToken,
    ) -> Result<Response, SendError> {
        let path = &target.path;
        let mut request = request.build().map_err(|error| SendError::refused(unsent(&error, path)))?;
        for _ in 0..=REDIRECTS {
            let (next, url) = (request.try_clone(), request.url().clone());
            let answer = self.client.execute(request).await;
            passed.answered();
            counts.answered(answer.as_ref().ok().map(Response::status));
            let response = answer.map_err(|error| SendError {
                // A connection that was made may have carried the request.
                may_have_arrived: !(error.is_connect() || error.is_builder()),
                fault: unsent(&error, &self.answered(target, &url)),
            })?;
            let keeps_method = target.method == Method::GET
                || matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
            let location = redirected(&response).filter(|_| keeps_method);
            let (Some(location), Some(mut next)) = (location, next) else { return Ok(response) };
            if target.follow(&url, location, &mut next).is_none() {
                let reason = format!("the upstream's redirect of {path} was not followed: it leads to another server");
                return Err(SendError::refused(Fault::permanent(reason)));
            }
            passed.redirected(shutdown).await.map_err(SendError::refused)?;
            request = next;
        }
        let reason = format!("the upstream's redirect of {path} was not followed: more than {REDIRECTS} redirects");
        Err(SendError::refused(Fault::permanent(reason)))
    }

    /// The path that an answer from `url` is about, for people: another one after a redirect; and the proxy that the
    /// request took.
    pub(crate) fn answered(&self, target: &Target, url: &Url) -> String {
        let path = &target.path;
        let mut place = if *url == target.url {
            path.clone()
        } else {
            let base = target.url.path().strip_suffix(&target.sent).unwrap_or_default();
            format!("{}, where it led from {path}", url.path().strip_prefix(base).unwrap_or(url.path()))
        };
        if let Some(proxy) = url.as_str().parse().ok().and_then(|uri| self.proxies.intercept(&uri)) {
            // Never with what stands before the host: that may be a password.
            let (host, port) = (proxy.uri().host().unwrap_or_default(), proxy.uri().port());
            place += &format!(" through the proxy {host}{}", port.map(|port| format!(":{port}")).unwrap_or_default());
        }
        place
    }
}

fn parse_base(base: &str) -> Result<Url, String> {
    let url = Url::parse(base).map_err(|error| format!("is none: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain credentials".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end with its path".to_owned());
    }
    Ok(url)
}

fn target(mut url: Url, definition: &Definition, request: &Request) -> Result<Target, String> {
    let home = url.origin();
    let base_path = url.path().trim_end_matches('/').len();
    let path = format!("{}{}", url.path().trim_end_matches('/'), request.path);
    url.set_path(&path);
    // Dot segments are resolved by every URL parser: a value that came from an upstream must not lead
    // out of the path that the definition wrote.
    if !request.path.starts_with('/') || url.path().matches('/').count() != path.matches('/').count() {
        return Err(format!("the path {} does not stay where the definition put it", request.shown));
    }
    let sent = url.path().get(base_path..).unwrap_or_default().to_owned();
    to(url, home, true, definition, request, (request.shown.clone(), sent))
}

/// A whole address: below the base URL, with credentials, or at one of the hosts, with nothing of the definition's.
fn address(base: &Url, definition: &Definition, request: &Request, text: &str) -> Result<Target, String> {
    // What it is may not be shown: it may hold a key.
    let wrong = |why: &str| format!("an address for {} cannot be asked: it {why}", definition.name());
    let mut url = Url::parse(text).map_err(|error| wrong(&format!("is none: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("does not begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("contains credentials"));
    }
    url.set_fragment(None);
    let home = base.origin();
    let sent = below(base, &url).map(str::to_owned);
    let is_home = sent.is_some();
    let is_elsewhere = is_host(definition.hosts(), &home, &url) && request.method == waybill_source::Method::Get;
    if !(is_home || is_elsewhere) {
        return Err(wrong("is neither below `base_url` nor at one of `hosts`"));
    }
    let sent = sent.unwrap_or_else(|| url.path().to_owned());
    to(url, home, is_home, definition, request, (sent.clone(), sent))
}

/// The path behind that of the base URL, where an address is below it.
fn below<'a>(base: &Url, url: &'a Url) -> Option<&'a str> {
    let rest = url.path().strip_prefix(base.path().trim_end_matches('/'))?;
    (base.origin() == url.origin() && rest.starts_with('/')).then_some(rest)
}

fn to(
    mut url: Url,
    home: Origin,
    is_home: bool,
    definition: &Definition,
    request: &Request,
    (path, sent): (String, String),
) -> Result<Target, String> {
    if !request.query.is_empty() {
        url.query_pairs_mut().extend_pairs(&request.query);
    }
    let method = Method::from_bytes(request.method.as_str().as_bytes()).map_err(|error| error.to_string())?;
    let (mut headers, body) = match is_home {
        true => (headers(request, &request.headers)?, request.body.as_ref().map(|body| body.text.clone())),
        false => (HeaderMap::new(), None),
    };
    let mut credentials = Pairs::default();
    if is_home {
        let Credentials { headers: own, query } = &request.auth;
        credentials = Pairs { headers: pairs(&request.shown, own)?, query: query.clone() };
        credentials.add_to_query(&mut url);
        // In the place of others of these names.
        headers.extend(credentials.headers.clone());
    }
    Ok(Target { method, url, path, sent, headers, body, home, credentials, hosts: definition.hosts().clone() })
}

fn headers(request: &Request, named: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut headers = pairs(&request.shown, named)?;
    if let Some(body) = &request.body {
        headers.extend(pairs(&request.shown, &[(CONTENT_TYPE.to_string(), body.content_type.clone())])?);
    }
    Ok(headers)
}

/// No value is ever shown: it may be a secret.
fn pairs(path: &str, named: &[(String, String)]) -> Result<HeaderMap, String> {
    let pair = |(name, value): &(String, String)| {
        let wrong = || format!("the header `{name}` of the request for {path} cannot be sent");
        let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        Ok((HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?, value))
    };
    named.iter().map(pair).collect()
}

/// Where an answer leads to instead.
fn redirected(response: &Response) -> Option<Url> {
    let location = response.headers().get(LOCATION).filter(|_| is_redirect(response.status()))?;
    response.url().join(location.to_str().ok()?).ok()
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    )
}

/// What an answer means that is not the one asked for.
pub(crate) fn refused(status: StatusCode, headers: &HeaderMap, path: &str, now: Timestamp) -> Fault {
    let reason = format!("the upstream answered {status} for {path}");
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {}
        _ if status.is_server_error() => {}
        _ => return Fault::permanent(reason),
    }
    Fault::Transient { err: reason, retry_after: retry_after(headers, now) }
}

fn unsent(error: &reqwest::Error, path: &str) -> Fault {
    if error.is_redirect() {
        Fault::permanent(format!("the upstream's redirect of {path} was not followed: {}", cause(error)))
    } else if error.is_builder() {
        Fault::permanent(format!("the request for {path} cannot be made: {}", cause(error)))
    } else if is_bad_head(error) {
        Fault::permanent(format!("the head of the upstream's answer for {path} cannot be read: {}", cause(error)))
    } else if error.is_timeout() {
        Fault::transient(format!("the upstream did not answer in time for {path}"))
    } else if error.is_connect() {
        Fault::transient(format!("the upstream could not be reached for {path}: {}", cause(error)))
    } else {
        Fault::transient(format!("the upstream gave no answer for {path}: {}", cause(error)))
    }
}

/// A body that broke off after `received` bytes.
pub(crate) fn dropped(error: &reqwest::Error, path: &str, received: u64) -> Fault {
    let cause = if error.is_timeout() { "no more came in time".to_owned() } else { cause(error) };
    Fault::transient(format!("the download of {path} broke off after {received} bytes: {cause}"))
}

/// Whether there was an answer whose head breaks HTTP's rules or is too large: the next one would, too.
fn is_bad_head(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.downcast_ref().is_some_and(hyper::Error::is_parse) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The innermost cause: the outer ones name the whole URL.
fn cause(error: &reqwest::Error) -> String {
    let mut innermost: Option<&dyn Error> = error.source();
    while let Some(inner) = innermost.and_then(Error::source) {
        innermost = Some(inner);
    }
    innermost.map_or_else(|| "unknown".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str) -> Request {
        let query = vec![("date".to_owned(), "a b&c".to_owned())];
        Request { path: path.to_owned(), query, shown: path.to_owned(), ..Request::default() }
    }

    const BUSES: &str = include_str!("../../../source/sources/buses.toml");

    fn definition() -> Definition {
        let text = BUSES.replace("[[items]]", "hosts = [\"files.example.com\", \"*.files.example.com\"]\n\n[[items]]");
        Definition::parse("x.toml", &text).unwrap()
    }

    /// An address that an upstream gave.
    fn next(base: &str, url: &str) -> Result<Target, String> {
        let auth = Credentials {
            headers: vec![("Authorization".to_owned(), "Bearer s3cret".to_owned())],
            query: vec![("key".to_owned(), "s3cret".to_owned())],
        };
        let headers = vec![("X-Version".to_owned(), "7".to_owned())];
        let request = Request { url: Some(url.to_owned()), headers, auth, ..Request::default() };
        address(&parse_base(base).unwrap(), &definition(), &request, url)
    }

    #[test]
    fn credentials_go_below_the_base_url_only() {
        let target = next("https://api.example.com/v1", "https://api.example.com/v1/items?page=2&key=old#x").unwrap();
        assert_eq!(
            (target.url.as_str(), &*target.path),
            ("https://api.example.com/v1/items?page=2&key=s3cret", "/items")
        );
        assert_eq!((target.headers["authorization"].as_bytes(), target.headers.len()), (&b"Bearer s3cret"[..], 2));
        for url in ["https://files.example.com/x?sig=1", "https://a.files.example.com/x?sig=1"] {
            let target = next("https://api.example.com/v1", url).unwrap();
            assert_eq!((target.url.as_str(), target.headers.len(), &*target.path), (url, 0, "/x"));
        }
        for url in [
            "https://api.example.com/v2/items",
            "https://api.example.com/v1evil",
            "https://api.example.com/v1/../v2",
            "https://api.example.com:8443/v1/items",
            "https://user:pass@api.example.com/v1/items",
            "https://evil.com/v1/items",
            "http://api.example.com/v1/items",
            "http://files.example.com/x",
            "file:///etc/passwd",
            "items",
        ] {
            let said = next("https://api.example.com/v1", url).unwrap_err();
            assert!(!said.contains("evil") && !said.contains("passwd") && !said.contains("pass@"), "{said}");
        }
    }

    #[test]
    fn a_redirect_to_a_host_takes_no_credentials_with_it() {
        let target = next("https://api.example.com/v1", "https://api.example.com/v1/items").unwrap();
        let followed = |location: &str| {
            let mut next = reqwest::Request::new(Method::GET, target.url.clone());
            *next.headers_mut() = target.headers.clone();
            next.headers_mut().insert(RANGE, HeaderValue::from_static("bytes=7-"));
            target.follow(&target.url, Url::parse(location).unwrap(), &mut next)?;
            Some((next.url().to_string(), next.headers().len()))
        };
        let url = |url: &str, headers: usize| Some((url.to_owned(), headers));
        assert_eq!(followed("https://files.example.com/x"), url("https://files.example.com/x", 1));
        assert_eq!(followed("https://api.example.com/y?a=1"), url("https://api.example.com/y?a=1&key=s3cret", 3));
        assert_eq!(followed("https://evil.com/x"), None);
        assert_eq!(followed("http://files.example.com/x"), None);
        assert_eq!(followed("https://u@files.example.com/x"), None);
    }

    fn to(base: &str, path: &str) -> Result<String, String> {
        parse_base(base)
            .and_then(|base| target(base, &definition(), &request(path)))
            .map(|target| target.url.to_string())
    }

    #[test]
    fn a_request_goes_below_the_base_url() {
        for (base, url) in [
            ("http://a:1", "http://a:1/cities/7/stats?date=a+b%26c"),
            ("http://a:1/", "http://a:1/cities/7/stats?date=a+b%26c"),
            ("http://a/v1/", "http://a/v1/cities/7/stats?date=a+b%26c"),
        ] {
            assert_eq!(to(base, "/cities/7/stats").unwrap(), url);
        }
        assert_eq!(to("http://a", "/c/%2F%3F%23%20").unwrap(), "http://a/c/%2F%3F%23%20?date=a+b%26c");
    }

    #[test]
    fn a_path_cannot_leave_its_place() {
        for path in ["/cities/../stats", "/cities/%2e%2E/stats", "/cities/./x", "@evil/x", "/a\\b", "x"] {
            assert!(to("http://a", path).is_err(), "{path}");
        }
        assert_eq!(to("http://a", "//evil/x").unwrap(), "http://a//evil/x?date=a+b%26c");
    }

    #[test]
    fn a_base_url_is_refused_without_being_shown() {
        for base in ["http://user:secret@a", "ftp://a", "nothing", "http://a?key=secret"] {
            let base_urls = HashMap::from([("buses".to_owned(), base.to_owned())]);
            let error = Upstream::new(base_urls).unwrap_err().to_string();
            assert!(error.starts_with("the base URL of source `buses` ") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_proxy_and_the_end_of_a_redirect_are_named() {
        let mut upstream = Upstream::new(HashMap::new()).unwrap();
        upstream.proxies = Matcher::builder().http("http://user:pass@proxy.example:3128").build();
        let to = |base: &str| target(parse_base(base).unwrap(), &definition(), &request("/a")).unwrap();
        let plain = to("http://x/api");
        assert_eq!(upstream.answered(&plain, &plain.url), "/a through the proxy proxy.example:3128");
        let secure = to("https://x/api");
        assert_eq!(upstream.answered(&secure, &secure.url), "/a");
        let led = Url::parse("https://x/api/b?date=1").unwrap();
        assert_eq!(upstream.answered(&secure, &led), "/b, where it led from /a");
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (status, transient) in
            [(408, true), (425, true), (429, true), (500, true), (503, true), (400, false), (404, false), (204, false)]
        {
            let status = StatusCode::from_u16(status).unwrap();
            let fault = refused(status, &HeaderMap::new(), "/x", Timestamp::UNIX_EPOCH);
            assert_eq!(matches!(fault, Fault::Transient { .. }), transient, "{status}");
        }
        let fault = refused(StatusCode::NOT_FOUND, &HeaderMap::new(), "/cities/7/stats", Timestamp::UNIX_EPOCH);
        assert_eq!(fault.to_string(), "the upstream answered 404 Not Found for /cities/7/stats");
    }
}
