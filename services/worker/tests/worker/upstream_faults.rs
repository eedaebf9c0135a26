//! An upstream that is away, overloaded or odd: tried again as often as the policy says, then failed with
//! the reason in words.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use waybill_ledger::State;

use crate::support::{BUSES, PATIENCE, Reply, System, Upstream, buses, file};

const ALL_TRIES: usize = (PATIENCE.tries * PATIENCE.attempts) as usize;

#[tokio::test]
async fn what_passes_is_waited_for() {
    let upstream = Upstream::with_cities(6).await;
    for (city, first) in [
        (0, Reply::status(500)),
        (1, Reply::status(503).header("Retry-After", "0")),
        (2, Reply::status(429).header("Retry-After", "Wed, 01 May 2024 08:00:00 GMT")),
        (3, Reply::hang_up()),
        (4, Reply::body(buses(10)).cut(700)),
        (5, Reply::body(buses(10)).cut(700).chunked()),
    ] {
        upstream.on(&file(city), move |asked| if asked.nth < 2 { first.clone() } else { Reply::body(buses(10)) });
    }
    let system = System::start(BUSES, upstream).await;
    let status = system.good_job().await;
    assert_eq!((status.tasks.stored, status.bytes), (6, 6 * buses(10).len() as u64));
    for city in 0..6 {
        assert_eq!(system.upstream.asked(&file(city)).len(), 3, "{city}");
    }
    assert!(system.data().await.iter().all(|object| object.body == buses(10)));
}

#[tokio::test]
async fn what_does_not_pass_is_given_up_with_the_reason_in_words() {
    let upstream = Upstream::with_cities(7).await;
    let cases = [
        (Reply::status(500), ALL_TRIES, "the upstream answered 500 Internal Server Error for /cities/0/stats"),
        (Reply::status(429), ALL_TRIES, "the upstream answered 429 Too Many Requests for /cities/1/stats"),
        (Reply::status(404), 1, "the upstream answered 404 Not Found for /cities/2/stats"),
        (Reply::hang_up(), ALL_TRIES, "the upstream gave no answer for /cities/3/stats: "),
        (Reply::body(buses(10)).cut(300), ALL_TRIES, "the download of /cities/4/stats broke off after 300 bytes: "),
        (Reply::status(304), 1, "the upstream answered 304 Not Modified for /cities/5/stats"),
    ];
    for (city, (reply, _, _)) in cases.iter().cloned().enumerate() {
        upstream.on(&file(city), move |_| reply.clone());
    }
    let system = System::start(BUSES, upstream).await;
    let status = system.job().await;
    assert_eq!(status.state, State::Partial);
    assert_eq!((status.tasks.stored, status.tasks.failed), (1, 6));
    let tasks = system.tasks(&status).await;
    for (city, (_, tries, reason)) in cases.iter().enumerate() {
        let failure = tasks[city].failure.as_ref().unwrap();
        assert!(failure.reason.starts_with(reason), "{}", failure.reason);
        assert_eq!(failure.attempts, if *tries == 1 { 1 } else { PATIENCE.attempts }, "{reason}");
        assert_eq!(system.upstream.asked(&file(city)).len(), *tries, "{reason}");
    }
    assert_eq!(system.data().await.len(), 1);
    assert!(system.objects("quarantine/").await.is_empty());
}

#[tokio::test]
async fn a_long_retry_after_is_spent_in_the_queue() {
    let upstream = Upstream::with_cities(1).await;
    upstream.on(&file(0), |asked| {
        if asked.nth == 0 { Reply::status(429).header("Retry-After", "1") } else { Reply::body(buses(10)) }
    });
    let system = System::start(BUSES, upstream).await;
    let began = Instant::now();
    let status = system.good_job().await;
    assert!(began.elapsed() >= Duration::from_secs(1));
    let done = system.tasks(&status).await[0].done.clone().unwrap();
    assert_eq!(done.attempts, 2, "the worker let go of the task while it waited");
}

#[tokio::test]
async fn nobody_there() {
    let upstream = Upstream::with_cities(1).await;
    let mut system = System::stopped(BUSES, upstream, PATIENCE).await;
    // A port that was free a moment ago.
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    system.worker.base_urls = HashMap::from([("buses".to_owned(), format!("http://127.0.0.1:{port}/private"))]);
    system.run();
    let status = system.job().await;
    assert_eq!(status.state, State::Failed);
    let reason = System::reason(&status);
    assert!(reason.starts_with("the upstream could not be reached for /cities: "), "{reason}");
    assert!(!reason.contains("private"), "an address is not for everybody: {reason}");
}

#[tokio::test]
async fn a_redirect_is_followed_at_home_only() {
    let upstream = Upstream::with_cities(3).await;
    upstream.on(&file(0), |_| Reply::status(302).header("Location", "/elsewhere"));
    upstream.on("/elsewhere", |_| Reply::body(buses(10)));
    upstream.on(&file(1), |_| Reply::status(302).header("Location", "http://127.0.0.2:1/private"));
    upstream.on(&file(2), |_| Reply::status(302).header("Location", "/cities/2/stats"));
    let system = System::start(BUSES, upstream).await;
    let status = system.job().await;
    assert_eq!((status.tasks.stored, status.tasks.failed), (1, 2));
    let tasks = system.tasks(&status).await;
    let reason = |city: usize| tasks[city].failure.as_ref().unwrap().reason.as_str();
    assert_eq!(reason(1), "the upstream's redirect of /cities/1/stats was not followed: it leads to another server");
    assert_eq!(reason(2), "the upstream's redirect of /cities/2/stats was not followed: more than 5 redirects");
}

#[tokio::test]
async fn a_file_that_takes_too_long_is_given_up() {
    let definition = BUSES.replace("\"PT10M\"", "\"PT1S\"");
    assert_ne!(definition, BUSES);
    let upstream = Upstream::with_cities(2).await;
    upstream.on(&file(0), |_| Reply::silent());
    let system = System::start(&definition, upstream).await;
    let status = system.job().await;
    assert_eq!(System::reason(&status), "/cities/0/stats was not complete within 1s");
    assert_eq!(status.tasks.stored, 1);
}

#[tokio::test]
async fn requests_say_who_asks_and_which_encodings_are_decoded() {
    let upstream = Upstream::with_cities(1).await;
    let system = System::start(BUSES, upstream).await;
    system.good_job().await;
    let asked = &system.upstream.asked(&file(0))[0];
    assert_eq!(asked.query, "date=2024-05-01");
    assert_eq!(asked.header("accept-encoding"), Some("gzip, deflate, br, zstd"));
    assert!(asked.header("user-agent").unwrap().starts_with("waybill/"));
}

/// What a job of one city says whose file is answered so, and how often it was asked for.
async fn failure(reply: Reply) -> (String, usize) {
    let upstream = Upstream::with_cities(1).await;
    upstream.on(&file(0), move |_| reply.clone());
    let system = System::start(BUSES, upstream).await;
    let status = system.job().await;
    assert_eq!(status.state, State::Failed);
    (System::reason(&status).to_owned(), system.upstream.asked(&file(0)).len())
}

#[tokio::test]
async fn what_the_upstream_said_is_told() {
    let answer = |status: u16, body: &str| Reply::body(body).with_status(status);
    for (reply, tries, expected) in [
        (answer(403, r#"{"message": "no quota left"}"#), 1, "403 Forbidden for /cities/0/stats: no quota left"),
        (answer(500, "<h1>Oops</h1>\n"), ALL_TRIES, "500 Internal Server Error for /cities/0/stats: <h1>Oops</h1>"),
        (answer(404, "no such day").cut(7), 1, "404 Not Found for /cities/0/stats: no such"),
        (
            Reply::status(204),
            1,
            "204 No Content for /cities/0/stats: no file. No definition can accept that yet; `on = [{ status = [204], \
             action = \"absent\" }]` will",
        ),
    ] {
        assert_eq!(failure(reply).await, (format!("the upstream answered {expected}"), tries));
    }
    let (reason, _) = failure(Reply::body("")).await;
    assert_eq!(
        reason,
        "the file was rejected: record 1, byte 0: expected an array of records, found an empty body, which an `on` rule \
         with the action `absent` will accept"
    );
}

#[tokio::test]
async fn one_page_of_several_is_no_file_and_no_listing() {
    let next = || Reply::body(buses(10)).header("Link", "</1>; rel=first").header("LINK", "</2>; Rel=\"last next\"");
    let expected = "the upstream's answer for /cities/0/stats is one page of several";
    let (reason, tries) = failure(next()).await;
    assert!(reason.starts_with(expected) && tries == 1, "{reason}");

    let upstream = Upstream::with_cities(1).await;
    upstream.on("/cities", |_| crate::support::cities(1).header("Link", "</2>; rel=next"));
    let system = System::start(BUSES, upstream).await;
    let status = system.job().await;
    let reason = System::reason(&status);
    assert!(reason.starts_with("the upstream's answer for /cities is one page of several"), "{reason}");
    assert_eq!(system.upstream.asked("/cities").len(), 1);
}

#[tokio::test]
async fn a_head_that_cannot_be_read_is_not_asked_for_again() {
    let many = (0..150).fold(Reply::body(buses(10)), |reply, at| reply.header(&format!("X-{at}"), "x"));
    let folded = Reply::body(buses(10)).header("X-Folded", "one\r\n two");
    for reply in [many, folded] {
        let (reason, tries) = failure(reply).await;
        assert!(
            reason.starts_with("the head of the upstream's answer for /cities/0/stats cannot be read: "),
            "{reason}"
        );
        assert_eq!(tries, 1, "{reason}");
    }
}

#[tokio::test]
async fn a_404_behind_a_redirect_names_the_path_that_said_it() {
    let (reason, _) = failure(Reply::status(302).header("Location", "/elsewhere?key=x")).await;
    assert_eq!(reason, "the upstream answered 404 Not Found for /elsewhere, where it led from /cities/0/stats");
}
