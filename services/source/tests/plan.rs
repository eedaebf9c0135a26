//! Two sources of different shapes, from literal listings to keys and requests.

use std::collections::{BTreeMap, HashSet};

use waybill_source::{
    Catalog, DefaultsFrom, Definition, Env, Item, ItemDraft, ItemError, JobContext, PageParts, Params, Request,
};

const STATIONS: &str = include_str!("definitions/stations.toml");

fn bind(source: &Definition, name: &str) -> Params {
    source
        .bind(
            &BTreeMap::from([(name.into(), "2024-05-01".into())]),
            DefaultsFrom { day: jiff::civil::date(2024, 5, 1), previous: None },
        )
        .expect("a date")
}

fn job(params: &Params) -> JobContext {
    JobContext { id: "018f3253-7a40-7c21-9d5e-6b1f0a2c4e88".into(), date: "2024-05-01".into(), params: params.clone() }
}

/// Plans a job as a worker does, with a function in place of the upstream.
fn plan(source: &Definition, params: &Params, answer: impl Fn(&Request) -> String) -> Result<Vec<Item>, ItemError> {
    let mut drafts = vec![ItemDraft::default()];
    for level in 0..source.levels() {
        let mut below = Vec::new();
        for parent in &drafts {
            let request = source.listing(level, &job(params), parent, &Env::new())?;
            below.extend(source.expand(level, parent, answer(&request).as_bytes()).expect("a listing"));
        }
        drafts = below;
    }
    Ok(drafts.into_iter().map(|draft| source.item(params, draft)).collect())
}

fn show(source: &Definition, params: &Params, items: &[Item]) -> String {
    let line = |item: &Item| {
        let item = std::slice::from_ref(item);
        let Request { path, query, .. } = source.fetch(&job(params), item, &Env::new()).expect("a request");
        let query: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!(
            "{}/{}\n  GET {path}?{}",
            source.partition(&job(params), item).expect("a partition"),
            item[0].key,
            query.join("&")
        )
    };
    items.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn cities(names: &[&str]) -> String {
    let city = |(id, name): (usize, &&str)| serde_json::json!({"id": id, "name": name, "country": name, "mayor": null});
    serde_json::Value::from(names.iter().enumerate().map(city).collect::<Vec<_>>()).to_string()
}

#[test]
fn buses_are_planned_from_one_listing() {
    let catalog = Catalog::shipped();
    let source = catalog.get("buses").unwrap();
    let params = bind(source, "date");
    let names = [
        "South Stephen",
        "South Stephen",
        "São Tomé / Príncipe",
        "O'Brien \"the\" Bay",
        "🚌🚏",
        "Владивосток",
        "北京市",
        "../../etc",
        &"Llanfair".repeat(38),
    ];
    let items = plan(source, &params, |_| cities(&names)).unwrap();
    insta::assert_snapshot!(show(source, &params, &items), @r#"
    country=south-stephen/date=2024-05-01/0-south-stephen
      GET /cities/0/stats?date=2024-05-01
    country=south-stephen/date=2024-05-01/1-south-stephen
      GET /cities/1/stats?date=2024-05-01
    country=sao-tome-principe/date=2024-05-01/2-sao-tome-principe
      GET /cities/2/stats?date=2024-05-01
    country=o-brien-the-bay/date=2024-05-01/3-o-brien-the-bay
      GET /cities/3/stats?date=2024-05-01
    country=bus-busstop/date=2024-05-01/4-bus-busstop
      GET /cities/4/stats?date=2024-05-01
    country=vladivostok/date=2024-05-01/5-vladivostok
      GET /cities/5/stats?date=2024-05-01
    country=bei-jing-shi/date=2024-05-01/6-bei-jing-shi
      GET /cities/6/stats?date=2024-05-01
    country=etc/date=2024-05-01/7-etc
      GET /cities/7/stats?date=2024-05-01
    country=llanfairllanfairllanfairllanfairllanfairllanfairllanfairllanfairllanfairllanfair/date=2024-05-01/8-llanfairllanfairllanfairllanfairllanfairllanfairllanfairllanfairllanfairllanfair
      GET /cities/8/stats?date=2024-05-01
    "#);
    let keys: HashSet<_> = items.iter().map(|item| &item.key).collect();
    assert_eq!(keys.len(), names.len());
    assert_eq!(items[4].values["city"]["name"], "🚌🚏", "values are kept as they came");
    assert!(!items[0].values["city"].contains_key("mayor"), "fields that are not named are not kept");
    assert_eq!(source.partition_names(), ["country", "date"]);
}

#[test]
fn stations_are_planned_from_two_levels() {
    let source = Definition::parse("stations.toml", STATIONS).unwrap();
    let params = bind(&source, "day");
    let items = plan(&source, &params, |request| match request.path.as_str() {
        "/regions" => {
            r#"{"data": {"regions": [{"code": "N/1", "title": "North"}, {"title": "Süd", "code": "süd"}]}}"#.into()
        }
        "/regions/N%2F1/stations" => {
            r#"{"data": {"items": [{"id": 7, "label": "Harbour; east"}]}, "next": null}"#.into()
        }
        "/regions/s%C3%BCd/stations" => {
            r#"{"data": {"items": [{"id": -8, "label": "市場"}, {"id": 9, "label": "★"}]}}"#.into()
        }
        other => panic!("{other}"),
    })
    .unwrap();
    insta::assert_snapshot!(show(&source, &params, &items), @r#"
    region=n-1/date=2024-05-01/7-harbour-east
      GET /stations/7/readings?day=2024-05-01
    region=sud/date=2024-05-01/-8-shi-chang
      GET /stations/-8/readings?day=2024-05-01
    region=sud/date=2024-05-01/9-unnamed
      GET /stations/9/readings?day=2024-05-01
    "#);
    assert_eq!(source.levels(), 2);
    assert_eq!(items[1].values["region"]["title"], "Süd");
    assert_eq!(source.max_bytes(), 500 * 1024 * 1024);
    assert_eq!(source.timeout().as_secs(), 60);
    assert_eq!(source.params().collect::<Vec<_>>(), [("day", "date", None)]);
}

#[test]
fn a_listing_that_is_not_as_declared_is_refused_with_its_place() {
    let source = Definition::parse("stations.toml", STATIONS).unwrap();
    let said = |body: &str| source.expand(0, &ItemDraft::default(), body.as_bytes()).unwrap_err().to_string();
    let long = format!(r#"{{"data": {{"regions": [{{"code": ["x"], "title": "{}"}}]}}}}"#, "x".repeat(5_000));
    let deep = "[".repeat(10_000);
    insta::assert_snapshot!([
        "", "<html>", "[]", r#"{"data": null}"#, r#"{"data": {"regions": {"0": {}}}}"#, r#"{"data": {"regions": "none"}}"#,
        r#"{"data": {"regions": [7]}}"#,
        r#"{"data": {"regions": [{"code": "a", "title": "b"}, {"code": 1, "title": "b"}]}}"#,
        r#"{"data": {"regions": [{"code": "a"}]}}"#, r#"{"data": {"regions": [{"code": "a", "title": null}]}}"#,
        &long, &deep,
    ].map(said).join("\n"), @r#"
    record 1, byte 0: expected an object with the member `data`, found end of file
    record 1, byte 0: expected an object with the member `data`, found an HTML page: "<html>"
    record 1, byte 0: expected an object with the member `data`, found []
    record 1, byte 9: expected an object with the member `regions`, found null
    record 1, byte 28, field `code`: expected a string, found nothing
    record 1, byte 21: expected an array of records, found "none"
    record 1, byte 22: expected an object or `]`, found 7
    record 2, byte 60, field `code`: expected a string, found 1
    record 1, byte 34, field `title`: expected a string, found nothing
    record 1, byte 45, field `title`: expected a string, found null
    record 1, byte 31, field `code`: expected a string, found ["x"], "title": "xxxxxxxxxxxxxxxxxxxxxxx…
    record 1, byte 0: expected an object with the member `data`, found [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[…
    "#);
    let empty = source.expand(0, &ItemDraft::default(), b"\xEF\xBB\xBF {\"data\": {\"regions\": []}}\n").unwrap();
    assert!(empty.is_empty());
}

#[test]
fn a_value_of_an_item_may_lie_deeper_in_its_element() {
    let place = "\"title\", type = \"string\"";
    let text = STATIONS.replacen(place, &format!("{place}, path = \"$.names[1].text\""), 1);
    let text = text.replacen("\"code\",", "\"code\", path = \"~\",", 1);
    let source = Definition::parse("x.toml", &text).unwrap();
    let body = r#"{"data": {"regions": {"n": {"names": [{}, {"text": "North"}]}, "s": {"names": []}}}}"#;
    let said = source.expand(0, &ItemDraft::default(), body.as_bytes()).unwrap_err();
    insta::assert_snapshot!(said, @"record 2, byte 80, field `title`: expected a string, found nothing");
    let body = body.replace("[]}", "[0, {\"text\": \"Süd\"}]}");
    let items = source.expand(0, &ItemDraft::default(), body.as_bytes()).unwrap();
    let values: Vec<_> = items.iter().map(|item| serde_json::to_string(&item.values).unwrap()).collect();
    insta::assert_snapshot!(values.join("\n"), @r#"
    {"region":{"code":"n","title":"North"}}
    {"region":{"code":"s","title":"Süd"}}
    "#);
    let parts = PageParts { body: true, last: true, ..PageParts::default() };
    let (items, page) = source.expand_page(0, &ItemDraft::default(), body.as_bytes(), parts).unwrap();
    assert_eq!((items.len(), page.scanned.records), (2, 2));
    assert_eq!(page.body, serde_json::json!({ "data": { "regions": {} } }));
    assert_eq!(page.last.unwrap()["names"][1]["text"], "Süd");
}

#[test]
fn every_type_of_an_items_field_is_checked() {
    let kinds = [
        ("string", "\"\"", "1"),
        ("integer", "-9223372036854775808", "1e40"),
        ("integer", "1.0", "1.5"),
        ("number", "-1.5e3", "\"1\""),
        ("boolean", "false", "0"),
        ("date", "\"2024-02-29\"", "\"2023-02-29\""),
        ("datetime", "\"2024-05-01T08:44:00\"", "\"2024-05-01T25:44:00\""),
        ("datetime", "\"2024-05-01T08:44:00+02:00\"", "1714550400"),
        ("datetime", "\"2024-05-01T08:44:00.123-0400\"", "\"2024-05-01\""),
        ("duration", "\"-PT30S\"", "\"30s\""),
    ];
    for (kind, good, bad) in kinds {
        let text = STATIONS.replacen("\"title\", type = \"string\"", &format!("\"title\", type = \"{kind}\""), 1);
        let source = Definition::parse("x.toml", &text).unwrap();
        let expand = |value: &str| {
            let body = format!(r#"{{"data": {{"regions": [{{"code": "a", "title": {value}}}]}}}}"#);
            source.expand(0, &ItemDraft::default(), body.as_bytes())
        };
        assert!(expand(good).is_ok(), "{kind} {good}");
        assert!(expand(bad).is_err(), "{kind} {bad}");
        assert!(expand("null").is_err(), "{kind}");
    }
}

#[test]
fn numbers_of_a_listing_are_exact() {
    let value = |kind: &str, number: &str| {
        let text = STATIONS.replacen("\"title\", type = \"string\"", &format!("\"title\", type = \"{kind}\""), 1);
        let source = Definition::parse("x.toml", &text).unwrap();
        let body =
            format!(r#"{{"more": 1e400, "data": {{"regions": [{{"code": "a", "x": -1e999, "title": {number}}}]}}}}"#);
        source.expand(0, &ItemDraft::default(), body.as_bytes()).unwrap()[0].values["region"]["title"].to_string()
    };
    for (kind, sent, kept) in [
        ("integer", "7.0", "7"),
        ("integer", "9007199254740993.0", "9007199254740993"),
        ("integer", "18446744073709551615", "18446744073709551615"),
        ("integer", "18446744073709551617", "\"18446744073709551617\""),
        ("integer", "340282366920938463463374607431768211457", "\"340282366920938463463374607431768211457\""),
        ("number", "-1.5", "-1.5"),
        ("number", "18446744073709551616", "\"18446744073709551616\""),
        ("number", "0.12345678901234567891", "\"0.12345678901234567891\""),
    ] {
        assert_eq!(value(kind, sent), kept, "{kind} {sent}");
    }
}

#[test]
fn a_member_that_is_there_twice_is_refused_as_in_files() {
    let source = Definition::parse("stations.toml", STATIONS).unwrap();
    let said = |body: &str| source.expand(0, &ItemDraft::default(), body.as_bytes()).unwrap_err().to_string();
    insta::assert_snapshot!([
        "{\n \"data\": {\"regions\": [\n {\"code\": \"a\", \"title\": \"b\", \"code\": \"c\"}]}}",
        r#"{"data": {"regions": [], "regions": []}}"#,
    ].map(said).join("\n"), @r#"
    record 1, line 3, byte 54, field `code`: expected every member once, found "code"
    record 1, byte 25: expected the member `regions` once, found "regions"
    "#);
}

#[test]
fn an_item_without_a_key_says_so_itself() {
    let source = Definition::parse("stations.toml", STATIONS).unwrap();
    let params = bind(&source, "day");
    let item = source.item(&params, ItemDraft::default());
    assert!(item.key.starts_with("unnamed-") && item.problem.is_some(), "{item:?}");
    let json = serde_json::to_string(&Item { key: "a".into(), ..Item::default() }).unwrap();
    assert_eq!(json, r#"{"key":"a","values":{}}"#);
}

#[test]
fn values_that_make_no_path_or_key_are_errors_of_that_item() {
    let source = Definition::parse("stations.toml", STATIONS).unwrap();
    let params = bind(&source, "day");
    let said = |code: &str| {
        let body = serde_json::json!({"data": {"regions": [{"code": code, "title": "x"}]}}).to_string();
        let drafts = source.expand(0, &ItemDraft::default(), body.as_bytes()).unwrap();
        source
            .listing(1, &job(&params), &drafts[0], &Env::new())
            .map_or_else(|error| error.to_string(), |request| request.path)
    };
    insta::assert_snapshot!(["", "..", ".", "%2e%2e", "{{ params.day }}", "a?b#c"].map(said).join("\n"), @r#"
    the listing of `station` cannot be made for {"region":{"code":"","title":"x"}}: an empty value would leave a path segment out
    the listing of `station` cannot be made for {"region":{"code":"..","title":"x"}}: the path `/regions/../stations` has a segment that leads elsewhere: `.` or `..`
    the listing of `station` cannot be made for {"region":{"code":".","title":"x"}}: the path `/regions/./stations` has a segment that leads elsewhere: `.` or `..`
    /regions/%252e%252e/stations
    /regions/%7B%7B%20params.day%20%7D%7D/stations
    /regions/a%3Fb%23c/stations
    "#);
}

#[test]
fn a_large_listing_is_planned() {
    let catalog = Catalog::shipped();
    let source = catalog.get("buses").unwrap();
    let params = bind(source, "date");
    let body = cities(&vec!["South Stephen"; 10_000]);
    let items = plan(source, &params, |_| body.clone()).unwrap();
    let places: HashSet<_> = items
        .iter()
        .map(|item| (source.partition(&job(&params), std::slice::from_ref(item)).unwrap(), &item.key))
        .collect();
    assert_eq!(places.len(), 10_000);
}
