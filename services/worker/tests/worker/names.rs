//! Names as upstreams have them: each its own key, and metadata that reads back.

use waybill_source::ObjectName;

use crate::support::{BUSES, Reply, System, Upstream, buses, file};

#[tokio::test]
async fn odd_names_get_keys_and_metadata_of_their_own() {
    let names: Vec<String> = vec![
        "South Stephen".into(),
        "South Stephen".into(),
        "a/b\\c \"quoted\" 'too' %20 #?&=+".into(),
        "🚌🚍 Busstadt 🚏".into(),
        "東京".into(),
        "Köln-Ehrenfeld".into(),
        "مدينة".into(),
        "x".repeat(300),
        "🚌".repeat(300),
        " ".into(),
        "..".into(),
        "\t\u{0}line\nbreak".into(),
    ];
    let upstream = Upstream::with_cities(names.len()).await;
    let list: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(id, name)| serde_json::json!({"id": id, "name": name, "country": "Saint Kitts and Nevis"}))
        .collect();
    upstream.on("/cities", move |_| Reply::json(&list.clone().into()));
    for city in 0..names.len() {
        upstream.on(&file(city), move |_| Reply::body(buses(city)));
    }
    let system = System::start(BUSES, upstream).await;
    system.good_job().await;
    let data = system.data().await;
    assert_eq!(data.len(), names.len());
    for object in &data {
        let metadata = &object.head.metadata;
        let id: usize = metadata["item-id"].parse().unwrap();
        assert_eq!(object.body, buses(id));
        assert_eq!(metadata["bus-count"], id.to_string());
        assert_eq!(metadata["item-country"], "Saint Kitts and Nevis");
        let name = &metadata["item-name"];
        assert!(names[id].starts_with(name.as_str()), "{name}");
        assert!(name == &names[id] || name.len() >= 200, "{name}");
        let key = ObjectName::parse(&object.key).unwrap();
        assert_eq!(key.part("country"), Some("saint-kitts-and-nevis"));
        assert!(key.item.starts_with(&format!("{id}-")) && object.key.len() < 900, "{}", object.key);
    }
}

#[tokio::test]
async fn metadata_reads_as_documented() {
    let upstream = Upstream::with_cities(1).await;
    upstream.on(&file(0), |_| Reply::body(buses(100)).header("ETag", "\"v1\""));
    let system = System::start(BUSES, upstream).await;
    let status = system.good_job().await;
    let object = system.data().await.remove(0);
    let mut metadata: std::collections::BTreeMap<_, _> = object.head.metadata.into_iter().collect();
    assert_eq!(metadata["job"], status.request.job.to_string());
    assert_eq!(metadata["definition"], status.request.definition);
    let fetched_at: jiff::Timestamp = metadata["fetched-at"].parse().unwrap();
    assert_eq!(ObjectName::parse(&object.key).unwrap().fetched_at, fetched_at);
    // Nothing was there before: it is the job's own submission.
    assert_eq!(metadata["as-of"], status.request.job.submitted().to_string());
    for volatile in ["job", "definition", "fetched-at", "as-of"] {
        metadata.insert(volatile.to_owned(), "…".to_owned());
    }
    insta::assert_json_snapshot!(metadata, @r#"
    {
      "as-of": "…",
      "average-delay-s": "50",
      "bus-count": "100",
      "bytes": "10869",
      "definition": "…",
      "etag": "\"v1\"",
      "exist-accident": "1",
      "fetched-at": "…",
      "item": "0-city-0",
      "item-country": "Peru",
      "item-id": "0",
      "item-name": "City 0",
      "job": "…",
      "passenger-count": "4050",
      "records": "100",
      "samples-delay-s": "100",
      "sha256": "e98e94ebf8c8a9a08fa4ab0cc542339503fc22962595e78a39f115daf6261090",
      "source": "buses",
      "total-delay-s": "4950",
      "url-path": "/cities/0/stats"
    }
    "#);
}
