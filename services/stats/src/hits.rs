//! Counts of requests by path over HTTP, which existing clients rely on: streamed, the most requested first.

use std::{collections::HashMap, io};

use bytes::{BufMut, Bytes, BytesMut};
use futures::{StreamExt, stream, stream::BoxStream};
use jiff::civil::Date;
use poem::{Body, IntoResponse, Request, Response};
use poem_openapi::{
    OpenApi,
    param::Query,
    payload::Payload,
    registry::{MetaSchemaRef, Registry},
    types::Type,
};
use waybill_hits::{Hits, HitsError, PathCount, Ranking};
use waybill_web::{Problem, known_query, quoted};

/// Bytes of an answer that are made at once.
const CHUNK: usize = 64 * 1024;

/// Counts of requests over HTTP.
#[derive(Debug, Clone)]
pub struct HitStatsApi {
    hits: Hits,
}

impl HitStatsApi {
    /// What `hits` and all other processes have counted.
    pub fn new(hits: Hits) -> Self {
        Self { hits }
    }
}

/// A JSON object of paths and counts that is sent as it is made.
struct CountStream(BoxStream<'static, io::Result<Bytes>>);

impl Payload for CountStream {
    const CONTENT_TYPE: &'static str = "application/json; charset=utf-8";

    fn check_content_type(_: &str) -> bool {
        false
    }

    fn schema_ref() -> MetaSchemaRef {
        HashMap::<String, u64>::schema_ref()
    }

    fn register(registry: &mut Registry) {
        HashMap::<String, u64>::register(registry);
    }
}

impl IntoResponse for CountStream {
    fn into_response(self) -> Response {
        Response::builder().content_type(Self::CONTENT_TYPE).body(Body::from_bytes_stream(self.0))
    }
}

#[derive(poem_openapi::ApiResponse)]
enum Counts {
    /// How often each path was requested, the most requested first; of equally many the lesser path.
    #[oai(status = 200)]
    Counts(CountStream),
}

#[OpenApi]
impl HitStatsApi {
    /// How often each path was requested
    ///
    /// Of all processes, as far as they had written a second ago, and of this one as of now. A path is as it was received,
    /// without its query; over 2,048 bytes it is cut, and ends with `…`. `(unauthorised)` are requests without a valid API
    /// key, `(other)` those whose path there was no memory for while the object store took no counts. Days are in UTC.
    #[oai(path = "/stats/", method = "get", operation_id = "hits")]
    async fn hits(
        &self,
        request: &Request,
        /// Only this day, `YYYY-MM-DD`.
        day: Query<Option<String>>,
        /// The first day, `YYYY-MM-DD`.
        from: Query<Option<String>>,
        /// The last day, included, `YYYY-MM-DD`.
        to: Query<Option<String>>,
        /// Only paths that begin so.
        prefix: Query<Option<String>>,
        /// The most paths; all of them if not said.
        limit: Query<Option<u64>>,
    ) -> Result<Counts, Problem> {
        known_query(request, &["day", "from", "to", "prefix", "limit"])?;
        let (from, to) = days(day.0.as_deref(), from.0.as_deref(), to.0.as_deref())?;
        let limit = limit.0.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let query = waybill_hits::Query { from, to, prefix: prefix.0.unwrap_or_default(), limit };
        let ranking = self.hits.rank(query).await.map_err(problem)?;
        Ok(Counts::Counts(document(ranking)))
    }
}

/// The first and the last day; `None` for all that there are.
fn days(day: Option<&str>, from: Option<&str>, to: Option<&str>) -> Result<(Option<Date>, Option<Date>), Problem> {
    if let Some(day) = day {
        if let Some((name, other)) = from.map(|from| ("from", from)).or(to.map(|to| ("to", to))) {
            return Err(Problem::invalid_parameter(name, "`day`, or `from` and `to`, not both", quoted(other)));
        }
        let day = date("day", day)?;
        return Ok((Some(day), Some(day)));
    }
    let from = from.map(|from| date("from", from)).transpose()?;
    let to = to.map(|to| date("to", to)).transpose()?;
    match (from, to) {
        (Some(first), Some(last)) if last < first => {
            Err(Problem::invalid_parameter("to", &format!("a day not before `from` ({first})"), last))
        }
        range => Ok(range),
    }
}

fn date(name: &str, given: &str) -> Result<Date, Problem> {
    let date = waybill_source::parse_date(given);
    date.ok_or_else(|| Problem::invalid_parameter(name, "a date such as 2024-05-01", quoted(given)))
}

fn problem(error: HitsError) -> Problem {
    match error {
        HitsError::Store(_) | HitsError::Slow(_) | HitsError::Gone { .. } => {
            Problem::unavailable("the object store", error)
        }
        HitsError::Busy => Problem::new(
            poem::http::StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "too many clients read counts at the moment; the same request may succeed later",
        )
        .after(2),
        _ => Problem::internal(error),
    }
}

/// `{"/a": 12, "/b": 3}`
fn document(ranking: Ranking) -> CountStream {
    let begin = stream::iter([Ok(Bytes::from_static(b"{"))]);
    let rows = stream::try_unfold((ranking, true), async |(mut ranking, mut is_first)| {
        let made = tokio::task::spawn_blocking(move || {
            let chunk = chunk(&mut ranking, &mut is_first)?;
            Ok((!chunk.is_empty()).then_some((chunk, (ranking, is_first))))
        });
        made.await.map_err(io::Error::other).flatten()
    });
    let rows = rows.inspect(|chunk| {
        if let Err(error) = chunk {
            tracing::warn!(%error, "failed to send counts of requests");
        }
    });
    let end = stream::iter([Ok(Bytes::from_static(b"}\n"))]);
    CountStream(begin.chain(rows).chain(end).boxed())
}

/// The next members; none at the end.
fn chunk(ranking: &mut Ranking, is_first: &mut bool) -> io::Result<Bytes> {
    let mut chunk = BytesMut::new();
    while chunk.len() < CHUNK
        && let Some(row) = ranking.next()
    {
        let PathCount { path, count } = row?;
        let separator = if std::mem::take(is_first) { "" } else { ", " };
        chunk.put_slice(format!("{separator}{}: {count}", serde_json::to_string(&*path)?).as_bytes());
    }
    Ok(chunk.freeze())
}
