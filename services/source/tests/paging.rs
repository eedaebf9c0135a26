//! Pages: what a definition may say of them, what is asked for, and when all have come.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use url::Url;
use waybill_source::{Definition, Env, Format, ItemDraft, JobContext, PageAnswer, Pager, PagingError, Params, Request};

const ITEMS: &str = r#"
name     = "things"
title    = "Things"
base_url = "https://api.example.com/v1"
params   = [{ name = "day", type = "date" }]
auth     = { bearer = "{{ env.KEY }}" }

[[items]]
name   = "list"
key    = "{{ list.id }}"
fields = [{ name = "id", type = "integer" }]
list   = [7]

[record]
fields = [{ name = "id", type = "integer", constraints = { required = true } }]

[store]
partition = ["date={{ params.day }}"]

[fetch]
path    = "/lists/{{ list.id }}/things"
records = "$.data[*]"
"#;

fn with(fetch: &str) -> String {
    format!("{ITEMS}{fetch}")
}

fn parse(fetch: &str) -> Definition {
    Definition::parse("x.toml", &with(fetch)).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn said(fetch: &str) -> String {
    match Definition::parse("x.toml", &with(fetch)) {
        Ok(_) => panic!("accepted: {fetch}"),
        Err(mistakes) => mistakes.to_string(),
    }
}

fn job() -> JobContext {
    let params = Params(BTreeMap::from([("day".to_owned(), "2024-05-01".to_owned())]));
    JobContext { id: "018f3253-7a40-7c21-9d5e-6b1f0a2c4e88".into(), date: "2024-05-01".into(), params }
}

fn env() -> Env {
    Env::from([("KEY".to_owned(), "s3cret".to_owned())])
}

/// An answer with so many records, what is around them and its header `Link`.
type Reply = (u64, Value, Option<&'static str>);

/// Walks through the pages as a worker does: what was asked for, and how it ended.
fn walk(fetch: &str, answer: impl Fn(&Request, u64) -> Reply) -> (Vec<String>, Result<(), PagingError>) {
    let definition = parse(fetch);
    let draft = definition
        .fixed(0, &JobContext::default(), &ItemDraft::default())
        .expect("no template")
        .expect("a list")
        .remove(0);
    let items = [definition.item(&job().params, draft)];
    let mut pager = definition.fetch_pages(&job(), &items).expect("pages");
    let mut asked = Vec::new();
    loop {
        let request = pager.request(&env()).expect("a request");
        let shown: Vec<_> = request.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        asked.push(request.url.clone().unwrap_or_else(|| shown.join("&")));
        match step(&mut pager, &request, answer(&request, asked.len() as u64)) {
            Ok(true) => assert!(asked.len() < 20, "it goes on for ever"),
            Ok(false) => return (asked, Ok(())),
            Err(error) => return (asked, Err(error)),
        }
    }
}

fn step(pager: &mut Pager<'_>, request: &Request, (records, body, link): Reply) -> Result<bool, PagingError> {
    let headers = link.map(|link| ("link".to_owned(), link.to_owned())).into_iter().collect();
    let url = request.url.as_deref().unwrap_or("https://api.example.com/v1/lists/7/things?first");
    let last = body.get("last").cloned();
    let answer = PageAnswer {
        status: 200,
        headers: &headers,
        url: &Url::parse(url).expect("an address"),
        records,
        body: Some(&body),
        last: last.as_ref(),
        // Where nothing else is said, every page has other records.
        digest: body["digest"].as_u64().unwrap_or(1_000 + pager.page()),
    };
    pager.next(&request.query, &answer)
}

const PAGE: &str = r#"
query      = { page = "{{ page.number }}", limit = "{{ page.size }}" }
pagination = { type = "page", size = 100 }
"#;

#[test]
fn numbered_pages_end_with_one_of_no_records_and_never_with_a_short_one() {
    let (asked, end) = walk(PAGE, |_, page| ([100, 3, 100, 0][page as usize - 1], json!({}), None));
    assert_eq!(asked, ["page=1&limit=100", "page=2&limit=100", "page=3&limit=100", "page=4&limit=100"]);
    assert_eq!(end, Ok(()));

    let from_zero = PAGE.replace("size = 100", "size = 100, start = 0, stop = \"page.number >= body.last_page\"");
    // A number past all numbers is a page that was there.
    let last = PAGE.replace("size = 100", "size = 100, start = 9223372036854775807");
    let (_, end) = walk(&last, |_, page| (if page < 3 { 100 } else { 0 }, json!({}), None));
    assert_eq!(end, Ok(()));
    let (asked, end) = walk(&from_zero, |_, _| (100, json!({ "last_page": 1 }), None));
    assert_eq!((asked.len(), end), (2, Ok(())));
    // What is not known stops nothing.
    for unknown in [json!({}), json!({ "last_page": null })] {
        let (asked, end) = walk(&from_zero, |_, page| (if page < 4 { 100 } else { 0 }, unknown.clone(), None));
        assert_eq!((asked.len(), end), (4, Ok(())));
    }
}

#[test]
fn offsets_go_on_behind_the_page_or_behind_what_came() {
    let fetch = "query = { offset = \"{{ page.offset }}\" }\npagination = { type = \"offset\" }\n";
    let (asked, end) = walk(fetch, |_, page| ([100, 50, 0][page as usize - 1], json!({}), None));
    assert_eq!((asked, end), (["offset=0", "offset=100", "offset=150"].map(str::to_owned).into(), Ok(())));
    let sized = "query = { offset = \"{{ page.offset }}\", n = \"{{ page.size }}\" }\npagination = { type = \"offset\", size = 100 }\n";
    let (asked, end) = walk(sized, |_, page| ([50, 100, 7, 0][page as usize - 1], json!({}), None));
    let expected = ["offset=0&n=100", "offset=100&n=100", "offset=200&n=100", "offset=300&n=100"];
    assert_eq!((asked, end), (expected.map(str::to_owned).into(), Ok(())));
    // A server whose pages are smaller than that would be stepped over.
    let (asked, end) = walk(sized, |_, _| (20, json!({}), None));
    assert_eq!((asked.len(), end), (2, Err(PagingError::Capped { records: 20, size: 100 })));
    let (_, end) = walk(sized, |_, page| ([50, 20, 0][page as usize - 1], json!({}), None));
    assert_eq!(end, Err(PagingError::Capped { records: 50, size: 100 }), "the last of its pages may be shorter");
    let (_, end) = walk(sized, |_, page| ([50, 0][page as usize - 1], json!({}), None));
    assert_eq!(end, Ok(()), "one page may be all");
    let total = sized.replace("size = 100", "size = 100, total = \"body.total\"");
    let (_, end) = walk(&total, |_, page| ([50, 20][page as usize - 1], json!({ "total": 70 }), None));
    assert_eq!(end, Ok(()), "as many as there are");
}

#[test]
fn a_total_ends_it_and_fewer_records_than_that_are_a_failure() {
    let total = PAGE.replace("size = 100", "size = 100, total = \"body.meta.total\"");
    let of = |total: Value| json!({ "meta": { "total": total } });
    for total_of in [json!(150), json!("150")] {
        let (asked, end) = walk(&total, |_, page| ([100, 50][page as usize - 1], of(total_of.clone()), None));
        assert_eq!((asked.len(), end), (2, Ok(())));
    }
    // Null is unknown; what was announced before still holds.
    let (_, end) = walk(&total, |_, page| match page {
        1 => (100, of(json!(150)), None),
        2 => (40, of(Value::Null), None),
        _ => (0, json!({}), None),
    });
    assert_eq!(end.unwrap_err().to_string(), "has 140 records on 3 pages, though 150 were announced");
    let (_, end) = walk(&total, |_, page| (if page < 3 { 10 } else { 0 }, of(Value::Null), None));
    assert_eq!(end, Ok(()));
    let (_, end) = walk(&total, |_, _| (10, of(json!("many")), None));
    assert_eq!(end.unwrap_err().to_string(), "page 1: `total` gives no number of records");
    // A stop is no excuse.
    let stop = total.replace("size = 100", "size = 100, stop = \"page.index == 1\"");
    let (_, end) = walk(&stop, |_, _| (10, of(json!(21)), None));
    assert_eq!(end, Err(PagingError::TooFew { records: 20, pages: 2, total: 21 }));
}

const CURSOR: &str = r#"
query      = { after = "{{ page.cursor }}", limit = 2 }
pagination = { type = "cursor", next = "body.paging.next" }
"#;

/// Ids may begin with 0. Where a 0 means the end, `stop` says so.
#[test]
fn a_cursor_may_be_a_zero() {
    let fetch = "query = { after = \"{{ page.cursor }}\" }\npagination = { type = \"cursor\", next = \"body.next\" }\n";
    let next = |page: u64| [json!({ "next": 0 }), json!({ "next": "" }), json!({})][page as usize - 1].clone();
    let (asked, end) = walk(fetch, |_, page| (1, next(page), None));
    assert_eq!((asked, end), (["", "after=0"].map(str::to_owned).into(), Ok(())));
}

#[test]
fn a_cursor_is_left_out_at_first_and_an_empty_page_with_a_next_goes_on() {
    let (asked, end) = walk(CURSOR, |_, page| match page {
        1 => (2, json!({ "paging": { "next": "a b" } }), None),
        2 => (0, json!({ "paging": { "next": 17 } }), None),
        3 => (1, json!({ "paging": { "next": "c" } }), None),
        _ => (2, json!({}), None),
    });
    assert_eq!(asked, ["limit=2", "after=a b&limit=2", "after=17&limit=2", "after=c&limit=2"]);
    assert_eq!(end, Ok(()));
    for nothing in [json!(null), json!(""), json!([]), json!(false)] {
        let (asked, end) = walk(CURSOR, |_, _| (2, json!({ "paging": { "next": nothing } }), None));
        assert_eq!((asked.len(), end), (1, Ok(())), "{nothing}");
    }
    let last = CURSOR.replace("body.paging.next", "last.id").replace("type =", "stop = \"not body.has_more\", type =");
    let (asked, end) = walk(&last, |_, page| (2, json!({ "last": { "id": page }, "has_more": page < 3 }), None));
    assert_eq!(asked, ["limit=2", "after=1&limit=2", "after=2&limit=2"]);
    assert_eq!(end, Ok(()));
}

#[test]
fn links_are_followed_whole_from_the_header_or_the_body() {
    let link = "query = { a = 1 }\npagination = { type = \"link\" }\n";
    let (asked, end) = walk(link, |_, page| match page {
        1 => (2, json!({}), Some("</v1/x?page=2>; rel=\"NEXT\", </v1/x?page=1>; rel=prev")),
        2 => (0, json!({}), Some("<?page=3>; rel=next")),
        _ => (2, json!({}), Some("</v1/x?page=1>; rel=first")),
    });
    let second = "https://api.example.com/v1/x?page=2";
    assert_eq!(asked, ["a=1", second, "https://api.example.com/v1/x?page=3"]);
    assert_eq!(end, Ok(()));
    let of_body = link.replace("\"link\"", "\"link\", next = \"body.links.next\"");
    let (asked, end) = walk(&of_body, |_, page| match page {
        1 => (2, json!({ "links": { "next": second } }), None),
        _ => (2, json!({ "links": { "next": null } }), None),
    });
    assert_eq!((asked, end), (vec!["a=1".to_owned(), second.to_owned()], Ok(())));
}

#[test]
fn a_page_that_comes_again_is_a_failure() {
    let again = |page, before| Err(PagingError::Again { page, before, advice: "`stop` or `total`" });
    let again_by_next = |page, before| Err(PagingError::Again { page, before, advice: "`stop`" });
    // The last page once more, as some servers answer past the end.
    let (asked, end) = walk(PAGE, |_, page| (3, json!({ "digest": page.min(3) }), None));
    assert_eq!((asked.len(), end.clone()), (4, again(4, 3)));
    assert_eq!(end.unwrap_err().to_string(), "page 4 is page 3 again: say `stop` or `total`");
    // An earlier one.
    let (_, end) = walk(PAGE, |_, page| (3, json!({ "digest": page % 3 }), None));
    assert_eq!(end, again(4, 1));
    let next = |next: &str| json!({ "paging": { "next": next } });
    let (asked, end) = walk(CURSOR, |_, page| (2, next(["a", "b", "a"][page as usize - 1]), None));
    assert_eq!((asked.len(), end), (3, again_by_next(4, 2)));
    // Other cursors, and the same records.
    let (asked, end) = walk(CURSOR, |_, page| (2, json!({ "paging": { "next": page }, "digest": page.min(2) }), None));
    assert_eq!((asked.len(), end), (3, again_by_next(3, 2)));
    let link = "pagination = { type = \"link\" }\n";
    let (asked, end) = walk(link, |_, _| (2, json!({}), Some("<https://api.example.com/v1/x?page=2>; rel=next")));
    assert_eq!((asked.len(), end), (2, again_by_next(3, 2)));
    // Pages without records are alike, and no loop.
    let (_, end) = walk(CURSOR, |_, page| {
        (0, json!({ "paging": { "next": if page < 5 { json!(page) } else { json!(null) } }, "digest": 1 }), None)
    });
    assert_eq!(end, Ok(()));
}

#[test]
fn the_last_page_that_is_allowed_may_not_go_on() {
    let most = PAGE.replace("size = 100", "size = 100, max_pages = 3");
    let (asked, end) = walk(&most, |_, _| (100, json!({}), None));
    assert_eq!((asked.len(), end.clone()), (3, Err(PagingError::TooMany(3))));
    assert_eq!(end.unwrap_err().to_string(), "has more than 3 pages, the most that `max_pages` allows");
    let (_, end) = walk(&most, |_, page| (if page < 3 { 100 } else { 0 }, json!({}), None));
    assert_eq!(end, Ok(()));
}

#[test]
fn a_list_says_which_pages_there_are() {
    let list =
        "query = { id = \"{{ page.cursor }}\" }\npagination = { type = \"list\", of = \"['a', 'b', params.day]\" }\n";
    let (asked, end) = walk(list, |_, page| ([2, 0, 2][page as usize - 1], json!({ "digest": 1 }), None));
    assert_eq!((asked, end), (["id=a", "id=b", "id=2024-05-01"].map(str::to_owned).into(), Ok(())));
    let definition = parse(&list.replace("['a', 'b', params.day]", "[]"));
    let draft = definition
        .fixed(0, &JobContext::default(), &ItemDraft::default())
        .expect("no template")
        .expect("a list")
        .remove(0);
    let error = definition.fetch_pages(&job(), &[definition.item(&job().params, draft)]).unwrap_err();
    assert!(error.to_string().ends_with("`of` gives an empty list"), "{error}");
}

#[test]
fn without_pages_signs_of_more_are_a_failure() {
    let one = |fetch: &str, body: Value, records: u64| walk(fetch, |_, _| (records, body.clone(), None)).1;
    let limit = "query = { limit = \"{{ 100 }}\" }\n";
    let said = one(limit, json!({}), 100).unwrap_err().to_string();
    insta::assert_snapshot!(said, @r#"is one page of several (`limit` asks for 100 records, and as many came): say in `pagination` how they follow each other, or `{ type = "none" }` where this is all"#);
    assert_eq!(one(limit, json!({}), 99), Ok(()));
    assert_eq!(one(limit, json!({ "meta": { "total": 99 } }), 99), Ok(()));
    assert!(one(limit, json!({ "meta": { "total": 100 } }), 99).is_err());
    let none = format!("{limit}pagination = {{ type = \"none\" }}\n");
    assert_eq!(one(&none, json!({ "next": "x" }), 100), Ok(()));
    let full = format!("{limit}full = 100\n");
    assert_eq!(one(&full, json!({}), 99), Ok(()));
    let said = one(&full, json!({}), 100).unwrap_err().to_string();
    assert_eq!(said, "has 100 records, and `full = 100` says that more of them were cut off");
    assert!(one(&full, json!({ "has_more": true }), 99).is_err());
}

#[test]
fn defaults_are_for_every_request_and_give_way() {
    let text = r#"
name     = "things"
title    = "Things"
base_url = "https://api.example.com"

[request]
query       = { page = "{{ page.number }}", lang = "en" }
headers     = { X-Version = 1 }
pagination  = { type = "page" }
rate        = { requests = 60, per = "PT1M" }
timeout     = "PT2H"

[[items]]
name    = "list"
path    = "/lists"
records = "$[*]"
fields  = [{ name = "id", type = "integer" }]

[[items]]
name       = "part"
path       = "/lists/{{ list.id }}"
query      = { lang = "de", tag = ["a", "b"] }
headers    = { x-version = "2" }
records    = "$[*]"
pagination = { type = "none" }
key        = "{{ part.id }}"
fields     = [{ name = "id", type = "integer" }]

[fetch]
path       = "/parts/{{ part.id }}"
query      = { after = "{{ page.cursor }}" }
records    = "$[*]"
pagination = { type = "cursor", next = "body.next" }

[record]
fields = [{ name = "id", type = "integer" }]

[store]
partition = ["date={{ job.date }}"]
"#;
    let definition = Definition::parse("x.toml", text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let draft =
        ItemDraft { values: BTreeMap::from([("list".to_owned(), BTreeMap::from([("id".to_owned(), json!(7))]))]) };
    let shown = |request: Request| {
        let pairs = |pairs: &[(String, String)]| {
            pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
        };
        format!("{} {} {}", request.path, pairs(&request.query), pairs(&request.headers))
    };
    let first = definition.listing(0, &job(), &ItemDraft::default(), &Env::new()).unwrap();
    assert_eq!(shown(first), "/lists page=1&lang=en X-Version=1");
    let second = definition.listing(1, &job(), &draft, &Env::new()).unwrap();
    assert_eq!(shown(second), "/lists/7 lang=de&tag=a&tag=b x-version=2");
    assert_eq!(definition.timeout().as_secs(), 7_200);
    assert_eq!(definition.format(), Format::Ndjson);
    assert!(matches!(definition.limit(), waybill_source::Limit::Rate { items: 60, .. }));
}

#[test]
fn credentials_are_apart_and_shown_nowhere() {
    let with_auth = |auth: &str| {
        let text = with("").replace("{ bearer = \"{{ env.KEY }}\" }", auth);
        let definition = Definition::parse("x.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let draft = definition
            .fixed(0, &JobContext::default(), &ItemDraft::default())
            .expect("no template")
            .expect("a list")
            .remove(0);
        let request = definition.fetch(&job(), &[definition.item(&job().params, draft)], &env()).unwrap();
        assert!(!format!("{request:?}").contains("s3cret"));
        let waybill_source::Credentials { headers, query } = request.auth;
        format!("{headers:?} {query:?} {:?}", definition.encoded_secret(&env()))
    };
    insta::assert_snapshot!([
        "{ bearer = \"{{ env.KEY }}\" }",
        "{ basic = [\"me\", \"{{ env.KEY }}\"] }",
        "{ header = { X-Key = \"{{ env.KEY }}\" } }",
        "{ query = { api_key = \"{{ env.KEY }}\" } }",
    ].map(with_auth).join("\n"), @r#"
    [("Authorization", "Bearer s3cret")] [] None
    [("Authorization", "Basic bWU6czNjcmV0")] [] Some("bWU6czNjcmV0")
    [("X-Key", "s3cret")] [] None
    [] [("api_key", "s3cret")] None
    "#);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    insta::assert_snapshot!([
        "pagination = { type = \"page\" }\n",
        "pagination = { type = \"pages\" }\n",
        "query = { page = \"{{ page.number }}\" }\n",
        "query = { page = \"{{ page.number }}\" }\npagination = { type = \"page\", size = 0 }\n",
        "query = { page = \"{{ page.number }}\", n = \"{{ page.offset }}\" }\npagination = { type = \"page\" }\n",
        "query = { page = \"{{ page.number }}\" }\npagination = { type = \"page\", size = 10 }\n",
        "query = { c = \"{{ page.cursor }}\" }\npagination = { type = \"cursor\" }\n",
        "query = { c = \"{{ page.cursor }}\" }\npagination = { type = \"cursor\", next = \"{{ body.next }}\" }\n",
        "query = { c = \"{{ page.cursor }}\" }\npagination = { type = \"cursor\", next = \"body.next |\" }\n",
        "query = { c = \"{{ page.cursor }}\" }\npagination = { type = \"cursor\", next = \"boddy.next | lenth\" }\n",
        "query = { c = \"{{ page.cursor }}\" }\npagination = { type = \"cursor\", next = \"env.KEY\" }\n",
        "query = { c = \"{{ page.cursor }}\" }\npagination = { type = \"cursor\", next = \"page.nr\" }\n",
        "query = { c = \"{{ body.next }}\" }\n",
        "pagination = { type = \"link\" }\nfull = 100\n",
        "full = 0\n",
        "url = \"https://api.example.com/v1/{{ env.KEY }}\"\n",
        "url = \"https://api.example.com/v2/{{ list.id }}\"\n",
        "url = \"/v1/x\"\n",
    ].map(said).join("\n"), @r#"
    x.toml:20:1: `pagination` has a `page.number` that no template reads
      help: such as query = { page = "{{ page.number }}" }
    x.toml:23:23: there is no type of `pagination` `pages`
      help: known: `page`, `offset`, `cursor`, `link`, `list`, `none`
    x.toml:23:22: `page` is read, and there is no `pagination`
      help: add a `pagination`, such as { type = "page", size = 100 }
    x.toml:24:38: `size` must be between 1 and 1000000, found 0
    x.toml:23:47: a page of this `pagination` has no `offset`
      help: known: `number`, `index`
    x.toml:20:1: `pagination` has a `size` that no template reads
      help: ask for it, such as query = { limit = "{{ page.size }}" }, or leave it out
    x.toml:24:14: `pagination` lacks `next`
    x.toml:24:40: `next` is an expression, and no template
      help: an expression stands without braces, such as `body.next`
    x.toml:24:51: expression: unexpected end of input, expected identifier
      help: an expression such as `body.has_more` stands without braces
    x.toml:24:41: there is no item set `boddy`
      help: did you mean `body`?
    x.toml:24:54: unknown filter `lenth`
      help: did you mean `length`?
    x.toml:24:41: `env` is not offered in an expression
      help: what an expression gives is shown and sent: it is made of the answer
    x.toml:24:41: a page has no `nr`
      help: known: `number`, `size`, `offset`, `cursor`, `index`, `records`
    x.toml:23:19: there is no item set `body`
      help: known: `params`, `job`, `env`, `list`
    x.toml:24:8: `full` is for a request without `pagination`
      help: leave it out: pages are followed to their end
    x.toml:23:8: `full` must be at least 1, found 0
    x.toml:23:7: `path` and `url` exclude each other
      help: `path` is below `base_url`, `url` is a whole address
    x.toml:23:38: `env` is not offered in a path
      help: paths are shown and stored: a secret goes into `auth`, `headers` or `query`
    x.toml:23:7: `path` and `url` exclude each other
      help: `path` is below `base_url`, `url` is a whole address
    x.toml:23:7: `url` is neither below `base_url` nor at one of `hosts`
      help: name its host, such as hosts = ["files.example.com"]; it is given no credentials
    x.toml:23:7: `path` and `url` exclude each other
      help: `path` is below `base_url`, `url` is a whole address
    x.toml:23:7: `url` is neither below `base_url` nor at one of `hosts`
      help: name its host, such as hosts = ["files.example.com"]; it is given no credentials
    "#);
}

#[test]
fn what_is_rarely_meant_is_a_warning() {
    let warnings = |text: &str| {
        let definition = Definition::parse("x.toml", text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        definition.warnings().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(warnings(&with("query = { limit = 100 }\n")), @r"
    x.toml:23:11: `limit` may cut the answer, and nothing says what follows then
      help: add a `pagination`, or `full`: so many records are a failure then
    ");
    insta::assert_snapshot!(warnings(&with("").replace("https://", "http://")), @r"
    x.toml:6:12: `auth` is sent over http://, where everybody on the way can read it
      help: let `base_url` begin with https://
    ");
    assert_eq!(warnings(&with("query = { limit = 100 }\nfull = 100\n")), "");
    assert_eq!(warnings(&with("").replace("https://api.example.com", "http://127.0.0.1:8000")), "");
}
