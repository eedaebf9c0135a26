//! Other sources, without other code; and statistics equal to what a naive computation finds.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::support::{BUSES, Reply, System, Upstream, file};

fn random_city(rng: &mut Rng) -> Vec<Value> {
    let bus = |rng: &mut Rng| {
        let delay = match rng.u8(..6) {
            0 => format!("PT{}H{}M", rng.u8(..5), rng.u8(..60)),
            1 => format!("P{}DT{}S", rng.u8(..3), rng.u8(..60)),
            2 => format!("-PT{}S", rng.u16(..600)),
            3 => format!("PT{}.{}S", rng.u8(..60), rng.u8(1..10)),
            _ => format!("PT{}S", rng.u16(..4_000)),
        };
        json!({
            "departure-time": format!("2024-05-01T{:02}:{:02}:00", rng.u8(..24), rng.u8(..60)),
            "bus-type": format!("BUS-{}", rng.u16(..999)),
            "passengers": rng.u16(..200),
            "delay": delay,
            "accident": rng.u8(..100) == 0,
        })
    };
    (0..rng.usize(..400)).map(|_| bus(rng)).collect()
}

/// Count, passengers, accident, delay in milliseconds.
fn naive(city: &[Value]) -> (u64, u64, bool, i64) {
    let delay = |bus: &Value| {
        let delay: jiff::Span = bus["delay"].as_str().unwrap().parse().unwrap();
        delay.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).unwrap().as_millis() as i64
    };
    (
        city.len() as u64,
        city.iter().map(|bus| bus["passengers"].as_u64().unwrap()).sum(),
        city.iter().any(|bus| bus["accident"] == true),
        city.iter().map(delay).sum(),
    )
}

#[tokio::test]
async fn statistics_equal_a_naive_computation() {
    let mut rng = Rng::with_seed(20_240_501);
    let cities: Vec<_> = (0..30).map(|_| random_city(&mut rng)).collect();
    let upstream = Upstream::with_cities(cities.len()).await;
    for (city, buses) in cities.iter().cloned().enumerate() {
        upstream.on(&file(city), move |_| Reply::json(&buses.clone().into()).chunked());
    }
    let system = System::start(BUSES, upstream).await;
    system.good_job().await;
    let data = system.data().await;
    assert_eq!(data.len(), cities.len());
    for object in data {
        let metadata = &object.head.metadata;
        let city = &cities[metadata["item-id"].parse::<usize>().unwrap()];
        let (count, passengers, accident, delay) = naive(city);
        assert_eq!(metadata["bus-count"], count.to_string());
        assert_eq!(metadata["passenger-count"], passengers.to_string());
        assert_eq!(metadata["exist-accident"], u8::from(accident).to_string());
        assert_eq!(metadata["total-delay-s"].parse::<f64>().unwrap(), delay as f64 / 1e3);
        let average = if count == 0 { 0.0 } else { (delay as f64 / 1e3 / count as f64).round() };
        assert_eq!(metadata["average-delay-s"].parse::<f64>().unwrap(), average);
    }
}

const READINGS: &str = r#"
name = "readings"
title = "Sensor readings of every station of every region"
base_url = "http://127.0.0.1:1"
params = [{ name = "date", type = "date" }]

[[items]]
name = "region"
path = "/regions"
records = "$.data.items[*]"
fields = [{ name = "code", type = "string" }]

[[items]]
name = "station"
path = "/regions/{{ region.code }}/stations"
records = "$[*]"
key = "{{ region.code | slug }}-{{ station.id }}"
fields = [{ name = "id", type = "integer" }]

[fetch]
path = "/stations/{{ region.code }}/{{ station.id }}"
query = { day = "{{ params.date }}" }
format = "ndjson"
concurrency = 4
timeout = "PT10S"
max_bytes = "1 MB"

[record]
fields = [
  { name = "value", type = "number", constraints = { required = true } },
  { name = "ok", type = "boolean" },
]

[stats]
readings = "count"
lowest = { min = "value" }
highest = { max = "value" }
all_ok = { all = "ok" }

[store]
partition = ["region={{ region.code | slug }}", "date={{ params.date }}"]
"#;

#[tokio::test]
async fn two_levels_of_items_and_other_records_need_no_other_code() {
    let upstream = Upstream::start().await;
    let regions = json!({"data": {"items": [{"code": "North"}, {"code": "S/W"}]}});
    upstream.on("/regions", move |_| Reply::json(&regions));
    upstream.on("/regions/North/stations", |_| Reply::json(&json!([{"id": 1}, {"id": 2}])));
    upstream.on("/regions/S%2FW/stations", |_| Reply::json(&json!([{"id": 1}])));
    for (path, values) in
        [("/stations/North/1", [1.5, -2.25]), ("/stations/North/2", [0.0, 1e3]), ("/stations/S%2FW/1", [7.0, 7.0])]
    {
        let lines: String = values.iter().map(|value| format!("{}\n", json!({"value": value, "ok": true}))).collect();
        upstream.on(path, move |_| Reply::body(lines.clone()));
    }
    let system = System::start(READINGS, upstream).await;
    let status = system.good_job().await;
    assert_eq!((status.tasks.stored, status.records), (3, 6));
    let data = system.data().await;
    let found: BTreeMap<_, _> = data
        .iter()
        .map(|object| {
            let metadata = &object.head.metadata;
            let place = object.key.split('.').next().unwrap().to_owned();
            (place, [&metadata["lowest"][..], &metadata["highest"], &metadata["all-ok"]].join(" "))
        })
        .collect();
    insta::assert_json_snapshot!(found, @r#"
    {
      "data/readings/region=north/date=2024-05-01/north-1": "-2.25 1.5 1",
      "data/readings/region=north/date=2024-05-01/north-2": "0 1000 1",
      "data/readings/region=s-w/date=2024-05-01/s-w-1": "7 7 1"
    }
    "#);
    assert!(data.iter().all(|object| object.key.ends_with(".ndjson")));
}
