//! The cities and their files: `GET /cities` and `GET /cities/{id}/stats?date=`.

use std::{collections::HashMap, io, sync::Arc};

use bytes::Bytes;
use futures::stream;
use poem::{
    Body, Request, Response, Route, get, handler,
    web::{Data, Path},
};

use crate::{
    CityFault,
    fault::PAGE,
    files::content::Content,
    http::{
        answer::{Asked, Ending, answer},
        problem::{no_day, not_found, refusal},
    },
    sites::day::Day,
    state::State,
};

/// Cities written at once into the list.
const BATCH: usize = 1_000;

pub(crate) fn add_to(route: Route) -> Route {
    route.at("/cities", get(cities)).at("/cities/:id/stats", get(stats).head(stats))
}

#[handler]
async fn cities(state: Data<&Arc<State>>) -> Response {
    let under_way = state.counters.begin();
    tokio::time::sleep(state.manner().delay).await;
    // The next id to list, and none after the end; a batch at a time, since there may be millions.
    let batches = stream::unfold((state.0.clone(), under_way, Some(0)), |(state, under_way, next)| async move {
        let first = next?;
        let cities = state.cities(first, BATCH);
        let mut text = String::new();
        for (index, city) in cities.iter().enumerate() {
            text.push_str(if first == 0 && index == 0 { "[" } else { "," });
            text.push_str(&serde_json::to_string(city).expect("a city has only text and a number"));
        }
        let next = cities.last().filter(|_| cities.len() == BATCH).and_then(|city| city.id.checked_add(1));
        if next.is_none() {
            text.push_str(if first == 0 && cities.is_empty() { "[]" } else { "]" });
        }
        Some((Ok::<_, io::Error>(Bytes::from(text)), (state, under_way, next)))
    });
    Response::builder().content_type("application/json").body(Body::from_bytes_stream(batches))
}

#[handler]
async fn stats(state: Data<&Arc<State>>, Path(id): Path<String>, request: &Request) -> Response {
    let under_way = state.counters.begin();
    let manner = state.manner();
    tokio::time::sleep(manner.delay).await;
    let query: HashMap<String, String> = request.params().unwrap_or_default();
    let Some(day) = query.get("date").and_then(|date| Day::parse(date)) else { return no_day("date") };
    let Some(turn) = id.parse().ok().and_then(|id| state.turn(id, day)) else {
        return not_found(&format!("city {id}"));
    };
    let asked = Asked::of(request);
    let (content, media_type, ending) = match turn.fault {
        Some(CityFault::Status(status)) => return refusal(status, turn.retry_after),
        Some(CityFault::Html) => (Content::Fixed(Bytes::from_static(PAGE)), "text/html; charset=utf-8", Ending::Whole),
        Some(CityFault::HangUp) => (turn.content, "application/json", Ending::HangUp),
        Some(CityFault::Stall) => (turn.content, "application/json", Ending::Stall),
        _ => (turn.content, "application/json", Ending::Whole),
    };
    answer(&asked, content, media_type, manner, ending, under_way)
}
