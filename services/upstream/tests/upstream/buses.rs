//! Cities and their files as a client meets them.

use std::time::{Duration, Instant};

use crate::site::{DAY, Site};
use reqwest::{StatusCode, header};
use serde_json::{Value, json};
use waybill_upstream::{Changes, Options};

fn exact(records: u64) -> Options {
    Options { records, exact: true, ..Options::default() }
}

#[tokio::test]
async fn the_same_seed_is_the_same_world() {
    let (one, other) = (Site::start(Options::default()).await, Site::start(Options::default()).await);
    let third = Site::start(Options { seed: 2, ..Options::default() }).await;
    assert_eq!(one.json("/cities").await, other.json("/cities").await);
    assert_ne!(one.json("/cities").await, third.json("/cities").await);
    for city in 0..12 {
        let (bytes, etag) = (one.body(city).await, one.etag(city).await);
        assert!(bytes == other.body(city).await && etag == other.etag(city).await);
        assert_ne!(etag, third.etag(city).await);
    }
}

#[tokio::test]
async fn every_file_is_json_of_the_contract() {
    let site = Site::start(Options::default()).await;
    let mut empty = 0;
    for city in 0..12 {
        for day in 1..=5 {
            let date = format!("2024-05-0{day}");
            let response = site.get(&format!("/cities/{city}/stats?date={date}")).send().await.unwrap();
            let length = response.content_length().unwrap();
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
            let bytes = response.bytes().await.unwrap();
            assert_eq!(bytes.len() as u64, length);
            let buses: Vec<Value> = serde_json::from_slice(&bytes).unwrap();
            assert!(buses.is_empty() || (1_000..=3_000).contains(&buses.len()));
            empty += u32::from(&bytes[..] == b"[]");
            for bus in buses {
                assert_eq!(bus.as_object().unwrap().len(), 5);
                assert!(bus["departure-time"].as_str().unwrap().starts_with(&date));
                assert!(bus["passengers"].as_u64().unwrap() < 100);
                assert!(bus["bus-type"].is_string() && bus["delay"].is_string() && bus["accident"].is_boolean());
            }
        }
    }
    assert!(empty > 0, "a city without buses is part of the world");
    let exact = Site::start(exact(321)).await;
    assert_eq!(serde_json::from_slice::<Vec<Value>>(&exact.body(0).await).unwrap().len(), 321);
}

#[tokio::test]
async fn what_is_not_there_or_not_a_day_is_a_problem() {
    let site = Site::start(Options::default()).await;
    let cases = [
        ("/cities/12/stats?date=2024-05-01", 404),
        ("/cities/x/stats?date=2024-05-01", 404),
        ("/cities/0/stats", 400),
        ("/cities/0/stats?date=2024-02-30", 400),
        ("/cities/0/stats?date=01.05.2024", 400),
        ("/control", 404),
        ("/nowhere", 404),
    ];
    for (path, status) in cases {
        let response = site.get(path).send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json", "{path}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["status"], status);
    }
    let post = site.client.post(format!("{}/cities", site.upstream.base_url())).send().await.unwrap();
    assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn tags_save_a_download_until_the_data_changes() {
    let site = Site::start(exact(100)).await;
    let (bytes, etag) = (site.body(3).await, site.etag(3).await);
    let again = |tag: String| site.city(3).header(header::IF_NONE_MATCH, tag).send();
    for tag in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
        let response = again(tag).await.unwrap();
        assert_eq!(
            (response.status(), response.headers()[header::ETAG].to_str().unwrap()),
            (StatusCode::NOT_MODIFIED, &*etag)
        );
        assert!(response.bytes().await.unwrap().is_empty());
    }
    site.upstream.set_version(3, 1);
    let changed = again(etag.clone()).await.unwrap();
    assert_eq!(changed.status(), StatusCode::OK);
    assert_ne!(changed.headers()[header::ETAG], *etag);
    assert_ne!(changed.bytes().await.unwrap(), bytes);
    site.upstream.set_version(3, 0);
    assert_eq!(again(etag.clone()).await.unwrap().status(), StatusCode::NOT_MODIFIED);
    assert_eq!(site.upstream.requests().answered(304), 5);

    site.upstream.change(Changes { etag: Some(false), ..Changes::default() });
    let bare = again(etag).await.unwrap();
    assert!(bare.status() == StatusCode::OK && !bare.headers().contains_key(header::ETAG));
}

#[tokio::test]
async fn parts_are_slices_of_the_whole() {
    let site = Site::start(Options { records: 700, ..Options::default() }).await;
    let (bytes, etag) = (site.body(1).await, site.etag(1).await);
    let length = bytes.len() as u64;
    let part = |range: String| site.city(1).header(header::RANGE, range);
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..100 {
        let first = random.u64(0..length);
        let last = random.u64(first..length + 100);
        let end = (last + 1).min(length);
        let response = part(format!("bytes={first}-{last}")).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(response.headers()[header::CONTENT_RANGE], format!("bytes {first}-{}/{length}", end - 1));
        assert_eq!(response.content_length(), Some(end - first));
        assert_eq!(response.bytes().await.unwrap(), bytes[first as usize..end as usize]);
    }
    let suffix = part("bytes=-10".to_owned()).send().await.unwrap();
    assert_eq!(suffix.bytes().await.unwrap(), bytes[bytes.len() - 10..]);
    let beyond = part(format!("bytes={length}-")).send().await.unwrap();
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.headers()[header::CONTENT_RANGE], format!("bytes */{length}"));

    let range = || part("bytes=5-9".to_owned());
    let unchanged = range().header(header::IF_RANGE, &etag).send().await.unwrap();
    assert_eq!(unchanged.status(), StatusCode::PARTIAL_CONTENT);
    for other in ["\"other\"".to_owned(), format!("W/{etag}"), "Wed, 01 May 2024 00:00:00 GMT".to_owned()] {
        assert_eq!(range().header(header::IF_RANGE, other).send().await.unwrap().status(), StatusCode::OK);
    }
    site.upstream.change(Changes { range: Some(false), ..Changes::default() });
    let ignored = range().send().await.unwrap();
    assert_eq!((ignored.status(), ignored.headers().get(header::ACCEPT_RANGES)), (StatusCode::OK, None));
}

#[tokio::test]
async fn a_head_has_the_length_and_no_body() {
    let site = Site::start(exact(100)).await;
    let url = format!("{}/cities/0/stats?date={DAY}", site.upstream.base_url());
    let head = site.client.head(url).header(header::RANGE, "bytes=0-9").send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(head.headers()[header::CONTENT_LENGTH], site.body(0).await.len().to_string());
    assert_eq!(head.headers()[header::ETAG], site.etag(0).await);
}

/// 2.3 GB are there, and nobody waits for them or holds them.
#[tokio::test]
async fn a_huge_file_is_read_in_the_middle() {
    let site = Site::start(exact(20_000_000)).await;
    let part = async |range: String| {
        let response = site.city(0).header(header::RANGE, range).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
        let all = response.headers()[header::CONTENT_RANGE].to_str().unwrap().to_owned();
        (all.split_once('/').unwrap().1.parse::<u64>().unwrap(), response.bytes().await.unwrap())
    };
    let (length, opening) = part("bytes=0-1".to_owned()).await;
    assert_eq!((length, &opening[..]), (2 + 20_000_000_u64 * 114, &b"[\n"[..]));
    for record in [0_u64, 1_000_000, 12_345_678, 19_999_990] {
        let start = 2 + record * 114;
        let (_, records) = part(format!("bytes={start}-{}", start + 10 * 114 - 3)).await;
        let records: Vec<Value> = serde_json::from_str(&format!("[{}]", str::from_utf8(&records).unwrap())).unwrap();
        assert_eq!(records.len(), 10);
    }
    let (_, ending) = part("bytes=-114".to_owned()).await;
    serde_json::from_slice::<Value>(ending.strip_suffix(b"]\n").unwrap()).unwrap();
}

#[tokio::test]
async fn cities_can_be_renamed_and_added() {
    let site = Site::start(exact(1)).await;
    site.upstream.set_city(2, "a/b \"c\" 🚌", "Côte d'Ivoire");
    site.upstream.set_city(99, "東京", "日本");
    let cities = site.json("/cities").await;
    assert_eq!(cities.as_array().unwrap().len(), 13);
    assert_eq!(cities[2], json!({ "id": 2, "name": "a/b \"c\" 🚌", "country": "Côte d'Ivoire" }));
    assert_eq!(cities[12]["name"], "東京");
    assert!(!site.body(99).await.is_empty());
}

#[tokio::test]
async fn a_list_of_any_length_is_one_array() {
    for cities in [0, 1, 999, 1_000, 1_001, 2_000] {
        let site = Site::start(Options { cities, ..Options::default() }).await;
        let listed = site.json("/cities").await;
        assert_eq!(listed.as_array().unwrap().len() as u64, cities);
        assert!(listed.as_array().unwrap().iter().enumerate().all(|(id, city)| city["id"] == id));
    }
}

#[tokio::test]
async fn slow_bytes_and_delays_take_their_time() {
    let options = Options { delay: Duration::from_millis(50), bytes_per_second: Some(40_000), ..exact(100) };
    let site = Site::start(options).await;
    let began = Instant::now();
    let bytes = site.body(0).await;
    // All but the last tenth of a second's worth has to be waited for.
    let least = Duration::from_millis(50 + (bytes.len() as u64 - 4_000) * 1_000 / 40_000);
    assert!(began.elapsed() >= least, "{:?} is less than {least:?}", began.elapsed());
    site.upstream.change(Changes { delay: Some(Duration::ZERO), bytes_per_second: Some(0), ..Changes::default() });
    assert_eq!(site.body(0).await, bytes);
}

#[tokio::test]
async fn requests_are_counted() {
    let site = Site::start(exact(100)).await;
    site.json("/cities").await;
    let length = site.body(0).await.len() as u64;
    let (one, other) = (site.city(1).send().await.unwrap(), site.city(2).send().await.unwrap());
    drop((one.bytes().await.unwrap(), other.bytes().await.unwrap()));
    site.get("/cities/99/stats?date=2024-05-01").send().await.unwrap();
    site.json("/regions").await;
    let requests = site.upstream.requests();
    assert_eq!((requests.list, requests.data, requests.other), (1, 4, 1));
    assert_eq!((requests.answered(200), requests.answered(404), requests.bytes), (5, 1, 3 * length));
}

#[tokio::test]
async fn requests_under_way_are_counted_to_their_last_byte() {
    let site = Site::start(Options { bytes_per_second: Some(1), ..exact(100) }).await;
    let (one, other) = (site.city(1).send().await.unwrap(), site.city(2).send().await.unwrap());
    assert_eq!(site.upstream.requests().most_at_once, 2);
    drop((one, other));
}

#[tokio::test]
async fn a_stopped_upstream_is_gone() {
    let site = Site::start(Options { bytes_per_second: Some(1), ..exact(100) }).await;
    let (under_way, request) = (site.city(0).send().await.unwrap(), site.city(0));
    site.upstream.stop().await;
    assert!(under_way.bytes().await.is_err());
    assert!(request.send().await.unwrap_err().is_connect());
}
