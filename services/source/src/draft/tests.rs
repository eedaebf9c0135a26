//! Drafts of answers of many shapes: what they say, and that they are definitions.

use proptest::prelude::*;
use serde_json::json;
use url::Url;

use super::*;

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn draft_of(url: &str, headers: &[(&str, &str)], answered: &[(&str, &str)], body: &str) -> Draft {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let headers: Vec<_> = headers.iter().map(pair).collect();
    let asked = Asked::new(&Url::parse(url).unwrap(), &headers, None).unwrap();
    let answer = DraftAnswer { headers: &answered.iter().map(pair).collect(), body: body.as_bytes() };
    Draft::new(asked, &answer).unwrap()
}

/// The definition, whatever is guessed and whatever is refuted.
fn definition(draft: &Draft) -> Definition {
    Definition::parse("draft.toml", &draft.to_toml()).unwrap_or_else(|wrong| panic!("{wrong}\n{}", draft.to_toml()))
}

#[test]
fn a_draft_teaches_whoever_reads_it() {
    let body = json!({ "response": { "total": 34, "pages": 17, "results": [
        { "id": "a", "webPublicationDate": "2024-05-01T08:00:00Z", "isHosted": false, "fields": { "wordcount": "12" } },
        { "id": "b", "webPublicationDate": "2024-05-01T09:00:00Z", "isHosted": false, "pillar": null },
    ] } });
    let url = "https://content.guardianapis.com/search?q=climate&page-size=2&page=1&api-key=hunter2";
    let mut draft = draft_of(url, &[("Accept", "application/json")], &[], &body.to_string());
    insta::assert_snapshot!(draft.to_toml(), @r#"
    # Drafted from an answer of the API: read every line before you use it.

    name     = "guardianapis"  # in commands, URLs and object keys
    title    = "guardianapis: /search"  # one line for people
    base_url = "https://content.guardianapis.com"  # every `path` is below it
    # The credentials: values of environment variables, which nothing stores or shows.
    auth     = { query = { api-key = "{{ env.GUARDIANAPIS_KEY }}" } }

    # What there is to fetch: each item becomes one object. Here it is one item; the upstream can also list them
    # (`path` and `records`), or they are windows of time (`dates`).
    [[items]]
    name   = "part"
    list   = ["search"]
    fields = [{ name = "id", type = "string" }]
    key    = "{{ part.id }}"  # the object's name

    # The request.
    [fetch]
    path    = "/search"
    query   = { q = "climate", page-size = "{{ page.size }}", page = "{{ page.number }}" }
    headers = { Accept = "application/json" }
    records = "$.response.results[*]"  # where they are: 2 in this answer
    # How pages follow each other: `page` of the query is a number; nobody asked for page 2 yet.
    pagination = { type = "page", size = 2, stop = "page.number >= body.response.pages", total = "body.response.total" }
    # How hard the upstream may be worked, over all workers together: what its documentation allows.
    # rate = { requests = 60, per = "PT1M" }

    # What every record must look like, from 2 records; a file with one that differs is refused. Leave out
    # what you do not need: other members are ignored, and stored all the same. `required` is what all of these had.
    [record]
    fields = [
      { name = "id", type = "string", constraints = { required = true } },
      { name = "isHosted", type = "boolean", constraints = { required = true } },
      { name = "webPublicationDate", type = "datetime", constraints = { required = true } },
      { name = "fields_wordcount", type = "string", path = "$.fields.wordcount" },
    ]

    # Statistics, added up over all records: count, sum, min, max, any, all, avg. `GET /v1/stats/NAME` answers with them.
    [stats]
    all = "count"

    # The folder of the objects in the bucket. `job.date` is the day on which the job was submitted.
    [store]
    partition = ["date={{ job.date }}"]
    "#);
    draft.refute("page 2 has no records".to_owned());
    definition(&draft);
    let text = draft.to_toml();
    assert!(!text.contains("hunter2"), "{text}");
    insta::assert_snapshot!(text.split("[fetch]").nth(1).unwrap().split("# How hard").next().unwrap().trim(), @r#"
    path    = "/search"
    query   = { q = "climate", page-size = "2", page = "1" }
    headers = { Accept = "application/json" }
    records = "$.response.results[*]"  # where they are: 2 in this answer
    # Not confirmed: `page` of the query is a number, but page 2 has no records.
    #   query: page = "{{ page.number }}"
    #   query: page-size = "{{ page.size }}"
    #   pagination = { type = "page", size = 2, stop = "page.number >= body.response.pages", total = "body.response.total" }
    # This answer is not all there is: `response.total` is 34, and 2 records came. A job fails until
    # `pagination` says how pages follow each other; `{ type = "none" }` says that this is all.
    "#);
}

#[test]
fn answers_of_many_shapes_make_definitions() {
    let issues =
        json!([{ "id": 1, "user": { "login": "a" }, "labels": [] }, { "id": 2, "user": null, "labels": [{}] }]);
    let two = json!([{ "id": "a", "amount": 1 }, { "id": "b", "amount": 2.5 }]);
    let link = ("link", r#"<https://api.github.com/repositories/1/issues?page=2>; rel="next""#);
    let bearer = ("Authorization", "Bearer hunter2");
    let cases: &[(&str, Pairs, Pairs, String)] = &[
        ("https://api.github.com/repos/a/b/issues?per_page=2", &[bearer], &[link], issues.to_string()),
        (
            "https://api.stripe.com/v1/balance_transactions?limit=2",
            &[("Authorization", "Basic aHVudGVyMjo=")],
            &[],
            json!({ "object": "list", "has_more": true, "data": two }).to_string(),
        ),
        (
            "https://api.openaq.org/v3/locations?limit=2&page=1",
            &[("X-API-Key", "hunter2")],
            &[],
            json!({ "meta": { "page": 1, "limit": 2, "found": ">2" }, "results": two }).to_string(),
        ),
        (
            "https://openexchangerates.org/api/latest.json?app_id=hunter2",
            &[],
            &[],
            json!({ "base": "USD", "timestamp": 1, "rates": { "AED": 3.67, "AFN": 70, "ALL": 1e3 } }).to_string(),
        ),
        ("http://localhost:8000/", &[], &[], two.to_string()),
        (
            "http://localhost:8000/x.csv",
            &[],
            &[("content-type", "text/csv")],
            "id,when,n\n1,2024-05-01,\n2,,0.5\n".into(),
        ),
        ("http://localhost:8000/x", &[], &[], "{\"a\":1}\n{\"a\":null,\"b\":[1]}\n".into()),
        ("http://localhost:8000/x", &[], &[("content-type", "application/x-ndjson")], "{\"a\":1}\n".into()),
        ("http://localhost:8000/x", &[], &[], json!([["id", "a b"], [1, "x"], [2, "y"]]).to_string()),
        ("http://localhost:8000/x", &[], &[], json!([1, 2, 3]).to_string()),
        ("http://localhost:8000/x", &[], &[], json!([{ "a": 1 }, null, 7]).to_string()),
        ("http://localhost:8000/x", &[], &[], json!([]).to_string()),
        ("http://localhost:8000/x", &[], &[], json!({}).to_string()),
        ("http://localhost:8000/x", &[], &[], json!({ "id": 7, "sub": { "n": 1 } }).to_string()),
        (
            "https://graph.example.com/v1/users?$top=2",
            &[],
            &[],
            json!({ "@odata.nextLink": "https://graph.example.com/v1/users?$skip=2", "value": two }).to_string(),
        ),
        (
            "https://user:hunter2@x.example.com/a%20b/%7Bc%7D?a[]=1&a[]=2&q={{x}}&b=%22%0A&page[number]=1",
            &[("X-Odd", "{% y %}")],
            &[],
            json!({ "data": [{ "": 1, "a.b": "x", "q\"uo'te": { "\n": true }, "名": null, "name": "n", "$": 1 }] })
                .to_string(),
        ),
        (
            "https://x.example.com/x",
            &[],
            &[],
            json!({ "next_page_token": "t", "total": 9, "items": [{ "id": "a" }] }).to_string(),
        ),
        (
            "https://x.example.com/x?cursor=",
            &[],
            &[],
            json!({ "m": { "next": 2 }, "items": [{ "big": 1e300, "x": 9223372036854775808u64 }] }).to_string(),
        ),
        (
            "https://x.example.com/x",
            &[],
            &[],
            json!({ "a": { "name": 1, "x": 1 }, "b": { "name": 1 }, "c": { "name": 2, "x": 1 } }).to_string(),
        ),
    ];
    for (url, headers, answered, body) in cases {
        let mut draft = draft_of(url, headers, answered, body);
        loop {
            let text = draft.to_toml();
            definition(&draft);
            assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMj"), "{text}");
            if draft.guess().is_none() {
                break;
            }
            draft.refute("page 2 has\nno records".to_owned());
        }
    }
}

#[test]
fn what_was_not_sampled_widens_fields() {
    let mut rows: Vec<_> = (0..150).map(|id| json!({ "id": id, "always": "2024-05-01" })).collect();
    rows[120] = json!({ "id": "x", "always": null });
    let draft = draft_of("http://localhost/x", &[], &[], &json!(rows).to_string());
    let fields: Vec<_> = draft.fields.iter().map(|field| field.to_toml(true)).collect();
    insta::assert_snapshot!(fields.join("\n"), @r#"
    { name = "always", type = "date" }
    { name = "id", type = "any" }
    "#);
    assert_eq!(draft.count, 150);
}

#[test]
fn what_is_no_table_is_refused_in_words() {
    let asked = || Asked::new(&Url::parse("http://localhost/x").unwrap(), &[], None).unwrap();
    let said = |body: &str| {
        let answer = DraftAnswer { headers: &BTreeMap::new(), body: body.as_bytes() };
        Draft::new(asked(), &answer).unwrap_err().to_string()
    };
    insta::assert_snapshot!(["", "<!doctype html><p>", "hello", "7", "{\"a\":"].map(said).join("\n"), @r#"
    the answer is no JSON, NDJSON or CSV, but empty
    the answer is no JSON, NDJSON or CSV, but an HTML page
    the answer is no JSON, NDJSON or CSV, but hello
    the answer is no JSON, NDJSON or CSV, but 7
    the answer is no JSON, NDJSON or CSV, but {"a":
    "#);
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        (-1e20f64..1e20).prop_map(Json::from),
        ".{0,6}".prop_map(Json::from),
        Just(json!("2024-05-01")),
        Just(json!("2024-05-01T08:00:00Z")),
    ];
    let name = prop_oneof!["[a-c]", ".{0,4}", Just("next".to_owned()), Just("total".to_owned())];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            prop::collection::vec((name.clone(), inner), 0..6).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn every_json_document_makes_a_definition_that_reads_it(
        document in any_json(), name in "[a-z\\[\\]]{0,6}", value in ".{0,6}", header in "[ -~]{0,8}",
    ) {
        prop_assume!(document.is_array() || document.is_object());
        let mut url = Url::parse("http://localhost/x?page=1&per_page=2").unwrap();
        url.query_pairs_mut().append_pair(&name, &value);
        let asked = Asked::new(&url, &[("X-Any".to_owned(), header)], None).unwrap();
        let body = document.to_string();
        let answer = DraftAnswer { headers: &BTreeMap::new(), body: body.as_bytes() };
        let mut draft = Draft::new(asked, &answer).unwrap();
        definition(&draft);
        while draft.guess().is_some() {
            draft.refute("no".to_owned());
            definition(&draft);
        }
    }
}
