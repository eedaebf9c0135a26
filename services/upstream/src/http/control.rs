//! Changing an upstream from another process: `PUT /control`, and its counters: `GET /control`.
//!
//! Only there where [`crate::Options::control`] is on.

use std::sync::Arc;

use poem::{
    Body, Response, Route, get, handler,
    http::StatusCode,
    web::{Data, Json},
};

use crate::{Changes, Requests, http::problem::problem, state::State};

/// The largest body of changes, in bytes; [`crate::CityFault::Body`] may be in it.
const LARGEST: usize = 16 << 20;

pub(crate) fn add_to(route: Route) -> Route {
    route.at("/control", get(counters).put(change))
}

#[handler]
fn counters(state: Data<&Arc<State>>) -> Json<Requests> {
    Json(state.counters.read())
}

#[handler]
async fn change(state: Data<&Arc<State>>, body: Body) -> Response {
    let refuse = |error: &dyn std::fmt::Display| problem(StatusCode::BAD_REQUEST, &error.to_string());
    let body = match body.into_bytes_limit(LARGEST).await {
        Ok(body) => body,
        Err(error) => return refuse(&error),
    };
    match serde_json::from_slice::<Changes>(&body) {
        Ok(changes) => {
            state.change(changes);
            StatusCode::NO_CONTENT.into()
        }
        Err(error) => refuse(&error),
    }
}
