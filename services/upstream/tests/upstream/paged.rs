//! Collections read to their ends, by every paging and in every shape: each record exactly once.

use std::collections::HashMap;

use reqwest::{StatusCode, header};
use serde_json::{Value, json};
use waybill_upstream::{Collection, Options, Paging, Shape};

use crate::{
    pages::{self, Page},
    site::Site,
};

pub(crate) async fn site_with(collection: Collection) -> Site {
    Site::start(Options { collections: [("c".to_owned(), collection)].into(), ..Options::default() }).await
}

#[tokio::test]
async fn every_paging_leads_to_every_record_once() {
    for paging in pages::PAGINGS {
        for (records, size, limit) in [(250, 100, 100), (200, 100, 100), (7, 1, 1), (0, 10, 10), (95, 50, 20)] {
            let site = site_with(Collection { paging, records, size, ..Collection::default() }).await;
            let read = pages::read(&site, "c", paging, limit).await;
            assert_eq!(read.ids, (1..=records).collect::<Vec<_>>(), "{paging:?} {records} {size} {limit}");
            let counted = site.upstream.requests();
            let listed = u64::from(paging == Paging::List);
            assert_eq!(counted.pages("/paged/c"), read.requests, "{paging:?}");
            assert_eq!(counted.page("/paged/c", 0), listed);
            assert_eq!(counted.page("/paged/c", 1), if records == 0 && listed == 1 { 0 } else { 1 });
        }
    }
}

#[tokio::test]
async fn a_page_without_paging_has_all_or_as_many_as_were_asked_for() {
    let site = Site::start(Options::default()).await;
    assert_eq!(Page::get(&site, "/paged/none").await.ids, (1..=250).collect::<Vec<_>>());
    let part = Page::get(&site, "/paged/none?limit=100").await;
    assert_eq!((part.ids.len(), &part.body["total"]), (100, &json!(250)));
}

#[tokio::test]
async fn every_shape_has_the_same_records() {
    let site = Site::start(Options::default()).await;
    let whole = Page::get(&site, "/paged/page?page=2").await;
    let records = whole.body["results"].as_array().unwrap();
    assert_eq!(records[0]["id"], 101);
    assert_eq!(records[0]["period"]["from"], "2024-01-05T04:00:00Z");
    assert_eq!(Page::get(&site, "/paged/array?page=2").await.body, json!(records));
    let rates = Page::get(&site, "/paged/rates?page=2").await.body;
    assert!(records.iter().all(|record| rates["rates"][record["id"].to_string()] == *record));
    assert_eq!(rates["rates"].as_object().unwrap().len(), 100);
    let lines = site.get("/paged/lines?page=2").send().await.unwrap().text().await.unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(&lines, records);
    let row = |record: &Value| json!([record["id"], record["value"], record["period"]["from"]]);
    let rows: Vec<_> = [json!(["id", "value", "from"])].into_iter().chain(records.iter().map(row)).collect();
    assert_eq!(Page::get(&site, "/paged/rows?page=2").await.body, json!(rows));
    let csv = site.get("/paged/csv?page=2").send().await.unwrap();
    assert_eq!(csv.headers()[header::CONTENT_TYPE], "text/csv; charset=utf-8");
    let line = |record: &Value| {
        format!("{},{},{}\n", record["id"], record["value"], record["period"]["from"].as_str().unwrap())
    };
    let lines: String = records.iter().map(line).collect();
    assert_eq!(csv.text().await.unwrap(), format!("id,value,from\n{lines}"));
}

#[tokio::test]
async fn what_has_no_room_in_the_body_stands_in_headers() {
    for shape in [Shape::Array, Shape::Lines, Shape::Csv, Shape::Rows] {
        let of = |paging| site_with(Collection { paging, shape, ..Collection::default() });
        let headers = async |paging| {
            let response = of(paging).await.get("/paged/c").send().await.unwrap();
            let headers = response.headers().iter();
            headers
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                .collect::<HashMap<_, _>>()
        };
        assert_eq!(headers(Paging::Page).await["x-total-count"], "250");
        assert_eq!(headers(Paging::Cursor).await["x-next-cursor"].len(), 32);
        assert_eq!(headers(Paging::LastId).await["x-has-more"], "true");
        assert!(headers(Paging::Next).await["link"].ends_with("; rel=\"next\""));
    }
}

#[tokio::test]
async fn a_body_can_ask_for_a_page() {
    let site = Site::start(Options::default()).await;
    let url = format!("{}/paged/page?limit=10&page=9", site.upstream.base_url());
    let form = site.client.post(&url).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body("page=3");
    for request in
        [form, site.client.post(&url).json(&json!({ "page": 3 })), site.client.post(&url).json(&json!({ "page": "3" }))]
    {
        assert_eq!(Page::of(request.send().await.unwrap()).await.ids, (21..=30).collect::<Vec<_>>());
    }
    let first = site.client.post(format!("{}/paged/cursor", site.upstream.base_url())).json(&json!({ "cursor": null }));
    assert_eq!(Page::of(first.send().await.unwrap()).await.ids[0], 1);
    let wrong = site.client.post(&url).json(&json!([])).send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    assert_eq!(site.upstream.requests().page("/paged/page", 3), 3);
}

#[tokio::test]
async fn what_is_not_there_or_wrong_is_a_problem() {
    let site = Site::start(Options::default()).await;
    for (path, status) in [
        ("/paged/unknown", StatusCode::NOT_FOUND),
        ("/paged/page?page=0", StatusCode::BAD_REQUEST),
        ("/paged/page?page=x", StatusCode::BAD_REQUEST),
        ("/paged/page?limit=0", StatusCode::BAD_REQUEST),
        ("/paged/offset?offset=-1", StatusCode::BAD_REQUEST),
        ("/paged/cursor?cursor=made-up", StatusCode::BAD_REQUEST),
        ("/paged/last-id?starting_after=251", StatusCode::BAD_REQUEST),
    ] {
        let response = site.get(path).send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json", "{path}");
    }
    assert_eq!(site.upstream.requests().pages, [].into());
    for path in ["/paged/page?page=18446744073709551615", "/paged/offset?offset=18446744073709551615"] {
        assert!(Page::get(&site, path).await.ids.is_empty(), "past the end is empty");
    }
}

#[tokio::test]
async fn collections_are_bounded_however_large_they_are() {
    let collection = Collection { records: u64::MAX, size: u64::MAX, ..Collection::default() };
    let site = site_with(collection.clone()).await;
    let page = Page::get(&site, "/paged/c").await;
    assert_eq!((page.ids.len(), &page.body["total"]), (10_000, &json!(1u64 << 40)));
    let list = Collection { paging: Paging::List, ..collection };
    site.upstream.set_collection("c", list);
    assert_eq!(site.get("/paged/c").send().await.unwrap().status(), StatusCode::BAD_REQUEST);
}
