//! Pages of the stand-in upstream, which shares no code with us: every kind of paging, shape and credentials, and what can
//! go wrong with them.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use waybill_ledger::{State, Status};
use waybill_upstream::{
    Auth, Collection, Lead, Options, Paging, PagingFault, Running, Shape, Total, Upstream as StandIn,
};

use crate::support::{PATIENCE, System, Upstream};

/// `{fetch}` is how the collection `things` is asked for.
const THINGS: &str = r#"
name     = "things"
title    = "Things"
base_url = "http://127.0.0.1:1"
{top}

[[items]]
name   = "list"
key    = "{{ list.id }}"
fields = [{ name = "id", type = "integer" }]
list   = [1]

[fetch]
path    = "/paged/things"
timeout = "PT10S"
{fetch}

[record]
fields = [{ name = "id", type = "integer", constraints = { required = true } }, { name = "value", type = "number" }]

[stats]
value = { sum = "value" }

[store]
partition = ["date={{ job.date }}"]
"#;

const PAGE: &str = r#"
records    = "$.results[*]"
query      = { page = "{{ page.number }}", limit = "{{ page.size }}" }
pagination = { type = "page", size = 100 }"#;
const OFFSET: &str = r#"
records    = "$.results[*]"
query      = { offset = "{{ page.offset }}", limit = "{{ page.size }}" }
pagination = { type = "offset", size = 100 }"#;
const CURSOR: &str = r#"
records    = "$.results[*]"
query      = { cursor = "{{ page.cursor }}" }
pagination = { type = "cursor", next = "body.next_cursor" }"#;
const LAST_ID: &str = r#"
records    = "$.results[*]"
query      = { starting_after = "{{ page.cursor }}" }
pagination = { type = "cursor", next = "last.id", stop = "not body.has_more" }"#;
const LINK: &str = r#"
records    = "$.results[*]"
pagination = { type = "link" }"#;
const NEXT: &str = r#"
records    = "$.results[*]"
pagination = { type = "link", next = "body.next" }"#;
const NONE: &str = r#"
records    = "$.results[*]""#;

async fn run(collection: Collection, fetch: &str, top: &str) -> (System, Status, StandIn, Running) {
    let collections = BTreeMap::from([("things".to_owned(), collection)]);
    let stand_in = StandIn::new(Options { collections, ..Options::default() });
    let running = stand_in.start().await.unwrap();
    let definition = THINGS.replace("{fetch}", fetch).replace("{top}", top);
    let mut system = System::stopped(&definition, Upstream::start().await, PATIENCE).await;
    system.worker.base_urls = HashMap::from([("things".to_owned(), running.base_url().to_owned())]);
    for (name, value) in [("KEY", "test"), ("PASSWORD", "secret")] {
        system.worker.env.insert(name.to_owned(), value.to_owned());
    }
    system.run();
    let status = system.job().await;
    (system, status, stand_in, running)
}

/// Runs a job that gets all records, each once, and says how many requests that took.
async fn all(case: &str, collection: Collection, fetch: &str, top: &str) -> u64 {
    let (system, status, stand_in, _running) = run(collection, fetch, top).await;
    assert_eq!((status.state, status.records), (State::Succeeded, 250), "{case}: {:?}", status.errors);
    let data = system.data().await;
    let text = String::from_utf8(data[0].body.to_vec()).unwrap();
    let id = |line: &str| match serde_json::from_str::<Value>(line) {
        Ok(Value::Array(row)) => row[0].as_u64(),
        Ok(record) => record["id"].as_u64(),
        Err(_) => line.split(',').next().unwrap().parse().ok(),
    };
    let ids: Vec<_> = match serde_json::from_str::<Value>(&text) {
        Ok(whole) => whole["results"].as_array().unwrap().iter().filter_map(|it| it["id"].as_u64()).collect(),
        Err(_) => text.lines().filter_map(id).collect(),
    };
    assert_eq!(ids, (1..=250).collect::<Vec<_>>(), "{case}");
    stand_in.requests().pages("/paged/things")
}

/// Runs a job that fails, and says why.
async fn failure(case: &str, collection: Collection, fetch: &str) -> (String, u64) {
    let (system, status, stand_in, _running) = run(collection, fetch, "").await;
    assert_eq!(status.state, State::Failed, "{case}");
    assert!(system.data().await.is_empty(), "{case}");
    assert_eq!(stand_in.requests().leaked, 0, "{case}");
    (System::reason(&status).to_owned(), stand_in.requests().pages("/paged/things"))
}

fn of(paging: Paging, faults: Vec<PagingFault>) -> Collection {
    Collection { paging, faults, ..Collection::default() }
}

#[tokio::test]
async fn every_kind_of_paging_gives_every_record_once() {
    for (paging, fetch, requests) in [
        (Paging::Page, PAGE, 4),
        (Paging::Offset, OFFSET, 4),
        (Paging::Cursor, CURSOR, 3),
        (Paging::LastId, LAST_ID, 3),
        (Paging::Link, LINK, 3),
        (Paging::Next, NEXT, 3),
        (Paging::None, NONE, 1),
    ] {
        assert_eq!(all(&format!("{paging:?}"), of(paging, Vec::new()), fetch, "").await, requests, "{paging:?}");
    }
    let total = PAGE.replace("size = 100 }", "size = 100, total = \"body.total\" }");
    assert_eq!(all("total", of(Paging::Page, Vec::new()), &total, "").await, 3);
    let pages = PAGE.replace("size = 100 }", "size = 100, stop = \"page.number >= body.pages\" }");
    assert_eq!(all("pages", of(Paging::Page, Vec::new()), &pages, "").await, 3);
}

#[tokio::test]
async fn every_shape_is_read_in_pages() {
    for (shape, from, to) in [
        (Shape::Array, "$.results[*]", "$[*]"),
        (Shape::Members, "$.results[*]", "$.rates[*]"),
        (Shape::Lines, "records    = \"$.results[*]\"", "format = \"ndjson\""),
        (Shape::Csv, "records    = \"$.results[*]\"", "format = \"csv\""),
        (Shape::Rows, "records    = \"$.results[*]\"", "records = \"$[*]\"\nformat = \"rows\""),
    ] {
        let collection = Collection { shape, ..Collection::default() };
        assert_eq!(all(&format!("{shape:?}"), collection, &PAGE.replace(from, to), "").await, 4, "{shape:?}");
    }
}

#[tokio::test]
async fn every_kind_of_credentials_goes_with_every_page() {
    for (auth, top) in [
        (Auth::Bearer, "auth = { bearer = \"{{ env.KEY }}\" }"),
        (Auth::Basic, "auth = { basic = [\"{{ env.KEY }}\", \"{{ env.PASSWORD }}\"] }"),
        (Auth::Header, "auth = { header = { X-Api-Key = \"{{ env.KEY }}\" } }"),
        (Auth::Query, "auth = { query = { key = \"{{ env.KEY }}\" } }"),
    ] {
        for (paging, fetch) in [(Paging::Page, PAGE), (Paging::Link, LINK), (Paging::Next, NEXT)] {
            let collection = Collection { auth, paging, ..Collection::default() };
            all(&format!("{auth:?} {paging:?}"), collection, fetch, top).await;
        }
    }
}

#[tokio::test]
async fn pages_are_asked_for_by_a_body_too() {
    for body in ["json = { cursor = \"{{ page.cursor }}\", limit = 100 }", "form = { cursor = \"{{ page.cursor }}\" }"]
    {
        let fetch = CURSOR.replace("query      = { cursor = \"{{ page.cursor }}\" }", &format!("body = {{ {body} }}"));
        assert_eq!(all(body, of(Paging::Cursor, Vec::new()), &fetch, "").await, 3);
    }
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let status = |status| PagingFault::Status { page: 2, status, retry_after: 0, times: 2 };
    for fault in [PagingFault::Cut { page: 2, times: 2 }, status(503), status(429), PagingFault::Short { page: 2 }] {
        for (paging, fetch) in
            [(Paging::Page, PAGE), (Paging::Offset, OFFSET), (Paging::Cursor, CURSOR), (Paging::Link, LINK)]
        {
            all(&format!("{fault:?} {paging:?}"), of(paging, vec![fault.clone()]), fetch, "").await;
        }
    }
    for (paging, fetch) in [(Paging::Cursor, CURSOR), (Paging::Link, LINK), (Paging::Next, NEXT)] {
        all(&format!("empty {paging:?}"), of(paging, vec![PagingFault::Empty { page: 2 }]), fetch, "").await;
    }
    let total = PAGE.replace("size = 100 }", "size = 100, total = \"body.total\" }");
    all("null", of(Paging::Page, vec![PagingFault::Total(Total::Null)]), &total, "").await;
}

#[tokio::test]
async fn a_part_is_a_failure() {
    for (paging, fetch, advice) in
        [(Paging::Page, PAGE, "`stop` or `total`"), (Paging::Link, LINK, "`stop`"), (Paging::Next, NEXT, "`stop`")]
    {
        let (reason, _) = failure(&format!("{paging:?}"), of(paging, vec![PagingFault::RepeatLast]), fetch).await;
        let again = format!("the upstream's answer for /paged/things page 4 is page 3 again: say {advice}");
        assert_eq!(reason, again, "{paging:?}");
    }
    let total = PAGE.replace("size = 100 }", "size = 100, total = \"body.total\" }");
    let lies = of(Paging::Page, vec![PagingFault::Total(Total::Greater)]);
    let (reason, _) = failure("total", lies, &total).await;
    assert!(reason.ends_with("has 250 records on 4 pages, though 350 were announced"), "{reason}");
    // A page in the middle that has no records looks like the last: a total tells.
    let (reason, _) = failure("empty", of(Paging::Page, vec![PagingFault::Empty { page: 2 }]), &total).await;
    assert!(reason.ends_with("has 100 records on 2 pages, though 250 were announced"), "{reason}");
    let refused = |status| vec![PagingFault::Status { page: 2, status, retry_after: 0, times: 9 }];
    for status in [404, 410] {
        let (reason, _) = failure("status", of(Paging::Cursor, refused(status)), CURSOR).await;
        assert!(reason.starts_with(&format!("page 2: the upstream answered {status} ")), "{reason}");
    }
    for (paging, faults, seen) in [
        (Paging::None, vec![PagingFault::Unasked], "`"),
        (Paging::Next, Vec::new(), "`next` is not empty"),
        (Paging::Link, Vec::new(), "`Link` has a `rel=\"next\"`"),
        (Paging::Page, Vec::new(), "`total` is 250, and 100 records came"),
        (Paging::LastId, Vec::new(), "`has_more` is true"),
    ] {
        let (reason, requests) = failure(&format!("{paging:?}"), of(paging, faults), NONE).await;
        let expected = "the upstream's answer for /paged/things is one page of several (";
        assert!(reason.starts_with(expected) && reason.contains(seen) && requests == 1, "{reason}");
    }
}

#[tokio::test]
async fn what_leads_elsewhere_is_not_followed() {
    for (paging, fetch) in [(Paging::Link, LINK), (Paging::Next, NEXT)] {
        for to in [Lead::OtherOrigin, Lead::File] {
            let fault = PagingFault::Next { page: 1, to };
            let (reason, requests) = failure(&format!("{paging:?} {to:?}"), of(paging, vec![fault]), fetch).await;
            assert!(reason.starts_with("an address for things cannot be asked: it ") && requests == 1, "{reason}");
        }
        let fault = PagingFault::Next { page: 2, to: Lead::Itself };
        let (reason, requests) = failure(&format!("{paging:?}"), of(paging, vec![fault]), fetch).await;
        assert!(reason.ends_with("page 3 is page 2 again: say `stop`") && requests == 2, "{reason}");
    }
    let (reason, _) = failure("huge", of(Paging::Cursor, vec![PagingFault::HugeCursor]), CURSOR).await;
    assert!(reason.len() < 300, "{reason}");
}
