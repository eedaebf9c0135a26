//! A second upstream of another shape: regions, their stations, and what those measure, as NDJSON.
//!
//! It is there to show that a source is a definition and not code: items of two levels, deep paths, a
//! parameter of another name, lines instead of an array. No faults are made here.

use std::{collections::HashMap, fmt::Write, sync::Arc};

use poem::{
    Request, Response, Route, get, handler,
    web::{Data, Json, Path},
};
use serde_json::json;

use crate::{
    files::{
        content::Content,
        mix::{Use, mix},
    },
    http::{
        answer::{Asked, Ending, answer},
        problem::{no_day, not_found},
    },
    sites::day::Day,
    state::State,
};

const REGIONS: [(&str, &str); 3] = [("north", "North"), ("south", "South"), ("islands", "Islands")];
const LABELS: [&str; 3] = ["Harbour", "Old Town / Market", "Höhe \"West\""];
/// A reading every ten minutes.
const READINGS: u64 = 144;

pub(crate) fn add_to(route: Route) -> Route {
    route
        .at("/regions", get(regions))
        .at("/regions/:code/stations", get(stations))
        .at("/stations/:id/readings", get(readings).head(readings))
}

#[handler]
fn regions() -> Json<serde_json::Value> {
    let regions: Vec<_> = REGIONS.iter().map(|(code, title)| json!({ "code": code, "title": title })).collect();
    Json(json!({ "data": { "regions": regions } }))
}

#[handler]
fn stations(Path(code): Path<String>) -> Response {
    let Some(region) = REGIONS.iter().position(|(known, _)| *known == code) else {
        return not_found(&format!("region {code:?}"));
    };
    let items = LABELS.iter().enumerate();
    let items: Vec<_> =
        items.map(|(index, label)| json!({ "id": region * LABELS.len() + index + 1, "label": label })).collect();
    Response::builder()
        .content_type("application/json")
        .body(json!({ "data": { "items": items }, "page": 1 }).to_string())
}

#[handler]
fn readings(state: Data<&Arc<State>>, Path(id): Path<String>, request: &Request) -> Response {
    let last = (REGIONS.len() * LABELS.len()) as u64;
    let Some(id) = id.parse::<u64>().ok().filter(|id| (1..=last).contains(id)) else {
        return not_found(&format!("station {id}"));
    };
    let query: HashMap<String, String> = request.params().unwrap_or_default();
    let Some(day) = query.get("day").and_then(|day| Day::parse(day)) else { return no_day("day") };
    let content = Content::Fixed(lines(state.options.seed, id, day).into());
    let under_way = state.counters.begin();
    answer(&Asked::of(request), content, "application/x-ndjson", state.manner(), Ending::Whole, under_way)
}

fn lines(seed: u64, station: u64, day: Day) -> String {
    let mut lines = String::new();
    for reading in 0..READINGS {
        let draw = mix(Use::Reading, &[seed, station, day.number, reading]);
        let (hour, minute) = (reading / 6, reading % 6 * 10);
        let pm25 = draw % 80_000;
        let humidity = match draw >> 32 {
            draw if draw % 20 == 0 => String::new(),
            draw if draw % 20 == 1 => r#","humidity":null"#.to_owned(),
            draw => format!(r#","humidity":{}"#, draw % 101),
        };
        let alarm = pm25 >= 75_000;
        writeln!(
            lines,
            r#"{{"at":"{}T{hour:02}:{minute:02}:00Z","pm25":{}{humidity},"alarm":{alarm}}}"#,
            day.as_str(),
            thousandths(pm25)
        )
        .expect("writing to a String does not fail");
    }
    lines
}

/// `12500` as `12.5`: digits, not a float, so that a sum can be compared exactly.
fn thousandths(number: u64) -> String {
    let text = format!("{}.{:03}", number / 1_000, number % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
