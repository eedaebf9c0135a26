//! The frame around every service: what a client sees of it, with routes of no service at all.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::time::Duration;

use futures::FutureExt;
use poem::{Body, Endpoint, Request, Response, http::StatusCode, test::TestClient};
use poem_openapi::{
    Enum, Object, OpenApi,
    param::{Path, Query},
    payload::Json,
};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use waybill_web::{AppConfig, Check, Date, JsonBody, Probes, Problem, Serving, app, known_query, serve};

struct Things;

#[derive(Object, Deserialize)]
#[serde(deny_unknown_fields)]
struct Thing {
    name: String,
    size: u32,
}

#[derive(Enum)]
#[oai(rename_all = "lowercase")]
enum Colour {
    Red,
    Green,
}

#[OpenApi]
impl Things {
    /// A thing.
    #[oai(path = "/things/:id", method = "get")]
    async fn thing(
        &self,
        request: &Request,
        id: Path<u32>,
        day: Query<Date>,
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))] limit: Query<Option<u32>>,
        colour: Query<Option<Colour>>,
    ) -> Result<Json<String>, Problem> {
        let _ = colour;
        known_query(request, &["day", "limit", "colour"])?;
        Ok(Json(format!("{} {} {:?}", id.0, day.0.0, limit.0)))
    }

    /// Makes a thing.
    #[oai(path = "/things", method = "post")]
    async fn make(&self, thing: JsonBody<Thing>) -> Result<Json<String>, Problem> {
        Ok(Json(format!("{} {}", thing.0.name, thing.0.size)))
    }

    /// Makes a thing in poem-openapi's own way.
    #[oai(path = "/plain", method = "post")]
    async fn plain(&self, thing: Json<String>) -> Result<Json<String>, Problem> {
        Ok(thing)
    }

    /// Fails with what no client may see.
    #[oai(path = "/secret", method = "get")]
    async fn secret(&self) -> poem::Result<Json<String>> {
        Err(poem::error::InternalServerError(std::io::Error::other("the password is 1234")))
    }

    /// Panics.
    #[oai(path = "/panic", method = "get")]
    async fn panic(&self) -> Result<Json<String>, Problem> {
        panic!("the password is 1234")
    }

    /// Is away.
    #[oai(path = "/away", method = "get")]
    async fn away(&self) -> Result<Json<String>, Problem> {
        Err(Problem::unavailable("the object store", "connection refused by 10.0.0.7"))
    }
}

fn probes(checks: Vec<Check>) -> (Probes, CancellationToken) {
    let shutdown = CancellationToken::new();
    (Probes { checks, warnings: Vec::new(), shutdown: shutdown.clone() }, shutdown)
}

fn client() -> TestClient<impl Endpoint<Output = Response>> {
    TestClient::new(app(Things, probes(Vec::new()).0, AppConfig::default()))
}

/// Status, the headers that matter, and the body.
async fn seen(request: poem::test::TestRequestBuilder<'_, impl Endpoint>) -> String {
    let response = request.send().await.0;
    let mut seen = format!("{}\n", response.status());
    for name in ["content-type", "allow", "retry-after", "location"] {
        if let Some(value) = response.header(name) {
            seen += &format!("{name}: {value}\n");
        }
    }
    let body = response.into_body().into_string().await.unwrap();
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(&body) {
        assert_eq!(json.get("status").and_then(serde_json::Value::as_u64).is_some(), seen.contains("problem+json"));
    }
    seen + &body
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let client = client();
    insta::assert_snapshot!(seen(client.get("/nothing?x=1")).await, @r#"
    404 Not Found
    content-type: application/problem+json
    {"type":"/problems/not-found","title":"Not found","status":404,"detail":"there is nothing at \"/nothing\""}
    "#);
    insta::assert_snapshot!(seen(client.get("/things/1/parts")).await, @r#"
    404 Not Found
    content-type: application/problem+json
    {"type":"/problems/not-found","title":"Not found","status":404,"detail":"there is nothing at \"/things/1/parts\""}
    "#);
    insta::assert_snapshot!(seen(client.delete("/things/1")).await, @r#"
    405 Method Not Allowed
    content-type: application/problem+json
    allow: GET, HEAD
    {"type":"/problems/method-not-allowed","title":"Method not allowed","status":405,"detail":"/things/1 has no DELETE; expected GET, HEAD","expected":"GET, HEAD"}
    "#);
    insta::assert_snapshot!(seen(client.get("/things")).await, @r#"
    405 Method Not Allowed
    content-type: application/problem+json
    allow: POST
    {"type":"/problems/method-not-allowed","title":"Method not allowed","status":405,"detail":"/things has no GET; expected POST","expected":"POST"}
    "#);
    insta::assert_snapshot!(seen(client.head("/things")).await, @r#"
    405 Method Not Allowed
    content-type: application/problem+json
    allow: POST
    {"type":"/problems/method-not-allowed","title":"Method not allowed","status":405,"detail":"/things has no HEAD; expected POST","expected":"POST"}
    "#);
    insta::assert_snapshot!(seen(client.post("/docs")).await, @r#"
    405 Method Not Allowed
    content-type: application/problem+json
    allow: GET, HEAD
    {"type":"/problems/method-not-allowed","title":"Method not allowed","status":405,"detail":"/docs has no POST; expected GET, HEAD","expected":"GET, HEAD"}
    "#);
    let odd = client.request(poem::http::Method::from_bytes(b"BREW").unwrap(), "/docs");
    insta::assert_snapshot!(seen(odd).await, @r#"
    501 Not Implemented
    content-type: application/problem+json
    {"type":"/problems/unknown-method","title":"Unknown method","status":501,"detail":"there is no method \"BREW\" here, on any path"}
    "#);
}

#[tokio::test]
async fn parameters_are_named_with_what_was_expected() {
    let client = client();
    insta::assert_snapshot!(seen(client.get("/things/1?day=2024-05-01&limit=3")).await, @r#"
    200 OK
    content-type: application/json; charset=utf-8
    "1 2024-05-01 Some(3)"
    "#);
    insta::assert_snapshot!(seen(client.get("/things/1")).await, @r#"
    400 Bad Request
    content-type: application/problem+json
    {"type":"/problems/invalid-parameter","title":"Invalid parameter","status":400,"detail":"parameter `day`: expected a date such as 2024-05-01, found nothing","parameter":"day","expected":"a date such as 2024-05-01"}
    "#);
    insta::assert_snapshot!(seen(client.get("/things/1?day=2024-05-01&limit=many")).await, @r#"
    400 Bad Request
    content-type: application/problem+json
    {"type":"/problems/invalid-parameter","title":"Invalid parameter","status":400,"detail":"parameter `limit`: expected an integer, found \"many\"","parameter":"limit","expected":"an integer"}
    "#);
    insta::assert_snapshot!(seen(client.get("/things/1?day=2024-05-01&limit=0")).await, @r#"
    400 Bad Request
    content-type: application/problem+json
    {"type":"/problems/invalid-parameter","title":"Invalid parameter","status":400,"detail":"parameter `limit`: expected at least 1, found \"0\"","parameter":"limit","expected":"at least 1"}
    "#);
    insta::assert_snapshot!(seen(client.get("/things/1?day=2024-05-01&limit=1001")).await, @r#"
    400 Bad Request
    content-type: application/problem+json
    {"type":"/problems/invalid-parameter","title":"Invalid parameter","status":400,"detail":"parameter `limit`: expected at most 1000, found \"1001\"","parameter":"limit","expected":"at most 1000"}
    "#);
    insta::assert_snapshot!(seen(client.get("/things/1?day=2024-05-01&limti=1")).await, @r#"
    400 Bad Request
    content-type: application/problem+json
    {"type":"/problems/invalid-parameter","title":"Invalid parameter","status":400,"detail":"parameter `limti`: unknown; this route has only `day`, `limit`, `colour`","parameter":"limti","expected":"only `day`, `limit`, `colour`"}
    "#);
    insta::assert_snapshot!(seen(client.get("/things/1?day=2024-05-01&colour=blue")).await, @r#"
    400 Bad Request
    content-type: application/problem+json
    {"type":"/problems/invalid-parameter","title":"Invalid parameter","status":400,"detail":"parameter `colour`: expected one of `red`, `green`, found \"blue\"","parameter":"colour","expected":"one of `red`, `green`"}
    "#);
    insta::assert_snapshot!(seen(client.get("/things/one?day=2024-05-01")).await, @r#"
    400 Bad Request
    content-type: application/problem+json
    {"type":"/problems/invalid-parameter","title":"Invalid parameter","status":400,"detail":"in the path \"/things/one\": expected an integer","expected":"an integer"}
    "#);
}

#[tokio::test]
async fn bodies_are_named_with_what_was_expected() {
    let client = client();
    let post = |body: &str| client.post("/things").content_type("application/json").body(body.to_owned());
    insta::assert_snapshot!(seen(post(r#"{"name":"a","size":1}"#)).await, @r#"
    200 OK
    content-type: application/json; charset=utf-8
    "a 1"
    "#);
    insta::assert_snapshot!(seen(post("size=1")).await, @r#"
    400 Bad Request
    content-type: application/problem+json
    {"type":"/problems/invalid-body","title":"Invalid body","status":400,"detail":"the body is not JSON: expected value at line 1 column 1","expected":"JSON"}
    "#);
    insta::assert_snapshot!(seen(post("")).await, @r#"
    400 Bad Request
    content-type: application/problem+json
    {"type":"/problems/invalid-body","title":"Invalid body","status":400,"detail":"the body is not JSON: EOF while parsing a value at line 1 column 0","expected":"JSON"}
    "#);
    insta::assert_snapshot!(seen(post(r#"{"name":"a","size":1"#)).await, @r#"
    400 Bad Request
    content-type: application/problem+json
    {"type":"/problems/invalid-body","title":"Invalid body","status":400,"detail":"the body is not JSON: EOF while parsing an object at line 1 column 20","expected":"JSON"}
    "#);
    insta::assert_snapshot!(seen(post(r#"{"name":"a","size":-1}"#)).await, @r#"
    422 Unprocessable Entity
    content-type: application/problem+json
    {"type":"/problems/invalid-body","title":"Invalid body","status":422,"detail":"invalid value: integer `-1`, expected u32 at line 1 column 21"}
    "#);
    insta::assert_snapshot!(seen(post(r#"{"name":"a","size":1,"colour":"red"}"#)).await, @r#"
    422 Unprocessable Entity
    content-type: application/problem+json
    {"type":"/problems/invalid-body","title":"Invalid body","status":422,"detail":"unknown field `colour`, expected `name` or `size` at line 1 column 29","parameter":"colour"}
    "#);
    insta::assert_snapshot!(seen(post(r#"{"name":"a"}"#)).await, @r#"
    422 Unprocessable Entity
    content-type: application/problem+json
    {"type":"/problems/invalid-body","title":"Invalid body","status":422,"detail":"missing field `size` at line 1 column 12","parameter":"size"}
    "#);
    insta::assert_snapshot!(seen(post("[]")).await, @r#"
    422 Unprocessable Entity
    content-type: application/problem+json
    {"type":"/problems/invalid-body","title":"Invalid body","status":422,"detail":"the body is JSON, but no object","expected":"an object"}
    "#);
    let long = format!(r#"{{"{}":1}}"#, "x".repeat(10_000));
    assert!(seen(post(&long)).await.len() < 800);
    let nested = "[".repeat(100_000);
    insta::assert_snapshot!(seen(post(&nested)).await, @r#"
    400 Bad Request
    content-type: application/problem+json
    {"type":"/problems/invalid-body","title":"Invalid body","status":400,"detail":"the body is not JSON: EOF while parsing a list at line 1 column 100000","expected":"JSON"}
    "#);
    insta::assert_snapshot!(seen(client.post("/things").content_type("text/csv").body("a,b")).await, @r#"
    415 Unsupported Media Type
    content-type: application/problem+json
    {"type":"/problems/unsupported-media-type","title":"Unsupported media type","status":415,"detail":"header `Content-Type`: expected application/json, found \"text/csv\"","parameter":"Content-Type","expected":"application/json"}
    "#);
    insta::assert_snapshot!(seen(client.post("/things").body("{}")).await, @r#"
    415 Unsupported Media Type
    content-type: application/problem+json
    {"type":"/problems/unsupported-media-type","title":"Unsupported media type","status":415,"detail":"header `Content-Type`: expected application/json, found none","parameter":"Content-Type","expected":"application/json"}
    "#);
    insta::assert_snapshot!(seen(client.post("/plain").content_type("application/json").body("{")).await, @r#"
    400 Bad Request
    content-type: application/problem+json
    {"type":"/problems/invalid-body","title":"Invalid body","status":400,"detail":"EOF while parsing an object at line 1 column 1"}
    "#);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_announced_or_not() {
    let client = client();
    let large = format!("\"{}\"", "x".repeat(1024 * 1024));
    for path in ["/things", "/plain"] {
        let post = || client.post(path).content_type("application/json");
        let announced = seen(post().header("content-length", large.len()).body(large.clone())).await;
        let chunks: Vec<_> =
            large.as_bytes().chunks(1000).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect();
        let unannounced = seen(post().body(Body::from_bytes_stream(futures::stream::iter(chunks)))).await;
        assert_eq!(announced, unannounced);
        insta::allow_duplicates! { insta::assert_snapshot!(announced, @r#"
        413 Payload Too Large
        content-type: application/problem+json
        {"type":"/problems/payload-too-large","title":"Payload too large","status":413,"detail":"the body is too large; expected at most 1048576 bytes","expected":"at most 1048576 bytes"}
        "#); }
    }
}

#[tokio::test]
async fn our_own_failures_say_nothing_of_our_insides() {
    let client = client();
    let secret = seen(client.get("/secret")).await;
    insta::assert_snapshot!(secret, @r#"
    500 Internal Server Error
    content-type: application/problem+json
    {"type":"/problems/internal","title":"Internal","status":500,"detail":"this request failed here; the log says why"}
    "#);
    assert_eq!(secret, seen(client.get("/panic")).await);
    insta::assert_snapshot!(seen(client.get("/away")).await, @r#"
    503 Service Unavailable
    content-type: application/problem+json
    retry-after: 2
    {"type":"/problems/unavailable","title":"Unavailable","status":503,"detail":"the object store does not answer at the moment; the same request may succeed later","retry_after":2}
    "#);
}

fn check(name: &'static str, outcome: Option<Result<(), &'static str>>) -> Check {
    Check {
        name,
        run: Box::new(move || match outcome {
            Some(outcome) => futures::future::ready(outcome.map_err(str::to_owned)).boxed(),
            None => futures::future::pending().boxed(),
        }),
    }
}

#[tokio::test]
async fn ready_runs_the_checks_side_by_side() {
    let (fine, _) = probes(vec![check("store", Some(Ok(()))), check("queue", Some(Ok(())))]);
    insta::assert_snapshot!(seen(TestClient::new(app((), fine, AppConfig::default())).get("/ready")).await, @r#"
    200 OK
    content-type: application/json; charset=utf-8
    {"checks":{"queue":"ok","store":"ok"},"status":"ready"}
    "#);

    let (mut doubtful, _) = probes(vec![check("store", Some(Ok(())))]);
    doubtful.warnings.push(Box::new(|| vec!["journal/buses/jobs/x cannot be read: it is empty".to_owned()]));
    insta::assert_snapshot!(seen(TestClient::new(app((), doubtful, AppConfig::default())).get("/ready")).await, @r#"
    200 OK
    content-type: application/json; charset=utf-8
    {"checks":{"store":"ok"},"status":"ready","warnings":["journal/buses/jobs/x cannot be read: it is empty"]}
    "#);

    let slow = (0..5).map(|at| check(["a", "b", "c", "d", "e"][at], None));
    let (broken, shutdown) = probes(slow.chain([check("queue", Some(Err("the broker is away")))]).collect());
    let client = TestClient::new(app((), broken, AppConfig::default()));
    let begun = std::time::Instant::now();
    insta::assert_snapshot!(seen(client.get("/ready")).await, @r#"
    503 Service Unavailable
    content-type: application/json; charset=utf-8
    {"checks":{"a":"no answer within 2 seconds","b":"no answer within 2 seconds","c":"no answer within 2 seconds","d":"no answer within 2 seconds","e":"no answer within 2 seconds","queue":"the broker is away"},"status":"unready"}
    "#);
    assert!(begun.elapsed() < Duration::from_millis(4000));

    shutdown.cancel();
    insta::assert_snapshot!(seen(client.get("/ready")).await, @r#"
    503 Service Unavailable
    content-type: application/json; charset=utf-8
    {"checks":{},"status":"draining"}
    "#);
    insta::assert_snapshot!(seen(client.get("/live")).await, @r#"
    200 OK
    content-type: application/json; charset=utf-8
    {"status":"live"}
    "#);
}

#[tokio::test]
async fn the_documentation_needs_no_internet() {
    let client = client();
    insta::assert_snapshot!(seen(client.get("/")).await, @r"
    307 Temporary Redirect
    location: /docs
    ");
    let docs = client.get("/docs").send().await.0;
    assert_eq!(docs.status(), StatusCode::OK);
    assert_eq!(docs.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(docs.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let page = docs.into_body().into_string().await.unwrap();
    // Only what a browser loads by itself: the bundle names addresses in messages and namespaces.
    for loading in ["src=\"http", "src='http", "<link", "@import", "url(http", "url(\"http", "url(//", "src=\"//"] {
        assert!(!page.contains(loading), "{loading}");
    }
    assert!(page.contains("SwaggerUIBundle({") && page.contains("/things/{id}"));
}

#[tokio::test]
async fn every_route_is_documented_with_its_problem() {
    let response = client().get("/openapi.json").send().await.0;
    assert_eq!(response.header("content-type"), Some("application/json"));
    let spec: serde_json::Value = response.into_body().into_json().await.unwrap();
    let paths: Vec<_> = spec["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/away", "/live", "/panic", "/plain", "/ready", "/secret", "/things", "/things/{id}"]);
    insta::assert_json_snapshot!(spec["paths"]["/things/{id}"]["get"], @r##"
    {
      "parameters": [
        {
          "deprecated": false,
          "explode": true,
          "in": "path",
          "name": "id",
          "required": true,
          "schema": {
            "format": "uint32",
            "type": "integer"
          }
        },
        {
          "deprecated": false,
          "explode": true,
          "in": "query",
          "name": "day",
          "required": true,
          "schema": {
            "format": "date",
            "type": "string"
          }
        },
        {
          "deprecated": false,
          "explode": true,
          "in": "query",
          "name": "limit",
          "required": false,
          "schema": {
            "format": "uint32",
            "maximum": 1000.0,
            "minimum": 1.0,
            "type": "integer"
          }
        },
        {
          "deprecated": false,
          "explode": true,
          "in": "query",
          "name": "colour",
          "required": false,
          "schema": {
            "$ref": "#/components/schemas/Colour"
          }
        }
      ],
      "responses": {
        "200": {
          "content": {
            "application/json; charset=utf-8": {
              "schema": {
                "type": "string"
              }
            }
          },
          "description": ""
        },
        "default": {
          "content": {
            "application/problem+json": {
              "schema": {
                "$ref": "#/components/schemas/Problem"
              }
            }
          },
          "description": "A problem: what was wrong, and what was expected"
        }
      },
      "summary": "A thing."
    }
    "##);
    insta::assert_json_snapshot!(spec["components"]["schemas"]["Problem"], @r#"
    {
      "description": "What was wrong, where, and what to do.",
      "properties": {
        "detail": {
          "description": "This very case: what was found and what was expected.",
          "type": "string"
        },
        "expected": {
          "description": "What would have been right.",
          "type": "string"
        },
        "parameter": {
          "description": "The parameter or field at fault.",
          "type": "string"
        },
        "retry_after": {
          "description": "Seconds after which to try again, also sent as `Retry-After`.",
          "format": "uint64",
          "type": "integer"
        },
        "status": {
          "description": "The HTTP status.",
          "format": "uint16",
          "type": "integer"
        },
        "title": {
          "description": "The kind in words.",
          "type": "string"
        },
        "type": {
          "description": "A stable name for the kind of problem, as a relative reference: `/problems/invalid-parameter`.",
          "type": "string"
        }
      },
      "required": [
        "type",
        "title",
        "status",
        "detail"
      ],
      "title": "Problem",
      "type": "object"
    }
    "#);
}

#[tokio::test]
async fn a_request_under_way_is_finished_at_shutdown() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (entered, gate) = (CancellationToken::new(), CancellationToken::new());
    let slow = {
        let (entered, gate) = (entered.clone(), gate.clone());
        Box::new(move || {
            entered.cancel();
            let gate = gate.clone();
            async move {
                gate.cancelled().await;
                Ok(())
            }
            .boxed()
        })
    };
    let (probes, _) = probes(vec![Check { name: "slow", run: slow }]);
    let shutdown = CancellationToken::new();
    let server =
        tokio::spawn(serve(listener, app((), probes, AppConfig::default()), Serving::default(), shutdown.clone()));

    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    connection.write_all(b"GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    entered.cancelled().await;
    shutdown.cancel();
    tokio::task::yield_now().await;
    gate.cancel();

    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    tokio::time::timeout(Duration::from_secs(5), server).await.unwrap().unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn metrics_count_answers_by_route_and_nothing_that_a_client_chose() {
    let mut registry = prometheus_client::registry::Registry::with_prefix("waybill");
    let metrics = waybill_web::Metrics::register(&mut registry);
    let front = AppConfig { metrics, registry: std::sync::Arc::new(registry), ..AppConfig::default() };
    let client = TestClient::new(app(Things, probes(Vec::new()).0, front));
    for path in ["/things/1?day=x", "/things/2?day=y", "/things/none", "/secret", "/nothing", "/docs"] {
        client.get(path).send().await;
    }
    client.request("BREW".parse().unwrap(), "/things/1").send().await;
    let text = client.get("/metrics").send().await.0.into_body().into_string().await.unwrap();
    let mut counted: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("waybill_http_requests_total")).collect();
    counted.sort_unstable();
    insta::assert_snapshot!(counted.join("\n"), @r#"
    {method="GET",route="/docs",status="200"} 1
    {method="GET",route="/secret",status="500"} 1
    {method="GET",route="/things/{id}",status="200"} 2
    {method="GET",route="/things/{id}",status="400"} 1
    {method="GET",route="none",status="404"} 1
    {method="other",route="none",status="501"} 1
    "#);
    assert!(text.contains(r#"waybill_http_request_duration_seconds_count{route="/things/{id}"} 3"#), "{text}");
    assert!(text.contains("# TYPE waybill_http_connections gauge") && text.ends_with("# EOF\n"), "{text}");
}
