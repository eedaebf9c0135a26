//! A fourth upstream, of JSONPlaceholder's shape: `POST /posts`, with a limit of requests a second.
//!
//! `GET /posts/received` says which posts came and how often, so that a test can see that none was lost or sent
//! twice. Errors are `{"message": "…"}`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use poem::{
    Body, Request, Response, Route,
    error::ReadBodyError,
    get, handler,
    http::{StatusCode, header},
    post,
    web::{Data, Json},
};
use serde_json::{Map, Value, json};

use crate::{
    fault::PAGE,
    http::answer::hang_up,
    sites::{
        post::Post,
        post_rules::{PostFault, PostTurn},
        window::retry_after,
    },
    state::State,
};

/// Where the counts are.
pub(crate) const RECEIVED: &str = "/posts/received";
const MOVED: &str = "/posts/moved";
/// Nobody listens there: 127.0.0.2 is this machine, and port 1 is not used.
const ELSEWHERE: &str = "http://127.0.0.2:1/posts";
/// The largest body, in bytes.
const LARGEST: usize = 1 << 20;
/// What a slow answer waits.
const SLOW: Duration = Duration::from_secs(5);
/// The id of every post: JSONPlaceholder keeps its hundred, and stores none.
const ID: u64 = 101;

pub(crate) fn add_to(route: Route) -> Route {
    route.at("/posts", post(create)).at(MOVED, post(create_moved)).at(RECEIVED, get(received))
}

#[handler]
async fn create(state: Data<&Arc<State>>, request: &Request, body: Body) -> Response {
    let taken = read_in_time(&state, request, body).await.map(|post| (state.post(&post), post));
    tokio::time::sleep(state.manner().delay).await;
    match taken {
        Ok((turn, post)) => answer(&post, &turn).await,
        Err(refusal) => refusal,
    }
}

#[handler]
async fn create_moved(state: Data<&Arc<State>>, request: &Request, body: Body) -> Response {
    let taken = read_in_time(&state, request, body).await.inspect(|post| state.post_moved(post));
    tokio::time::sleep(state.manner().delay).await;
    match taken {
        Ok(post) => created(&post, &ID.into()),
        Err(refusal) => refusal,
    }
}

#[handler]
fn received(state: Data<&Arc<State>>, request: &Request) -> Json<Value> {
    let query: HashMap<String, String> = request.params().unwrap_or_default();
    Json(match query.get("title") {
        Some(title) => json!({ "title": title, "count": state.received_with_title(title) }),
        None => json!(state.received()),
    })
}

/// The post, or why there is none: it came too early, or cannot be understood.
async fn read_in_time(state: &State, request: &Request, body: Body) -> Result<Post, Response> {
    // Before the body and the delay: what counts is when it arrived.
    let in_time = state.post_arrives();
    // Also of one that is too early, so that its connection can be used again.
    let post = read(request, body).await;
    in_time.map_err(|wait| too_many("too many posts in too short a time", retry_after(wait)))?;
    post
}

async fn read(request: &Request, body: Body) -> Result<Post, Response> {
    let bytes = body.into_bytes_limit(LARGEST).await.map_err(|cause| match cause {
        ReadBodyError::PayloadTooLarge => {
            error(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body has more than {LARGEST} bytes"))
        }
        cause => error(StatusCode::BAD_REQUEST, &format!("the body cannot be read: {cause}")),
    })?;
    let media_type = request.content_type().unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let members: Map<String, Value> = match &*media_type {
        "application/json" => serde_json::from_slice(&bytes)
            .map_err(|cause| error(StatusCode::BAD_REQUEST, &format!("the body is no JSON object: {cause}")))?,
        "application/x-www-form-urlencoded" => url::form_urlencoded::parse(&bytes)
            .map(|(name, value)| (name.into_owned(), value.into_owned().into()))
            .collect(),
        _ => {
            let expected = "expected the content type application/json or application/x-www-form-urlencoded";
            return Err(error(StatusCode::UNSUPPORTED_MEDIA_TYPE, &format!("{expected}, found {media_type:?}")));
        }
    };
    Ok(Post::new(members))
}

async fn answer(post: &Post, turn: &PostTurn) -> Response {
    let asked_for = "a fault that was asked for";
    match &turn.fault {
        None => created(post, &ID.into()),
        Some(PostFault::Slow) => {
            tokio::time::sleep(SLOW).await;
            created(post, &ID.into())
        }
        Some(PostFault::WrongField) => created(post, &ID.to_string().into()),
        Some(PostFault::Truncated) => {
            let text = members(post, &ID.into());
            created_as("application/json; charset=utf-8", text.as_bytes()[..text.len() / 2].to_vec())
        }
        Some(PostFault::Html) => created_as("text/html; charset=utf-8", PAGE.to_vec()),
        Some(PostFault::Empty) => Response::builder().status(StatusCode::CREATED).finish(),
        Some(PostFault::HangUp) => hang_up(),
        Some(PostFault::Moved(status)) => redirect(*status, MOVED),
        Some(PostFault::Elsewhere) => redirect(307, ELSEWHERE),
        Some(PostFault::Status(429)) => too_many(asked_for, turn.retry_after),
        Some(PostFault::Status(status)) => {
            error(StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), asked_for)
        }
        Some(PostFault::Unknown) => {
            let known = "400, 409, 422, 429, 500, 503, 301, 307, elsewhere, hang-up, slow, html, empty";
            let message =
                format!("no fault is called as the first word of the title {:?}; there are {known}", post.title());
            error(StatusCode::BAD_REQUEST, &message)
        }
    }
}

/// What JSONPlaceholder answers: all that was sent, and the id.
fn members(post: &Post, id: &Value) -> String {
    let mut members = post.members.clone();
    members.insert("id".to_owned(), id.clone());
    Value::Object(members).to_string()
}

fn created(post: &Post, id: &Value) -> Response {
    created_as("application/json; charset=utf-8", members(post, id).into())
}

fn created_as(media_type: &str, body: Vec<u8>) -> Response {
    let location = format!("/posts/{ID}");
    let response = Response::builder().status(StatusCode::CREATED).header(header::LOCATION, location);
    response.content_type(media_type).body(body)
}

fn redirect(status: u16, location: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::TEMPORARY_REDIRECT);
    Response::builder().status(status).header(header::LOCATION, location).finish()
}

fn too_many(message: &str, seconds: u64) -> Response {
    let mut response = error(StatusCode::TOO_MANY_REQUESTS, message);
    response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    response
}

fn error(status: StatusCode, message: &str) -> Response {
    let body = json!({ "message": message }).to_string();
    Response::builder().status(status).content_type("application/json; charset=utf-8").body(body)
}
