//! Open Exchange Rates': `GET /openexchange/api/historical/{day}.json?app_id=`: the rates of a day, by currency.

use std::sync::Arc;

use poem::{
    Request, Response, Route, get, handler,
    web::{Data, Path},
};
use serde_json::{Map, Value, json};

use super::{Refusal, asked, days, key_in_query, say, wrong};
use crate::{
    files::mix::{Use, mix},
    state::State,
};

/// As many as the real one has.
const CURRENCIES: u64 = 170;

pub(super) fn add_to(route: Route) -> Route {
    route.at("/openexchange/api/historical/:file", get(historical))
}

#[handler]
async fn historical(state: Data<&Arc<State>>, Path(file): Path<String>, request: &Request) -> Response {
    let query = asked(&state, request).await;
    let answer = || {
        key_in_query(&query, "app_id")?;
        let day = file.strip_suffix(".json").and_then(days::day).ok_or_else(|| wrong("YYYY-MM-DD.json"))?;
        state.counters.page_asked(request.uri().path(), 1);
        let rates: Map<_, _> = (0..CURRENCIES)
            .map(|currency| (code(currency), rate(state.options.seed, currency, days::number(day))))
            .collect();
        Ok(say(&json!({ "disclaimer": "made up", "base": "USD", "rates": rates })))
    };
    answer().unwrap_or_else(Refusal::response)
}

/// Three letters: `AAA`, `ADN`, `AHA`, …
fn code(currency: u64) -> String {
    // Below 26³ for all of them, so that no two are the same.
    let place = currency * 91;
    [place / 676, place / 26 % 26, place % 26].map(|letter| char::from(b'A' + (letter % 26) as u8)).iter().collect()
}

/// Of the same size every day, and a little different.
fn rate(seed: u64, currency: u64, day: u64) -> Value {
    let usual = 1 + mix(Use::Rate, &[seed, currency]) % 1_000_000;
    let today = usual * 100 + mix(Use::Rate, &[seed, currency, day]) % 100;
    (today as f64 / 10_000.0).into()
}
