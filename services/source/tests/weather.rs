//! A source of fixed items, fetched in batches at a rate, with a secret: what is refused, and what comes of it.

use std::collections::{BTreeMap, BTreeSet};

use waybill_source::{
    Catalog, DefaultsFrom, Definition, Env, Item, ItemDraft, JobContext, Limit, ObjectName, Params, Request,
};

const WEATHER: &str = include_str!("../sources/weather.toml");
const SECRET: &str = "s3cret/..?&";

/// The shipped definition with a short list, so that lines are few.
fn short() -> String {
    let (from, to) = (WEATHER.find("list   = [").expect("a list"), WEATHER.find("]\n\n[fetch]").expect("its end"));
    format!("{}list   = [1, 2, 3{}", &WEATHER[..from], &WEATHER[to..])
}

fn changed(changes: &[(&str, &str)]) -> String {
    let mut text = short();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    text
}

fn each(changes: &[(&str, &str)]) -> String {
    let said = |change: &(&str, &str)| match Definition::parse("x.toml", &changed(std::slice::from_ref(change))) {
        Err(diagnostics) => diagnostics.to_string(),
        Ok(_) => panic!("accepted: {change:?}"),
    };
    changes.iter().map(said).collect::<Vec<_>>().join("\n")
}

fn parse(changes: &[(&str, &str)]) -> Definition {
    Definition::parse("x.toml", &changed(changes)).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn job(source: &Definition, id: &str) -> JobContext {
    let params = source
        .bind(
            &BTreeMap::from([("id".into(), id.into())]),
            DefaultsFrom { day: jiff::civil::date(2024, 5, 1), previous: None },
        )
        .expect("an id");
    JobContext { id: "018f3253-7a40-7c21-9d5e-6b1f0a2c4e88".into(), date: "2024-05-01".into(), params }
}

fn items(source: &Definition) -> Vec<Item> {
    let drafts =
        source.fixed(0, &JobContext::default(), &ItemDraft::default()).expect("no template").expect("they are fixed");
    drafts.into_iter().map(|draft| source.item(&Params::default(), draft)).collect()
}

fn env() -> Env {
    Env::from([("OPENWEATHER_API_KEY".into(), SECRET.into())])
}

#[test]
fn rates() {
    insta::assert_snapshot!(each(&[
        ("{ items = 60, per = \"PT1M\" }", "\"60/fortnight\""),
        ("{ items = 60, per = \"PT1M\" }", "60"),
        ("items = 60,", "items = 0,"),
        ("items = 60,", "items = -1,"),
        ("items = 60,", "items = 1000001,"),
        ("items = 60,", "items = \"60\","),
        ("items = 60,", "item = 60,"),
        ("per = \"PT1M\"", "per = \"fortnight\""),
        ("per = \"PT1M\"", "per = \"1m\""),
        ("per = \"PT1M\"", "per = \"PT0S\""),
        ("per = \"PT1M\"", "per = \"-PT1M\""),
        ("per = \"PT1M\"", "per = \"P32D\""),
        ("per = \"PT1M\"", "per = 60"),
        (", per = \"PT1M\"", ""),
        ("timeout ", "concurrency = 1\ntimeout "),
        ("timeout ", "concurrency = 0\ntimeout "),
    ]), @r#"
    x.toml:20:13: `60/fortnight` is no rate
      help: so many items in a time: rate = { items = 60, per = "PT1M" }
    x.toml:20:13: `rate` must be a table such as { items = 60, per = "PT1M" }, found an integer
    x.toml:20:23: `items` must be between 1 and 1000000, found 0
      help: for less than one item in a time, make the time longer; to fetch nothing, submit no job
    x.toml:20:23: `items` must be between 1 and 1000000, found -1
      help: for less than one item in a time, make the time longer; to fetch nothing, submit no job
    x.toml:20:23: `items` must be between 1 and 1000000, found 1000001
      help: for less than one item in a time, make the time longer; to fetch nothing, submit no job
    x.toml:20:23: `items` must be a whole number, found a string
    x.toml:20:13: `rate` lacks `items`
    x.toml:20:15: unknown key `item` in `rate`
      help: did you mean `items`?
    x.toml:20:33: `fortnight` cannot be the time of a rate
      help: an ISO 8601 duration such as `PT1S`, `PT1M`, `PT1H` or `P1D`, from PT0.001S to P31D
    x.toml:20:33: `1m` cannot be the time of a rate
      help: an ISO 8601 duration such as `PT1S`, `PT1M`, `PT1H` or `P1D`, from PT0.001S to P31D
    x.toml:20:33: `PT0S` cannot be the time of a rate
      help: an ISO 8601 duration such as `PT1S`, `PT1M`, `PT1H` or `P1D`, from PT0.001S to P31D
    x.toml:20:33: `-PT1M` cannot be the time of a rate
      help: an ISO 8601 duration such as `PT1S`, `PT1M`, `PT1H` or `P1D`, from PT0.001S to P31D
    x.toml:20:33: `P32D` cannot be the time of a rate
      help: an ISO 8601 duration such as `PT1S`, `PT1M`, `PT1H` or `P1D`, from PT0.001S to P31D
    x.toml:20:33: `per` must be a string, found an integer
    x.toml:20:13: `rate` lacks `per`
    x.toml:21:15: `rate` and `concurrency` exclude each other
      help: leave one of them out: with a rate, requests go out one after the other
    x.toml:21:15: `rate` and `concurrency` exclude each other
      help: leave one of them out: with a rate, requests go out one after the other
    x.toml:21:15: `concurrency` must be between 1 and 1000, found 0
    "#);
}

#[test]
fn batches() {
    insta::assert_snapshot!(each(&[
        ("batch     = 20", "batch = 0"),
        ("batch     = 20", "batch = 1001"),
        ("batch     = 20", "batch = \"20\""),
        ("batch     = 20", "batch = 61"),
        ("batch     = 20", "bach = 20"),
        ("match     = ", "# "),
        ("batch     = 20 ", "# "),
        ("{ record = \"id\", item = \"city.id\" }", "\"id\""),
        ("record = \"id\", ", ""),
        ("record = \"id\"", "record = \"ident\""),
        ("item = \"city.id\"", "item = \"city.name\""),
        ("item = \"city.id\"", "item = \"id\""),
        ("record = \"id\"", "record = \"name\""),
        ("type = \"integer\", constraints", "type = \"number\", constraints"),
        ("format    = \"json\"\nrecords   = \"$.list[*]\"", "format = \"csv\""),
    ]), @r#"
    x.toml:18:9: `batch` must be between 1 and 1000, found 0
      help: the most items that the upstream takes in one request
    x.toml:18:9: `batch` must be between 1 and 1000, found 1001
      help: the most items that the upstream takes in one request
    x.toml:18:9: `batch` must be a whole number, found a string
    x.toml:18:9: a batch of 61 never fits into a rate of 60 items in PT1M
      help: at most `batch = 60`
    x.toml:15:24: `batch` is used without being set
      help: add `batch = 20` to [fetch], and that many items are fetched with one request
    x.toml:18:1: unknown key `bach` in [fetch]
      help: did you mean `batch`?
    x.toml:19:13: `match` is for a batch
      help: add `batch = 20`, or leave `match` out: the file of a single item is all that item's
    x.toml:18:13: `batch` lacks `match`
      help: say which record answers which item: match = { record = "id", item = "city.id" }
    x.toml:15:24: `batch` is used without being set
      help: add `batch = 20` to [fetch], and that many items are fetched with one request
    x.toml:19:13: `match` is for a batch
      help: add `batch = 20`, or leave `match` out: the file of a single item is all that item's
    x.toml:19:13: `match` must be a table
      help: match = { record = "id", item = "city.id" }
    x.toml:19:13: `match` lacks `record`
    x.toml:19:24: no record has a field `ident`
      help: did you mean `id`?
    x.toml:19:37: no item has a value `city.name`
      help: known: `city.id`
    x.toml:19:37: no item has a value `id`
      help: known: `city.id`
    x.toml:19:39: `city.id` is an integer, and the record's `name` is a string: they are never equal
      help: both are integers, or both are strings
    x.toml:19:24: `id` is a number, which cannot say which item it is
      help: types that can: `integer`, `string`
    x.toml:17:13: a batch cannot be csv
      help: json and ndjson can be told apart by item
    "#);
}

#[test]
fn what_a_batch_sees() {
    insta::assert_snapshot!(each(&[
        ("{{ batch | map(attribute='city.id') | join(',') }}", "{{ city.id }}"),
        ("{{ batch | map(attribute='city.id') | join(',') }}", "{{ batch }}"),
        ("{{ batch | map(attribute='city.id') | join(',') }}", "{{ batch.city.id }}"),
        ("map(attribute='city.id')", "map(attribute='city.di')"),
        ("map(attribute='city.id')", "map(attribute='town.id')"),
        ("map(attribute='city.id')", "map('slugg')"),
        ("{{ batch | map(attribute='city.id') | join(',') }}", "{% for item in batch %}{{ item.city.ids }},{% endfor %}"),
        ("/data/2.5/group", "/data/{{ city }}/group"),
        ("\"request={{ params.id }}\"", "\"city={{ city.id }}\""),
        ("\"request={{ params.id }}\"", "\"city={{ batch[0].city.id }}\""),
        ("key    = \"{{ city.id }}\"", "key = \"{{ batch[0].city.id }}\""),
        ("key    = \"{{ city.id }}\"", "key = \"{{ city.id }}-{{ job.date }}\""),
        ("{{ job.date }}", "{{ job.day }}"),
        ("\"date={{ job.date }}\"", "\"date={{ job.id }}\""),
        ("name   = \"city\"", "name   = \"batch\""),
    ]), @r#"
    x.toml:15:24: `city` is one item, and a batch has several
      help: write `{{ batch | map(attribute='city.id') | join(',') }}`
    x.toml:15:24: template: a sequence is no text: name one of its values
    x.toml:15:24: `batch` is a list and has no `city.id`
      help: write `{{ batch | map(attribute='city.id') | join(',') }}`
    x.toml:15:52: `city` has no field `di`
      help: did you mean `id`?
    x.toml:15:47: there is no item set `town`
      help: known: `city`
    x.toml:15:46: template: unknown filter
    x.toml:15:57: `city` has no field `ids`
      help: did you mean `id`?
    x.toml:14:23: `city` is one item, and a batch has several
      help: write `{{ batch | map(attribute='city.id') | join(',') }}`
    x.toml:34:23: `city` differs within a batch, which is stored as one object
      help: make the partition of `params` and `job`
    x.toml:34:23: `batch` is not offered here
      help: only the request of [fetch] sees it
    x.toml:9:11: `batch` is not offered here
      help: only the request of [fetch] sees it
    x.toml:9:25: `job` is not offered in a key
      help: a key names an item, and is the same in every job
    x.toml:34:50: a job has no `day`
      help: known: `id`, `date`
    x.toml:34:41: the part `date` must be a date such as 2024-05-01
      help: make it of `job.date`, or of a parameter or a field whose type is `date`
    x.toml:8:10: the name `batch` means something else in templates
    x.toml:9:14: there is no item set `city`
      help: known: `params`, `batch`
    x.toml:15:47: there is no item set `city`
      help: known: `batch`
    x.toml:19:37: no item has a value `city.id`
      help: known: `batch.id`
    "#);
    let loops = "{% for item in batch %}{{ item.city.id }}{% if not loop.last %},{% endif %}{% endfor %}";
    let source = parse(&[("{{ batch | map(attribute='city.id') | join(',') }}", loops)]);
    let request = source.fetch(&job(&source, "x"), &items(&source), &env()).unwrap();
    assert_eq!(request.query[0], ("id".to_owned(), "1,2,3".to_owned()));
}

#[test]
fn batches_are_only_where_they_are_set() {
    let text =
        include_str!("../sources/buses.toml").replace("params.date }}\" }", "params.date }}\", id = \"{{ batch }}\" }");
    insta::assert_snapshot!(Definition::parse("x.toml", &text).unwrap_err(), @r#"
    x.toml:20:54: `batch` is used without being set
      help: add `batch = 20` to [fetch], and that many items are fetched with one request
    "#);
}

#[test]
fn secrets_stay_out_of_what_is_seen() {
    insta::assert_snapshot!(each(&[
        ("key    = \"{{ city.id }}\"", "key = \"{{ city.id }}{{ env.OPENWEATHER_API_KEY }}\""),
        ("\"request={{ params.id }}\"", "\"request={{ env.USER }}\""),
        ("{{ env.OPENWEATHER_API_KEY }}", "{{ env }}"),
        ("{{ env.OPENWEATHER_API_KEY }}", "{{ env['KEY'] }}"),
        ("{{ env.OPENWEATHER_API_KEY }}", "{{ env.KEY.first }}"),
        ("{{ env.OPENWEATHER_API_KEY }}", "{% for name in env %}{{ name }}{% endfor %}"),
    ]), @r#"
    x.toml:9:24: `env` is not offered here
      help: a secret goes into the requests of [fetch] and [[items]] only: keys are seen by everybody
    x.toml:34:26: `env` is not offered here
      help: a secret goes into the requests of [fetch] and [[items]] only: keys are seen by everybody
    x.toml:15:86: `env` is no text
      help: name one variable, such as `env.API_KEY`
    x.toml:15:86: `env` is no text
      help: name one variable, such as `env.API_KEY`
    x.toml:15:86: `env.KEY` is a single value
      help: write `env.KEY`
    x.toml:15:98: `env` is no text
      help: name one variable, such as `env.API_KEY`
    "#);
    insta::assert_snapshot!(each(&[("/data/2.5/group", "/data/{{ env.OPENWEATHER_API_KEY }}/group")]), @r"
    x.toml:14:23: `env` is not offered in a path
      help: paths are shown and stored: a secret goes into `auth`, `headers` or `query`
    ");

    // The engine's words may not repeat it.
    let source = parse(&[("{{ env.OPENWEATHER_API_KEY }}", "{{ env.OPENWEATHER_API_KEY | int }}")]);
    let env = Env::from([("OPENWEATHER_API_KEY".into(), "s3cret".into())]);
    let error = source.fetch(&job(&source, "x"), &items(&source), &env).unwrap_err().to_string();
    assert_eq!(error, "the fetch cannot be made for 3 items from `1` on: invalid operation");
}

#[test]
fn a_variable_that_is_not_set_is_named() {
    let source = parse(&[]);
    assert_eq!(source.env_names(), &BTreeSet::from(["OPENWEATHER_API_KEY".to_owned()]));
    for env in [Env::new(), Env::from([("OPENWEATHER_API_KEY".into(), String::new())])] {
        assert_eq!(source.missing_env(&env).collect::<Vec<_>>(), ["OPENWEATHER_API_KEY"]);
        let error = source.fetch(&job(&source, "x"), &items(&source), &env).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the fetch needs the environment variable `OPENWEATHER_API_KEY`, which is not set"
        );
    }
    assert_eq!(source.missing_env(&env()).count(), 0);
    assert!(Catalog::shipped().get("buses").unwrap().env_names().is_empty());
}

#[test]
fn lists() {
    insta::assert_snapshot!(each(&[
        ("[1, 2, 3]", "[]"),
        ("[1, 2, 3]", "7"),
        ("[1, 2, 3]", "[1, \"2\", 3.0, true, [4], 9223372036854775808]"),
        ("[1, 2, 3]", "[1, 2, { id = 1 }, 0x2]"),
        ("[1, 2, 3]", "[{ id = \"1\" }, { ident = 2 }, { id = 3, name = \"x\" }]"),
        ("[{ name = \"id\", type = \"integer\" }]\nlist   = [1, 2, 3]",
         "[{ name = \"id\", type = \"integer\" }, { name = \"since\", type = \"date\" }]\nlist = [1, { id = 2, since = 2024-02-29 }, { id = 3, since = \"2024-02-30\" }, { id = 4 }]"),
        ("[{ name = \"id\", type = \"integer\" }]", "[{ name = \"id\", type = \"intger\" }]"),
        ("list   = [1, 2, 3]", "list = [1]\npath = \"/cities\"\nrecords = \"$[*]\"\nquery = { a = 1 }"),
        ("list   = [1, 2, 3]", "lits = [1]"),
    ]), @r#"
    x.toml:11:10: `list` is empty
    x.toml:11:10: `list` must be a list, found an integer
    x.toml:11:14: `id` must be an integer, found "2"
      help: its type is in `fields`
    x.toml:11:19: `id` must be an integer, found 3.0
      help: its type is in `fields`
    x.toml:11:24: `id` must be an integer, found true
      help: its type is in `fields`
    x.toml:11:30: `id` must be an integer, found [4]
      help: its type is in `fields`
    x.toml:11:35: `id` must be an integer, found 9223372036854775808
      help: its type is in `fields`
    x.toml:11:17: { id = 1 } is in `list` twice
      help: name every item once
    x.toml:11:29: 0x2 is in `list` twice
      help: name every item once
    x.toml:11:18: `id` must be an integer, found "1"
      help: its type is in `fields`
    x.toml:11:25: an element of `list` lacks `id`
      help: every element has `id`
    x.toml:11:27: `city` has no field `ident`
      help: did you mean `id`?
    x.toml:11:50: `city` has no field `name`
      help: known: `id`
    x.toml:11:9: an element of `list` must be a table, found 1
      help: its fields are `id`, `since`: { … }
    x.toml:11:62: `since` must be a date, found "2024-02-30"
      help: its type is in `fields`
    x.toml:11:78: an element of `list` lacks `since`
      help: every element has `id`, `since`
    x.toml:10:33: no field has the type `intger`
      help: did you mean `integer`?
    x.toml:12:8: `path` has no meaning beside `list`
      help: items are listed by the upstream (`path`, `records`) or by the definition (`list`)
    x.toml:13:11: `records` has no meaning beside `list`
      help: items are listed by the upstream (`path`, `records`) or by the definition (`list`)
    x.toml:14:9: `query` has no meaning beside `list`
      help: items are listed by the upstream (`path`, `records`) or by the definition (`list`)
    x.toml:7:1: [[items]] lacks `path`
    x.toml:7:1: [[items]] lacks `records`
    x.toml:11:1: unknown key `lits` in [[items]]
      help: did you mean `list`?
    "#);
}

#[test]
fn fixed_items_are_of_every_type() {
    let fields = "[{ name = \"id\", type = \"integer\" }, { name = \"n\", type = \"number\" }, { name = \"s\", type = \"string\" }, \
        { name = \"b\", type = \"boolean\" }, { name = \"d\", type = \"date\" }, { name = \"t\", type = \"datetime\" }, { name = \"l\", type = \"duration\" }]";
    let one = "{ id = 1, n = 1.5, s = \"x\", b = true, d = 2024-05-01, t = 2024-05-01T08:44:00Z, l = \"PT1M\" }";
    let source = parse(&[("[{ name = \"id\", type = \"integer\" }]", fields), ("[1, 2, 3]", &format!("[{one}]"))]);
    let drafts = source.fixed(0, &JobContext::default(), &ItemDraft::default()).unwrap().unwrap();
    let expected = serde_json::json!({
        "id": 1, "n": 1.5, "s": "x", "b": true, "d": "2024-05-01", "t": "2024-05-01T08:44:00Z", "l": "PT1M",
    });
    assert_eq!(serde_json::to_value(&drafts[0].values["city"]).unwrap(), expected);
}

#[test]
fn fixed_items_and_listed_ones_multiply() {
    let above = "[[items]]\nname = \"region\"\nfields = [{ name = \"code\", type = \"string\" }]\nlist = [\"n\", \"s\"]\n\n[[items]]";
    let source = parse(&[("[[items]]", above), ("{{ city.id }}", "{{ region.code }}-{{ city.id }}")]);
    let mut keys = Vec::new();
    for region in source.fixed(0, &JobContext::default(), &ItemDraft::default()).unwrap().unwrap() {
        for draft in source.fixed(1, &JobContext::default(), &region).unwrap().unwrap() {
            keys.push(source.item(&Params::default(), draft).key);
        }
    }
    assert_eq!(keys, ["n-1", "n-2", "n-3", "s-1", "s-2", "s-3"]);
    assert_eq!(source.fixed(2, &JobContext::default(), &ItemDraft::default()).unwrap(), None);
    let none = ItemDraft::default();
    insta::assert_snapshot!(source.listing(0, &job(&source, "x"), &none, &env()).unwrap_err(), @"the items of `region` are listed by the definition, not by the upstream");
    assert_eq!(Catalog::shipped().get("buses").unwrap().fixed(0, &JobContext::default(), &none), Ok(None));
}

#[test]
fn the_shipped_weather_is_asked_in_batches() {
    let catalog = Catalog::shipped();
    let source = catalog.get("weather").unwrap();
    let items = items(source);
    let keys: BTreeSet<_> = items.iter().map(|item| &item.key).collect();
    assert_eq!((items.len(), keys.len(), source.batch()), (167, 167, 20));
    assert_eq!(source.limit(), Limit::Rate { items: 60, per: std::time::Duration::from_secs(60) });
    assert_eq!(source.partition_names(), ["request", "date"]);
    let job = job(source, "my/id 🌦");
    let Request { path, query, shown, .. } = source.fetch(&job, &items[..20], &env()).unwrap();
    assert_eq!((path.as_str(), shown.as_str()), ("/data/2.5/group", "/data/2.5/group"));
    insta::assert_snapshot!(query[0].1, @"3439525,3439781,3440645,3442098,3442778,3443341,3442233,3440781,3441572,3441575,3443207,3442546,3441287,3441242,3441686,3440639,3441354,3442057,3442585,3442727");
    assert_eq!(query[1], ("appid".to_owned(), SECRET.to_owned()));
    insta::assert_snapshot!(source.partition(&job, &items[..20]).unwrap(), @"request=my%2Fid%20%F0%9F%8C%A6/date=2024-05-01");
    insta::assert_snapshot!(source.object_item_key(&items[..20]).unwrap(), @"3439525-and-19-more-ce9fc27b69e4");
    assert_eq!(source.object_item_key(&items[160..161]).unwrap(), items[160].key);
    assert!(source.fetch(&job, &items[..21], &env()).is_err());
    assert!(source.fetch(&job, &[], &env()).is_err() && source.object_item_key(&[]).is_err());
    let one_by_one = catalog.get("buses").unwrap();
    assert_eq!((one_by_one.batch(), one_by_one.limit()), (1, Limit::Concurrency(16)));
    assert!(one_by_one.partition(&job, &items[..2]).is_err());
}

#[test]
fn keys_of_batches_are_readable_bounded_and_differ() {
    let source = parse(&[("batch     = 20", "batch = 3")]);
    let item = |key: &str| Item { key: key.into(), ..Item::default() };
    let key = |keys: &[&str]| source.object_item_key(&keys.iter().map(|key| item(key)).collect::<Vec<_>>()).unwrap();
    assert_eq!(key(&["a", "b"]), key(&["a", "b"]));
    let all = [key(&["a", "b"]), key(&["a", "c"]), key(&["a", "b", "c"]), key(&["a"]), key(&["b", "a"])];
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    // No percent-encoded byte is cut in two.
    let long = format!("{}%C3%A9{}", "x".repeat(172), "y".repeat(20));
    let cut = key(&[&long, "b"]);
    assert!(cut.len() <= 200 && cut.starts_with(&format!("{}%C3-and-1-more-", "x".repeat(172))), "{cut}");
    let name = ObjectName::new(
        "weather",
        "request=x",
        &cut,
        "2024-05-01T08:00:00Z".parse().unwrap(),
        &"ab".repeat(32),
        source.format(),
    );
    assert_eq!(ObjectName::parse(&name.key()).map(|name| name.item), Some(cut));
}

#[test]
fn a_clients_id_is_safe_in_a_partition() {
    let source = parse(&[]);
    let items = items(&source);
    let place = |id: &str| source.partition(&job(&source, id), &items).unwrap();
    insta::assert_snapshot!(["a/b/../c", "..", "🌦️", "a=b&c", " ", "%2F"].map(place).join("\n"), @r#"
    request=a%2Fb%2F..%2Fc/date=2024-05-01
    request=%2E%2E/date=2024-05-01
    request=%F0%9F%8C%A6%EF%B8%8F/date=2024-05-01
    request=a=b%26c/date=2024-05-01
    request=%20/date=2024-05-01
    request=%252F/date=2024-05-01
    "#);
    let (long, other) = ("é/".repeat(500), format!("{}x", "é/".repeat(499)));
    assert_ne!(place(&long), place(&other));
    assert!(place(&long).len() < 230 && place(&long).matches('/').count() == 1);
    let bind = |id: &str| {
        source.bind(
            &BTreeMap::from([("id".into(), id.into())]),
            DefaultsFrom { day: jiff::civil::date(2024, 5, 1), previous: None },
        )
    };
    assert!(bind("").is_err() && bind(&"x".repeat(1_001)).is_err() && bind(&"x".repeat(10_000)).is_err());
    assert!(bind(&"🌦".repeat(1_000)).is_ok());
}

#[test]
fn unanswered_items_are_told() {
    let source = parse(&[]);
    let items = items(&source);
    let unanswered = |body: &str| source.unanswered(&items, body.as_bytes());
    assert_eq!(unanswered(r#"{"cnt":2,"list":[{"id":3,"name":"c"},{"name":"a","id":1}]}"#), [1]);
    assert_eq!(unanswered(r#"{"list":[{"id":1},{"id":2},{"id":3},{"id":4}],"more":[{"deep":[[]]}]}"#), [0; 0]);
    assert_eq!(unanswered(r#"{"list":[{"id":1.0},{"id":2e0},{"id":3.5}]}"#), [2]);
    assert_eq!(unanswered("\u{feff}{\"list\" : [ {\"id\":2} ] }\n"), [0, 2]);
    assert_eq!(unanswered(r#"{"list":[]}"#), [0, 1, 2]);
    // Only records answer: not what stands beside them, and no other spelling.
    assert_eq!(unanswered(r#"{"id":1,"other":[{"id":2}],"list":[{"x":{"id":3}},{"id":"1"},{"id":null}]}"#), [0, 1, 2]);
    for broken in ["", "{", "[]", "null", r#"{"list":7}"#, r#"{"list":[7]}"#] {
        assert_eq!(unanswered(broken), [0, 1, 2], "{broken}");
    }
    let lines = parse(&[("format    = \"json\"\nrecords   = \"$.list[*]\"", "format = \"ndjson\"")]);
    assert_eq!(lines.unanswered(&items, b"{\"id\":3}\r\n\n{\"name\":\"x\",\"id\":1}"), [1]);
    let nested = parse(&[(
        "{ name = \"id\",   type = \"integer\"",
        "{ name = \"id\", path = \"$.x.ids[1]\", type = \"integer\"",
    )]);
    let unanswered = |body: &str| nested.unanswered(&items, body.as_bytes());
    assert_eq!(
        unanswered(r#"{"list":[{"id":1},{"x":{"ids":[1,2,3]}},{"x":null},{"x":[7]},{"x":{"ids":[0,3]}}]}"#),
        [0]
    );
    let deeper = parse(&[("$.list[*]", "$.a[*].list[*]")]);
    let unanswered = |body: &str| deeper.unanswered(&items, body.as_bytes());
    assert_eq!(
        unanswered(r#"{"a":[{"list":[{"id":3}]},{"list":null},{},{"list":{"x":{"id":1}}}],"list":[{"id":2}]}"#),
        [1]
    );
    let buses = Catalog::shipped();
    assert_eq!(buses.get("buses").unwrap().unanswered(&items, b"[]"), [0; 0]);
}

#[test]
fn text_and_values_of_two_items_may_answer_too() {
    let texts = parse(&[
        (
            "[{ name = \"id\", type = \"integer\" }]",
            "[{ name = \"id\", type = \"string\" }, { name = \"n\", type = \"integer\" }]",
        ),
        ("[1, 2, 3]", "[{ id = \"a\", n = 1 }, { id = \"ü\", n = 2 }, { id = \"a\", n = 3 }]"),
        ("{{ city.id }}", "{{ city.n }}"),
        ("{ name = \"id\",   type = \"integer\"", "{ name = \"id\", type = \"string\""),
    ]);
    let items = items(&texts);
    assert_eq!(texts.unanswered(&items, br#"{"list":[{"id":"a"}]}"#), [1]);
    assert_eq!(texts.unanswered(&items, br#"{"list":[{"id":"\u00fc"}]}"#), [0, 2]);
}

#[test]
fn rates_and_batches_of_any_sensible_size_are_accepted() {
    for (from, to) in [
        ("batch     = 20", "batch = 60"),
        ("batch     = 20", "batch = 1"),
        ("{ items = 60, per = \"PT1M\" }", "{ items = 1000000, per = \"P31D\" }"),
        ("per = \"PT1M\"", "per = \"PT0.001S\""),
        ("per = \"PT1M\"", "per = \"P1DT12H\""),
        ("[1, 2, 3]", "[1, { id = 2 }, -3]"),
        ("rate      = { items = 60, per = \"PT1M\" }", "concurrency = 2"),
    ] {
        parse(&[(from, to)]);
    }
    assert_eq!(parse(&[("rate      = { items = 60, per = \"PT1M\" }", "")]).limit(), Limit::Concurrency(4));
}
