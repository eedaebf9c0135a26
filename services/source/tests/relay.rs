//! A source whose items are the rows of an upload: what is refused of a definition, and what comes of a row.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use waybill_source::{
    Catalog, DefaultsFrom, Definition, Env, Format, ItemDraft, JobContext, Judgement, Limit, Method, OnUnknown, Params,
    Request, Row, RowOutcome, RowResult, Statistics,
};

const RELAY: &str = include_str!("../sources/relay.toml");

fn changed(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(RELAY.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    })
}

/// One change each, and what is said of it.
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

fn job() -> JobContext {
    let id = "018f3253-7a40-7c21-9d5e-6b1f0a2c4e88".into();
    JobContext { id, date: "2024-05-01".into(), params: Params::default() }
}

fn row(values: Value) -> Row {
    let Value::Object(values) = values else { panic!("an object") };
    Row { line: 2, values: values.into_iter().collect(), problem: None }
}

fn good() -> Row {
    row(json!({ "userId": 1, "title": "a \"b\"", "body": "ä\n{{ env.KEY }}" }))
}

const JSON: &str =
    r#"body.json  = { userId = "{{ row.userId }}", title = "{{ row.title }}", body = "{{ row.body }}" }"#;
const RESULT: &str = r#"result     = { userId = "{{ row.userId }}", postId = "$.id" }"#;

#[test]
fn the_shipped_relay() {
    let catalog = Catalog::shipped();
    let source = catalog.get("relay").unwrap();
    assert_eq!((source.format(), source.batch(), source.levels()), (Format::Ndjson, 200, 1));
    assert_eq!(source.limit(), Limit::Rate { items: 7, per: Duration::from_secs(1) });
    assert_eq!((source.timeout(), source.max_bytes()), (Duration::from_secs(60), 1_000_000));
    let upload = source.upload().unwrap();
    let names = |fields: &[waybill_source::Field]| {
        fields.iter().map(|field| format!("{}: {:?}", field.name, field.kind)).collect::<Vec<_>>().join(", ")
    };
    assert_eq!((upload.name(), upload.on_unknown()), ("row", OnUnknown::Report));
    insta::assert_snapshot!(names(&upload.schema().fields), @"userId: Integer, title: String, body: String");
    insta::assert_snapshot!(names(&source.schema().fields), @"line: Integer, result: String, reason: String, userId: Integer");
    insta::assert_snapshot!(source.partition(&job(), &[waybill_source::Item::default()]).unwrap(), @"job=018f3253-7a40-7c21-9d5e-6b1f0a2c4e88/date=2024-05-01");
    assert_eq!(source.date(&job()).as_deref(), Some("2024-05-01"));
    assert_eq!(source.fixed(0, &JobContext::default(), &ItemDraft::default()).unwrap(), None);
    insta::assert_snapshot!(source.listing(0, &job(), &ItemDraft::default(), &Env::new()).unwrap_err(), @"the items of `row` are uploaded by the client, not by the upstream");
    insta::assert_snapshot!(source.fetch(&job(), &[waybill_source::Item::default()], &Env::new()).unwrap_err(), @"the requests of this source are made of the rows of an upload");
    assert!(catalog.get("buses").unwrap().upload().is_none());
}

#[test]
fn uploads() {
    insta::assert_snapshot!(each(&[
        ("\"csv\"", "\"json\""),
        ("\"csv\"", "7"),
        ("upload = \"csv\" ", "upload = \"csv\"\nkey = \"{{ row.id }}\"\nfields = []\nlist = [1]\n# "),
        ("upload = \"csv\" ", "upload = \"csv\"\npath = \"/rows\"\nrecords = \"$[*]\"\n# "),
        ("upload = \"csv\" ", "uplaod = \"csv\" "),
        ("[fetch]", "[[items]]\nname = \"city\"\nlist = [1]\nkey = \"{{ city.id }}\"\nfields = [{ name = \"id\", type = \"integer\" }]\n[fetch]"),
        ("timeout ", "format = \"json\"\nrecords = \"$[*]\"\nmatch = { record = \"id\", item = \"row.id\" }\ntimeout "),
        ("\"1 MB\"", "\"10 GB\""),
        ("batch      = 200", "batch      = 1001"),
        ("\"userId\",", "\"line\","),
    ]), @r#"
    x.toml:8:10: there is no upload `json`
      help: known: `csv`
    x.toml:8:10: `upload` must be a string, found an integer
    x.toml:9:7: `key` has no meaning beside `upload`
      help: the rows are what the client uploads, and [record] says what a row must be
    x.toml:10:10: `fields` has no meaning beside `upload`
      help: the rows are what the client uploads, and [record] says what a row must be
    x.toml:11:8: `list` has no meaning beside `upload`
      help: the rows are what the client uploads, and [record] says what a row must be
    x.toml:9:8: `path` has no meaning beside `upload`
      help: the rows are what the client uploads, and [record] says what a row must be
    x.toml:10:11: `records` has no meaning beside `upload`
      help: the rows are what the client uploads, and [record] says what a row must be
    x.toml:6:1: [[items]] lacks `fields`
    x.toml:6:1: [[items]] lacks `path`
    x.toml:6:1: [[items]] lacks `records`
    x.toml:6:1: [[items]] lacks `key`
    x.toml:8:1: unknown key `uplaod` in [[items]]
      help: did you mean `upload`?
    x.toml:10:1: [fetch] lacks `records`
    x.toml:13:29: `row` is one item, and a batch has several
      help: write `{{ batch | map(attribute='row.userId') | join(',') }}`
    x.toml:13:57: `row` is one item, and a batch has several
      help: write `{{ batch | map(attribute='row.title') | join(',') }}`
    x.toml:13:83: `row` is one item, and a batch has several
      help: write `{{ batch | map(attribute='row.body') | join(',') }}`
    x.toml:14:14: `result` is only for sources whose items are an upload
      help: an upload is [[items]] with `upload = "csv"`
    x.toml:15:14: `batch` lacks `match`
      help: say which record answers which item: match = { record = "id", item = "city.id" }
    x.toml:16:27: a request of a batch is for several items
      help: say how many items: { items = 60, per = "PT1M" }
    x.toml:17:14: `on_unknown` is only for sources whose items are an upload
      help: an upload is [[items]] with `upload = "csv"`
    x.toml:30:23: no record has a field `result`
      help: known: `userId`, `title`, `body`
    x.toml:31:23: no record has a field `result`
      help: known: `userId`, `title`, `body`
    x.toml:32:23: no record has a field `result`
      help: known: `userId`, `title`, `body`
    x.toml:8:10: `upload` must be the only [[items]]
      help: a job has one upload, and its rows are the items
    x.toml:18:10: `format` has no meaning for the rows of an upload
      help: what is stored are the outcomes of the rows, one JSON object a line
    x.toml:19:11: `records` has no meaning for the rows of an upload
      help: what is stored are the outcomes of the rows, one JSON object a line
    x.toml:20:9: `match` has no meaning for the rows of an upload
      help: the answer to a request is its row's
    x.toml:19:14: `max_bytes` is too large
      help: the answer to a row is held in memory: at most "16 MiB"
    x.toml:15:14: `batch` must be between 1 and 1000, found 1001
      help: so many rows are one task, and each is a request of its own
    x.toml:13:29: `row` has no field `userId`
      help: known: `line`, `title`, `body`, `line`
    x.toml:14:29: `row` has no field `userId`
      help: known: `line`, `title`, `body`, `line`
    x.toml:23:3: a row has a `line` of its own
      help: the number of a row's line is called so: rename the column, or leave it out
    "#);
}

#[test]
fn what_the_templates_of_a_row_see() {
    insta::assert_snapshot!(each(&[
        ("{{ row.title }}", "{{ row.titel }}"),
        ("{{ row.title }}", "{{ rows.title }}"),
        ("{{ row.title }}", "{{ batch }}"),
        ("{{ row.title }}", "{{ row.title | nope }}"),
        ("{{ row.title }}", "{{ row.title"),
        ("{{ row.title }}", "{{ row.title.first }}"),
        ("{{ row.title }}", "x {{ row }}"),
        ("\"/posts\"", "\"/posts/{{ row.nope }}\""),
        ("job={{ job.id }}", "user={{ row.userId }}"),
        ("job={{ job.id }}", "user={{ batch }}"),
        ("result     = { userId = \"{{ row.userId }}\"", "result = { userId = \"{{ row.useId }}\""),
        ("result     = { userId = \"{{ row.userId }}\"", "result = { userId = \"{{ env.KEY }}\""),
        ("result     = { userId = \"{{ row.userId }}\"", "result = { userId = \"{{ job.id }}\""),
        ("\"title\",  type = \"string\"", "\"title\", type = \"text\""),
    ]), @r#"
    x.toml:13:57: `row` has no field `titel`
      help: did you mean `title`?
    x.toml:13:57: there is no item set `rows`
      help: did you mean `row`?
    x.toml:13:57: `batch` is not offered here
      help: a request is made of one row: `{{ row.userId }}`
    x.toml:13:69: unknown filter `nope`
      help: known: `slug`, `lower`, `upper`, `replace`, `trim`, `default`, `int`, `round`, `string`, `length`, `map`, `join`
    x.toml:13:61: template: unexpected end of input, expected end of variable block
    x.toml:13:57: `row.title` is a single value
      help: write `row.title`
    x.toml:13:59: template: a map is no text: name one of its values
    x.toml:12:25: `row` has no field `nope`
      help: known: `userId`, `title`, `body`, `line`
    x.toml:35:23: `row` differs within a batch, which is stored as one object
      help: make the partition of `params` and `job`
    x.toml:35:23: `batch` is not offered here
      help: only the request of [fetch] sees it
    x.toml:14:25: `row` has no field `useId`
      help: did you mean `userId`?
    x.toml:14:25: `env` is not offered in `result`
      help: a result is made of the row, or is a path into the answer such as `$.id`
    x.toml:14:25: `job` is not offered in `result`
      help: a result is made of the row, or is a path into the answer such as `$.id`
    x.toml:24:28: no field has the type `text`
      help: known: `string`, `integer`, `number`, `boolean`, `datetime`, `date`, `duration`, `object`, `array`, `any`
    "#);
}

#[test]
fn requests() {
    insta::assert_snapshot!(each(&[
        ("\"POST\"", "\"post\""),
        ("\"POST\"", "\"GET\""),
        ("body.json ", "headers = { \"X Key\" = \"a\", Host = \"b\", x-a = \"c\", X-A = \"d\", X-B = \"é\" }\nbody.json "),
        (JSON, "body = \"x\""),
        (JSON, "body = {}"),
        (JSON, "body = { text = \"a\", form = {} }"),
        (JSON, "body = { xml = \"a\" }"),
        (JSON, "body.json = { a = nan, b = [{ c = \"{{ row.d }}\" }] }"),
        (JSON, "body.form = { a = [1] }"),
        (JSON, "body.text = \"{{ row.nope }}\""),
        ("{ requests = 7, per", "{ requests = 7, items = 7, per"),
        ("{ requests = 7, per", "{ per"),
        ("{ requests = 7, per", "{ requests = 0, per"),
    ]), @r#"
    x.toml:11:14: there is no method `post`
      help: known: `GET`, `POST`, `PUT`, `PATCH`, `DELETE`
    x.toml:11:14: a GET has no body
      help: leave `method` out, and it is POST
    x.toml:13:13: `X Key` cannot be the name of a header
      help: letters, digits and `-`, such as `X-Api-Key`
    x.toml:13:28: the header `Host` is set by the worker
      help: leave it out
    x.toml:13:51: there are two headers `x-a`
    x.toml:13:68: a header's value must be one line of visible ASCII
    x.toml:13:8: `body` must be a table, found a string
    x.toml:13:8: `body` must have exactly one of `json`, `form`, `text`
      help: such as body.json = { title = "{{ row.title }}" }
    x.toml:13:8: `body` must have exactly one of `json`, `form`, `text`
      help: such as body.json = { title = "{{ row.title }}" }
    x.toml:13:8: `body` must have exactly one of `json`, `form`, `text`
      help: such as body.json = { title = "{{ row.title }}" }
    x.toml:13:10: unknown key `xml` in `body`
      help: known: `json`, `form`, `text`
    x.toml:13:19: JSON cannot have this number: write it in quotes
    x.toml:13:39: `row` has no field `d`
      help: known: `userId`, `title`, `body`, `line`
    x.toml:13:19: `a` must be a string, a whole number or a boolean, found a list
    x.toml:13:17: `row` has no field `nope`
      help: known: `userId`, `title`, `body`, `line`
    x.toml:16:27: `requests` and `items` exclude each other
      help: leave one of them out
    x.toml:16:14: `rate` lacks `requests`
    x.toml:16:27: `requests` must be between 1 and 1000000, found 0
      help: for less than one item in a time, make the time longer; to fetch nothing, submit no job
    "#);
    let weather = include_str!("../sources/weather.toml");
    let buses = include_str!("../sources/buses.toml");
    let said = |text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        Definition::parse("x.toml", &text.replacen(from, to, 1)).unwrap_err().to_string()
    };
    insta::assert_snapshot!([
        said(weather, "{ items = 60", "{ requests = 60"),
        said(buses, "concurrency = 16", "body.json = {}\nresult = { a = \"$.id\" }\non = []\non_unknown = \"report\""),
        said(buses, "concurrency = 16", "method = \"DELETE\""),
    ].join("\n"), @r#"
    x.toml:38:26: a request of a batch is for several items
      help: say how many items: { items = 60, per = "PT1M" }
    x.toml:24:10: `result` is only for sources whose items are an upload
      help: an upload is [[items]] with `upload = "csv"`
    x.toml:25:6: `on` is only for sources whose items are an upload
      help: an upload is [[items]] with `upload = "csv"`
    x.toml:26:14: `on_unknown` is only for sources whose items are an upload
      help: an upload is [[items]] with `upload = "csv"`
    x.toml:23:10: a method other than GET and POST is only for sources whose items are an upload
      help: what is fetched may be asked for twice
    "#);
    let per_file = buses.replacen("concurrency = 16", "method = \"GET\"\nrate = { requests = 3, per = \"PT1S\" }", 1);
    let limit = Definition::parse("x.toml", &per_file).unwrap().limit();
    assert_eq!(limit, Limit::Rate { items: 3, per: Duration::from_secs(1) });
}

#[test]
fn results_and_rules() {
    insta::assert_snapshot!(each(&[
        (RESULT, "result = { line = \"$.id\", reason = \"$.id\", 1st = \"$.id\", \"post-id\" = \"$.id\" }"),
        (RESULT, "result = { a = 1 }"),
        (RESULT, "result = { a = \"$.id[*]\" }"),
        (RESULT, "result = { a = \"$..id\" }"),
        (RESULT, "result = { a = \"$ {{ row.title }}\" }"),
        ("\"report\" ", "\"retry\" "),
        ("timeout ", "on = []\ntimeout "),
        ("timeout ", "on = [{ status = 409, action = \"fail\" }]\ntimeout "),
        ("timeout ", "on = [{ action = \"fail\" }, { status = [99, 600], action = \"fail\" }]\ntimeout "),
        ("timeout ", "on = [{ status = [409], action = \"skip\" }]\ntimeout "),
        ("timeout ", "on = [{ status = [409], action = \"fail\", wait = \"PT1S\", when = \"body.a\" }]\ntimeout "),
        ("timeout ", "on = [{ status = [409], action = \"retry\", wait = \"10s\", reason = \"\" }]\ntimeout "),
        ("timeout ", "on = [{ status = [409], action = \"retry\", wait = 10 }]\ntimeout "),
        ("timeout ", "on = [{ status = [409], action = \"retry\" }, { status = [409], action = \"fail\" }]\ntimeout "),
        ("{ result = \"done\" }", "{ result = \"don\" }"),
        ("{ result = \"done\" }", "{ title = \"done\" }"),
        ("{ result = \"done\" }", "{ postId = 1 }"),
    ]), @r#"
    x.toml:14:12: the name `line` is taken
      help: every outcome has `line`, `result`, `reason` of its own
    x.toml:14:27: the name `reason` is taken
      help: every outcome has `line`, `result`, `reason` of its own
    x.toml:14:44: `1st` cannot be the name of a result
      help: a letter, then letters, digits and `_`, at most 63
    x.toml:14:58: `post-id` cannot be the name of a result
      help: a letter, then letters, digits and `_`, at most 63
    x.toml:14:16: `a` must be a string, found an integer
    x.toml:14:21: a path leads to one value: name members and indices
      help: a path such as `$.id` or `$.items[0].id`
    x.toml:14:18: a path leads to one value: name members and indices
      help: a path such as `$.id` or `$.items[0].id`
    x.toml:14:18: expected `.name`, `['name']` or `[0]`
      help: a path such as `$.id` or `$.items[0].id`
    x.toml:17:14: there is no `on_unknown` `retry`
      help: known: `report`, `resend`
    x.toml:18:6: `on` is empty
    x.toml:18:18: `status` must be a list, found an integer
    x.toml:18:7: a rule of `on` lacks `status`
    x.toml:18:40: a status is between 200 and 599, found 99
    x.toml:18:44: a status is between 200 and 599, found 600
    x.toml:18:34: there is no action `skip`
      help: known: `retry`, `fail`, `unknown`, `done`
    x.toml:18:49: `wait` is for `retry` only
      help: leave it out
    x.toml:18:57: unknown key `when` in a rule of `on`
      help: known: `status`, `action`, `reason`, `wait`
    x.toml:18:50: `10s` cannot be a wait
      help: an ISO 8601 duration such as `PT10S`, at most an hour
    x.toml:18:66: `reason` must be one line of 1 to 200 characters
    x.toml:18:50: `wait` must be a duration such as "PT10S", found an integer
    x.toml:18:57: the status 409 is in a rule above, which wins
    x.toml:30:32: `result` is never `don`
      help: did you mean `done`?
    x.toml:30:23: no record has a field `title`
      help: known: `line`, `result`, `reason`, `userId`
    x.toml:30:23: no record has a field `postId`
      help: known: `line`, `result`, `reason`, `userId`
    "#);
}

#[test]
fn a_row_becomes_a_request() {
    let shown = |request: Request| {
        let Request { method, path, query, headers, body, shown, .. } = request;
        let body = body.map_or_else(String::new, |body| format!("\n{}: {}", body.content_type, body.text));
        format!("{} {path} {shown} {query:?} {headers:?}{body}", method.as_str())
    };
    let ask = |source: &Definition, row: &Row| {
        let env = Env::from([("KEY".into(), "s3cret".into())]);
        source.row_request(&job(), row, &env).map_or_else(|error| error.to_string(), shown)
    };
    let optional =
        ("\"title\",  type = \"string\",  constraints = { required = true }", "\"title\", type = \"string\"");
    let no_title = row(json!({ "userId": 1, "body": "b" }));
    let typed = r#"body.json = { a = [1, -1.5, true, "x", 2024-05-01, "{{ row.userId }}", "{{ row.userId + 1 }}"], b = { c = "n° {{ row.userId }}", d = "{{- row.userId -}}", e = "{{ [row.userId, row.line] }}", f = "{{ row.userId > 0 }}" }, g = "{{ none }}" }"#;
    let rest = r#"headers = { Authorization = "Bearer {{ env.KEY }}", X-Line = "{{ row.line }}", X-None = "{{ none }}", Content-Type = "application/vnd.api+json" }
query = { u = "{{ row.userId }}", t = "{{ row.title }}", all = true }"#;
    let bad = Row { problem: Some("column `userId`: expected an integer, found nothing".into()), ..good() };
    insta::assert_snapshot!([
        ask(&parse(&[]), &good()),
        ask(&parse(&[(JSON, typed)]), &good()),
        ask(&parse(&[(JSON, &format!("{JSON}\n{rest}"))]), &good()),
        ask(&parse(&[(JSON, "body.form = { a = \"{{ row.body }}\", b = \"{{ none }}\", c = 1 }")]), &good()),
        ask(&parse(&[(JSON, "body.text = \"<t>{{ row.title }}</t>\"")]), &good()),
        ask(&parse(&[(JSON, ""), ("\"/posts\"", "\"/posts/{{ row.userId }}\""), ("\"POST\"", "\"DELETE\"")]), &good()),
        ask(&parse(&[("method     = \"POST\"\n", "")]), &good()),
        ask(&parse(&[optional]), &no_title),
        ask(&parse(&[optional, ("{{ row.title }}", "<{{ row.title }}>")]), &no_title),
        ask(&parse(&[optional, ("{{ row.title }}", "<{{ row.title or 'untitled' }}>")]), &no_title),
        ask(&parse(&[(JSON, "headers = { X-Body = \"{{ row.body }}\" }")]), &good()),
        ask(&parse(&[]), &bad),
        parse(&[(JSON, rest)]).row_request(&job(), &good(), &Env::new()).unwrap_err().to_string(),
    ].join("\n"), @r#"
    POST /posts /posts [] []
    application/json: {"body":"ä\n{{ env.KEY }}","title":"a \"b\"","userId":1}
    POST /posts /posts [] []
    application/json: {"a":[1,-1.5,true,"x","2024-05-01",1,2],"b":{"c":"n° 1","d":1,"e":[1,2],"f":true}}
    POST /posts /posts [("u", "1"), ("t", "a \"b\""), ("all", "true")] [("Authorization", "Bearer s3cret"), ("X-Line", "2")]
    application/vnd.api+json: {"body":"ä\n{{ env.KEY }}","title":"a \"b\"","userId":1}
    POST /posts /posts [] []
    application/x-www-form-urlencoded: a=%C3%A4%0A%7B%7B+env.KEY+%7D%7D&c=1
    POST /posts /posts [] []
    text/plain; charset=utf-8: <t>a "b"</t>
    DELETE /posts/1 /posts/1 [] []
    POST /posts /posts [] []
    application/json: {"body":"ä\n{{ env.KEY }}","title":"a \"b\"","userId":1}
    POST /posts /posts [] []
    application/json: {"body":"b","userId":1}
    the request cannot be made for line 2: there is no value: say what stands for it, such as `row.title or ''`
    POST /posts /posts [] []
    application/json: {"body":"b","title":"<untitled>","userId":1}
    the request cannot be made for line 2: a header's value must be one line of visible ASCII
    column `userId`: expected an integer, found nothing
    the request needs the environment variable `KEY`, which is not set
    "#);
    let source = parse(&[(JSON, &format!("{JSON}\n{rest}"))]);
    assert_eq!(source.env_names().iter().collect::<Vec<_>>(), ["KEY"]);
    let request = source.row_request(&job(), &good(), &Env::from([("KEY".into(), "s3cret".into())])).unwrap();
    assert_eq!(request.method, Method::Post);
    assert_eq!(format!("{request:?}"), "Request { method: Post, shown: \"/posts\", .. }");
    assert!(!format!("{:?}", request.body).contains("title"));
}

#[test]
fn files_are_asked_for_with_headers() {
    let buses = include_str!("../sources/buses.toml");
    let header = "headers = { X-Api-Key = \"{{ env.KEY }}\", X-City = \"{{ city.id }}\" }\nformat ";
    let text = buses.replacen("format ", header, 1).replacen(
        "path    = \"/cities\"",
        "path = \"/cities\"\nheaders = { X-Api-Key = \"{{ env.KEY }}\" }",
        1,
    );
    let source = Definition::parse("x.toml", &text).unwrap();
    let env = Env::from([("KEY".into(), "s3cret".into())]);
    let params = source
        .bind(
            &BTreeMap::from([("date".into(), "2024-05-01".into())]),
            DefaultsFrom { day: jiff::civil::date(2024, 5, 1), previous: None },
        )
        .unwrap();
    let job = JobContext { params, ..job() };
    let listing = source.listing(0, &job, &ItemDraft::default(), &env).unwrap();
    assert_eq!(listing.headers, [("X-Api-Key".to_owned(), "s3cret".to_owned())]);
    let drafts = source.expand(0, &ItemDraft::default(), br#"[{"id": 7, "name": "a", "country": "b"}]"#).unwrap();
    let item = source.item(&job.params, drafts[0].clone());
    let request = source.fetch(&job, &[item], &env).unwrap();
    assert_eq!(request.headers[1], ("X-City".to_owned(), "7".to_owned()));
    assert_eq!((request.method, request.body), (Method::Get, None));
    insta::assert_snapshot!(source.listing(0, &job, &ItemDraft::default(), &Env::new()).unwrap_err(), @"the listing of `city` needs the environment variable `KEY`, which is not set");
}

#[test]
fn answers_are_judged() {
    let rules = "on = [{ status = [409, 422], action = \"retry\", wait = \"PT10S\", reason = \"it is locked\" }, { status = [202, 503], action = \"fail\" }]\ntimeout ";
    let (plain, ruled) = (parse(&[]), parse(&[("timeout ", rules)]));
    let judged = |source: &Definition, statuses: &[u16]| {
        statuses
            .iter()
            .map(|status| format!("{status}: {:?}", source.judge(*status, b"")))
            .collect::<Vec<_>>()
            .join("\n")
    };
    insta::assert_snapshot!(judged(&plain, &[200, 201, 204, 301, 400, 404, 408, 425, 429, 500, 502, 503, 504]), @r#"
    200: Done
    201: Done
    204: Done
    301: Error("status 301")
    400: Error("status 400")
    404: Error("status 404")
    408: Retry { wait: None, reason: "status 408" }
    425: Retry { wait: None, reason: "status 425" }
    429: Retry { wait: None, reason: "status 429" }
    500: Unknown("status 500")
    502: Unknown("status 502")
    503: Retry { wait: None, reason: "status 503" }
    504: Unknown("status 504")
    "#);
    insta::assert_snapshot!(judged(&ruled, &[200, 202, 409, 422, 503, 500]), @r#"
    200: Done
    202: Error("status 202")
    409: Retry { wait: Some(10s), reason: "status 409: it is locked" }
    422: Retry { wait: Some(10s), reason: "status 422: it is locked" }
    503: Error("status 503")
    500: Unknown("status 500")
    "#);
    assert_eq!(plain.judge(201, b""), Judgement::Done);
}

#[test]
fn outcomes_keep_what_is_asked_for() {
    let source = parse(&[(
        RESULT,
        r#"result = { userId = "{{ row.userId }}", text = "{{ row.title }}!", next = "{{ row.userId + 1 }}", at = "{{ row.line }}", postId = "$.id", first = "$.list[0]['a b']", all = "$" }"#,
    )]);
    let line = |row: &Row, result, reason: Option<&str>, answer: Option<&str>| {
        source.outcome(row, result, reason.map(str::to_owned), answer.map(str::as_bytes)).to_json_line()
    };
    let bad = Row { problem: Some("x".into()), ..row(json!({ "title": "t" })) };
    insta::assert_snapshot!([
        line(&good(), RowResult::Done, None, Some(r#" {"id": 101, "list": [{"a b": [1.5, null]}], "x": 1e400} "#)),
        line(&good(), RowResult::Done, None, Some(r#"{"id": 18446744073709551617, "list": []}"#)),
        line(&good(), RowResult::Error, Some("status 400: \"no\""), Some("<html>")),
        line(&good(), RowResult::Unknown, Some("the answer was lost"), None),
        line(&bad, RowResult::Error, Some("column `userId`: expected an integer, found nothing"), None),
    ].join("\n"), @r#"
    {"line":2,"result":"done","all":null,"at":2,"first":[1.5,null],"next":2,"postId":101,"text":"a \"b\"!","userId":1}
    {"line":2,"result":"done","all":{"id":1.8446744073709552e+19,"list":[]},"at":2,"first":null,"next":2,"postId":"18446744073709551617","text":"a \"b\"!","userId":1}
    {"line":2,"result":"error","reason":"status 400: \"no\"","all":null,"at":2,"first":null,"next":2,"postId":null,"text":"a \"b\"!","userId":1}
    {"line":2,"result":"unknown","reason":"the answer was lost","all":null,"at":2,"first":null,"next":2,"postId":null,"text":"a \"b\"!","userId":1}
    {"line":2,"result":"error","reason":"column `userId`: expected an integer, found nothing","all":null,"at":2,"first":null,"next":null,"postId":null,"text":"t!","userId":null}
    "#);
    let names: Vec<_> = source.schema().fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["line", "result", "reason", "userId", "at"]);

    let large = "x".repeat(600_000);
    let outcome = source.outcome(
        &good(),
        RowResult::Done,
        Some("é".repeat(2_000)),
        Some(&serde_json::to_vec(&json!({ "id": 7, "list": [{ "a b": large }] })).unwrap()),
    );
    assert_eq!(
        (&outcome.values["postId"], &outcome.values["first"], &outcome.values["all"]),
        (&json!(7), &Value::Null, &Value::Null)
    );
    let reason = outcome.reason.as_deref().unwrap();
    assert!(reason.ends_with("é…; too large to be kept: `all`, `first`"), "{reason}");
    assert!(outcome.to_json_line().len() < 10_000);
}

#[test]
fn outcomes_are_records_that_add_up() {
    let source = parse(&[]);
    let outcome = |result, row: &Row| source.outcome(row, result, None, Some(br#"{"id": 101}"#)).to_json_line() + "\n";
    let bad = row(json!({ "title": "t", "body": "b" }));
    let object = [
        outcome(RowResult::Done, &good()),
        outcome(RowResult::Done, &good()),
        outcome(RowResult::Error, &bad),
        outcome(RowResult::Unknown, &good()),
    ]
    .concat();
    let mut scanner = source.scanner();
    scanner.push(object.as_bytes()).unwrap();
    let scanned = scanner.finish().unwrap();
    let statistics: &Statistics = source.statistics();
    insta::assert_snapshot!(json!(statistics.to_json(&scanned.totals)), @r#"{"done":2,"errors":1,"rows":4,"unknown":1}"#);
    insta::assert_snapshot!(statistics.to_metadata(&scanned.totals).into_iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join(", "), @"rows: 4, done: 2, errors: 1, unknown: 1");
    assert!(source.adds_up_with(&parse(&[("\"PT1M\"", "\"PT2M\"")])));
    assert!(!source.adds_up_with(&parse(&[("{ result = \"error\" }", "{ result = \"unknown\" }")])));
}

#[test]
fn lines_that_are_no_outcomes() {
    let said = |text: &str| RowOutcome::parse_lines(text.as_bytes()).unwrap_err().to_string();
    insta::assert_snapshot!([
        "\n{}", "[]", r#"{"line":1,"result":"ok"}"#, r#"{"line":-1,"result":"done"}"#, "{\"line\":1,\"result\":\"done\"}\n{",
    ].map(said).join("\n"), @r#"
    outcome 2: expected an object with `line` and `result`, found no `line`
    outcome 1: expected an object with `line` and `result`, found invalid type: sequence, expected a map at line 1 column 0
    outcome 1: expected an object with `line` and `result`, found `result` "ok"
    outcome 1: expected an object with `line` and `result`, found `line` -1
    outcome 2: expected an object with `line` and `result`, found EOF while parsing an object at line 1 column 1
    "#);
    assert_eq!(RowOutcome::parse_lines(b"\n\r\n"), Ok(vec![]));
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e15..1e15).prop_filter("a fraction", |number: &f64| number.fract() != 0.0).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    let whole = prop_oneof![any::<i64>().prop_map(Value::from), ".{0,12}".prop_map(Value::from)];
    prop_oneof![
        leaf,
        prop::collection::vec(whole.clone(), 0..3).prop_map(Value::from),
        prop::collection::btree_map(".{0,6}", whole, 0..3).prop_map(Value::from_iter),
    ]
}

proptest! {
    #[test]
    fn outcomes_are_read_back(
        outcomes in prop::collection::vec((any::<u64>(), 0..3_usize, prop::option::of(".{0,20}"), prop::collection::btree_map("[a-kA-Z][a-zA-Z0-9_]{0,4}", any_value(), 0..4)), 0..5),
    ) {
        let results = [RowResult::Done, RowResult::Error, RowResult::Unknown];
        let outcomes: Vec<_> = outcomes
            .into_iter()
            .map(|(line, result, reason, values)| RowOutcome { line, result: results[result], reason, values: Map::from_iter(values) })
            .collect();
        let text: String = outcomes.iter().map(|outcome| outcome.to_json_line() + "\n").collect();
        prop_assert_eq!(RowOutcome::parse_lines(text.as_bytes()), Ok(outcomes));
    }

    /// Whatever is wrong, it is told: nothing panics, and nothing is refused without a reason.
    #[test]
    fn any_cut_definition_is_told_about(from: prop::sample::Index, length in 0usize..200) {
        let from = RELAY.floor_char_boundary(from.index(RELAY.len()));
        let to = RELAY.floor_char_boundary((from + length).min(RELAY.len()));
        if let Err(diagnostics) = Definition::parse("x.toml", &format!("{}{}", &RELAY[..from], &RELAY[to..])) {
            prop_assert!(!diagnostics.0.is_empty());
        }
    }
}
