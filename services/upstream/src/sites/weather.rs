//! A third upstream, of OpenWeather's shape: several cities in one request, a key, and a strict limit.
//!
//! `GET /data/2.5/group?id=1,2,…&appid=KEY[&units=metric]`. Its errors are spelled as OpenWeather spells
//! them, not as problems. No faults are made here beyond what a client brings upon itself.

use std::{collections::HashMap, sync::Arc};

use poem::{
    Request, Response, Route, get, handler,
    http::{StatusCode, header},
    web::Data,
};
use serde_json::{Value, json};

use crate::{
    Options,
    files::mix::{Use, mix},
    sites::{atlas, weather_rules::Refusal, window::retry_after},
    state::State,
};

/// The time of a measurement of version 0: 2024-05-01T10:00:00Z. Every version is ten minutes later.
const MEASURED: u64 = 1_714_557_600;
/// -20 °C, in hundredths of a kelvin.
const COLDEST: u64 = 25_315;
/// 0 °C in hundredths of a kelvin.
const FREEZING: u64 = 27_315;

pub(crate) fn add_to(route: Route) -> Route {
    route.at("/data/2.5/group", get(group))
}

#[handler]
async fn group(state: Data<&Arc<State>>, request: &Request) -> Response {
    let query: HashMap<String, String> = request.params().unwrap_or_default();
    // Before the delay: what counts is when it arrived.
    let cities = state.weather(&query);
    tokio::time::sleep(state.manner().delay).await;
    let metric = query.get("units").is_some_and(|units| units == "metric");
    match cities {
        Ok(cities) => {
            let list: Vec<_> = cities.iter().map(|(id, version)| city(&state.options, *id, *version, metric)).collect();
            answer(StatusCode::OK, &json!({ "cnt": list.len(), "list": list }))
        }
        Err(refusal) => refuse(&refusal),
    }
}

/// A city's weather: the same for the same seed, id and version.
fn city(options: &Options, id: u64, version: u64, metric: bool) -> Value {
    let draw = mix(Use::Weather, &[options.seed, id, version]);
    let kelvin = COLDEST + draw % 5_001;
    let hundredths = if metric { kelvin as f64 - FREEZING as f64 } else { kelvin as f64 };
    json!({
        "id": id,
        "name": atlas::city(options, id).name,
        "main": { "temp": hundredths / 100.0, "humidity": 10 + (draw >> 32) % 91 },
        "dt": MEASURED.saturating_add(version.saturating_mul(600)),
    })
}

fn refuse(refusal: &Refusal) -> Response {
    let error = |status, code: Value, message: &str| answer(status, &json!({ "cod": code, "message": message }));
    match refusal {
        Refusal::Wrong(parameter) => {
            error(StatusCode::BAD_REQUEST, "400".into(), &format!("wrong or missing parameter: {parameter}"))
        }
        // Its key is no secret.
        Refusal::Key { expected } => {
            let message = format!("Invalid API key: this stand-in expects appid={expected} (option weather-key)");
            error(StatusCode::UNAUTHORIZED, 401.into(), &message)
        }
        Refusal::Unknown => error(StatusCode::NOT_FOUND, "404".into(), "city not found"),
        Refusal::TooMany(wait) => {
            let mut response = error(StatusCode::TOO_MANY_REQUESTS, 429.into(), "too many cities in too short a time");
            response.headers_mut().insert(header::RETRY_AFTER, retry_after(*wait).into());
            response
        }
    }
}

fn answer(status: StatusCode, body: &Value) -> Response {
    Response::builder().status(status).content_type("application/json; charset=utf-8").body(body.to_string())
}
