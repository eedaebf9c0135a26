//! Authentication and authorization, checked before any route, so that no route can omit them.
//!
//! A key is presented as `Authorization: Bearer …` (RFC 6750). Whatever is wrong with it, the answer is the same
//! 401: it tells nobody how near they are.

pub(crate) mod api_keys;
pub(crate) mod browsers;
pub(crate) mod middleware;
pub(crate) mod token_bucket;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use poem::{
    Request, Response,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
};

use crate::{
    Problem,
    auth::{
        api_keys::{ApiKeys, Key, Scope},
        token_bucket::Quota,
    },
    metrics::Metrics,
};

/// Paths that need no key: probes, metrics, the documentation, and what pages load.
pub(crate) const OPEN: [&str; 8] =
    ["/", "/live", "/ready", "/metrics", "/docs", "/openapi.json", "/assets/waybill.css", "/assets/progress.js"];

/// Refusals are logged no more often than this: somebody who guesses keys must not fill the disk.
const BETWEEN_LOGS: Duration = Duration::from_secs(1);

/// Who sent a request.
#[derive(Debug, Clone)]
pub struct Caller(Who);

#[derive(Debug, Clone)]
enum Who {
    /// No keys are set, or the path needs none.
    Anyone,
    Key(Arc<Key>),
}

impl Caller {
    /// Who sent this request.
    pub fn of(request: &Request) -> Self {
        request.data::<Self>().cloned().expect("who calls is found out before any route is asked")
    }

    /// The name of the key that was presented; `None` where none is asked for.
    pub fn name(&self) -> Option<&str> {
        match &self.0 {
            Who::Anyone => None,
            Who::Key(key) => Some(&key.name),
        }
    }

    /// Whether what the key of this name made may be changed.
    ///
    /// # Errors
    /// 403 where it is another's, and the caller no admin.
    pub fn may_change(&self, made_by: Option<&str>) -> Result<(), Problem> {
        self.has_made(made_by, "submit this job", "submitted")
    }

    /// Whether a job may name the upload that the key of this name sent.
    ///
    /// # Errors
    /// 403 where it is another's, and the caller no admin.
    pub fn may_use_upload(&self, sent_by: Option<&str>) -> Result<(), Problem> {
        self.has_made(sent_by, "send this upload", "sent")
    }

    fn has_made(&self, made_by: Option<&str>, what: &str, past: &str) -> Result<(), Problem> {
        match &self.0 {
            Who::Anyone => Ok(()),
            Who::Key(key) if key.scopes.contains(&Scope::Admin) || made_by == Some(&key.name) => Ok(()),
            Who::Key(key) => {
                Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", format!("the key `{}` did not {what}", key.name))
                    .expecting(format!("the key that {past} it, or one of scope `admin`")))
            }
        }
    }
}

/// A request that is let in or refused, and what is left of its key's rate.
pub(crate) struct Verdict {
    pub(crate) caller: Result<Caller, Problem>,
    pub(crate) quota: Option<Quota>,
}

impl Verdict {
    fn of(caller: Result<Caller, Problem>) -> Self {
        Self { caller, quota: None }
    }
}

/// Finds out who calls, and whether they may.
pub(crate) fn admit(request: &Request, keys: &ApiKeys, reads: &[&str], metrics: &Metrics) -> Verdict {
    if keys.is_empty() || OPEN.contains(&request.uri().path()) {
        return Verdict::of(Ok(Caller(Who::Anyone)));
    }
    let refuse = |reason, problem| {
        metrics.refused(reason);
        if keys.may_log(Instant::now(), BETWEEN_LOGS) {
            // Never with what was presented.
            let remote = request.remote_addr().as_socket_addr().map(tracing::field::display);
            tracing::info!(remote, reason, "refused a request without a key that may");
        }
        Verdict::of(Err(problem))
    };
    let key = match presented(request.headers()) {
        Ok(presented) => keys.find(presented).ok_or("unknown"),
        Err(reason) => Err(reason),
    };
    let key = match key {
        Ok(key) => key,
        Err(reason) => return refuse(reason, unauthorized()),
    };
    tracing::Span::current().record("key", &key.name);
    let quota = key.bucket.as_ref().map(|bucket| bucket.take(Instant::now()));
    if let Some(quota) = quota.filter(|quota| !quota.taken) {
        metrics.refused("rate");
        return Verdict { caller: Err(too_many(key, quota)), quota: Some(quota) };
    }
    if let Some(needed) = needed(request, reads).filter(|needed| !may(key, *needed)) {
        return Verdict { quota, ..refuse("scope", forbidden(key, needed)) };
    }
    Verdict { caller: Ok(Caller(Who::Key(Arc::clone(key)))), quota }
}

fn may(key: &Key, needed: Scope) -> bool {
    key.scopes.contains(&needed) || key.scopes.contains(&Scope::Admin)
}

/// The scope that a request needs. Methods that no route has are answered 405, whoever asks.
fn needed(request: &Request, reads: &[&str]) -> Option<Scope> {
    match *request.method() {
        Method::GET | Method::HEAD => Some(Scope::Read),
        Method::POST if reads.contains(&request.uri().path()) => Some(Scope::Read),
        Method::OPTIONS => None,
        _ => Some(Scope::Submit),
    }
}

/// The key, or why there is none.
fn presented(headers: &HeaderMap) -> Result<&str, &'static str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or("missing")?;
    if values.next().is_some() {
        return Err("malformed");
    }
    let (scheme, key) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or("malformed")?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err("malformed");
    }
    Ok(key.trim())
}

fn unauthorized() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "this needs an API key that is valid here")
        .at("Authorization")
        .expecting("Bearer and an API key")
}

fn forbidden(key: &Key, needed: Scope) -> Problem {
    let detail = format!("the key `{}` lacks the scope `{}`", key.name, needed.name());
    Problem::new(StatusCode::FORBIDDEN, "forbidden", detail).expecting(format!("a key of scope `{}`", needed.name()))
}

fn too_many(key: &Key, quota: Quota) -> Problem {
    let allowed = format!("at most {} requests in {} seconds", quota.requests, quota.per);
    let detail = format!("the key `{}` was used too often; expected {allowed}", key.name);
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", detail).expecting(allowed).after(quota.reset)
}

/// `RateLimit` and `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers-10.
pub(crate) fn tell(quota: Option<Quota>, response: &mut Response) {
    let Some(Quota { requests, per, remaining, reset, .. }) = quota else { return };
    let fields = [
        ("ratelimit-policy", format!("\"key\";q={requests};w={per}")),
        ("ratelimit", format!("\"key\";r={remaining};t={reset}")),
    ];
    for (name, value) in fields {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
}
