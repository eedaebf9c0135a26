//! Every fault as a client meets it.

use std::time::Duration;

use crate::site::Site;
use reqwest::{StatusCode, header};
use serde_json::{Value, json};
use waybill_upstream::{Chance, CityFault, Faults, Options};

async fn site(faults: Faults) -> Site {
    Site::start(Options { records: 1_000, exact: true, faults, ..Options::default() }).await
}

async fn city_with(fault: CityFault) -> Site {
    site(Faults { cities: [(3, fault)].into(), ..Faults::default() }).await
}

fn parse(bytes: &[u8]) -> serde_json::Result<Vec<Value>> {
    serde_json::from_slice(bytes)
}

#[tokio::test]
async fn refusals() {
    let site = site(Faults { server_error: Chance::ALWAYS, ..Faults::default() }).await;
    assert_eq!(site.city(0).send().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(site.get("/cities").send().await.unwrap().status().is_success(), "only files have faults");
    site.upstream.set_faults(Faults { too_many: Chance::ALWAYS, retry_after: 7, ..Faults::default() });
    let response = site.city(0).send().await.unwrap();
    assert_eq!(
        (response.status(), response.headers()[header::RETRY_AFTER].to_str().unwrap()),
        (StatusCode::TOO_MANY_REQUESTS, "7")
    );
    for (asked, answered) in [(404, 404), (500, 500), (200, 500), (7, 500)] {
        site.upstream.set_city_fault(0, CityFault::Status(asked));
        assert_eq!(site.city(0).send().await.unwrap().status(), answered);
    }
    site.upstream.set_faults(Faults::default());
    assert_eq!(site.body(0).await.len(), 2 + 1_000 * 114);
}

#[tokio::test]
async fn a_page_instead_of_the_file() {
    let site = site(Faults { html: Chance::ALWAYS, ..Faults::default() }).await;
    let response = site.city(0).send().await.unwrap();
    assert_eq!(
        (response.status(), response.headers()[header::CONTENT_TYPE].to_str().unwrap()),
        (StatusCode::OK, "text/html; charset=utf-8")
    );
    assert!(response.text().await.unwrap().starts_with("<!DOCTYPE html>"));
}

#[tokio::test]
async fn a_dropped_connection_can_be_resumed() {
    let fault = CityFault::First { requests: 1, fault: Box::new(CityFault::HangUp) };
    let site = city_with(fault).await;
    let mut response = site.city(3).send().await.unwrap();
    let (length, etag) = (response.content_length().unwrap(), response.headers()[header::ETAG].clone());
    let mut bytes = Vec::new();
    let error = loop {
        match response.chunk().await {
            Ok(chunk) => bytes.extend_from_slice(&chunk.expect("the end is not reached")),
            Err(error) => break error,
        }
    };
    assert!(error.is_body() || error.is_decode(), "{error:?}");
    assert_eq!(bytes.len() as u64, length / 2);
    let rest = site.city(3).header(header::RANGE, format!("bytes={}-", bytes.len())).header(header::IF_RANGE, etag);
    let rest = rest.send().await.unwrap();
    assert_eq!(rest.status(), StatusCode::PARTIAL_CONTENT);
    bytes.extend_from_slice(&rest.bytes().await.unwrap());
    assert_eq!(bytes, site.body(3).await);
    assert_eq!(site.upstream.requests().answered(206), 1);
}

#[tokio::test]
async fn every_connection_drops_by_chance() {
    let site = site(Faults { hang_up: Chance::ALWAYS, ..Faults::default() }).await;
    for _ in 0..3 {
        assert!(site.city(0).send().await.unwrap().bytes().await.is_err());
    }
}

#[tokio::test]
async fn a_stalled_body_stays_open() {
    let site = city_with(CityFault::Stall).await;
    let mut response = site.city(3).send().await.unwrap();
    let half = response.content_length().unwrap() / 2;
    let mut read = 0;
    while read < half {
        read += response.chunk().await.unwrap().unwrap().len() as u64;
    }
    assert!(tokio::time::timeout(Duration::from_millis(50), response.chunk()).await.is_err());
}

#[tokio::test]
async fn spoiled_files_say_nothing_of_it_in_their_heads() {
    let site = site(Faults { wrong_field: Chance::ALWAYS, ..Faults::default() }).await;
    let (wrong, etag) = (site.body(0).await, site.etag(0).await);
    assert_eq!(parse(&wrong).unwrap()[500]["passengers"], "seventy");
    site.upstream.set_faults(Faults { truncated: Chance::ALWAYS, ..Faults::default() });
    let truncated = site.city(0).send().await.unwrap();
    let length = truncated.content_length().unwrap();
    assert_ne!(truncated.headers()[header::ETAG], etag);
    let truncated = truncated.bytes().await.unwrap();
    assert_eq!(truncated.len() as u64, length);
    assert!(parse(&truncated).unwrap_err().is_eof());
    site.upstream.set_faults(Faults::default());
    let healthy = site.body(0).await;
    assert!(healthy.starts_with(&truncated) && parse(&healthy).unwrap().len() == 1_000);
    assert_ne!(site.etag(0).await, etag);
}

#[tokio::test]
async fn cities_have_faults_of_their_own() {
    let site = city_with(CityFault::Negative).await;
    assert_eq!(parse(&site.body(3).await).unwrap()[500]["passengers"], -5);
    assert!(parse(&site.body(2).await).unwrap().iter().all(|bus| bus["passengers"].is_u64()));
    let broken = [CityFault::InvalidUtf8, CityFault::Deep, CityFault::Truncated];
    for fault in broken {
        site.upstream.set_city_fault(3, fault);
        assert!(parse(&site.body(3).await).is_err());
    }
    site.upstream.set_city_fault(3, CityFault::Odd);
    assert_eq!(parse(&site.body(3).await).unwrap().len(), 1_002);
    site.upstream.set_city_fault(3, CityFault::Body("{\"no\":\"array\"}".into()));
    assert_eq!(site.body(3).await, b"{\"no\":\"array\"}");
    let part = site.city(3).header(header::RANGE, "bytes=1-4").send().await.unwrap();
    assert_eq!(part.text().await.unwrap(), "\"no\"");
    site.upstream.set_city_fault(3, None);
    assert_eq!(parse(&site.body(3).await).unwrap().len(), 1_000);
}

#[tokio::test]
async fn the_first_requests_of_each_date_fail() {
    let site = city_with(CityFault::First { requests: 2, fault: Box::new(CityFault::Status(503)) }).await;
    for date in ["2024-05-01", "2024-05-02"] {
        let mut statuses = Vec::new();
        for _ in 0..4 {
            let response = site.get(&format!("/cities/3/stats?date={date}")).send().await.unwrap();
            statuses.push(response.status().as_u16());
        }
        assert_eq!(statuses, [503, 503, 200, 200]);
    }
}

#[tokio::test]
async fn chances_strike_the_same_requests_in_every_run() {
    let half: Chance = "0.5".parse().unwrap();
    let run = async || {
        let site = site(Faults { server_error: half, truncated: half, ..Faults::default() }).await;
        let mut seen = Vec::new();
        for request in 0..60 {
            let response = site.city(request % 6).send().await.unwrap();
            seen.push((response.status(), response.bytes().await.unwrap().len()));
        }
        seen
    };
    let (one, other) = (run().await, run().await);
    assert_eq!(one, other);
    let errors = one.iter().filter(|(status, _)| status.is_server_error()).count();
    assert!((15..45).contains(&errors), "{errors}");
}

#[tokio::test]
async fn another_process_can_change_it() {
    let site = Site::start(Options { control: true, ..Options::default() }).await;
    let control = format!("{}/control", site.upstream.base_url());
    let put = |body: Value| site.client.put(&control).json(&body).send();
    let changes = json!({
        "delay": "1ms",
        "faults": { "cities": { "0": { "status": 500 }, "1": { "body": "hello" } } },
        "versions": { "2": 1 },
        "cities": [{ "id": 5, "name": "Here", "country": "There" }],
    });
    let before = site.etag(2).await;
    assert_eq!(put(changes).await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(site.city(0).send().await.unwrap().status(), 500);
    assert_eq!(site.body(1).await, b"hello");
    assert_ne!(site.etag(2).await, before);
    assert_eq!(site.json("/cities").await[5]["name"], "Here");
    for wrong in [json!({ "fault": {} }), json!({ "faults": { "html": 2 } }), json!({ "delay": -1 }), json!("x")] {
        assert_eq!(put(wrong.clone()).await.unwrap().status(), StatusCode::BAD_REQUEST, "{wrong}");
    }
    let counters = site.json("/control").await;
    assert_eq!((&counters["data"], &counters["list"], &counters["status"]["500"]), (&json!(4), &json!(1), &json!(1)));
}
