//! The weather as a client meets it: its key, its limit, and cities that it does not know.

use std::{collections::BTreeSet, time::Duration};

use reqwest::{StatusCode, header};
use serde_json::{Value, json};
use waybill_upstream::{Changes, Options};

use crate::site::Site;

/// As many items as any test here asks for.
const PLENTY: u64 = 1_000;

async fn plenty() -> Site {
    Site::start(Options { weather_items_per_window: PLENTY, ..Options::default() }).await
}

fn group(ids: impl IntoIterator<Item = u64>) -> String {
    let ids: Vec<_> = ids.into_iter().map(|id| id.to_string()).collect();
    format!("/data/2.5/group?id={}&appid=test", ids.join(","))
}

async fn status(site: &Site, path: &str) -> StatusCode {
    site.get(path).send().await.expect("it answers").status()
}

#[tokio::test]
async fn weather_is_of_openweathers_shape_and_always_the_same() {
    let (one, other) = (plenty().await, plenty().await);
    let path = group([3_439_525, 3_439_781, 7]);
    let weather = one.json(&path).await;
    assert_eq!(weather, other.json(&path).await);
    assert_eq!(weather["cnt"], 3);
    let list = weather["list"].as_array().unwrap();
    let ids: Vec<_> = list.iter().map(|city| city["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [3_439_525, 3_439_781, 7]);
    for city in list {
        assert!((253.15..=303.15).contains(&city["main"]["temp"].as_f64().unwrap()), "{city}");
        assert!((10..=100).contains(&city["main"]["humidity"].as_u64().unwrap()), "{city}");
        assert_eq!(city["dt"], 1_714_557_600, "2024-05-01T10:00:00Z");
        assert!(!city["name"].as_str().unwrap().is_empty());
    }
    let encoded = one.json("/data/2.5/group?id=3439525%2C3439781%2C7&appid=test").await;
    assert_eq!(encoded, weather);
}

#[tokio::test]
async fn units_and_versions_make_other_numbers() {
    let site = plenty().await;
    let temperature = |weather: &Value| weather["list"][0]["main"]["temp"].as_f64().unwrap();
    let kelvin = site.json(&group([5])).await;
    let celsius = site.json(&format!("{}&units=metric", group([5]))).await;
    assert!((temperature(&kelvin) - 273.15 - temperature(&celsius)).abs() < 1e-9);
    site.upstream.set_version(5, 1);
    let later = site.json(&group([5, 6])).await;
    assert_ne!(later["list"][0]["main"], kelvin["list"][0]["main"]);
    assert_eq!((&later["list"][0]["dt"], &later["list"][1]["dt"]), (&json!(1_714_558_200), &json!(1_714_557_600)));
}

#[tokio::test]
async fn wrong_requests() {
    let site = Site::start(Options { weather_items_per_window: 20, ..Options::default() }).await;
    for (path, expected) in [
        ("/data/2.5/group?id=1", 401),
        ("/data/2.5/group?id=1&appid=", 401),
        ("/data/2.5/group?id=1&appid=TEST", 401),
        ("/data/2.5/group?appid=test", 400),
        ("/data/2.5/group?id=&appid=test", 400),
        ("/data/2.5/group?id=1,,2&appid=test", 400),
        ("/data/2.5/group?id=-1&appid=test", 400),
        ("/data/2.5/group?id=paris&appid=test", 400),
    ] {
        assert_eq!(status(&site, path).await, expected, "{path}");
    }
    let refused = site.get("/data/2.5/group?id=1&appid=TEST").send().await.unwrap().text().await.unwrap();
    assert!(refused.contains("expects appid=test (option weather-key)"), "{refused}");
    assert_eq!(status(&site, &group(0..21)).await, 400);
    assert_eq!(status(&site, &group(0..20)).await, 200, "what was refused did not count");
    assert_eq!((site.upstream.requests().weather, site.upstream.requests().violations), (11, 0));
    site.upstream.change(Changes { weather_key: Some("other".into()), ..Changes::default() });
    assert_eq!(status(&site, &group([1])).await, 401);
}

#[tokio::test]
async fn what_comes_too_fast_is_refused_and_counted() {
    let site = Site::start(Options::default()).await;
    for _ in 0..3 {
        assert_eq!(status(&site, &group(0..20)).await, 200);
    }
    let refused = site.get(&group([1])).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = refused.headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(refused.json::<Value>().await.unwrap()["cod"], 429);
    assert_eq!(status(&site, &group([1])).await, 429);
    let requests = site.upstream.requests();
    assert_eq!((requests.weather, requests.violations, requests.answered(429)), (5, 2, 2));
    // More of a limit, not less of what passed.
    site.upstream.change(Changes { weather_items_per_window: Some(61), ..Changes::default() });
    assert_eq!(status(&site, &group([1])).await, 200);
    assert_eq!(status(&site, &group([1])).await, 429);
    let window = Some(Duration::ZERO);
    site.upstream.change(Changes { weather_window: window, ..Changes::default() });
    assert_eq!(status(&site, &group([1])).await, 200);
}

#[tokio::test]
async fn requests_at_once_do_not_slip_through() {
    let site = Site::start(Options { weather_items_per_window: 7, ..Options::default() }).await;
    let path = group([1]);
    let answers = futures::future::join_all((0..20).map(|_| status(&site, &path))).await;
    assert_eq!(answers.iter().filter(|status| **status == StatusCode::OK).count(), 7);
    assert_eq!(site.upstream.requests().violations, 13);
}

#[tokio::test]
async fn arrival_counts_and_not_the_answer() {
    let delay = Duration::from_millis(100);
    let options = |weather_window| Options { delay, weather_items_per_window: 1, weather_window, ..Options::default() };
    let site = Site::start(options(Duration::from_secs(600))).await;
    // Each arrives long before any is answered.
    let (one, other) = (group([1]), group([2]));
    let answers: [_; 2] = tokio::join!(status(&site, &one), status(&site, &other)).into();
    assert_eq!(answers.iter().filter(|status| **status == StatusCode::OK).count(), 1);
    // By the time of the answer its window is over.
    let site = Site::start(options(delay)).await;
    for _ in 0..3 {
        assert_eq!(status(&site, &one).await, 200);
    }
}

#[tokio::test]
async fn unknown_cities_spoil_a_request_or_are_left_out() {
    let options = Options { weather_unknown: BTreeSet::from([2]), weather_items_per_window: 12, ..Options::default() };
    let site = Site::start(options).await;
    let refused = site.get(&group([1, 2, 3])).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::NOT_FOUND);
    assert_eq!(refused.text().await.unwrap(), r#"{"cod":"404","message":"city not found"}"#);
    assert_eq!(status(&site, &group([1, 3])).await, 200);
    site.upstream.change(Changes { weather_leave_out_unknown: Some(true), ..Changes::default() });
    let rest = site.json(&group([1, 2, 3])).await;
    let ids: Vec<_> = rest["list"].as_array().unwrap().iter().map(|city| &city["id"]).collect();
    assert_eq!((&rest["cnt"], ids), (&json!(2), vec![&json!(1), &json!(3)]));
    assert_eq!(site.json(&group([2])).await, json!({ "cnt": 0, "list": [] }));
    site.upstream.set_weather_unknown([1, 3]);
    assert_eq!(site.json(&group([1, 2, 3])).await["cnt"], 1);
    assert_eq!(status(&site, &group([1])).await, 429, "unknown cities count as well");
}

#[tokio::test]
async fn another_process_can_change_it_and_read_the_violations() {
    let site = Site::start(Options { control: true, ..Options::default() }).await;
    let control = format!("{}/control", site.upstream.base_url());
    let changes = json!({
        "weather_key": "k", "weather_items_per_window": 1, "weather_window": "10m",
        "weather_unknown": [9], "weather_leave_out_unknown": true,
    });
    assert_eq!(site.client.put(&control).json(&changes).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(site.json("/data/2.5/group?id=9&appid=k").await["cnt"], 0);
    let refused = site.get("/data/2.5/group?id=1&appid=k").send().await.unwrap();
    assert!((590..=600).contains(&refused.headers()[header::RETRY_AFTER].to_str().unwrap().parse::<u64>().unwrap()));
    let counters = site.json("/control").await;
    assert_eq!((&counters["weather"], &counters["violations"]), (&json!(2), &json!(1)));
}
