//! The Guardian's: `GET /guardian/search?from-date=&to-date=&page=&page-size=&order-by=&api-key=`.
//!
//! Some 35 articles a day, paged by number; the answer says how many pages there are, and a page past them is refused.

use std::sync::Arc;

use jiff::civil::Date;
use poem::{Request, Response, Route, get, handler, web::Data};
use serde_json::{Value, json};

use super::{Refusal, asked, days, days::Days, key_in_query, number, say, wrong};
use crate::{
    files::mix::{Use, mix},
    state::State,
};

const PATH: &str = "/guardian/search";
/// The largest page of the real API.
const LARGEST_PAGE: u64 = 200;

pub(super) fn add_to(route: Route) -> Route {
    route.at(PATH, get(search))
}

#[handler]
async fn search(state: Data<&Arc<State>>, request: &Request) -> Response {
    let query = asked(&state, request).await;
    let answer = || {
        key_in_query(&query, "api-key")?;
        let days = Days::of(&query, "from-date", "to-date")?;
        let size = number(&query, "page-size", 10, LARGEST_PAGE)?;
        let page = number(&query, "page", 1, u64::MAX)?;
        state.counters.page_asked(PATH, page);
        let oldest = query.get("order-by").is_some_and(|order| order == "oldest");
        results(state.options.seed, days, size, page, oldest)
    };
    answer().unwrap_or_else(Refusal::response)
}

fn results(seed: u64, days: Days, size: u64, page: u64, oldest: bool) -> Result<Response, Refusal> {
    let total: u64 = days.iter().map(|day| articles(seed, day)).sum();
    let pages = total.div_ceil(size);
    if page > pages.max(1) {
        return Err(wrong(&format!("a page from 1 to {pages}")));
    }
    let all = days.iter().flat_map(|day| (0..articles(seed, day)).map(move |number| (day, number)));
    let start = (page - 1) * size;
    let count = size.min(total - start);
    let results: Vec<_> = if oldest {
        all.skip(start as usize).take(count as usize).map(article).collect()
    } else {
        let mut newest: Vec<_> = all.skip((total - start - count) as usize).take(count as usize).map(article).collect();
        newest.reverse();
        newest
    };
    let response = json!({
        "status": "ok", "userTier": "developer", "total": total, "startIndex": start + u64::from(total > 0),
        "pageSize": size, "currentPage": page, "pages": pages,
        "orderBy": if oldest { "oldest" } else { "newest" }, "results": results,
    });
    Ok(say(&json!({ "response": response })))
}

/// How many there are of a day.
fn articles(seed: u64, day: Date) -> u64 {
    30 + mix(Use::Article, &[seed, days::number(day)]) % 11
}

fn article((day, number): (Date, u64)) -> Value {
    // Half an hour apart.
    let (hour, minute) = (number / 2, number % 2 * 30);
    json!({
        "id": format!("environment/{day}/climate-{number}"),
        "type": "article",
        "sectionId": "environment",
        "webPublicationDate": format!("{day}T{hour:02}:{minute:02}:00Z"),
        "webTitle": format!("The climate on {day}, part {number}"),
    })
}
