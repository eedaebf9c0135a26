//! Asks an API, or answers from what was saved of it. Each answer is held whole, up to [`MAX_BODY`].
//!
//! Credentials go to the origin of the base URL alone. No retries: whoever tries a definition wants to see what comes.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use reqwest::{
    Client, Method, Url,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION},
    redirect::Policy,
};
use waybill_source::{Hosts, Request, RequestBody};

use crate::trial::{fixture::Fixture, mask::Mask};

/// The most that is read of an answer, and saved: enough to see what its records are.
pub(crate) const MAX_BODY: usize = 10_000_000;
/// To connect, name resolution and TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// One request, whole. Somebody waits for it.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Redirects followed.
const REDIRECTS: usize = 5;

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// By lower-case name; several of one name are one, with commas.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) url: Url,
    pub(crate) body: Vec<u8>,
    /// Whether there was more than [`MAX_BODY`].
    pub(crate) is_cut: bool,
    pub(crate) took: Duration,
}

/// One request as it is sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) method: Method,
    /// Without credentials that are added last.
    pub(crate) url: Url,
    pub(crate) body: Option<String>,
    headers: HeaderMap,
    auth: HeaderMap,
    auth_query: Vec<(String, String)>,
}

/// Where answers come from.
#[derive(Debug)]
pub(crate) enum Origin {
    Api,
    /// The API, and every answer is saved.
    Saved(Fixture),
    /// What was saved, and nothing else.
    Replayed(Fixture),
}

/// Asks.
#[derive(Debug)]
pub(crate) struct Asker {
    client: Client,
    base: Url,
    hosts: Hosts,
    origin: Origin,
    mask: Mask,
}

impl Asker {
    pub(crate) fn new(base: &str, hosts: Hosts, origin: Origin, mask: Mask) -> anyhow::Result<Self> {
        let base = Url::parse(base).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.query().is_none()
        });
        let base = base.context("the base URL must begin with http:// or https://, and have no user and no query")?;
        let client = Client::builder()
            .user_agent(concat!("waybill/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(TIMEOUT)
            .build()?;
        Ok(Self { client, base, hosts, origin, mask })
    }

    /// Where a request goes, and with what.
    pub(crate) fn prepare(&self, request: &Request) -> anyhow::Result<Sent> {
        let mut url = match &request.url {
            Some(url) => Url::parse(url).ok().context("an answer led to an address that is none")?,
            None => {
                let mut url = self.base.clone();
                let path = format!("{}{}", url.path().trim_end_matches('/'), request.path);
                url.set_path(&path);
                if url.path().matches('/').count() != path.matches('/').count() {
                    bail!("the path {} does not stay where the definition put it", request.shown);
                }
                url
            }
        };
        url.set_fragment(None);
        let is_home = url.origin() == self.base.origin();
        if !is_home && !self.hosts.contains(&url) {
            bail!(
                "an answer led to {}, which is neither the origin of `base_url` nor one of `hosts`: a job fails there",
                url.host_str().unwrap_or("no host")
            );
        }
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        let method = Method::from_bytes(request.method.as_str().as_bytes())?;
        let (mut headers, mut auth, mut auth_query, mut body) = (HeaderMap::new(), HeaderMap::new(), Vec::new(), None);
        if is_home {
            headers = pairs(&request.headers)?;
            auth = pairs(&request.auth.headers)?;
            auth_query.clone_from(&request.auth.query);
            if let Some(RequestBody { content_type, text }) = &request.body {
                headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type)?);
                body = Some(text.clone());
            }
        }
        without(&mut url, &auth_query);
        Ok(Sent { method, url, body, headers, auth, auth_query })
    }

    /// Sends it. An error is about getting no answer.
    pub(crate) async fn ask(&mut self, sent: &Sent) -> anyhow::Result<Answer> {
        if let Origin::Replayed(fixture) = &self.origin {
            return fixture.find(sent, &self.mask);
        }
        let answer = self.send(sent).await?;
        if let Origin::Saved(fixture) = &mut self.origin {
            fixture.save(sent, &answer, &self.mask)?;
        }
        Ok(answer)
    }

    async fn send(&self, sent: &Sent) -> anyhow::Result<Answer> {
        let begun = Instant::now();
        let mut url = sent.url.clone();
        for _ in 0..=REDIRECTS {
            let mut request = self.client.request(sent.method.clone(), url.clone());
            if url.origin() == self.base.origin() {
                let mut with_auth = url.clone();
                without(&mut with_auth, &sent.auth_query);
                if !sent.auth_query.is_empty() {
                    with_auth.query_pairs_mut().extend_pairs(&sent.auth_query);
                }
                let mut headers = sent.headers.clone();
                headers.extend(sent.auth.clone());
                request = self.client.request(sent.method.clone(), with_auth).headers(headers);
                if let Some(body) = &sent.body {
                    request = request.body(body.clone());
                }
            }
            // What is encoded could become very large.
            let request = request.header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            let response = request.send().await.map_err(|error| no_answer(&error))?;
            let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let to = location.filter(|_| response.status().is_redirection()).and_then(|to| url.join(to).ok());
            match to {
                Some(to) if sent.method == Method::GET => {
                    if to.origin() != self.base.origin() && !self.hosts.contains(&to) {
                        bail!(
                            "it is redirected to {}, which is not one of `hosts`",
                            to.host_str().unwrap_or("no host")
                        );
                    }
                    url = to;
                }
                _ => return read(response, sent.url.clone(), begun).await,
            }
        }
        bail!("it is redirected more than {REDIRECTS} times")
    }

    pub(crate) fn mask(&self) -> &Mask {
        &self.mask
    }
}

impl Sent {
    /// `GET /search?q=climate&api-key=***`, of one that goes below the base URL; all of a request that has a secret in it
    /// still has to be masked.
    pub(crate) fn shown(&self) -> String {
        let mut query: Vec<String> = self.url.query_pairs().map(|(name, value)| format!("{name}={value}")).collect();
        query.extend(self.auth_query.iter().map(|(name, _)| format!("{name}=***")));
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        format!("{} {}{query}", self.method, self.url.path())
    }

    /// The names of headers that hold credentials.
    pub(crate) fn auth_headers(&self) -> Vec<&str> {
        self.auth.keys().map(HeaderName::as_str).collect()
    }
}

/// Takes parameters of these names out of a query.
fn without(url: &mut Url, names: &[(String, String)]) {
    let is_named = |name: &str| names.iter().any(|(other, _)| other == name);
    if url.query_pairs().any(|(name, _)| is_named(&name)) {
        let left: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(name, _)| !is_named(name))
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        url.set_query(None);
        if !left.is_empty() {
            url.query_pairs_mut().extend_pairs(&left);
        }
    }
}

fn pairs(named: &[(String, String)]) -> anyhow::Result<HeaderMap> {
    let pair = |(name, value): &(String, String)| {
        let mut value =
            HeaderValue::from_str(value).ok().with_context(|| format!("the header `{name}` cannot be sent"))?;
        value.set_sensitive(true);
        Ok((HeaderName::from_bytes(name.as_bytes())?, value))
    };
    named.iter().map(pair).collect()
}

async fn read(mut response: reqwest::Response, url: Url, begun: Instant) -> anyhow::Result<Answer> {
    let status = response.status().as_u16();
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in response.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        let entry = headers.entry(name.as_str().to_owned()).or_default();
        *entry = if entry.is_empty() { value.into_owned() } else { format!("{entry}, {value}") };
    }
    if let Some(encoding) = response.headers().get(CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
        bail!(
            "the answer comes encoded ({encoding:?}), though none was asked for; `waybill up` decodes it, `try` does not"
        );
    }
    let (mut body, mut is_cut) = (Vec::new(), false);
    while let Some(piece) = response.chunk().await.map_err(|error| no_answer(&error))? {
        let room = MAX_BODY - body.len();
        if piece.len() > room {
            body.extend_from_slice(&piece[..room]);
            is_cut = true;
            break;
        }
        body.extend_from_slice(&piece);
    }
    Ok(Answer { status, headers, url, body, is_cut, took: begun.elapsed() })
}

/// The innermost cause: the outer ones name the whole URL.
fn no_answer(error: &reqwest::Error) -> anyhow::Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let what = if error.is_timeout() {
        "no whole answer within 60 seconds"
    } else if error.is_connect() {
        "the API cannot be reached"
    } else {
        "no whole answer"
    };
    anyhow::anyhow!("{what}: {cause}")
}
