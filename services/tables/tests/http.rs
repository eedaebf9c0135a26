//! Queries over HTTP, on tables in memory.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use async_trait::async_trait;
use datafusion::{catalog::TableProvider, common::DataFusionError, datasource::MemTable};
use poem::{EndpointExt, Response, endpoint::BoxEndpoint, test::TestClient};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use waybill_tables::{
    QueryApi,
    sql::{Engine, MAX_SQL, NamedTables},
};
use waybill_web::{AppConfig, Probes, app};

#[derive(Debug)]
struct Movies;

#[async_trait]
impl NamedTables for Movies {
    fn names(&self) -> Vec<String> {
        vec!["movie".to_owned()]
    }

    async fn provider(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if name != "movie" {
            return Ok(None);
        }
        let titles: ArrayRef = Arc::new(StringArray::from(vec!["Ember", "Kestrel"]));
        let minutes: ArrayRef = Arc::new(Int64Array::from(vec![Some(90), None]));
        let batch = RecordBatch::try_from_iter([("title", titles), ("duration_mins", minutes)])?;
        Ok(Some(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?)))
    }
}

struct Server {
    client: TestClient<BoxEndpoint<'static, Response>>,
    _scratch: TempDir,
}

impl Server {
    fn start() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let api = QueryApi::new(Engine::new(scratch.path()).unwrap(), Arc::new(Movies));
        let probes = Probes { checks: Vec::new(), warnings: Vec::new(), shutdown: CancellationToken::new() };
        Self { client: TestClient::new(app(api, probes, AppConfig::default()).boxed()), _scratch: scratch }
    }

    /// The status, the media type and the body.
    async fn post(&self, kind: &str, body: &str, accept: Option<&str>) -> (u16, String, Vec<u8>) {
        let mut request = self.client.post("/v1/query").content_type(kind).body(body.to_owned());
        if let Some(accept) = accept {
            request = request.header("Accept", accept);
        }
        let response = request.send().await.0;
        let status = response.status().as_u16();
        let kind = response.content_type().unwrap_or_default().to_owned();
        (status, kind, response.into_body().into_vec().await.unwrap())
    }

    async fn sql(&self, sql: &str, accept: Option<&str>) -> String {
        let (status, kind, body) = self.post("application/sql", sql, accept).await;
        format!("{status} {kind}\n{}", String::from_utf8(body).unwrap())
    }
}

#[tokio::test]
async fn rows_are_spelled_as_the_client_asks() {
    let server = Server::start();
    let movies = "select title, duration_mins from movie order by title";
    insta::assert_snapshot!(server.sql(movies, None).await, @r#"
    200 application/json
    [
    {"title":"Ember","duration_mins":90},
    {"title":"Kestrel","duration_mins":null}
    ]
    "#);
    insta::assert_snapshot!(server.sql(movies, Some("text/csv")).await, @r#"
    200 text/csv; charset=utf-8
    title,duration_mins
    Ember,90
    Kestrel,
    "#);
    insta::assert_snapshot!(server.sql(movies, Some("application/x-ndjson, */*;q=0.1")).await, @r#"
    200 application/x-ndjson
    {"title":"Ember","duration_mins":90}
    {"title":"Kestrel","duration_mins":null}
    "#);
    for (accept, magic) in
        [("application/vnd.apache.parquet", &b"PAR1"[..]), ("application/vnd.apache.arrow.stream", &[0xff; 4])]
    {
        let (status, kind, body) = server.post("text/plain", movies, Some(accept)).await;
        assert_eq!((status, kind.as_str(), body.starts_with(magic)), (200, accept, true));
    }
    assert!(server.sql(movies, Some("text/html")).await.starts_with("406 application/problem+json"));
}

#[tokio::test]
async fn a_query_comes_as_json_or_alone() {
    let server = Server::start();
    for (kind, body) in [
        ("application/json", r#"{"sql": "select 1 as n"}"#),
        ("application/json; charset=utf-8", r#"{"sql": "select 1 as n;", "timeout": 5}"#),
        ("text/plain", "select 1 as n"),
        ("text/plain; charset=utf-8", "select 1 as n"),
        ("application/sql", "select 1 as n"),
    ] {
        let (status, _, body) = server.post(kind, body, None).await;
        assert_eq!((status, String::from_utf8(body).unwrap()), (200, "[\n{\"n\":1}\n]\n".to_owned()), "{kind}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_a_problem() {
    let server = Server::start();
    let long = format!("select '{}'", "a".repeat(MAX_SQL));
    let mut said = Vec::new();
    for (kind, body) in [
        ("application/sql", "select titel from movie"),
        ("application/sql", "select * from moive"),
        ("application/sql", "select 1 +"),
        ("application/sql", "drop table movie"),
        ("application/sql", "select 1 / 0"),
        ("application/sql", "select title::int from movie"),
        ("application/sql", &long),
        ("application/json", r#"{"sql": "select 1", "timeout": 0}"#),
        ("application/json", r#"{"sql": "select 1", "timeout": 601}"#),
        ("application/json", r#"{"sql": "select 1", "time": 5}"#),
        ("application/json", r#"{"timeout": 5}"#),
        ("application/json", "select 1"),
        ("application/x-www-form-urlencoded", "select 1"),
        (
            "application/json",
            r#"{"sql": "select count(*) from generate_series(1, 1000000) as a(n) join generate_series(1, 1000000) as b(m) on a.n * b.m % 7 = 8", "timeout": 1}"#,
        ),
    ] {
        let (status, kind, body) = server.post(kind, body, None).await;
        assert_eq!(kind, "application/problem+json");
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        said.push(format!("{status} {} {}", problem["type"].as_str().unwrap(), problem["detail"].as_str().unwrap()));
    }
    insta::assert_snapshot!(said.join("\n"), @r#"
    400 /problems/invalid-query line 1, column 8: there is no column `titel`; here are `title`, `duration_mins`; did you mean `title`?
    400 /problems/invalid-query line 1, column 15: there is no table `moive`; the tables are `movie`; did you mean `movie`?
    400 /problems/invalid-query expected an expression, found: EOF
    400 /problems/invalid-query DROP is not allowed: tables are only read here, by SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW TABLES
    422 /problems/query-failed divide by zero error
    422 /problems/query-failed cannot cast string 'Ember' to value of Int32 type
    400 /problems/invalid-query the query is 100009 bytes long; at most 100000 are read
    422 /problems/invalid-body `timeout`: expected seconds from 1 to 600, found 0
    422 /problems/invalid-body `timeout`: expected seconds from 1 to 600, found 601
    422 /problems/invalid-body unknown field `time`, expected `sql` or `timeout` at line 1 column 26
    422 /problems/invalid-body missing field `sql` at line 1 column 14
    400 /problems/invalid-body the body is not JSON: expected value at line 1 column 1
    415 /problems/unsupported-media-type header `Content-Type`: expected application/json, found "application/x-www-form-urlencoded"
    422 /problems/query-timeout the query was stopped after 1 seconds; a longer `timeout` may help, or a filter
    "#);
}

#[tokio::test]
async fn a_failure_after_the_first_rows_breaks_the_body_off() {
    let server = Server::start();
    let failing = "select 1 / (500000 - n) as n from generate_series(1, 1000000) as g(n)";
    let request = server.client.post("/v1/query").content_type("application/sql").body(failing);
    let response = request.send().await.0;
    assert_eq!(response.status().as_u16(), 200);
    response.into_body().into_vec().await.unwrap_err();
}
