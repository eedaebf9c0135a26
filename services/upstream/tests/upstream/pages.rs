//! A plain client that reads a collection to its end.

use reqwest::{Response, StatusCode, header};
use serde_json::Value;
use waybill_upstream::Paging;

use crate::site::Site;

/// Every paging that has more than one page.
pub(crate) const PAGINGS: [Paging; 7] =
    [Paging::Page, Paging::Offset, Paging::Cursor, Paging::LastId, Paging::Link, Paging::Next, Paging::List];
/// More requests than any collection of these tests needs.
const MOST: u64 = 500;

/// What a client read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) ids: Vec<u64>,
    pub(crate) requests: u64,
}

/// One page.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) ids: Vec<u64>,
    pub(crate) body: Value,
    pub(crate) link: Option<String>,
}

impl Page {
    pub(crate) async fn get(site: &Site, path: &str) -> Self {
        let response = site.get(path).send().await.expect("it answers");
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        Self::of(response).await
    }

    /// A whole page in JSON.
    pub(crate) async fn of(response: Response) -> Self {
        let link = response.headers().get(header::LINK).map(|link| link.to_str().expect("a link is ASCII").to_owned());
        let link = link.and_then(|link| Some(link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"")?.to_owned()));
        let body: Value = response.json().await.expect("it is JSON");
        let records = body.get("results").unwrap_or(&body).as_array();
        let ids = records.into_iter().flatten().filter_map(|record| record["id"].as_u64()).collect();
        Self { ids, body, link }
    }
}

/// Reads `/paged/{name}`, pages in the shape of results, with as many records a page as `limit` says.
pub(crate) async fn read(site: &Site, name: &str, paging: Paging, limit: u64) -> Read {
    let mut read = Read::default();
    let first = format!("/paged/{name}?limit={limit}");
    let mut urls = Vec::new();
    let mut next = Some(first.clone());
    while let Some(path) = next {
        let page = Page::get(site, &path).await;
        read.requests += 1;
        assert!(read.requests < MOST, "{paging:?} has no end");
        read.ids.extend(&page.ids);
        next = match paging {
            Paging::Page => {
                let number = page.body["page"].as_u64().expect("it has a number");
                (number < page.body["pages"].as_u64().expect("they are counted"))
                    .then(|| format!("{first}&page={}", number + 1))
            }
            // An offset goes on by what was asked for, not by what came.
            Paging::Offset => {
                let offset = page.body["offset"].as_u64().expect("it has an offset") + limit;
                (offset < page.body["total"].as_u64().expect("they are counted"))
                    .then(|| format!("{first}&offset={offset}"))
            }
            Paging::Cursor => page.body["next_cursor"].as_str().map(|cursor| format!("{first}&cursor={cursor}")),
            Paging::LastId => {
                let last = page.ids.last().copied();
                last.filter(|_| page.body["has_more"] == true).map(|id| format!("{first}&starting_after={id}"))
            }
            Paging::Link => page.link.as_deref().map(|url| path_of(site, url)),
            Paging::Next => page.body["next"].as_str().map(|url| path_of(site, url)),
            Paging::List | Paging::None => {
                if let Some(list) = page.body["urls"].as_array() {
                    urls = list.iter().rev().map(|url| path_of(site, url.as_str().expect("an address"))).collect();
                }
                urls.pop()
            }
        };
    }
    read
}

fn path_of(site: &Site, url: &str) -> String {
    url.strip_prefix(site.upstream.base_url()).expect("it leads to the same origin").to_owned()
}
