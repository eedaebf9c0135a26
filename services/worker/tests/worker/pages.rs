//! Files that come in several answers: one object, each record once, and never a part that looks like the whole.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use waybill_ledger::{State, Status};

use crate::support::{Asked, Object, PATIENCE, Reply, System, Upstream, until};

/// Two lists of things; `{paging}` is what the fetch says beside its path.
const THINGS: &str = r#"
name     = "things"
title    = "Things"
base_url = "http://127.0.0.1:1"
params   = [{ name = "day", type = "date" }]

[[items]]
name   = "list"
key    = "list-{{ list.id }}"
fields = [{ name = "id", type = "integer" }]
list   = [1]

[fetch]
path    = "/things/{{ list.id }}"
{paging}
timeout = "PT10S"

[record]
fields = [
  { name = "id",    type = "integer", constraints = { required = true } },
  { name = "value", type = "number" },
]

[stats]
things = "count"
value  = { sum = "value" }

[store]
partition = ["date={{ params.day }}"]
"#;

const PATH: &str = "/things/1";

/// Numbered pages.
const PAGE: &str = r#"
records    = "$.data[*]"
query      = { page = "{{ page.number }}" }
pagination = { type = "page" }
"#;

const CURSOR: &str = r#"
records    = "$.data[*]"
query      = { after = "{{ page.cursor }}" }
pagination = { type = "cursor", next = "body.next" }
"#;

const LINK: &str = r#"
records    = "$.data[*]"
pagination = { type = "link" }
"#;

fn things(paging: &str) -> String {
    THINGS.replace("{paging}", paging)
}

/// The value of a query parameter.
fn asked_for(asked: &Asked, name: &str) -> Option<String> {
    let pairs = asked.query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
}

fn page_of(asked: &Asked) -> u64 {
    asked_for(asked, "page").map_or(1, |page| page.parse().unwrap())
}

/// The things from so many on, below another number.
fn data(ids: std::ops::Range<u64>) -> Vec<Value> {
    ids.map(|id| json!({ "id": id, "value": 1.5, "text": "t" })).collect()
}

fn page(ids: std::ops::Range<u64>) -> Reply {
    Reply::json(&json!({ "data": data(ids) }))
}

/// Three full pages of ten, and one of nothing.
fn thirty(asked: &Asked) -> Reply {
    let from = (page_of(asked) - 1) * 10;
    page(from.min(30)..(from + 10).min(30))
}

async fn job(definition: &str, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> (System, Status) {
    let upstream = Upstream::start().await;
    upstream.on(PATH, answer);
    let system = System::start(definition, upstream).await;
    let status = system.job().await;
    (system, status)
}

/// Why a job failed, of which nothing is stored.
async fn failure(definition: &str, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> (String, usize) {
    let (system, status) = job(definition, answer).await;
    assert_eq!(status.state, State::Failed);
    assert!(system.data().await.is_empty());
    (System::reason(&status).to_owned(), system.upstream.asked(PATH).len())
}

fn ids(object: &Object) -> Vec<u64> {
    let lines = object.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice::<Value>(line).unwrap()["id"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn pages_become_one_object_of_the_records_own_bytes() {
    let (system, status) = job(&things(PAGE), |asked| match page_of(asked) {
        1 => Reply::body("{\"data\": [ {\"id\":\t1,\r\n  \"value\": 1.50, \"a\": \"x\\ny\"}, {\"id\":2} ]\n}"),
        2 => Reply::body(r#"{"data":[{"value":-2,"id":3}],"total":"no"}"#).chunked(),
        _ => Reply::body(r#"{"data":[]}"#),
    })
    .await;
    assert_eq!((status.state, status.tasks.stored, status.records), (State::Succeeded, 1, 3), "{:?}", status.errors);
    let data = system.data().await;
    let expected = "{\"id\":\t1,    \"value\": 1.50, \"a\": \"x\\ny\"}\n{\"id\":2}\n{\"value\":-2,\"id\":3}\n";
    assert_eq!(String::from_utf8_lossy(&data[0].body), expected);
    let metadata = &data[0].head.metadata;
    let shown = ["records", "pages", "things", "value", "url-path"].map(|name| metadata[name].as_str());
    assert_eq!(shown, ["3", "3", "3", "-0.5", PATH]);
    assert!(data[0].key.ends_with(".ndjson"));
    // The same bytes once more are no new object, and were not asked for conditionally.
    let again = system.good_job().await;
    assert_eq!((again.tasks.stored, again.tasks.unchanged), (0, 1));
    let asked = system.upstream.asked(PATH);
    assert_eq!(asked.len(), 6);
    assert!(asked.iter().all(|asked| asked.header("if-none-match").is_none() && asked.header("range").is_none()));
}

#[tokio::test]
async fn a_page_that_breaks_off_is_asked_for_again_and_nothing_is_counted_twice() {
    // In memory, and beyond it.
    for records in [10, 30_000] {
        let (system, status) = job(&things(PAGE), move |asked| {
            let from = (page_of(asked) - 1) * records;
            let reply = page(from.min(3 * records)..(from + records).min(3 * records));
            let reply = reply.header("ETag", "\"v1\"");
            let cut = records as usize * 30;
            // The second page: broken off twice, as its length is announced and as it is not.
            match asked.nth {
                1 => reply.cut(cut),
                2 => reply.cut(cut / 2).chunked(),
                _ => reply,
            }
        })
        .await;
        assert_eq!((status.state, status.records), (State::Succeeded, 3 * records), "{:?}", status.errors);
        let data = system.data().await;
        assert_eq!(ids(&data[0]), (0..3 * records).collect::<Vec<_>>());
        let metadata = &data[0].head.metadata;
        assert_eq!(metadata["things"], (3 * records).to_string());
        assert_eq!(metadata["value"].parse::<f64>().unwrap(), 4.5 * records as f64);
        let asked = system.upstream.asked(PATH);
        assert_eq!(asked.iter().map(page_of).collect::<Vec<_>>(), [1, 2, 2, 2, 3, 4]);
        assert!(asked.iter().all(|asked| asked.range().is_none()));
    }
}

#[tokio::test]
async fn what_passes_is_waited_for_on_every_page_anew() {
    // Two faults a page: more than one request would be given.
    let (system, status) = job(&things(PAGE), |asked| {
        if asked.nth % 3 == 2 { thirty(asked) } else { Reply::status(503).header("Retry-After", "0") }
    })
    .await;
    assert_eq!((status.state, status.records), (State::Succeeded, 30), "{:?}", status.errors);
    assert_eq!(system.upstream.asked(PATH).len(), 12);
}

#[tokio::test]
async fn an_error_on_a_later_page_is_not_the_end() {
    for status in [404, 204, 410] {
        let (reason, tries) =
            failure(&things(PAGE), move |asked| if page_of(asked) < 3 { thirty(asked) } else { Reply::status(status) })
                .await;
        assert!(reason.starts_with(&format!("page 3: the upstream answered {status} ")), "{reason}");
        assert_eq!(tries, 3);
    }
}

#[tokio::test]
async fn a_worker_that_dies_between_two_pages_leaves_nothing_and_another_begins_anew() {
    let upstream = Upstream::start().await;
    upstream.on(PATH, |asked| if asked.nth == 2 { Reply::silent() } else { thirty(asked) });
    let system = System::stopped(&things(PAGE), upstream, PATIENCE).await;
    let first = system.another();
    let job = system.submit().await;
    until("the third page is asked for", || system.upstream.asked(PATH).len() == 3).await;
    drop(first);
    let _second = system.another();
    let status = system.ended(job).await;
    assert_eq!((status.state, status.records), (State::Succeeded, 30));
    let data = system.data().await;
    assert_eq!((data.len(), ids(&data[0])), (1, (0..30).collect()));
    let asked = system.upstream.asked(PATH);
    assert_eq!(asked.iter().map(page_of).collect::<Vec<_>>(), [1, 2, 3, 1, 2, 3, 4]);
}

#[tokio::test]
async fn a_worker_that_is_stopped_between_two_pages_gives_the_task_back() {
    let upstream = Upstream::start().await;
    upstream.on(PATH, |asked| if asked.nth == 2 { Reply::silent() } else { thirty(asked) });
    let mut system = System::start(&things(PAGE), upstream).await;
    let job = system.submit().await;
    until("the third page is asked for", || system.upstream.asked(PATH).len() == 3).await;
    system.stop().await;
    assert!(!system.status(job).await.state.is_terminal() && system.data().await.is_empty());
    system.run();
    assert_eq!(system.ended(job).await.records, 30);
    assert_eq!(ids(&system.data().await[0]), (0..30).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_job_that_is_cancelled_asks_for_no_further_page() {
    let upstream = Upstream::start().await;
    // Pages without an end, three a second.
    upstream.on(PATH, |asked| page(asked.nth as u64..asked.nth as u64 + 1));
    let definition = things(&format!("{PAGE}rate = {{ requests = 1, per = \"PT0.3S\" }}\n"));
    let mut system = System::start(&definition, upstream).await;
    let job = system.submit().await;
    until("the second page is asked for", || system.upstream.asked(PATH).len() == 2).await;
    assert_eq!(system.ledger.cancel(job, Timestamp::now()).await.unwrap().state, State::Cancelled);
    // As long as three pages would take.
    let asked = system.upstream.asked(PATH).len();
    let began = Instant::now();
    until("no more are asked for", || began.elapsed() > Duration::from_secs(1)).await;
    assert!(system.upstream.asked(PATH).len() <= asked + 1);
    system.stop().await;
    assert!(system.data().await.is_empty() && system.queue.dead_letters().is_empty());
}

#[tokio::test]
async fn what_may_be_a_part_is_a_failure() {
    let most = PAGE.replace("\"page\" }", "\"page\", max_pages = 2 }");
    let (reason, tries) = failure(&things(&most), thirty).await;
    let expected = "the upstream's answer for /things/1 has more than 2 pages, the most that `max_pages` allows";
    assert_eq!((reason.as_str(), tries), (expected, 2));

    let total = PAGE.replace("\"page\" }", "\"page\", total = \"body.total\" }");
    let (reason, _) = failure(&things(&total), |asked| {
        let from = (page_of(asked) - 1) * 10;
        Reply::json(&json!({ "total": 31, "data": data(from.min(30)..(from + 10).min(30)) }))
    })
    .await;
    let expected = "the upstream's answer for /things/1 has 30 records on 4 pages, though 31 were announced";
    assert_eq!(reason, expected);

    // The last page past the end, with another number around the same records.
    let (reason, tries) = failure(&things(PAGE), |asked| {
        let page = page_of(asked);
        let from = page.min(3) * 10;
        Reply::json(&json!({ "page": page, "data": data(from..from + 10) }))
    })
    .await;
    let expected = "the upstream's answer for /things/1 page 4 is page 3 again: say `stop` or `total`";
    assert_eq!((reason.as_str(), tries), (expected, 4));
}

#[tokio::test]
async fn empty_pages_in_the_middle_go_on_where_there_is_a_next() {
    let (system, status) = job(&things(CURSOR), |asked| match asked_for(asked, "after").as_deref() {
        None => Reply::json(&json!({ "data": data(0..2), "next": "b" })),
        Some("b") => Reply::json(&json!({ "data": [], "next": "c" })),
        Some("c") => Reply::json(&json!({ "data": [], "next": "d" })),
        _ => Reply::json(&json!({ "data": data(2..3), "next": null })),
    })
    .await;
    assert_eq!((status.state, status.records), (State::Succeeded, 3), "{:?}", status.errors);
    assert_eq!(system.data().await[0].head.metadata["pages"], "4");
}

#[tokio::test]
async fn a_cursor_of_a_megabyte_is_a_failure_in_few_words() {
    for (length, expected) in [
        (900_000, "page 2: the request for /things/1 cannot be made: "),
        (2 << 20, "the file was rejected: page 1: record "),
    ] {
        let (reason, tries) =
            failure(&things(CURSOR), move |_| Reply::json(&json!({ "data": data(0..2), "next": "x".repeat(length) })))
                .await;
        assert!(reason.starts_with(expected) && reason.len() < 300 && tries == 1, "{reason}");
    }
}

#[tokio::test]
async fn a_next_link_leads_nowhere_else() {
    let elsewhere = Upstream::start().await;
    elsewhere.on("/things", |_| page(10..20));
    for next in [
        format!("{}/things?page=2", elsewhere.base_url()),
        "http://user:pass@127.0.0.1:1/things".to_owned(),
        "file:///etc/passwd".to_owned(),
        "//127.0.0.2:1/things".to_owned(),
    ] {
        let link = format!("<{next}>; rel=\"next\"");
        let (reason, tries) = failure(&things(LINK), move |_| page(0..10).header("Link", link.clone())).await;
        assert!(reason.starts_with("an address for things cannot be asked: it "), "{reason}");
        assert!(!reason.contains("127.0.0") && !reason.contains("passwd") && tries == 1, "{reason}");
    }
    assert!(elsewhere.asked("/things").is_empty());
    let (reason, tries) = failure(&things(LINK), |asked| {
        page(asked.nth as u64 * 10..asked.nth as u64 * 10 + 10).header("Link", "<?page=2>; rel=next")
    })
    .await;
    assert!(reason.ends_with("page 3 is page 2 again: say `stop`") && tries == 2, "{reason}");
}

#[tokio::test]
async fn credentials_go_with_next_links_at_home_and_never_to_hosts() {
    let elsewhere = Upstream::start().await;
    elsewhere.on("/part", |_| page(20..30));
    let host = elsewhere.base_url().replace("http://", "");
    let auth = format!("auth = {{ query = {{ api_key = \"{{{{ env.KEY }}}}\" }} }}\nhosts = [\"{host}\"]\n\n[[items]]");
    let definition = things(&format!("headers = {{ X-Secret = \"{{{{ env.KEY }}}}\" }}\n{LINK}"));
    let definition = definition.replace("[[items]]", &auth);
    let upstream = Upstream::start().await;
    let part = format!("{}/part?sig=1", elsewhere.base_url());
    upstream.on(PATH, move |asked| match page_of(asked) {
        1 => page(0..10).header("Link", "</things/1?page=2>; rel=next"),
        2 => page(10..20).header("Link", "</moved?a=1>; rel=next"),
        _ => Reply::status(500),
    });
    upstream.on("/moved", move |_| Reply::status(302).header("Location", part.clone()));
    let mut system = System::stopped(&definition, upstream, PATIENCE).await;
    system.worker.env.insert("KEY".to_owned(), "s3cret".to_owned());
    system.run();
    let status = system.good_job().await;
    assert_eq!(status.records, 30);
    for asked in system.upstream.asked(PATH).iter().chain(&system.upstream.asked("/moved")) {
        assert_eq!(
            (asked_for(asked, "api_key").as_deref(), asked.header("x-secret")),
            (Some("s3cret"), Some("s3cret"))
        );
    }
    let asked = &elsewhere.asked("/part")[0];
    assert_eq!((asked.query.as_str(), asked.header("x-secret")), ("sig=1", None));
    assert!(!system.whole_bucket().await.contains("s3cret"));
}

#[tokio::test]
async fn csv_has_one_header_and_another_one_is_a_failure() {
    const CSV: &str = "format = \"csv\"\nquery = { page = \"{{ page.number }}\" }\npagination = { type = \"page\" }\n";
    let (system, status) = job(&things(CSV), |asked| match page_of(asked) {
        1 => Reply::body("id,value,text\r\n1,0.5,\"a\r\nb\"\r\n2,1,x"),
        2 => Reply::body("id,value,text\n3,1,y\n"),
        _ => Reply::body("id,value,text\n"),
    })
    .await;
    assert_eq!((status.state, status.records), (State::Succeeded, 3), "{:?}", status.errors);
    let data = system.data().await;
    assert_eq!(String::from_utf8_lossy(&data[0].body), "id,value,text\n1,0.5,\"a\r\nb\"\r\n2,1,x\n3,1,y\n");
    assert!(data[0].key.ends_with(".csv"));
    let (reason, _) = failure(&things(CSV), |asked| match page_of(asked) {
        1 => Reply::body("id,value\n1,1\n"),
        _ => Reply::body("value,id\n1,2\n"),
    })
    .await;
    let expected = "page 2: the upstream's answer for /things/1 has another header than the first page";
    assert_eq!(reason, expected);
}

#[tokio::test]
async fn a_page_that_fails_its_checks_is_kept_as_it_came() {
    let bad = "{\"data\":[{\"id\":11},\n{\"id\":\"x\"}]}";
    let (system, status) =
        job(&things(PAGE), move |asked| if page_of(asked) == 2 { Reply::body(bad) } else { thirty(asked) }).await;
    assert_eq!(status.state, State::Failed);
    let reason = System::reason(&status);
    assert!(reason.starts_with("the file was rejected: page 2: record 2, line 2, "), "{reason}");
    let quarantine = system.objects("quarantine/").await;
    let (report, kept): (Vec<_>, Vec<_>) = quarantine.iter().partition(|object| object.key.ends_with(".report.json"));
    assert_eq!((kept.len(), &kept[0].body[..]), (1, bad.as_bytes()));
    assert!(kept[0].key.ends_with(".json"), "{}", kept[0].key);
    let report: Value = serde_json::from_slice(&report[0].body).unwrap();
    assert_eq!((&report["page"], &report["bytes"]), (&json!(2), &json!(bad.len())));
    assert!(system.data().await.is_empty());
}

#[tokio::test]
async fn the_timeout_is_of_all_pages_together() {
    let definition = things(PAGE).replace("PT10S", "PT1S");
    let (reason, _) =
        failure(&definition, |asked| if page_of(asked) < 3 { thirty(asked) } else { Reply::silent() }).await;
    assert_eq!(reason, "/things/1 was not complete within 1s: page 3 had begun");
}

#[tokio::test]
async fn every_page_takes_a_start_of_the_rate() {
    let definition = things(&format!("{PAGE}rate = {{ requests = 2, per = \"PT1S\" }}\n"));
    let began = Instant::now();
    let (_, status) = job(&definition, thirty).await;
    assert_eq!((status.state, status.records), (State::Succeeded, 30), "{:?}", status.errors);
    assert!(began.elapsed() >= Duration::from_millis(950), "four requests, two a second: {:?}", began.elapsed());
}

#[tokio::test]
async fn with_a_concurrency_a_task_keeps_its_place_for_all_pages() {
    let definition = things(&format!("{PAGE}concurrency = 1\n")).replace("list   = [1]", "list = [1, 2]");
    let upstream = Upstream::start().await;
    upstream.on(PATH, thirty);
    upstream.on("/things/2", thirty);
    let system = System::start(&definition, upstream).await;
    assert_eq!(system.good_job().await.records, 60);
    let all = system.upstream.all_asked();
    let paths: Vec<_> = all.iter().map(|asked| asked.path.as_str()).collect();
    assert_eq!(paths.chunk_by(PartialEq::eq).map(<[_]>::len).collect::<Vec<_>>(), [4, 4], "{paths:?}");
}

#[tokio::test]
async fn a_pause_that_the_upstream_asks_for_holds_between_pages() {
    let definition = things(PAGE);
    let began = Instant::now();
    let patient = waybill_worker::RetryPolicy { max_wait: Duration::from_secs(2), ..PATIENCE };
    let upstream = Upstream::start().await;
    upstream.on(
        PATH,
        |asked| {
            if asked.nth == 1 { Reply::status(429).header("Retry-After", "1") } else { thirty(asked) }
        },
    );
    let mut system = System::stopped(&definition, upstream, patient).await;
    system.run();
    let status = system.good_job().await;
    assert_eq!(status.records, 30);
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(system.tasks(&status).await[0].done.as_ref().unwrap().attempts, 1);
}

#[tokio::test]
async fn one_page_of_several_is_told_without_pagination() {
    let one = |more: &str| things(&format!("records = \"$.data[*]\"\n{more}"));
    let body = |more: Value| {
        let mut body = json!({ "data": data(0..10) });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        move |_: &Asked| Reply::json(&body)
    };
    for (more, around, seen) in [
        ("", json!({ "links": { "next": "/x" } }), "`links.next` is not empty"),
        ("", json!({ "has_more": true }), "`has_more` is true"),
        ("", json!({ "meta": { "total": 11 } }), "`meta.total` is 11, and 10 records came"),
        ("query = { per_page = 10 }", json!({}), "`per_page` asks for 10 records, and as many came"),
    ] {
        let (reason, tries) = failure(&one(more), body(around)).await;
        let expected =
            format!("the upstream's answer for /things/1 is one page of several ({seen}): say in `pagination`");
        assert!(reason.starts_with(&expected) && tries == 1, "{reason}");
    }
    let (_, status) =
        job(&one("query = { limit = 10 }\npagination = { type = \"none\" }"), body(json!({ "next": 1 }))).await;
    assert_eq!(status.state, State::Succeeded, "{:?}", status.errors);
    let (reason, _) = failure(&one("query = { limit = 10 }\nfull = 10"), body(json!({}))).await;
    assert!(reason.ends_with("has 10 records, and `full = 10` says that more of them were cut off"), "{reason}");
    // More around the records than a page may have is none of this.
    let (_, status) = job(&one(""), body(json!({ "about": "x".repeat(2 << 20), "has_more": true }))).await;
    assert_eq!(status.state, State::Succeeded, "{:?}", status.errors);
}

const LISTED: &str = r#"
path       = "/lists"
records    = "$.data[*]"
query      = { after = "{{ page.cursor }}" }
pagination = { type = "cursor", next = "last.id", stop = "not body.has_more" }
"#;

#[tokio::test]
async fn a_listing_is_read_to_its_last_page() {
    let definition = things("records = \"$.data[*]\"").replace("list   = [1]\n", LISTED);
    let upstream = Upstream::start().await;
    upstream.on("/lists", |asked| match (asked.nth, asked_for(asked, "after").as_deref()) {
        // Once in the middle of a page.
        (1, _) => page(3..5).cut(20),
        (_, None) => Reply::json(&json!({ "data": data(1..3), "has_more": true })),
        (_, Some("2")) => Reply::json(&json!({ "data": data(3..4), "has_more": true })),
        (_, _) => Reply::json(&json!({ "data": data(4..5), "has_more": false })),
    });
    for list in 1..5 {
        upstream.on(&format!("/things/{list}"), |_| page(0..10));
    }
    let system = System::start(&definition, upstream).await;
    let status = system.good_job().await;
    assert_eq!((status.tasks.stored, status.records), (4, 40));
    assert_eq!(system.upstream.asked("/lists").len(), 4);
    assert!(system.data().await.iter().all(|object| object.key.ends_with(".json") && object.body[0] == b'{'));
}

#[tokio::test]
async fn a_part_of_a_listing_plans_nothing() {
    let unpaged = LISTED.lines().filter(|line| !line.starts_with("pagination") && !line.starts_with("query"));
    let unpaged = unpaged.collect::<Vec<_>>().join("\n") + "\n";
    for (listing, around, expected) in [
        (LISTED.replace("not body.has_more", "false"), json!({}), "page 2 is page 1 again: say `stop`"),
        (
            LISTED.replace("not body.has_more\"", "not body.has_more\", max_pages = 1"),
            json!({ "has_more": true }),
            "has more than 1 pages, the most that `max_pages` allows",
        ),
        (
            unpaged.clone(),
            json!({ "total": 3 }),
            "is one page of several (`total` is 3, and 2 records came): say in `pagination` how they follow each other, or `{ type = \"none\" }` where this is all",
        ),
    ] {
        let definition = things("records = \"$.data[*]\"").replace("list   = [1]\n", &listing);
        let upstream = Upstream::start().await;
        upstream.on("/lists", move |_| {
            let mut body = json!({ "data": data(1..3) });
            body.as_object_mut().unwrap().extend(around.as_object().unwrap().clone());
            Reply::json(&body)
        });
        let system = System::start(&definition, upstream).await;
        let status = system.job().await;
        assert_eq!((status.state, status.tasks.total), (State::Failed, 0));
        assert_eq!(System::reason(&status), format!("the upstream's answer for /lists {expected}"));
    }
}
