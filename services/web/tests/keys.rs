//! What a client sees of API keys, and of the headers that every answer has.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::{Arc, Mutex};

use poem::{
    Endpoint, Request, Response,
    http::StatusCode,
    test::{TestClient, TestRequestBuilder},
};
use poem_openapi::{OpenApi, param::Path, payload::Json};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio_util::sync::CancellationToken;
use waybill_web::{
    ApiKeys, AppConfig, Caller, HitCounter, KeySettings, Metrics, NewKey, Probes, Problem, RateSettings, app,
};

struct Things;

#[OpenApi]
impl Things {
    /// Reads things.
    #[oai(path = "/things", method = "get")]
    async fn things(&self, request: &Request) -> Json<Option<String>> {
        Json(Caller::of(request).name().map(str::to_owned))
    }

    /// Makes a thing.
    #[oai(path = "/things", method = "post")]
    async fn make(&self) -> Json<bool> {
        Json(true)
    }

    /// Reads things, by a question that is too long for a URL.
    #[oai(path = "/questions", method = "post")]
    async fn ask(&self) -> Json<bool> {
        Json(true)
    }

    /// Changes what somebody made.
    #[oai(path = "/things/:by", method = "post")]
    async fn change(&self, request: &Request, by: Path<String>) -> Result<Json<bool>, Problem> {
        Caller::of(request).may_change((by.0 != "nobody").then_some(&by.0))?;
        Ok(Json(true))
    }
}

struct Room<E> {
    client: TestClient<E>,
    registry: Arc<Registry>,
    /// Paths that were counted.
    hits: Arc<Mutex<Vec<String>>>,
    /// By scope, or by name.
    keys: Vec<(&'static str, String)>,
}

fn room() -> Room<impl Endpoint<Output = Response>> {
    let names = [("read", "read"), ("submit", "submit"), ("other", "submit"), ("admin", "admin"), ("seldom", "read")];
    let (mut keys, mut settings) = (Vec::new(), Vec::new());
    for (name, scope) in names {
        let NewKey { key, hash } = NewKey::random().unwrap();
        keys.push((name, key));
        let rate = (name == "seldom").then(|| RateSettings { requests: 2, per: "PT1H".to_owned() });
        settings.push(KeySettings { name: name.to_owned(), scopes: vec![scope.to_owned()], hash, rate });
    }
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let registry = Arc::new(registry);
    let keys_set = ApiKeys::new(&settings).unwrap();
    let hits = Arc::new(Mutex::new(Vec::new()));
    let counter = Arc::clone(&hits);
    let front = AppConfig {
        keys: keys_set,
        metrics,
        registry: Arc::clone(&registry),
        reads: &["/questions"],
        hits: HitCounter::new(move |path| counter.lock().unwrap().push(path.to_owned())),
        ..AppConfig::default()
    };
    let probes = Probes { checks: Vec::new(), warnings: Vec::new(), shutdown: CancellationToken::new() };
    Room { client: TestClient::new(app(Things, probes, front)), registry, hits, keys }
}

impl<E: Endpoint<Output = Response>> Room<E> {
    fn key(&self, name: &str) -> &str {
        &self.keys.iter().find(|(known, _)| *known == name).unwrap().1
    }

    fn sign<'a>(&self, name: &str, request: TestRequestBuilder<'a, E>) -> TestRequestBuilder<'a, E> {
        request.header("authorization", format!("Bearer {}", self.key(name)))
    }

    async fn status(&self, name: &str, request: TestRequestBuilder<'_, E>) -> u16 {
        self.sign(name, request).send().await.0.status().as_u16()
    }

    fn count(&self, reason: &str) -> u64 {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        let name = format!("auth_failures_total{{reason=\"{reason}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
    }
}

/// Headers, save those that differ each time, and the body.
async fn seen(response: Response) -> String {
    let mut seen = format!("{}\n", response.status());
    for (name, value) in response.headers().iter().filter(|(name, _)| *name != "x-request-id") {
        seen += &format!("{name}: {}\n", value.to_str().unwrap());
    }
    seen + &response.into_body().into_string().await.unwrap()
}

#[tokio::test]
async fn whatever_is_wrong_with_a_key_the_answer_is_the_same() {
    let room = room();
    let missing = seen(room.client.get("/things").send().await.0).await;
    insta::assert_snapshot!(missing, @r#"
    401 Unauthorized
    content-type: application/problem+json
    www-authenticate: Bearer
    cache-control: no-store
    content-security-policy: default-src 'none'; frame-ancestors 'none'
    x-content-type-options: nosniff
    x-frame-options: DENY
    referrer-policy: no-referrer
    cross-origin-resource-policy: same-origin
    {"type":"/problems/unauthorized","title":"Unauthorized","status":401,"detail":"this needs an API key that is valid here","parameter":"Authorization","expected":"Bearer and an API key"}
    "#);
    let key = room.key("read");
    let wrong = [
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer é".to_owned(),
        format!("Basic {key}"),
        key.to_owned(),
        format!("Bearer {}", &key[..45]),
        format!("Bearer {key}A"),
        format!("Bearer {}", NewKey::random().unwrap().hash),
        format!("Bearer {}", "a".repeat(10_000)),
    ];
    for value in wrong {
        let response = room.client.get("/things").header("authorization", &value).send().await.0;
        assert_eq!(seen(response).await, missing, "{value}");
    }
    let twice = room.sign("read", room.sign("read", room.client.get("/things")));
    assert_eq!(seen(twice.send().await.0).await, missing);
    assert_eq!(seen(room.client.get("/nothing").send().await.0).await, missing, "nor is it told what there is");
    assert_eq!(["missing", "malformed", "unknown"].map(|reason| room.count(reason)), [2, 5, 5]);
}

#[tokio::test]
async fn a_key_opens_what_its_scopes_say() {
    let room = room();
    for path in ["/live", "/ready", "/metrics", "/docs", "/openapi.json"] {
        room.client.get(path).send().await.assert_status(StatusCode::OK);
    }
    let response = room.sign("read", room.client.get("/things")).send().await;
    response.assert_text("\"read\"").await;
    let client = &room.client;
    let expected = [
        ("read", [200, 200, 200, 403, 403, 403]),
        ("submit", [403, 403, 403, 200, 200, 403]),
        ("other", [403, 403, 403, 200, 403, 403]),
        ("admin", [200, 200, 200, 200, 200, 200]),
    ];
    for (name, statuses) in expected {
        let seen = [
            room.status(name, client.get("/things")).await,
            room.status(name, client.head("/things")).await,
            room.status(name, client.post("/questions")).await,
            room.status(name, client.post("/things")).await,
            room.status(name, client.post("/things/submit")).await,
            room.status(name, client.post("/things/nobody")).await,
        ];
        assert_eq!(seen, statuses, "{name}");
    }
    assert_eq!(room.status("admin", client.delete("/things")).await, 405);
    let lacking = seen(room.sign("read", client.post("/things")).send().await.0).await;
    insta::assert_snapshot!(lacking.lines().last().unwrap(), @r#"{"type":"/problems/forbidden","title":"Forbidden","status":403,"detail":"the key `read` lacks the scope `submit`","expected":"a key of scope `submit`"}"#);
    let anothers = seen(room.sign("other", client.post("/things/submit")).send().await.0).await;
    insta::assert_snapshot!(anothers.lines().last().unwrap(), @r#"{"type":"/problems/forbidden","title":"Forbidden","status":403,"detail":"the key `other` did not submit this job","expected":"the key that submitted it, or one of scope `admin`"}"#);
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let room = room();
    let ask = async || {
        let response = room.sign("seldom", room.client.get("/things")).send().await.0;
        let seen = seen(response).await;
        let limits =
            |line: &&str| line.starts_with(['H', '2', '4', '{']) || line.contains("limit") || line.contains("retry");
        seen.lines().filter(limits).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(ask().await, @r#"
    200 OK
    ratelimit-policy: "key";q=2;w=3600
    ratelimit: "key";r=1;t=1800
    "#);
    ask().await;
    insta::assert_snapshot!(ask().await, @r#"
    429 Too Many Requests
    retry-after: 1800
    ratelimit-policy: "key";q=2;w=3600
    ratelimit: "key";r=0;t=1800
    {"type":"/problems/too-many-requests","title":"Too many requests","status":429,"detail":"the key `seldom` was used too often; expected at most 2 requests in 3600 seconds","expected":"at most 2 requests in 3600 seconds","retry_after":1800}
    "#);
    assert_eq!(room.status("read", room.client.get("/things")).await, 200, "another key has its own");
    assert_eq!(room.count("rate"), 1);
}

#[tokio::test]
async fn a_request_keeps_its_id() {
    let room = room();
    let response = room.client.get("/live").header("x-request-id", "from-the-proxy-1").send().await;
    response.assert_header("x-request-id", "from-the-proxy-1");
    let response = room.client.get("/things").header("x-request-id", "two words").send().await.0;
    let id: uuid::Uuid = response.header("x-request-id").unwrap().parse().unwrap();
    assert_eq!(id.get_version_num(), 7);
}

#[tokio::test]
async fn the_document_says_how_to_present_a_key() {
    let room = room();
    let text = room.client.get("/openapi.json").send().await.0.into_body().into_string().await.unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    insta::assert_snapshot!(document["components"]["securitySchemes"], @r#"{"key":{"description":"An API key of scope `read` for every GET, of scope `submit` for POST, or of scope `admin`. Without keys in its settings, a service asks for none.","scheme":"bearer","type":"http"}}"#);
    assert_eq!(document["security"], serde_json::json!([{ "key": [] }]));
    assert_eq!(document["paths"]["/live"]["get"]["security"], serde_json::json!([]));
    assert!(document["paths"]["/things"]["get"]["security"].is_null());
    let docs = room.client.get("/docs").send().await.0.into_body().into_string().await.unwrap();
    assert!(docs.contains("securitySchemes"));
}

#[tokio::test]
async fn every_request_is_counted_and_those_without_a_key_in_one_line() {
    let room = room();
    for path in ["/things", "/nothing%20here/?x=y", "/live"] {
        room.client.get(path).send().await;
    }
    for path in ["/things?x=y", "/%ff/%2e%2e/a%2Fb/", "/a//b/../c", &format!("/{}", "x".repeat(10_000))] {
        room.sign("read", room.client.get(path)).send().await;
    }
    // A key that may not, and one that was used too often, are known all the same.
    assert_eq!(room.status("read", room.client.post("/things/forbidden")).await, 403);
    for _ in 0..3 {
        room.sign("seldom", room.client.get("/seldom")).send().await;
    }
    let long = format!("/{}", "x".repeat(10_000));
    let expected = [
        "(unauthorised)",
        "(unauthorised)",
        "/live",
        "/things",
        "/%ff/%2e%2e/a%2Fb/",
        "/a//b/../c",
        &long,
        "/things/forbidden",
        "/seldom",
        "/seldom",
        "/seldom",
    ];
    assert_eq!(*room.hits.lock().unwrap(), expected);
}
