//! `waybill new` and `waybill try` as they are typed, against the stand-in upstream and a server that repeats all that it
//! is told, secrets included.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Output,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use poem::{Request, Server, endpoint::make_sync, listener::TcpAcceptor};
use serde_json::json;
use tokio::net::TcpListener;
use waybill_upstream::{Options, Paging, Running, Upstream, collections};

/// Has to be escaped in URLs, in JSON, and looks like nothing else.
const SECRET: &str = r#"hunter2/+%"\ x"#;
const FORM: &str = "hunter2%2F%2B%25%22%5C+x";

struct Typed {
    code: Option<i32>,
    out: String,
    err: String,
}

async fn waybill(arguments: &[&str], environment: &[(&str, &str)]) -> Typed {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_waybill"));
    command.args(arguments).envs(environment.iter().copied()).env("NO_PROXY", "*").kill_on_drop(true);
    let Output { status, stdout, stderr } = command.output().await.expect("waybill can be started");
    let text = |bytes| String::from_utf8(bytes).expect("waybill prints UTF-8");
    Typed { code: status.code(), out: text(stdout), err: text(stderr) }
}

fn shown(typed: &Typed) -> String {
    format!("{:?}\n{}\n{}", typed.code, typed.out, typed.err)
}

async fn upstream() -> Running {
    Upstream::new(Options::default()).start().await.expect("an upstream")
}

/// A definition of the collection `page` of the stand-in.
fn paged(folder: &Path, base: &str, fetch: &str, fields: &str) -> PathBuf {
    let text = format!(
        r#"
name     = "mine"
title    = "Mine"
base_url = "{base}"
params   = [{{ name = "from", type = "date" }}, {{ name = "n", type = "integer" }}]

[[items]]
name   = "part"
list   = ["a", "b"]
fields = [{{ name = "id", type = "string" }}]
key    = "{{{{ part.id }}}}"

[fetch]
path    = "/paged/page"
records = "$.results[*]"
{fetch}

[record]
fields = [{fields}]

[store]
partition = ["date={{{{ params.from }}}}"]
"#
    );
    let path = folder.join("mine.toml");
    std::fs::write(&path, text).expect("a file");
    path
}

const PAGES: &str = r#"query = { page = "{{ page.number }}" }
pagination = { type = "page", total = "body.total" }"#;
const ID: &str = r#"{ name = "id", type = "integer", constraints = { required = true } }"#;

#[tokio::test]
async fn new_drafts_what_the_stand_in_serves() {
    let upstream = upstream().await;
    let mut wrong = String::new();
    for (name, collection) in collections() {
        let url = format!("{}/paged/{name}", upstream.base_url());
        let (url, header) = match name.as_str() {
            "bearer" => (url, Some("Authorization: Bearer test")),
            "basic" => (url, Some("Authorization: Basic dGVzdDpzZWNyZXQ=")),
            "header" => (url, Some("X-Api-Key:test")),
            "query" => (format!("{url}?key=test"), None),
            // Its token is of another request.
            "oauth" => continue,
            _ => (url, None),
        };
        let mut arguments = vec!["new", &url, "--name", "mine"];
        arguments.extend(header.iter().flat_map(|header| ["-H", *header]));
        let typed = waybill(&arguments, &[]).await;
        let expected = match (collection.paging, name.as_str()) {
            (Paging::Page, _) => r#"pagination = { type = "page", "#,
            (Paging::Offset, _) => r#"pagination = { type = "offset", total = "body.total" }"#,
            (Paging::Cursor, _) => r#"pagination = { type = "cursor", next = "body.next_cursor" }"#,
            (Paging::LastId, _) => r#"pagination = { type = "cursor", next = "last.id", stop = "not body.has_more" }"#,
            (Paging::Link, _) => r#"pagination = { type = "link" }"#,
            (Paging::Next, _) => r#"pagination = { type = "link", next = "body.next" }"#,
            (Paging::List, _) => "# Not confirmed: ",
            (Paging::None, _) => "all = \"count\"",
        };
        let is_right = typed.code == Some(0)
            && typed.out.lines().any(|line| line.starts_with(expected))
            && waybill_source::Definition::parse("draft.toml", &typed.out).is_ok();
        if !is_right {
            wrong += &format!("{name}, expected {expected}: {}\n", shown(&typed));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[tokio::test]
async fn a_draft_can_be_tried_as_it_is() {
    let (upstream, folder) = (upstream().await, tempfile::tempdir().unwrap());
    let url = format!("{}/paged/rates", upstream.base_url());
    let file = folder.path().join("rates.toml").display().to_string();
    std::fs::write(&file, waybill(&["new", &url], &[]).await.out).unwrap();
    let typed = waybill(&["try", &file, "--pages", "9"], &[]).await;
    assert_eq!(typed.code, Some(0), "{}", shown(&typed));
    assert!(typed.out.contains("paging stops: `stop` holds"), "{}", shown(&typed));
}

#[tokio::test]
async fn what_new_is_refused_it_says() {
    let upstream = upstream().await;
    let base = upstream.base_url();
    let of = async |url: String| waybill(&["new", &url], &[]).await;
    let refused = of(format!("{base}/paged/query?key={SECRET}")).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("401") && refused.out.is_empty(), "{}", shown(&refused));
    hides(&shown(&refused));
    let nobody = of("http://127.0.0.1:1/x".to_owned()).await;
    assert!(nobody.err.contains("cannot be reached"), "{}", shown(&nobody));
}

#[tokio::test]
async fn try_says_all_that_is_missing_and_what_works() {
    let folder = tempfile::tempdir().unwrap();
    let auth = format!("{PAGES}\nheaders = {{ X-Key = \"{{{{ env.TRIAL_KEY }}}}\" }}");
    let file = paged(folder.path(), "http://127.0.0.1:1", &auth, ID).display().to_string();
    let typed = waybill(&["try", &file], &[]).await;
    assert_eq!(typed.code, Some(1));
    let command = format!("TRIAL_KEY=... waybill try {file} from=2024-05-01 n=1");
    for expected in
        ["from: a parameter, of type date", "n: a parameter", "TRIAL_KEY: an environment variable", &command]
    {
        assert!(typed.err.contains(expected), "{expected}: {}", shown(&typed));
    }
    let unknown = waybill(&["try", &file, "from=2024-05-01", "n=1", "x=1"], &[("TRIAL_KEY", "k")]).await;
    assert!(unknown.err.contains("parameter `x`"), "{}", shown(&unknown));
}

#[tokio::test]
async fn try_shows_requests_records_and_why_paging_ends() {
    let (upstream, folder) = (upstream().await, tempfile::tempdir().unwrap());
    let file = paged(folder.path(), upstream.base_url(), PAGES, ID).display().to_string();
    let given = ["try", &file, "from=2024-05-01", "n=1"];
    let typed = waybill(&[&given[..], &["--pages", "3", "--items", "2", "--record", "102"]].concat(), &[]).await;
    assert_eq!(typed.code, Some(0), "{}", shown(&typed));
    for expected in [
        "part: 2 items, which the definition says",
        r#"the first: id = "a""#,
        "a job stores it as data/mine/date=2024-05-01/a.*.ndjson",
        "page 3: GET /paged/page?page=3",
        "100 records as [record] says",
        "1: id = 1",
        r#"{"id":102,"#,
        "id = 102",
        "paging stops: as many records came as `total` says",
        r#"not in [record]: { name = "value", type = "number" } (in 100 of 100 records)"#,
        "fetch of b",
        "all is well",
    ] {
        assert!(typed.out.contains(expected), "{expected}: {}", shown(&typed));
    }
    let less = waybill(&given, &[]).await;
    assert!(
        less.out.contains("page 3 would be next, GET /paged/page?page=3: `--pages 3` asks for it"),
        "{}",
        shown(&less)
    );
}

#[tokio::test]
async fn a_record_that_fails_is_shown_with_its_place() {
    let (upstream, folder) = (upstream().await, tempfile::tempdir().unwrap());
    let fields = r#"{ name = "from", type = "integer", path = "$.period.from" }"#;
    let file = paged(folder.path(), upstream.base_url(), PAGES, fields).display().to_string();
    let typed = waybill(&["try", &file, "from=2024-05-01", "n=1"], &[]).await;
    assert_eq!(typed.code, Some(1), "{}", shown(&typed));
    for expected in [
        "record 1, byte ",
        "byte 82, `from` at $.period.from: expected an integer, found ",
        "record 1 is {\"id\":1",
        "1 thing is wrong",
    ] {
        assert!(typed.out.contains(expected), "{expected}: {}", shown(&typed));
    }
}

#[tokio::test]
async fn signs_of_more_that_nobody_claims_are_wrong() {
    let (upstream, folder) = (upstream().await, tempfile::tempdir().unwrap());
    let file = paged(folder.path(), upstream.base_url(), "", ID).display().to_string();
    let typed = waybill(&["try", &file, "from=2024-05-01", "n=1"], &[]).await;
    assert_eq!(typed.code, Some(1), "{}", shown(&typed));
    assert!(typed.out.contains("`total` is 250, and 100 records came"), "{}", shown(&typed));
}

#[tokio::test]
async fn what_cannot_be_tried_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let relay = concat!(env!("CARGO_MANIFEST_DIR"), "/../source/sources/relay.toml");
    let typed = waybill(&["try", relay], &[]).await;
    assert_eq!(typed.code, Some(1));
    assert!(typed.err.contains("each row of an uploaded file is a request"), "{}", shown(&typed));
    let empty = folder.path().join("empty.toml");
    std::fs::write(&empty, "").unwrap();
    let typed = waybill(&["try", &empty.display().to_string()], &[]).await;
    assert_eq!(typed.code, Some(1));
    assert!(typed.err.contains("empty.toml:1:1"), "{}", shown(&typed));
}

#[tokio::test]
async fn the_examples_can_be_tried() {
    let upstream = upstream().await;
    let base = upstream.base_url();
    let range = ["from=2024-05-01", "to=2024-05-20"];
    for (file, path, key, given) in [
        ("examples/guardian", "/guardian", "GUARDIAN_KEY", &range[..]),
        ("examples/openaq", "/openaq/v3", "OPENAQ_API_KEY", &range[..]),
        ("examples/openexchange", "/openexchange/api", "OXR_APP_ID", &range[..]),
        // Where no earlier job ended: at its first day.
        ("examples/stripe", "/stripe/v1", "STRIPE_KEY", &["to=2017-02-10"]),
        ("weather", "", "OPENWEATHER_API_KEY", &["id=x", "--items", "3"]),
    ] {
        let file = format!("{}/../source/sources/{file}.toml", env!("CARGO_MANIFEST_DIR"));
        let base = format!("{base}{path}");
        let arguments = [&["try", &file, "--base-url", &base][..], given].concat();
        let typed = waybill(&arguments, &[(key, "test")]).await;
        assert_eq!(typed.code, Some(0), "{}", shown(&typed));
        assert!(typed.out.contains("a job stores it as data/"), "{}", shown(&typed));
    }
}

/// A server that says all that it was told, and leads to a second page with the credential in its address.
async fn echo() -> (String, tokio::task::JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let answer = make_sync(|request: Request| {
        let headers: BTreeMap<_, _> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let pairs: BTreeMap<String, String> = request.params().unwrap_or_default();
        let is_second = pairs.contains_key("c");
        let body = json!({
            "results": [{ "id": if is_second { 2 } else { 1 }, "uri": request.uri().to_string(), "pairs": pairs, "headers": headers }],
            "next": (!is_second).then(|| format!("/echo?c=2&{query}")),
        });
        poem::Response::builder()
            .content_type("application/json")
            .header("x-ratelimit-remaining", format!("7; {query}"))
            .header("set-cookie", query)
            .body(body.to_string())
    });
    let acceptor = TcpAcceptor::from_tokio(listener).expect("a listener");
    (base, tokio::spawn(Server::new_with_acceptor(acceptor).run(answer)))
}

/// No spelling of the secret is in a text.
fn hides(text: &str) {
    let json = serde_json::to_string(SECRET).expect("a text");
    let twice = serde_json::to_string(json.trim_matches('"')).expect("a text");
    let pair = BASE64.encode(format!("user:{SECRET}"));
    let lower = FORM.to_ascii_lowercase();
    for secret in [
        SECRET,
        FORM,
        &lower,
        json.trim_matches('"'),
        twice.trim_matches('"'),
        &BASE64.encode(SECRET),
        &pair,
        &pair[8..20],
        "hunter2",
    ] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

#[tokio::test]
async fn no_secret_is_shown_or_saved_and_a_replay_needs_neither_network_nor_secret() {
    let (base, server) = echo().await;
    let folder = tempfile::tempdir().unwrap();
    for (auth, at) in [
        (r#"{ query = { key = "{{ env.TRIAL_KEY }}" } }"#, "query"),
        (r#"{ header = { X-Api-Key = "{{ env.TRIAL_KEY }}" } }"#, "header"),
        (r#"{ bearer = "{{ env.TRIAL_KEY }}" }"#, "bearer"),
        (r#"{ basic = ["user", "{{ env.TRIAL_KEY }}"] }"#, "basic"),
    ] {
        let text = format!(
            r#"
name     = "echo"
title    = "Echo"
base_url = "{base}"
auth     = {auth}

[[items]]
name    = "part"
path    = "/list"
records = "$.results[*]"
pagination = {{ type = "none" }}
fields  = [{{ name = "id", type = "integer" }}]
key     = "{{{{ part.id }}}}"

[fetch]
path       = "/echo"
query      = {{ other = "{{{{ env.TRIAL_KEY }}}}" }}
headers    = {{ X-More = "{{{{ env.TRIAL_KEY }}}}" }}
records    = "$.results[*]"
pagination = {{ type = "link", next = "body.next" }}

[record]
fields = [{ID}]

[store]
partition = ["date={{{{ job.date }}}}"]
"#
        );
        let file = folder.path().join(format!("{at}.toml"));
        std::fs::write(&file, text).unwrap();
        let (file, saved) = (file.display().to_string(), folder.path().join(at));
        let arguments = ["try", &file, "--record", "1", "--save", &saved.display().to_string()];
        let typed = waybill(&arguments, &[("TRIAL_KEY", SECRET)]).await;
        assert_eq!(typed.code, Some(0), "{}", shown(&typed));
        assert!(typed.out.contains("x-ratelimit-remaining: 7; "), "{}", shown(&typed));
        hides(&shown(&typed));
        let mut files = 0;
        for entry in std::fs::read_dir(&saved).unwrap() {
            hides(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
            files += 1;
        }
        assert_eq!(files, 4, "about all, the listing, and two pages");
    }
    let drafted =
        waybill(&["new", &format!("{base}/echo?key={FORM}&a=1"), "-H", &format!("X-Token: {SECRET}")], &[]).await;
    assert_eq!(drafted.code, Some(0), "{}", shown(&drafted));
    hides(&shown(&drafted));

    server.abort();
    let _ = server.await;
    for at in ["query", "header", "bearer", "basic"] {
        let (file, saved) = (folder.path().join(format!("{at}.toml")), folder.path().join(at));
        let arguments = ["try", &file.display().to_string(), "--replay", &saved.display().to_string()];
        let typed = waybill(&arguments, &[]).await;
        assert_eq!(typed.code, Some(0), "{}", shown(&typed));
        assert!(typed.out.contains("paging stops: `next` is empty"), "{}", shown(&typed));
    }
    let (file, saved) = (folder.path().join("query.toml"), folder.path().join("query").display().to_string());
    let changed = std::fs::read_to_string(&file).unwrap().replace("query      = {", "query      = { new = 1,");
    std::fs::write(&file, changed).unwrap();
    let typed = waybill(&["try", &file.display().to_string(), "--replay", &saved], &[]).await;
    assert_eq!(typed.code, Some(1), "{}", shown(&typed));
    assert!(typed.out.contains("has no answer to this request"), "{}", shown(&typed));
    let again = waybill(&["try", &file.display().to_string(), "--save", &saved], &[("TRIAL_KEY", SECRET)]).await;
    assert!(again.err.contains("the folder is not empty"), "{}", shown(&again));
}
