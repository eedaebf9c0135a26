//! Files that are not as the definition says: kept in quarantine, and nowhere else; and files that look
//! odd and are right.

use waybill_ledger::{State, TaskState};

use crate::support::{BUSES, Reply, System, Upstream, buses, cities, file};

fn bus(change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let mut buses: serde_json::Value = serde_json::from_str(&buses(3)).unwrap();
    change(&mut buses[2]);
    buses.to_string().into_bytes()
}

fn bad_files() -> Vec<(&'static str, Vec<u8>)> {
    let good = buses(10);
    let with = |name: &'static str, value: serde_json::Value| bus(move |bus| bus[name] = value);
    let mut not_utf8 = good.clone().into_bytes();
    let at = good.find("BUS-").unwrap();
    not_utf8[at] = 0xff;
    vec![
        ("html", b"<html><body>Service Unavailable</body></html>".to_vec()),
        ("empty", Vec::new()),
        ("not an array", br#"{"error":"no such day"}"#.to_vec()),
        ("truncated", good.as_bytes()[..good.len() / 2].to_vec()),
        ("unclosed", good.as_bytes()[..good.len() - 1].to_vec()),
        ("more after the end", format!("{good}{good}").into_bytes()),
        ("missing field", bus(|bus| drop(bus.as_object_mut().unwrap().remove("delay")))),
        ("null", with("delay", serde_json::Value::Null)),
        ("wrong type", with("passengers", "many".into())),
        ("negative", with("passengers", (-1).into())),
        ("30 digits", good.replacen("\"passengers\":0", "\"passengers\":123456789012345678901234567890", 1).into()),
        ("impossible date", with("departure-time", "2024-02-30T08:00:00".into())),
        ("no duration", with("delay", "PT".into())),
        ("wrong boolean", with("accident", "true".into())),
        ("not UTF-8", not_utf8),
        ("nested", [vec![b'['; 10_000], vec![b']'; 10_000]].concat()),
    ]
}

#[tokio::test]
async fn a_bad_file_is_quarantined_and_the_others_are_not_held_up() {
    let bad = bad_files();
    let count = bad.len() + 2;
    let upstream = Upstream::with_cities(count).await;
    for (city, (_, body)) in bad.iter().cloned().enumerate() {
        upstream.on(&file(city), move |_| Reply::body(body.clone()));
    }
    let system = System::start(BUSES, upstream).await;
    let status = system.job().await;

    assert_eq!(status.state, State::Partial);
    assert_eq!((status.tasks.stored, status.tasks.failed), (2, bad.len() as u64));
    let data = system.data().await;
    assert_eq!(data.len(), 2);
    assert!(data.iter().all(|object| object.body == buses(10)));
    let tasks = system.tasks(&status).await;
    for (city, (what, body)) in bad.iter().enumerate() {
        let task = &tasks[city];
        assert_eq!(task.state, TaskState::Failed, "{what}");
        let failure = task.failure.as_ref().unwrap();
        assert!(failure.reason.starts_with("the file was rejected: record "), "{what}: {}", failure.reason);
        assert_eq!(failure.attempts, 1, "{what}: trying again would not help");
        let key = failure.quarantine.as_ref().unwrap();
        assert!(
            key.starts_with(&format!("quarantine/buses/country=peru/date=2024-05-01/{city}-city-{city}.")),
            "{key}"
        );
        let kept = system.objects(key).await;
        assert_eq!(kept[0].body, *body, "{what}");
        let report = system.objects(&key.replace(".json", ".report.json")).await;
        let report: serde_json::Value = serde_json::from_slice(&report[0].body).unwrap();
        assert_eq!(report["rejection"]["expected"].as_str().map(str::is_empty), Some(false), "{what}");
        assert_eq!((&report["task"], &report["bytes"]), (&city.into(), &body.len().into()), "{what}");
        assert_eq!(report["path"], file(city), "{what}");
    }
    assert_eq!(system.objects("quarantine/").await.len(), 2 * bad.len());
    assert_eq!(system.queue.dead_letters().len(), bad.len());
}

#[tokio::test]
async fn a_report_says_where_and_what() {
    let upstream = Upstream::with_cities(1).await;
    upstream.on(&file(0), |_| Reply::body(bus(|bus| bus["passengers"] = (-1).into())));
    let system = System::start(BUSES, upstream).await;
    let status = system.job().await;
    assert_eq!(status.state, State::Failed);
    let quarantine = system.objects("quarantine/").await;
    let report = quarantine.iter().find(|object| object.key.ends_with(".report.json")).unwrap();
    let mut report: serde_json::Value = serde_json::from_slice(&report.body).unwrap();
    assert_eq!(report["job"], status.request.job.to_string());
    for volatile in ["job", "fetched_at"] {
        report[volatile] = "…".into();
    }
    insta::assert_json_snapshot!(report, @r#"
    {
      "bytes": 323,
      "fetched_at": "…",
      "item": "0-city-0",
      "job": "…",
      "path": "/cities/0/stats",
      "rejection": {
        "expected": "an integer, at least 0",
        "field": "passengers",
        "found": "-1",
        "offset": 319,
        "record": 3
      },
      "sha256": "fbbb962813d894c92de60c3034507432c10a7d721dc9519d98e07b586ecc7864",
      "source": "buses",
      "task": 0
    }
    "#);
}

#[tokio::test]
async fn a_report_names_the_line_where_there_are_lines() {
    // Below and beyond what is kept in memory.
    for records in [3, 20_000] {
        let upstream = Upstream::with_cities(1).await;
        let lines = buses(records).replace("},{", "},\n{").replace("}]", "},\n{\"delay\":7}]");
        upstream.on(&file(0), move |_| Reply::body(lines.clone()));
        let system = System::start(BUSES, upstream).await;
        let status = system.job().await;
        let expected = format!("the file was rejected: record {0}, line {0}, byte ", records + 1);
        assert!(System::reason(&status).starts_with(&expected), "{}", System::reason(&status));
    }
}

#[tokio::test]
async fn a_file_beyond_the_limit_is_kept_up_to_the_limit() {
    let definition = BUSES.replace("\"10 GB\"", "\"300 KB\"");
    assert_ne!(definition, BUSES);
    let upstream = Upstream::with_cities(3).await;
    let large = buses(5_000);
    let sizes = [large.len(), large.len(), 300_000];
    for (city, chunked) in [(0, false), (1, true)] {
        let large = large.clone();
        upstream.on(&file(city), move |_| {
            if chunked { Reply::body(large.clone()).chunked() } else { Reply::body(large.clone()) }
        });
    }
    // Just as large as allowed.
    let small = buses(2_000);
    let just = format!("{small}{}", " ".repeat(300_000 - small.len()));
    upstream.on(&file(2), move |_| Reply::body(just.clone()));
    let system = System::start(&definition, upstream).await;
    let status = system.job().await;
    assert!(sizes[0] > 300_000);
    assert_eq!((status.tasks.stored, status.tasks.failed), (1, 2));
    for task in &system.tasks(&status).await[..2] {
        let failure = task.failure.as_ref().unwrap();
        assert!(failure.reason.contains("expected at most 300000 bytes, found more"), "{}", failure.reason);
        let kept = &system.objects(failure.quarantine.as_ref().unwrap()).await[0];
        assert_eq!(kept.body, large.as_bytes()[..300_000]);
    }
}

#[tokio::test]
async fn what_is_odd_and_right_is_accepted() {
    let plain = buses(3);
    let value: serde_json::Value = serde_json::from_str(&plain).unwrap();
    let reversed = |bus: &serde_json::Value| {
        let pairs: Vec<_> =
            bus.as_object().unwrap().iter().rev().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", pairs.join(","))
    };
    let reversed = value.as_array().unwrap().iter().map(reversed).collect::<Vec<_>>().join(",");
    let mut extra = value.clone();
    extra[1]["driver"] = serde_json::json!({"name": "Ann", "years": [1, 2, {"deep": null}]});
    let good: Vec<(&str, Vec<u8>, u64)> = vec![
        ("empty array", b"[]".to_vec(), 0),
        ("an extra field", extra.to_string().into(), 3),
        ("keys in another order", format!("[{reversed}]").into(), 3),
        ("escapes", plain.replace("BUS-1", "B\\u0055S\\/\\\"\\ud83d\\ude8c").replace("delay", "d\\u0065lay").into(), 3),
        (
            "white space",
            plain.replace(',', " ,\r\n\t ").replace(':', " : ").replace("08 : 44 : 00", "08:44:00").into(),
            3,
        ),
        ("a BOM", format!("\u{feff}{plain}").into(), 3),
    ];
    let upstream = Upstream::start().await;
    let count = good.len();
    upstream.on("/cities", move |_| cities(count));
    for (city, (_, body, _)) in good.iter().cloned().enumerate() {
        upstream.on(&file(city), move |_| Reply::body(body.clone()));
    }
    let system = System::start(BUSES, upstream).await;
    let status = system.good_job().await;
    assert_eq!(status.records, good.iter().map(|(_, _, records)| records).sum::<u64>());
    for (object, (what, body, records)) in system.data().await.iter().zip(&good) {
        assert_eq!(object.body, *body, "{what}");
        assert_eq!(object.head.metadata["bus-count"], records.to_string(), "{what}");
    }
}
