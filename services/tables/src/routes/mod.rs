//! Queries over HTTP.

mod negotiation;
mod problem;

use std::{io, sync::Arc, time::Duration};

use futures::StreamExt;
use poem::{Body, web::Accept};
use poem_openapi::{
    ApiRequest, ApiResponse, Object, OpenApi, ResponseContent,
    payload::{Binary, PlainText},
};
use serde::Deserialize;
use tokio::time::timeout;
use waybill_web::{JsonBody, Problem};

use crate::{
    routes::{
        negotiation::{Wanted, wanted},
        problem::problem,
    },
    sql::{DEFAULT_TIME, Engine, Format, MAX_TIME, NamedTables, text_table},
};

/// How long the first rows are waited for before the response begins without them. A request has half a minute for its
/// status; what goes wrong later ends the body before its end.
const FIRST_ROWS: Duration = Duration::from_secs(20);

/// Queries over HTTP.
#[derive(Debug, Clone)]
pub struct QueryApi {
    engine: Engine,
    tables: Arc<dyn NamedTables>,
}

impl QueryApi {
    /// Queries of these tables.
    pub fn new(engine: Engine, tables: Arc<dyn NamedTables>) -> Self {
        Self { engine, tables }
    }
}

/// A query.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
struct Query {
    /// One statement in PostgreSQL's SQL: SELECT, WITH, VALUES, EXPLAIN, DESCRIBE or SHOW TABLES.
    sql: String,
    /// Seconds after which it is stopped: 60 if not said, and at most 600.
    timeout: Option<u32>,
}

#[derive(Debug, ApiRequest)]
enum QueryBody {
    Json(JsonBody<Query>),
    /// The statement alone.
    #[oai(content_type = "application/sql")]
    Sql(PlainText<String>),
    /// The statement alone.
    Text(PlainText<String>),
}

#[derive(ApiResponse)]
enum Rows {
    /// The rows, as they are computed. A query that fails after its first rows ends the connection: without an end of the
    /// body, an answer is not whole.
    #[oai(status = 200)]
    Rows(Spelling),
}

#[derive(ResponseContent)]
enum Spelling {
    /// An array with an object for each row.
    #[oai(content_type = "application/json")]
    Json(Binary<Body>),
    /// An object a line.
    #[oai(content_type = "application/x-ndjson")]
    Ndjson(Binary<Body>),
    /// A line of names, then a line for each row. Nothing is an empty text.
    #[oai(content_type = "text/csv; charset=utf-8")]
    Csv(Binary<Body>),
    /// Arrow's IPC stream.
    #[oai(content_type = "application/vnd.apache.arrow.stream")]
    Arrow(Binary<Body>),
    /// A Parquet file.
    #[oai(content_type = "application/vnd.apache.parquet")]
    Parquet(Binary<Body>),
    /// A table of the first 1,000 rows, for people.
    Text(PlainText<String>),
}

#[OpenApi]
impl QueryApi {
    /// Ask the tables in SQL
    ///
    /// `Accept` says how the rows are spelled: `application/json` (an array, if nothing is said), `application/x-ndjson`,
    /// `text/csv`, `application/vnd.apache.arrow.stream`, `application/vnd.apache.parquet` or `text/plain` (a table of the
    /// first rows, for people). The body is JSON, or the statement alone as `application/sql` or `text/plain`. Nothing is written: other statements are refused.
    #[oai(path = "/v1/query", method = "post", operation_id = "query")]
    async fn query(&self, accept: Accept, body: QueryBody) -> Result<Rows, Problem> {
        let wanted = wanted(&accept)?;
        let (sql, time) = statement(body)?;
        let session = self.engine.session(Arc::clone(&self.tables));
        let mut answer = session.query(&sql, time).await.map_err(problem)?;
        let Wanted::In(format) = wanted else {
            return Ok(Rows::Rows(Spelling::Text(PlainText(text_table(answer).await.map_err(problem)?))));
        };
        if let Ok(begun) = timeout(FIRST_ROWS, answer.begin()).await {
            begun.map_err(problem)?;
        }
        let pieces = format.encode(answer).map_err(problem)?.inspect(|piece| {
            if let Err(error) = piece {
                tracing::info!(%error, "a query failed after its response had begun");
            }
        });
        let body = Body::from_bytes_stream(pieces.map(|piece| piece.map_err(io::Error::other)));
        Ok(Rows::Rows(spelling(format, Binary(body))))
    }
}

fn statement(body: QueryBody) -> Result<(String, Duration), Problem> {
    match body {
        QueryBody::Sql(PlainText(sql)) | QueryBody::Text(PlainText(sql)) => Ok((sql, DEFAULT_TIME)),
        QueryBody::Json(JsonBody(Query { sql, timeout })) => {
            let time = timeout.map_or(DEFAULT_TIME, |seconds| Duration::from_secs(u64::from(seconds)));
            if time.is_zero() || time > MAX_TIME {
                let expected = format!("seconds from 1 to {}", MAX_TIME.as_secs());
                let detail = format!("`timeout`: expected {expected}, found {}", time.as_secs());
                return Err(Problem::invalid_body(detail).at("timeout").expecting(expected));
            }
            Ok((sql, time))
        }
    }
}

fn spelling(format: Format, body: Binary<Body>) -> Spelling {
    match format {
        Format::Json => Spelling::Json(body),
        Format::Ndjson => Spelling::Ndjson(body),
        Format::Csv => Spelling::Csv(body),
        Format::Arrow => Spelling::Arrow(body),
        Format::Parquet => Spelling::Parquet(body),
    }
}
