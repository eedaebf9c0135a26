//! OpenAQ's, version 3: the locations of a country, their sensors, and the daily means of each.
//!
//! `GET /openaq/v3/locations?countries_id=`, `/openaq/v3/locations/{id}/sensors` and
//! `/openaq/v3/sensors/{id}/days?date_from=&date_to=`, all with `page` and `limit`. Like the real one it does not say
//! how many there are where there are more: `found` is then a text such as `>100`.

use std::{collections::HashMap, sync::Arc};

use jiff::civil::Date;
use poem::{
    Request, Response, Route, get, handler,
    web::{Data, Path},
};
use serde_json::{Value, json};

use super::{Refusal, asked, days, days::Days, key_in_header, not_found, number, say, wrong};
use crate::{
    files::mix::{Use, mix},
    state::State,
};

/// The largest page of the real API.
const LARGEST_PAGE: u64 = 1_000;
/// Countries have ids from 1 to this.
const COUNTRIES: u64 = 150;
/// Locations of a country; the first of country 9 is 901.
const LOCATIONS: u64 = 3;
/// What is measured at every location; the first sensor of location 901 is 9011.
const PARAMETERS: [(u64, &str); 2] = [(2, "pm25"), (1, "pm10")];

pub(super) fn add_to(route: Route) -> Route {
    route
        .at("/openaq/v3/locations", get(locations))
        .at("/openaq/v3/locations/:id/sensors", get(sensors))
        .at("/openaq/v3/sensors/:id/days", get(daily))
}

#[handler]
async fn locations(state: Data<&Arc<State>>, request: &Request) -> Response {
    let list = |query: &HashMap<String, String>| {
        let country = query.get("countries_id").and_then(|id| id.parse().ok());
        let country = country.filter(|id| (1..=COUNTRIES).contains(id));
        let country: u64 = country.ok_or_else(|| wrong("countries_id, a number from 1 to 150"))?;
        let location = move |number| json!({ "id": country * 100 + number, "country": { "id": country } });
        Ok((1..=LOCATIONS).map(location))
    };
    answer(&state, request, list).await
}

#[handler]
async fn sensors(state: Data<&Arc<State>>, Path(id): Path<String>, request: &Request) -> Response {
    let list = |_: &HashMap<String, String>| {
        let location = location(&id).ok_or_else(|| not_found(&format!("location {id}")))?;
        let sensor = move |(number, (parameter, name)): (u64, (u64, &str))| {
            let parameter = json!({ "id": parameter, "name": name, "units": "µg/m³" });
            json!({ "id": location * 10 + number, "name": format!("{name} µg/m³"), "parameter": parameter })
        };
        Ok((1..).zip(PARAMETERS).map(sensor))
    };
    answer(&state, request, list).await
}

#[handler]
async fn daily(state: Data<&Arc<State>>, Path(id): Path<String>, request: &Request) -> Response {
    let seed = state.options.seed;
    let list = |query: &HashMap<String, String>| {
        let sensor = sensor(&id).ok_or_else(|| not_found(&format!("sensor {id}")))?;
        let days = Days::of(query, "date_from", "date_to")?;
        Ok(days.iter().filter_map(move |day| mean(seed, sensor, day)))
    };
    answer(&state, request, list).await
}

/// One page of what a request lists.
async fn answer<I: Iterator<Item = Value>>(
    state: &Arc<State>,
    request: &Request,
    list: impl Fn(&HashMap<String, String>) -> Result<I, Refusal>,
) -> Response {
    let query = asked(state, request).await;
    let answer = || {
        key_in_header(request.headers(), "X-API-Key")?;
        let (page, limit) = (number(&query, "page", 1, u64::MAX)?, number(&query, "limit", 100, LARGEST_PAGE)?);
        let list = list(&query)?;
        state.counters.page_asked(request.uri().path(), page);
        let start = (page - 1).saturating_mul(limit);
        let mut rest = list.skip(usize::try_from(start).unwrap_or(usize::MAX));
        let results: Vec<_> = rest.by_ref().take(limit as usize).collect();
        let found = match rest.next() {
            Some(_) => format!(">{limit}").into(),
            None => json!(results.len()),
        };
        let meta = json!({ "name": "openaq-api", "website": "/", "page": page, "limit": limit, "found": found });
        Ok(say(&json!({ "meta": meta, "results": results })))
    };
    answer().unwrap_or_else(Refusal::response)
}

fn location(id: &str) -> Option<u64> {
    let known = |id: &u64| (1..=COUNTRIES).contains(&(id / 100)) && (1..=LOCATIONS).contains(&(id % 100));
    id.parse().ok().filter(known)
}

fn sensor(id: &str) -> Option<u64> {
    let (location_id, number) = id.split_at_checked(id.len().checked_sub(1)?)?;
    location(location_id)?;
    (1..=PARAMETERS.len() as u64).contains(&number.parse().ok()?).then(|| id.parse().ok())?
}

/// A day's mean; one day in thirty has none.
fn mean(seed: u64, sensor: u64, day: Date) -> Option<Value> {
    let draw = mix(Use::Measurement, &[seed, sensor, days::number(day)]);
    if draw.is_multiple_of(30) {
        return None;
    }
    let tenths = (draw >> 32) % 1_000;
    let next = day.tomorrow().ok()?;
    let at = |day: Date| json!({ "utc": format!("{day}T00:00:00Z"), "local": format!("{day}T00:00:00+00:00") });
    Some(json!({
        "value": tenths as f64 / 10.0,
        "period": { "label": "1day", "interval": "24:00:00", "datetimeFrom": at(day), "datetimeTo": at(next) },
        "coverage": { "expectedCount": 24, "observedCount": 24 },
    }))
}
