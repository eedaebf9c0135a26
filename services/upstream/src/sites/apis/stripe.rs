//! Stripe's: `GET /stripe/v1/balance_transactions?limit=&starting_after=&created[gte]=&created[lt]=`.
//!
//! Some ten transactions a day, newest first; the next page is what follows the id of the last record, and
//! `has_more` says whether there is one.

use std::{collections::HashMap, sync::Arc};

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, date},
    tz::TimeZone,
};
use poem::{Request, Response, Route, get, handler, web::Data};
use serde_json::{Value, json};

use super::{Refusal, asked, days, key_as_bearer, number, say, wrong};
use crate::{
    files::mix::{Use, mix},
    state::State,
};

const PATH: &str = "/stripe/v1/balance_transactions";
/// The largest page of the real API.
const LARGEST_PAGE: u64 = 100;
/// The account's first day, and the one after its last: no request looks at more.
const LIFE: (Date, Date) = (date(2017, 1, 25), date(2037, 1, 1));
/// The longest time from one transaction to the next, in seconds; twelve fit into a day.
const APART: u64 = 7_200;

pub(super) fn add_to(route: Route) -> Route {
    route.at(PATH, get(transactions))
}

#[handler]
async fn transactions(state: Data<&Arc<State>>, request: &Request) -> Response {
    let query = asked(&state, request).await;
    let answer = || {
        key_as_bearer(request.headers())?;
        let limit = number(&query, "limit", 10, LARGEST_PAGE)?;
        let mut newest = newest(state.options.seed, &query)?;
        let mut start = 0;
        if let Some(after) = query.get("starting_after") {
            let place = newest.by_ref().position(|transaction| transaction.id() == *after);
            start = place.ok_or_else(|| wrong("starting_after, the id of a transaction of these days"))? as u64 + 1;
        }
        state.counters.page_asked(PATH, start / limit + 1);
        let data: Vec<_> = newest.by_ref().take(limit as usize).map(|transaction| transaction.json()).collect();
        let has_more = newest.next().is_some();
        let list = json!({ "object": "list", "url": "/v1/balance_transactions", "has_more": has_more, "data": data });
        Ok(say(&list))
    };
    answer().unwrap_or_else(Refusal::response)
}

#[derive(Debug)]
struct Transaction {
    seed: u64,
    day: Date,
    number: u64,
}

/// All that were created in the time that is asked for, newest first.
fn newest(seed: u64, query: &HashMap<String, String>) -> Result<impl Iterator<Item = Transaction>, Refusal> {
    let created = |name: &str| {
        let time =
            query.get(name).map(|text| text.parse::<i64>().ok().and_then(|time| Timestamp::from_second(time).ok()));
        time.map(|time| time.ok_or_else(|| wrong(&format!("{name}, a time in seconds")))).transpose()
    };
    let (from, to) = (created("created[gte]")?, created("created[lt]")?);
    let day = |time: Timestamp| time.to_zoned(TimeZone::UTC).date();
    let first = from.map_or(LIFE.0, day).max(LIFE.0);
    // The day of `to` may have transactions before it.
    let last = to.map_or(LIFE.1, day).min(LIFE.1.saturating_sub(1.day()));
    let days = last.series(-1.day()).take_while(move |day| *day >= first);
    let all = days.flat_map(move |day| {
        let count = 8 + mix(Use::Transaction, &[seed, days::number(day)]) % 5;
        (0..count).rev().map(move |number| Transaction { seed, day, number })
    });
    let (from, to) = (from.map(Timestamp::as_second), to.map(Timestamp::as_second));
    Ok(all.filter(move |transaction| {
        let created = transaction.created();
        from.is_none_or(|from| created >= from) && to.is_none_or(|to| created < to)
    }))
}

impl Transaction {
    fn id(&self) -> String {
        format!("txn_{}{:02}", days::number(self.day), self.number)
    }

    /// In seconds; midnight is one of them.
    fn created(&self) -> i64 {
        let midnight = self.day.to_zoned(TimeZone::UTC).expect("UTC has every midnight").timestamp();
        midnight.as_second() + (self.number * (APART - 1)) as i64
    }

    fn json(&self) -> Value {
        let draw = mix(Use::Transaction, &[self.seed, days::number(self.day), self.number]);
        // One in ten is a refund.
        let amount = (100 + draw % 50_000) as i64 * if (draw >> 32).is_multiple_of(10) { -1 } else { 1 };
        let fee = if amount > 0 { amount * 29 / 1_000 + 30 } else { 0 };
        json!({
            "id": self.id(), "object": "balance_transaction", "amount": amount, "fee": fee, "net": amount - fee,
            "currency": "usd", "created": self.created(), "status": "available",
            "type": if amount > 0 { "charge" } else { "refund" },
        })
    }
}
