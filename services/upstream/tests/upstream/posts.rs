//! Posts as a client meets them: what is answered, the limit, what came, and every fault.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use reqwest::{Client, RequestBuilder, Response, StatusCode, header, redirect};
use serde_json::{Value, json};
use waybill_upstream::{Chance, Changes, Faults, Options, PostRequests, RepeatedPost, Upstream};

use crate::site::Site;

fn unlimited() -> Options {
    Options { posts_per_window: 0, ..Options::default() }
}

/// Where titles can ask for faults; its client follows no redirect.
async fn asked_for_faults() -> Site {
    let options = Options { control: true, ..unlimited() };
    let client = Client::builder().redirect(redirect::Policy::none()).build().expect("a client can be made");
    Site { upstream: Upstream::new(options).start().await.expect("a port is free"), client }
}

fn request(site: &Site) -> RequestBuilder {
    site.client.post(format!("{}/posts", site.upstream.base_url()))
}

fn row(user_id: u64, title: &str) -> Value {
    json!({ "userId": user_id, "title": title, "body": "text" })
}

async fn post(site: &Site, post: &Value) -> Response {
    request(site).json(post).send().await.expect("it answers")
}

async fn status(site: &Site, title: &str) -> u16 {
    post(site, &row(1, title)).await.status().as_u16()
}

#[tokio::test]
async fn a_post_is_answered_as_jsonplaceholder_does() {
    let site = Site::start(Options::default()).await;
    let response = post(&site, &row(1, "ünï \"q\"")).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()[header::LOCATION], "/posts/101");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json; charset=utf-8");
    let created: Value = response.json().await.unwrap();
    assert_eq!(created, json!({ "id": 101, "userId": 1, "title": "ünï \"q\"", "body": "text" }));

    let form = request(&site).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded; charset=UTF-8");
    let response = form.body("userId=1&title=a+%26+b&body=%C3%A9").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let created: Value = response.json().await.unwrap();
    assert_eq!(created, json!({ "id": 101, "userId": "1", "title": "a & b", "body": "é" }));

    assert_eq!(post(&site, &json!({})).await.json::<Value>().await.unwrap(), json!({ "id": 101 }));
    assert_eq!(site.get("/posts").send().await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(site.upstream.requests().posts, PostRequests { requests: 4, violations: 0 });
}

#[tokio::test]
async fn what_is_no_post_is_refused_and_not_counted_as_received() {
    let site = Site::start(unlimited()).await;
    let send = async |media_type: &str, body: Vec<u8>| {
        let response = request(&site).header(header::CONTENT_TYPE, media_type).body(body).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json::<Value>().await.unwrap()["message"].as_str().unwrap().to_owned())
    };
    assert_eq!(
        send("text/csv", b"{}".to_vec()).await,
        (
            415,
            "expected the content type application/json or application/x-www-form-urlencoded, found \"text/csv\""
                .to_owned()
        )
    );
    for wrong in ["", "{", "[]", "{\"userId\":1}x", "null"] {
        let (status, message) = send("application/json", wrong.into()).await;
        assert_eq!(status, 400, "{wrong}");
        assert!(message.starts_with("the body is no JSON object: "), "{message}");
    }
    let filled = |length: usize| {
        let mut text = br#"{"title":""#.to_vec();
        text.resize(length - 2, b'x');
        [&text[..], b"\"}"].concat()
    };
    let largest = 1 << 20;
    let too_large = (413, "the body has more than 1048576 bytes".to_owned());
    for length in [largest + 1, 16 * largest] {
        assert_eq!(send("application/json", filled(length)).await, too_large);
    }
    let bare = request(&site).body("{}").send().await.unwrap();
    assert_eq!(bare.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(site.upstream.received().total, 0);
    let whole = request(&site).header(header::CONTENT_TYPE, "application/json").body(filled(largest));
    assert_eq!(whole.send().await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(site.upstream.received().total, 1);
}

#[tokio::test]
async fn posts_above_the_rate_are_refused_and_counted() {
    // As long a window as the slowest machine needs for eight requests.
    let window = Duration::from_secs(600);
    let site = Site::start(Options { posts_window: window, control: true, ..Options::default() }).await;
    for _ in 0..7 {
        assert_eq!(status(&site, "a").await, 201);
    }
    let refused = post(&site, &row(1, "a")).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = refused.headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((500..=600).contains(&wait), "{wait}");
    assert!(refused.json::<Value>().await.unwrap()["message"].is_string());
    assert_eq!(status(&site, "b").await, 429);
    let received = site.upstream.received();
    assert_eq!((received.total, received.distinct, received.refused), (7, 1, [(429, 2)].into()));
    let requests = site.upstream.requests();
    assert_eq!(requests.posts, PostRequests { requests: 9, violations: 2 });
    assert_eq!(requests.violations, 0, "those are the weather's");
    assert_eq!(site.json("/control").await["posts"], json!({ "requests": 9, "violations": 2 }));
    let changes = json!({ "posts_per_window": 8 });
    let control = format!("{}/control", site.upstream.base_url());
    assert_eq!(site.client.put(control).json(&changes).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!((status(&site, "b").await, status(&site, "b").await), (201, 429), "what passed before still counts");
    site.upstream.change(Changes { posts_window: Some(Duration::ZERO), ..Changes::default() });
    assert_eq!(status(&site, "b").await, 201);
}

#[tokio::test]
async fn posts_at_once_do_not_slip_through_the_limit() {
    let site = Site::start(Options { posts_window: Duration::from_secs(600), ..Options::default() }).await;
    let answers = futures::future::join_all((0..20).map(|_| status(&site, "a"))).await;
    assert_eq!(answers.iter().filter(|status| **status == 201).count(), 7);
    assert_eq!(site.upstream.requests().posts.violations, 13);
}

#[tokio::test]
async fn every_post_is_counted_under_64_at_once() {
    let site = Site::start(unlimited()).await;
    // Row n comes n % 4 + 1 times; 1,000 rows, ten of a title.
    let posts = (0..4_000u64).filter(|post| post / 1_000 <= post % 4).map(|post| post % 1_000);
    let sent = posts.map(|user| row(user, &format!("title {}", user / 10)));
    let answers: Vec<_> = stream::iter(sent)
        .map(|row| {
            let site = &site;
            async move { post(site, &row).await.status() }
        })
        .buffer_unordered(64)
        .collect()
        .await;
    assert_eq!(answers.len(), 2_500);
    assert!(answers.iter().all(|status| *status == StatusCode::CREATED));
    let received = site.upstream.received();
    assert_eq!((received.total, received.distinct, received.repeated_distinct), (2_500, 1_000, 750));
    assert_eq!((received.untracked, received.refused.len()), (0, 0));
    assert_eq!(received.repeated.len(), 750);
    for RepeatedPost { user_id, title, count } in received.repeated {
        let user = user_id.as_u64().unwrap();
        assert_eq!((title, count), (format!("title {}", user / 10), user % 4 + 1));
    }
    assert_eq!(site.upstream.received_with_title("title 0"), 1 + 2 + 3 + 4 + 1 + 2 + 3 + 4 + 1 + 2);
}

#[tokio::test]
async fn what_came_is_told_in_json() {
    let site = Site::start(unlimited()).await;
    for (user, title) in [(1, "a & b"), (2, "a & b"), (1, "a & b"), (3, "c")] {
        post(&site, &row(user, title)).await;
    }
    site.upstream.set_faults(Faults { server_error: Chance::ALWAYS, ..Faults::default() });
    assert_eq!(status(&site, "c").await, 503);
    let expected = json!({
        "total": 4, "distinct": 3, "repeated_distinct": 1,
        "repeated": [{ "userId": 1, "title": "a & b", "count": 2 }],
        "untracked": 0, "refused": { "503": 1 },
    });
    assert_eq!(site.json("/posts/received").await, expected);
    let title = site.json("/posts/received?title=a+%26+b").await;
    assert_eq!(title, json!({ "title": "a & b", "count": 3 }));
    assert_eq!(site.json("/posts/received?title=d").await["count"], 0);
    let requests = site.upstream.requests();
    assert_eq!((requests.posts.requests, requests.other, requests.answered(200)), (5, 0, 0), "counts are not counted");
}

#[tokio::test]
async fn posts_meet_faults_by_chance() {
    let site = Site::start(unlimited()).await;
    let set = |faults: Faults| site.upstream.set_faults(faults);
    set(Faults { server_error: Chance::ALWAYS, ..Faults::default() });
    assert_eq!(status(&site, "a").await, 503);
    set(Faults { too_many: Chance::ALWAYS, retry_after: 3, ..Faults::default() });
    let refused = post(&site, &row(1, "a")).await;
    assert_eq!((refused.status().as_u16(), &refused.headers()[header::RETRY_AFTER]), (429, &"3".parse().unwrap()));
    assert_eq!(site.upstream.received().total, 0);
    set(Faults { hang_up: Chance::ALWAYS, ..Faults::default() });
    assert!(request(&site).json(&row(1, "a")).send().await.is_err());
    set(Faults { html: Chance::ALWAYS, ..Faults::default() });
    assert!(post(&site, &row(1, "a")).await.text().await.unwrap().starts_with("<!DOCTYPE html>"));
    set(Faults { wrong_field: Chance::ALWAYS, ..Faults::default() });
    assert_eq!(post(&site, &row(1, "a")).await.json::<Value>().await.unwrap()["id"], "101");
    set(Faults { truncated: Chance::ALWAYS, ..Faults::default() });
    let truncated = post(&site, &row(1, "a")).await.bytes().await.unwrap();
    assert!(serde_json::from_slice::<Value>(&truncated).unwrap_err().is_eof());
    let received = site.upstream.received();
    assert_eq!((received.total, received.distinct, received.refused), (4, 1, [(429, 1), (503, 1)].into()));
    assert_eq!(site.upstream.requests().posts.violations, 0, "a fault is no violation");
}

#[tokio::test]
async fn chances_strike_the_same_posts_in_every_run() {
    let run = async || {
        let faults = Faults { server_error: "0.5".parse().unwrap(), ..Faults::default() };
        let site = Site::start(Options { faults, ..unlimited() }).await;
        let mut statuses = Vec::new();
        for user in 0..60 {
            statuses.push(post(&site, &row(user % 20, "a")).await.status());
        }
        statuses
    };
    let (one, other) = (run().await, run().await);
    assert_eq!(one, other);
    let errors = one.iter().filter(|status| status.is_server_error()).count();
    assert!((15..45).contains(&errors), "{errors}");
}

#[tokio::test]
async fn a_title_asks_for_a_status() {
    let site = asked_for_faults().await;
    for expected in [400, 409, 422, 500] {
        let response = post(&site, &row(1, &format!("fault:{expected} a row"))).await;
        assert_eq!(response.status(), expected);
        assert_eq!(response.json::<Value>().await.unwrap(), json!({ "message": "a fault that was asked for" }));
    }
    assert_eq!(site.upstream.received().total, 4);
    let unknown = post(&site, &row(1, "fault:502")).await;
    assert_eq!(unknown.status(), 400);
    let message = unknown.json::<Value>().await.unwrap()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("\"fault:502\"; there are 400, 409"), "{message}");
    assert_eq!(status(&site, "no fault:500").await, 201);
}

#[tokio::test]
async fn a_title_asks_for_one_refusal_of_each_post() {
    let site = asked_for_faults().await;
    for title in ["fault:503", "fault:429"] {
        for user in 1..=2 {
            let refused = post(&site, &row(user, title)).await;
            assert_eq!(refused.status().as_u16().to_string(), title["fault:".len()..]);
            let wait = refused.headers().get(header::RETRY_AFTER).map(|wait| wait.to_str().unwrap());
            assert_eq!(wait, (title == "fault:429").then_some("1"));
            assert_eq!(site.upstream.received_with_title(title), user - 1);
            assert_eq!(post(&site, &row(user, title)).await.status(), StatusCode::CREATED);
            assert_eq!(site.upstream.received_with_title(title), user);
        }
    }
    let received = site.upstream.received();
    assert_eq!((received.total, received.repeated_distinct), (4, 0), "what was refused did not come twice");
    assert_eq!(received.refused, [(429, 2), (503, 2)].into());
    assert_eq!(site.upstream.requests().posts.violations, 0);
}

#[tokio::test]
async fn a_hang_up_is_received_and_not_answered() {
    let site = asked_for_faults().await;
    for sent in 1..=3 {
        let error = request(&site).json(&row(1, "fault:hang-up")).send().await.unwrap_err();
        assert!(error.is_request() && !error.is_connect() && !error.is_timeout(), "{error:?}");
        assert_eq!(site.upstream.received_with_title("fault:hang-up"), sent);
    }
    assert_eq!(site.upstream.requests().status, Default::default());
    assert_eq!(site.upstream.received().repeated[0].count, 3);
}

#[tokio::test]
async fn redirects_lead_to_a_post_or_to_another_origin() {
    let site = asked_for_faults().await;
    for (title, status, to) in [
        ("fault:301", 301, "/posts/moved"),
        ("fault:307", 307, "/posts/moved"),
        ("fault:elsewhere", 307, "http://127.0.0.2:1/posts"),
    ] {
        let response = post(&site, &row(1, title)).await;
        assert_eq!((response.status().as_u16(), response.headers()[header::LOCATION].to_str().unwrap()), (status, to));
        assert_eq!(site.upstream.received_with_title(title), 1);
    }
    let moved = format!("{}/posts/moved", site.upstream.base_url());
    assert_eq!(site.client.get(&moved).send().await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    let post = site.client.post(&moved).json(&row(1, "fault:307")).send().await.unwrap();
    assert_eq!(post.status(), StatusCode::CREATED);
    assert_eq!(post.json::<Value>().await.unwrap()["id"], 101);
    assert_eq!(site.upstream.received_with_title("fault:307"), 2);

    let following = Site { upstream: asked_for_faults().await.upstream, client: Client::new() };
    assert_eq!(status(&following, "fault:307").await, 201);
    assert_eq!(status(&following, "fault:301").await, 405, "a client makes a GET of it");
    assert!(request(&following).json(&row(1, "fault:elsewhere")).send().await.unwrap_err().is_connect());
}

#[tokio::test]
async fn a_slow_answer_is_right() {
    let site = asked_for_faults().await;
    let began = Instant::now();
    let answer = request(&site).json(&row(1, "fault:slow")).timeout(Duration::from_millis(200)).send().await;
    assert!(answer.unwrap_err().is_timeout());
    assert_eq!(site.upstream.received_with_title("fault:slow"), 1, "it is received before it is answered");
    assert_eq!(status(&site, "fault:slow").await, 201);
    assert!(began.elapsed() >= Duration::from_secs(5));
}

#[tokio::test]
async fn answers_that_say_nothing() {
    let site = asked_for_faults().await;
    let html = post(&site, &row(1, "fault:html")).await;
    assert_eq!(
        (html.status(), &html.headers()[header::CONTENT_TYPE]),
        (StatusCode::CREATED, &"text/html; charset=utf-8".parse().unwrap())
    );
    assert!(html.text().await.unwrap().starts_with("<!DOCTYPE html>"));
    let empty = post(&site, &row(1, "fault:empty")).await;
    assert_eq!(empty.status(), StatusCode::CREATED);
    assert!(empty.bytes().await.unwrap().is_empty());
    assert_eq!(site.upstream.received().total, 2);
}

#[tokio::test]
async fn titles_ask_for_nothing_without_control() {
    let site = Site::start(unlimited()).await;
    for title in ["fault:500", "fault:503", "fault:hang-up", "fault:x"] {
        assert_eq!(status(&site, title).await, 201);
    }
}

#[tokio::test]
async fn a_delay_is_for_posts_too_and_arrival_counts() {
    let delay = Duration::from_millis(100);
    let window = Duration::from_secs(600);
    let site = Site::start(Options { delay, posts_per_window: 1, posts_window: window, ..Options::default() }).await;
    let began = Instant::now();
    // Both arrive long before any is answered.
    let mut answers: [_; 2] = tokio::join!(status(&site, "a"), status(&site, "b")).into();
    answers.sort_unstable();
    assert_eq!(answers, [201, 429]);
    assert!(began.elapsed() >= delay);
}
