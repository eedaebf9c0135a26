//! Every fault of a collection as a client meets it, and what a client that reads right still gets.

use reqwest::header;
use serde_json::{Value, json};
use waybill_upstream::{Collection, Lead, Options, Paging, PagingFault, Total};

use crate::{
    paged::site_with,
    pages::{self, Page},
    site::Site,
};

async fn site(paging: Paging, fault: PagingFault) -> Site {
    site_with(Collection { paging, faults: vec![fault], ..Collection::default() }).await
}

async fn status(site: &Site, path: &str) -> u16 {
    site.get(path).send().await.expect("it answers").status().as_u16()
}

#[tokio::test]
async fn a_connection_drops_in_the_middle_of_a_page() {
    let site = site(Paging::Page, PagingFault::Cut { page: 2, times: 2 }).await;
    for _ in 0..2 {
        assert_eq!(Page::get(&site, "/paged/c?page=1").await.ids.len(), 100);
        let mut response = site.get("/paged/c?page=2").send().await.unwrap();
        let length = response.content_length().unwrap();
        assert!(!response.headers().contains_key(header::ACCEPT_RANGES));
        let mut read = 0;
        let error = loop {
            match response.chunk().await {
                Ok(chunk) => read += chunk.expect("the end is not reached").len() as u64,
                Err(error) => break error,
            }
        };
        assert!(error.is_body() || error.is_decode(), "{error:?}");
        assert_eq!(read, length / 2);
    }
    let read = pages::read(&site, "c", Paging::Page, 100).await;
    assert_eq!(read.ids, (1..=250).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_page_is_answered_with_a_status_so_often() {
    let fault = PagingFault::Status { page: 2, status: 500, retry_after: 1, times: 1 };
    let failing = site(Paging::Offset, fault).await;
    assert_eq!(status(&failing, "/paged/c").await, 200);
    assert_eq!(status(&failing, "/paged/c?offset=100").await, 500);
    assert_eq!(status(&failing, "/paged/c?offset=100").await, 200);
    assert_eq!(failing.upstream.requests().page("/paged/c", 2), 2);

    let limited = site(Paging::Page, PagingFault::Status { page: 3, status: 429, retry_after: 7, times: 2 }).await;
    for _ in 0..2 {
        let response = limited.get("/paged/c?page=3").send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()[header::RETRY_AFTER]),
            (429, &"7".parse().unwrap())
        );
    }
    assert_eq!(status(&limited, "/paged/c?page=3").await, 200);
}

#[tokio::test]
async fn cursors_expire_until_a_client_begins_again() {
    for status_of_fault in [410, 400] {
        let fault = PagingFault::ExpiredCursors { after: 1, status: status_of_fault, times: 1 };
        let site = site(Paging::Cursor, fault).await;
        let cursor = async |path: &str| Page::get(&site, path).await.body["next_cursor"].as_str().unwrap().to_owned();
        let second = format!("/paged/c?cursor={}", cursor("/paged/c").await);
        let third = format!("/paged/c?cursor={}", cursor(&second).await);
        for path in [&third, &third, &second] {
            assert_eq!(status(&site, path).await, status_of_fault);
        }
        let read = pages::read(&site, "c", Paging::Cursor, 100).await;
        assert_eq!(read.ids, (1..=250).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn the_last_page_comes_for_ever() {
    let numbered = site(Paging::Page, PagingFault::RepeatLast).await;
    let last = Page::get(&numbered, "/paged/c?page=3").await;
    assert_eq!((last.ids.len(), &last.body), (50, &Page::get(&numbered, "/paged/c?page=4").await.body));
    assert_eq!(Page::get(&numbered, "/paged/c?page=999").await.ids, last.ids);

    let by_cursor = site(Paging::Cursor, PagingFault::RepeatLast).await;
    let mut path = "/paged/c".to_owned();
    let mut counts = Vec::new();
    for _ in 0..5 {
        let page = Page::get(&by_cursor, &path).await;
        counts.push(page.ids.len());
        path = format!("/paged/c?cursor={}", page.body["next_cursor"].as_str().expect("there is no end"));
    }
    assert_eq!(counts, [100, 100, 50, 50, 50]);

    let by_id = site(Paging::LastId, PagingFault::RepeatLast).await;
    let last = Page::get(&by_id, "/paged/c?starting_after=250").await;
    assert_eq!((last.ids, &last.body["has_more"]), ((201..=250).collect(), &json!(true)));
}

#[tokio::test]
async fn short_and_empty_pages_lose_nothing() {
    for (fault, second) in [(PagingFault::Short { page: 2 }, 50), (PagingFault::Empty { page: 2 }, 0)] {
        for paging in pages::PAGINGS {
            let site = site(paging, fault.clone()).await;
            // What comes after the id of a record of page 1 is page 2; nobody comes past an empty one that way. An
            // offset stops at the total, which counts records only.
            if paging == Paging::Offset || (paging == Paging::LastId && second == 0) {
                continue;
            }
            let read = pages::read(&site, "c", paging, 100).await;
            assert_eq!(read.ids, (1..=250).collect::<Vec<_>>(), "{paging:?} {fault:?}");
        }
        let by_offset = site(Paging::Offset, fault.clone()).await;
        let mut counts = Vec::new();
        let mut ids = Vec::new();
        for offset in [0, 100, 200, 300, 400] {
            let page = Page::get(&by_offset, &format!("/paged/c?offset={offset}")).await.ids;
            counts.push(page.len());
            ids.extend(page);
        }
        assert_eq!(counts, [100, second, 100, 50 - second, 0]);
        assert_eq!(ids, (1..=250).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn totals_lie() {
    for (lie, total) in [(Total::Greater, json!(350)), (Total::Smaller, json!(125)), (Total::Null, Value::Null)] {
        let site = site(Paging::Page, PagingFault::Total(lie)).await;
        let read = pages::read(&site, "c", Paging::Page, 100).await;
        assert_eq!(read.ids.len(), 250);
        assert_eq!(Page::get(&site, "/paged/c?page=3").await.body["total"], total);
    }
}

#[tokio::test]
async fn links_lead_elsewhere() {
    for paging in [Paging::Link, Paging::Next] {
        let next = async |to, path: &str| {
            let site = site(paging, PagingFault::Next { page: 2, to }).await;
            let first = Page::get(&site, "/paged/c").await;
            let first = first.link.unwrap_or_else(|| first.body["next"].as_str().unwrap().to_owned());
            let path = if path.is_empty() { first.clone() } else { format!("{}{path}", site.upstream.base_url()) };
            let second = Page::of(site.client.get(path).send().await.unwrap()).await;
            (first, second.link.unwrap_or_else(|| second.body["next"].as_str().unwrap().to_owned()))
        };
        let (first, itself) = next(Lead::Itself, "").await;
        assert_eq!(first, itself);
        assert!(next(Lead::OtherOrigin, "").await.1.starts_with("http://localhost:"));
        assert_eq!(next(Lead::File, "").await.1, "file:///etc/hostname");
    }
    let cursors = site(Paging::Cursor, PagingFault::Next { page: 1, to: Lead::Itself }).await;
    let first = Page::get(&cursors, "/paged/c").await;
    let again = Page::get(&cursors, &format!("/paged/c?cursor={}", first.body["next_cursor"].as_str().unwrap())).await;
    assert_eq!((&again.body, again.ids[0]), (&first.body, 1));
    let list = site(Paging::List, PagingFault::Next { page: 2, to: Lead::File }).await;
    let urls = Page::get(&list, "/paged/c").await.body["urls"].clone();
    assert_eq!((urls.as_array().unwrap().len(), &urls[1]), (3, &json!("file:///etc/hostname")));
}

#[tokio::test]
async fn a_cursor_has_a_megabyte() {
    let site = site(Paging::Cursor, PagingFault::HugeCursor).await;
    let first = Page::get(&site, "/paged/c").await;
    let cursor = first.body["next_cursor"].as_str().unwrap();
    assert_eq!((cursor.len(), first.ids.len()), ((1 << 20) + 32, 100));
    // No address is so long; a body is.
    let next = site.client.post(format!("{}/paged/c", site.upstream.base_url())).json(&json!({ "cursor": cursor }));
    assert_eq!(Page::of(next.send().await.unwrap()).await.ids[0], 101);
}

#[tokio::test]
async fn signs_of_more_that_nobody_asked_for() {
    let site = site(Paging::None, PagingFault::Unasked).await;
    let page = Page::get(&site, "/paged/c").await;
    assert_eq!((page.ids.len(), &page.body["has_more"]), (250, &json!(true)));
    assert_eq!(page.body["next"].as_str(), page.link.as_deref());
    let plain = Page::get(&Site::start(Options::default()).await, "/paged/none").await;
    assert!(plain.link.is_none() && plain.body.get("next").is_none() && plain.body.get("has_more").is_none());
}

#[tokio::test]
async fn another_process_can_set_a_collection() {
    let site = Site::start(Options { control: true, ..Options::default() }).await;
    let control = format!("{}/control", site.upstream.base_url());
    let put = async |body: Value| site.client.put(&control).json(&body).send().await.unwrap().status().as_u16();
    let changes = json!({
        "collections": { "mine": { "records": 3, "size": 2, "faults": [{ "status": { "page": 2, "status": 503 } }] } },
        "token_endpoint": { "fault": "down" },
    });
    assert_eq!(put(changes.clone()).await, 204);
    for _ in 0..2 {
        assert_eq!(status(&site, "/paged/mine?page=2").await, 503);
        assert_eq!(status(&site, "/paged/mine?page=2").await, 200);
        assert_eq!(put(changes.clone()).await, 204, "its faults begin anew");
    }
    assert_eq!(status(&site, "/paged/page").await, 200, "the others stay");
    assert_eq!(put(json!({ "collections": { "mine": { "paging": "none at all" } } })).await, 400);
    let counters = site.json("/control").await;
    assert_eq!(counters["pages"], json!({ "/paged/mine": { "2": 4 }, "/paged/page": { "1": 1 } }));
}
