//! Stand-ins for five public APIs, so that whole definitions can be run: as much of each as a definition needs.
//!
//! Every key is `test`. Errors are problems.

mod days;
mod guardian;
mod openaq;
mod openexchange;
pub(crate) mod sendgrid;
mod stripe;

use std::{collections::HashMap, sync::Arc};

use poem::{
    Request, Response, Route,
    http::{HeaderMap, StatusCode},
};
use serde_json::Value;

use crate::{
    http::problem::problem,
    sites::paged::{KEY, has_bearer},
    state::State,
};

pub(crate) fn add_to(route: Route) -> Route {
    stripe::add_to(sendgrid::add_to(openexchange::add_to(openaq::add_to(guardian::add_to(route)))))
}

/// What was asked for, after the delay.
async fn asked(state: &Arc<State>, request: &Request) -> HashMap<String, String> {
    tokio::time::sleep(state.manner().delay).await;
    request.params().unwrap_or_default()
}

/// 401 unless a parameter of the query is the key.
fn key_in_query(query: &HashMap<String, String>, name: &str) -> Result<(), Refusal> {
    let right = query.get(name).is_some_and(|key| key == KEY);
    expect(right, &format!("{name}={KEY} in the query"))
}

/// 401 unless a header is the key.
fn key_in_header(headers: &HeaderMap, name: &str) -> Result<(), Refusal> {
    let right = headers.get(name).is_some_and(|key| key == KEY);
    expect(right, &format!("the header {name}: {KEY}"))
}

/// 401 unless `Authorization` has the key.
fn key_as_bearer(headers: &HeaderMap) -> Result<(), Refusal> {
    expect(has_bearer(headers), &format!("Authorization: Bearer {KEY}"))
}

fn expect(right: bool, expected: &str) -> Result<(), Refusal> {
    let refusal = || Refusal { status: StatusCode::UNAUTHORIZED, detail: format!("expected {expected}") };
    right.then_some(()).ok_or_else(refusal)
}

/// A parameter from 1 to `most`.
fn number(query: &HashMap<String, String>, name: &str, default: u64, most: u64) -> Result<u64, Refusal> {
    let Some(text) = query.get(name) else { return Ok(default) };
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| wrong(&format!("{name} from 1 to {most}")))
}

/// Why there is no answer.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    detail: String,
}

impl Refusal {
    fn response(self) -> Response {
        problem(self.status, &self.detail)
    }
}

/// 400.
fn wrong(expected: &str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, detail: format!("expected {expected}") }
}

/// 404.
fn not_found(what: &str) -> Refusal {
    Refusal { status: StatusCode::NOT_FOUND, detail: format!("there is no {what}") }
}

fn say(body: &Value) -> Response {
    Response::builder().content_type("application/json").body(body.to_string())
}
