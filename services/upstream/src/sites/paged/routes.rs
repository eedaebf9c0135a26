//! `GET` and `POST /paged/{collection}`, the same below `/elsewhere`, and `POST /paged/token`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use poem::{
    Body, Request, Response, Route, get, handler,
    http::{HeaderName, HeaderValue, StatusCode, header},
    post,
    web::{Data, Path},
};
use serde_json::{Map, Value, json};

use super::{
    auth::{self, KEY, SECRET},
    body::{Address, Page},
    collection::Auth,
    links::{ELSEWHERE, host},
    rules::{PageRefusal, PageRequest, PageTurn},
    tokens::TokenFault,
};
use crate::{
    files::content::Content,
    http::{
        answer::{Asked, Ending, answer},
        problem::{not_found, problem, refusal},
        requests::UnderWay,
    },
    state::{Manner, State},
};

/// Where tokens are.
pub(crate) const TOKEN: &str = "/paged/token";
/// The largest body, in bytes; a cursor of 1 MB fits.
const LARGEST: usize = 2 << 20;
/// The only refresh token. It can be used any number of times.
const REFRESH_TOKEN: &str = "test";
/// What a slow token waits.
const SLOW: Duration = Duration::from_secs(5);

pub(crate) fn add_to(route: Route) -> Route {
    let page = || get(give_page).post(give_page);
    route.at(TOKEN, post(token)).at("/paged/:collection", page()).at("/elsewhere/paged/:collection", page())
}

#[handler]
async fn give_page(state: Data<&Arc<State>>, Path(name): Path<String>, request: &Request, body: Body) -> Response {
    let under_way = state.counters.begin();
    tokio::time::sleep(state.manner().delay).await;
    let Some(parameters) = parameters(request, body).await else {
        return problem(StatusCode::BAD_REQUEST, "the body is no JSON object and no form, or too large");
    };
    match turn(&state, request, &name, &parameters) {
        Ok(turn) => write(&state, request, &turn, under_way),
        Err(PageRefusal::Unknown) => not_found(&format!("collection {name:?}")),
        Err(PageRefusal::Credentials(auth)) => unauthorized(auth),
        Err(PageRefusal::Wrong(parameter)) => {
            problem(StatusCode::BAD_REQUEST, &format!("wrong parameter: {parameter}"))
        }
    }
}

/// The query, and over it the members of the body: a JSON object if its type says so, and a form otherwise.
async fn parameters(request: &Request, body: Body) -> Option<HashMap<String, String>> {
    let mut parameters: HashMap<String, String> = request.params().unwrap_or_default();
    let bytes = body.into_bytes_limit(LARGEST).await.ok()?;
    if request.content_type().is_some_and(|media_type| media_type.starts_with("application/json")) {
        let members: Map<String, Value> = serde_json::from_slice(&bytes).ok()?;
        let text = |value: Value| if let Value::String(text) = value { text } else { value.to_string() };
        // A null is a cursor that there is not yet.
        let members = members.into_iter().filter(|(_, value)| !value.is_null());
        parameters.extend(members.map(|(name, value)| (name, text(value))));
    } else {
        parameters.extend(url::form_urlencoded::parse(&bytes).into_owned());
    }
    Some(parameters)
}

/// What a request meets; it is counted.
fn turn(
    state: &State,
    request: &Request,
    collection: &str,
    query: &HashMap<String, String>,
) -> Result<PageTurn, PageRefusal> {
    let (headers, path) = (request.headers(), request.uri().path());
    let elsewhere = path.starts_with(ELSEWHERE);
    if elsewhere && auth::has_any(headers, query) {
        state.counters.leaked();
    }
    let turn = state.page(&PageRequest { collection, headers, query, elsewhere })?;
    state.counters.page_asked(path, turn.number);
    Ok(turn)
}

fn write(state: &State, request: &Request, turn: &PageTurn, under_way: UnderWay) -> Response {
    if let Some((status, retry_after)) = turn.fault {
        return refusal(status, retry_after);
    }
    let path = request.uri().path();
    let whole = request.uri().path_and_query().map_or(path, |whole| whole.as_str()).to_owned();
    let address = Address { host: host(request).to_owned(), path: path.to_owned(), whole };
    let Some(page) = Page::of(state.options.seed, turn, &address) else {
        return problem(StatusCode::BAD_REQUEST, "there are more than 10000 pages");
    };
    // Pages have no validators and no parts, as those of most APIs.
    let manner = Manner { etag: false, range: false, ..state.manner() };
    let ending = if turn.cut { Ending::HangUp } else { Ending::Whole };
    let content = Content::Fixed(page.body.into());
    let mut response = answer(&Asked::of(request), content, page.media_type, manner, ending, under_way);
    for (name, value) in page.headers {
        let value = HeaderValue::try_from(value).expect("addresses, cursors and numbers are header values");
        response.headers_mut().append(HeaderName::from_static(name), value);
    }
    response
}

fn unauthorized(auth: Auth) -> Response {
    // They are no secrets.
    let (expected, challenge) = match auth {
        Auth::None => ("nothing".to_owned(), None),
        Auth::Bearer => (format!("Authorization: Bearer {KEY}"), Some("Bearer")),
        Auth::Basic => (format!("Authorization: Basic, user {KEY}, password {SECRET}"), Some("Basic realm=\"paged\"")),
        Auth::Header => (format!("X-Api-Key: {KEY}"), None),
        Auth::Query => (format!("key={KEY} in the query"), None),
        Auth::Token => (format!("Authorization: Bearer, with a token of POST {TOKEN}"), Some("Bearer")),
    };
    let mut response = problem(StatusCode::UNAUTHORIZED, &format!("expected {expected}"));
    if let Some(challenge) = challenge {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}

#[handler]
async fn token(state: Data<&Arc<State>>, request: &Request, body: Body) -> Response {
    tokio::time::sleep(state.manner().delay).await;
    state.counters.token_asked();
    let endpoint = state.token_endpoint();
    match endpoint.fault {
        Some(TokenFault::Slow) => tokio::time::sleep(SLOW).await,
        Some(TokenFault::Down) => return problem(StatusCode::SERVICE_UNAVAILABLE, "a fault that was asked for"),
        Some(TokenFault::Error) => return say(StatusCode::OK, &json!({ "error": "temporarily_unavailable" })),
        None => {}
    }
    let Ok(body) = body.into_bytes_limit(LARGEST).await else { return refuse("invalid_request") };
    let form: HashMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
    let is = |name, expected: &str| form.get(name).is_some_and(|value| value == expected);
    let granted = match form.get("grant_type").map(String::as_str) {
        Some("client_credentials") => true,
        Some("refresh_token") => is("refresh_token", REFRESH_TOKEN),
        Some("password") => is("username", KEY) && is("password", SECRET),
        _ => return refuse("unsupported_grant_type"),
    };
    if !(auth::has_basic(request.headers()) || is("client_id", KEY) && is("client_secret", SECRET)) {
        return say(StatusCode::UNAUTHORIZED, &json!({ "error": "invalid_client" }));
    }
    if !granted {
        return refuse("invalid_grant");
    }
    let token = state.token();
    say(StatusCode::OK, &json!({ "access_token": token, "token_type": "Bearer", "expires_in": endpoint.expires_in }))
}

fn refuse(error: &str) -> Response {
    say(StatusCode::BAD_REQUEST, &json!({ "error": error }))
}

/// As RFC 6749 §5 has it.
fn say(status: StatusCode, body: &Value) -> Response {
    let response = Response::builder().status(status).header(header::CACHE_CONTROL, "no-store");
    response.content_type("application/json").body(body.to_string())
}
