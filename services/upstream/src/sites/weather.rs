//! A third upstream, of OpenWeather's shape: several cities in one request, a key, and a strict limit.
//!
//! `GET /data/2.5/group?id=1,2,…&appid=KEY[&units=metric]`. Its errors are spelled as OpenWeather spells
//! them, not as problems. No faults are made here beyond what a client brings upon itself.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use poem::{
    Request, Response, Route, get, handler,
    http::{StatusCode, header},
    web::Data,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    Changes, Options,
    files::mix::{Use, mix},
    sites::{atlas, window::Window},
    state::State,
};

/// The most ids of one request.
const MOST: usize = 20;
/// The time of a measurement of version 0: 2024-05-01T10:00:00Z. Every version is ten minutes later.
const MEASURED: u64 = 1_714_557_600;
/// -20 °C, in hundredths of a kelvin.
const COLDEST: u64 = 25_315;
/// 0 °C in hundredths of a kelvin.
const FREEZING: u64 = 27_315;

/// What a request meets, and what passed so far.
#[derive(Debug)]
pub(crate) struct Weather {
    key: String,
    items_per_window: u64,
    window: Duration,
    unknown: BTreeSet<u64>,
    leave_out_unknown: bool,
    passed: Window,
}

/// Why there is no weather.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 400: which parameter is wrong.
    Wrong(&'static str),
    /// 401.
    Key,
    /// 404.
    Unknown,
    /// 429: how long to wait.
    TooMany(Duration),
}

impl Weather {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            key: options.weather_key.clone(),
            items_per_window: options.weather_items_per_window,
            window: options.weather_window,
            unknown: options.weather_unknown.clone(),
            leave_out_unknown: options.weather_leave_out_unknown,
            passed: Window::default(),
        }
    }

    /// Takes over what is named. What passed before still counts.
    pub(crate) fn change(&mut self, changes: &Changes) {
        if let Some(key) = &changes.weather_key {
            self.key.clone_from(key);
        }
        if let Some(unknown) = &changes.weather_unknown {
            self.unknown.clone_from(unknown);
        }
        self.items_per_window = changes.weather_items_per_window.unwrap_or(self.items_per_window);
        self.window = changes.weather_window.unwrap_or(self.window);
        self.leave_out_unknown = changes.weather_leave_out_unknown.unwrap_or(self.leave_out_unknown);
    }

    /// The cities whose weather is told to a request that arrives now. Every id counts against the limit, known
    /// or not, once the key and the request are right.
    pub(crate) fn ask(&mut self, query: &HashMap<String, String>) -> Result<Vec<u64>, Refusal> {
        if query.get("appid") != Some(&self.key) {
            return Err(Refusal::Key);
        }
        let ids = query.get("id").ok_or(Refusal::Wrong("id"))?;
        let ids: Vec<u64> =
            ids.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| Refusal::Wrong("id"))?;
        if ids.len() > MOST {
            return Err(Refusal::Wrong("id: more than 20"));
        }
        // The clock is read while nobody else can pass, so that times never go back.
        let passed = self.passed.pass(Instant::now(), ids.len() as u64, self.items_per_window, self.window);
        passed.map_err(Refusal::TooMany)?;
        let (unknown, known): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| self.unknown.contains(id));
        if unknown.is_empty() || self.leave_out_unknown { Ok(known) } else { Err(Refusal::Unknown) }
    }
}

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
        Refusal::Key => error(StatusCode::UNAUTHORIZED, 401.into(), "Invalid API key"),
        Refusal::Unknown => error(StatusCode::NOT_FOUND, "404".into(), "city not found"),
        Refusal::TooMany(wait) => {
            let mut response = error(StatusCode::TOO_MANY_REQUESTS, 429.into(), "too many cities in too short a time");
            // Whole seconds, and never so few that the next request comes too early.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.max(1).into());
            response
        }
    }
}

fn answer(status: StatusCode, body: &Value) -> Response {
    Response::builder().status(status).content_type("application/json; charset=utf-8").body(body.to_string())
}
