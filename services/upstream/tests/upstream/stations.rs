//! The upstream of the other shape.

use crate::site::Site;
use reqwest::{StatusCode, header};
use serde_json::Value;
use waybill_upstream::Options;

#[tokio::test]
async fn regions_have_stations_and_those_have_readings() {
    let site = Site::start(Options::default()).await;
    let (mut ids, mut absent, mut null, mut decimals) = (Vec::new(), 0, 0, 0);
    for region in site.json("/regions").await["data"]["regions"].as_array().unwrap() {
        let stations = site.json(&format!("/regions/{}/stations", region["code"].as_str().unwrap())).await;
        assert_eq!(stations["page"], 1);
        for station in stations["data"]["items"].as_array().unwrap() {
            assert!(station["label"].is_string());
            let path = format!("/stations/{}/readings?day=2024-05-01", station["id"]);
            let response = site.get(&path).send().await.unwrap();
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/x-ndjson");
            let text = response.text().await.unwrap();
            assert_eq!(text, site.get(&path).send().await.unwrap().text().await.unwrap());
            for line in text.lines() {
                let reading: Value = serde_json::from_str(line).unwrap();
                assert!(reading["at"].as_str().unwrap().starts_with("2024-05-01T"));
                assert!(reading["pm25"].is_number() && reading["alarm"].is_boolean());
                absent += u32::from(reading.get("humidity").is_none());
                null += u32::from(reading.get("humidity").is_some_and(Value::is_null));
                decimals = decimals.max(reading["pm25"].to_string().split_once('.').map_or(0, |(_, part)| part.len()));
            }
            assert_eq!(text.lines().count(), 144);
            ids.push(station["id"].as_u64().unwrap());
        }
    }
    assert_eq!(ids, (1..=9).collect::<Vec<_>>());
    assert!(absent > 0 && null > 0 && decimals == 3);
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let site = Site::start(Options::default()).await;
    for (path, status) in [
        ("/regions/west/stations", StatusCode::NOT_FOUND),
        ("/stations/10/readings?day=2024-05-01", StatusCode::NOT_FOUND),
        ("/stations/0/readings?day=2024-05-01", StatusCode::NOT_FOUND),
        ("/stations/1/readings?date=2024-05-01", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(site.get(path).send().await.unwrap().status(), status, "{path}");
    }
}
