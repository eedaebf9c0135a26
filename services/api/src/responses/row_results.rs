//! How the rows of a job ended, streamed from the objects of its tasks: a line for each, or `{"result": […]}` for clients of
//! the relay.

use std::{fmt, io};

use bytes::{BufMut, Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use poem::{Body, IntoResponse, Response};
use poem_openapi::{
    Object,
    payload::Payload,
    registry::{MetaSchemaRef, Registry},
    types::Type,
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use waybill_ledger::{Done, JobId, Ledger, LedgerError};
use waybill_web::Problem;

use crate::error;

/// Tasks whose outcomes are looked at together.
const TASKS: usize = 200;
/// A piece of an object that is read together, in bytes.
const PIECE: usize = 1 << 20;
/// The longest line of an object, in bytes: an outcome is shorter.
const LINE_LIMIT: usize = 2 << 20;
/// Members of an outcome that are for the job's report, not for these clients.
const LEFT_OUT: [&str; 2] = ["line", "reason"];

/// How every row ended.
#[derive(Debug, Object)]
struct Results {
    result: Vec<RowResult>,
}

/// How a row ended.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
struct RowResult {
    /// The row's; null where it has none.
    #[oai(nullable)]
    user_id: Option<i64>,
    /// `done`, `error` or `unknown`.
    result: String,
    /// What the API called it; null where it has not answered so.
    #[oai(nullable)]
    post_id: Option<i64>,
}

/// A JSON document that is sent as it is read.
pub(crate) struct ResultStream(BoxStream<'static, io::Result<Bytes>>);

/// NDJSON that is sent as it is read.
pub(crate) struct ResultLines(BoxStream<'static, io::Result<Bytes>>);

impl Payload for ResultLines {
    const CONTENT_TYPE: &'static str = "application/x-ndjson";

    fn check_content_type(_: &str) -> bool {
        false
    }

    fn schema_ref() -> MetaSchemaRef {
        String::schema_ref()
    }
}

impl IntoResponse for ResultLines {
    fn into_response(self) -> Response {
        Response::builder().content_type(Self::CONTENT_TYPE).body(Body::from_bytes_stream(self.0))
    }
}

impl Payload for ResultStream {
    const CONTENT_TYPE: &'static str = "application/json; charset=utf-8";

    fn check_content_type(_: &str) -> bool {
        false
    }

    fn schema_ref() -> MetaSchemaRef {
        Results::schema_ref()
    }

    fn register(registry: &mut Registry) {
        Results::register(registry);
    }
}

impl IntoResponse for ResultStream {
    fn into_response(self) -> Response {
        Response::builder().content_type(Self::CONTENT_TYPE).body(Body::from_bytes_stream(self.0))
    }
}

/// Why an answer that has begun is cut off.
#[derive(Debug, thiserror::Error)]
enum DownloadError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("{key} is not there any more")]
    Gone { key: String },
    #[error("{key}: a line is no outcome of a row: {problem}")]
    BadLine { key: String, problem: String },
}

/// How the rows of a job ended, in the order of the file, as far as their tasks have ended.
///
/// # Errors
/// Where the first page of tasks cannot be read. Later errors cut the answer off, so that no client takes it for whole.
pub(crate) async fn document(ledger: Ledger, job: JobId) -> Result<ResultStream, Problem> {
    let rows = rows(ledger, job, Shape::Elements).await?;
    let begin = stream::iter([Ok(Bytes::from_static(b"{\"result\": ["))]);
    let end = stream::iter([Ok(Bytes::from_static(b"]}\n"))]);
    Ok(ResultStream(begin.chain(rows).chain(end).boxed()))
}

/// The same as the objects have it, a line for each row.
///
/// # Errors
/// As [`document`].
pub(crate) async fn lines(ledger: Ledger, job: JobId) -> Result<ResultLines, Problem> {
    Ok(ResultLines(rows(ledger, job, Shape::Lines).await?))
}

async fn rows(ledger: Ledger, job: JobId, shape: Shape) -> Result<BoxStream<'static, io::Result<Bytes>>, Problem> {
    // Before the answer begins: what is wrong with the job is a problem then, and not an answer that is cut off.
    ledger.tasks(job, None, 0, 1).await.map_err(error::ledger)?;
    let rows = stream::try_unfold(Rows::new(ledger, job, shape), Rows::next);
    let rows = rows.inspect_err(move |error| tracing::warn!(%job, %error, "failed to send the result of a job"));
    Ok(rows.map_err(io::Error::other).boxed())
}

/// How a row is spelled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// An element of a list, without [`LEFT_OUT`].
    Elements,
    /// A line, as it is stored.
    Lines,
}

/// The rows of a job that are still to be sent.
struct Rows {
    ledger: Ledger,
    job: JobId,
    shape: Shape,
    /// The first task that was not looked at; `None` after the last.
    from: Option<u64>,
    tasks: std::vec::IntoIter<Done>,
    object: Option<Object>,
    is_first: bool,
}

/// What came of reading a piece.
enum Piece {
    Rows,
    Last,
    /// The object is not there, and nothing of it was read yet.
    Gone,
}

/// An object that is being read.
struct Object {
    done: Done,
    offset: u64,
    /// The beginning of a line.
    carry: BytesMut,
}

impl Rows {
    fn new(ledger: Ledger, job: JobId, shape: Shape) -> Self {
        Self { ledger, job, shape, from: Some(0), tasks: Vec::new().into_iter(), object: None, is_first: true }
    }

    /// The next rows: elements have a comma between them, lines end.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, DownloadError> {
        loop {
            if let Some(object) = &mut self.object {
                let (mut rows, shape) = (BytesMut::new(), self.shape);
                let is_whole = object.read(&self.ledger, shape, |row| {
                    if !std::mem::take(&mut self.is_first) && shape == Shape::Elements {
                        rows.put_slice(b", ");
                    }
                    rows.put_slice(row);
                    if shape == Shape::Lines {
                        rows.put_u8(b'\n');
                    }
                });
                match is_whole.await? {
                    Piece::Rows => {}
                    Piece::Last => self.object = None,
                    Piece::Gone => object.find(&self.ledger).await?,
                }
                if !rows.is_empty() {
                    return Ok(Some((rows.freeze(), self)));
                }
            } else if let Some(done) = self.tasks.next() {
                self.object = Some(Object { done, offset: 0, carry: BytesMut::new() });
            } else if let Some(from) = self.from {
                let page = self.ledger.tasks(self.job, None, from, TASKS).await?.unwrap_or_default();
                self.from = (page.len() == TASKS).then_some(from + TASKS as u64);
                self.tasks = page.into_iter().filter_map(|task| task.done).collect::<Vec<_>>().into_iter();
            } else {
                return Ok(None);
            }
        }
    }
}

impl Object {
    /// Goes on with the object that has taken this one's place.
    async fn find(&mut self, ledger: &Ledger) -> Result<(), DownloadError> {
        let gone = || DownloadError::Gone { key: self.done.object.clone() };
        let replaced = ledger.replaced(&self.done).await?.filter(|found| found.object != self.done.object);
        self.done = replaced.ok_or_else(gone)?;
        Ok(())
    }

    /// Reads the next piece, and hands out each row that is complete.
    async fn read(
        &mut self,
        ledger: &Ledger,
        shape: Shape,
        mut row: impl FnMut(&[u8]),
    ) -> Result<Piece, DownloadError> {
        let key = || self.done.object.clone();
        let left = usize::try_from(self.done.bytes.saturating_sub(self.offset)).unwrap_or(PIECE).min(PIECE);
        if left > 0 {
            let piece = ledger.read_object(&self.done, self.offset, left).await?;
            if piece.is_none() && self.offset == 0 {
                return Ok(Piece::Gone);
            }
            let piece = piece.filter(|piece| !piece.is_empty()).ok_or_else(|| DownloadError::Gone { key: key() })?;
            self.offset += piece.len() as u64;
            self.carry.put(piece);
        }
        let is_whole = self.offset >= self.done.bytes;
        let end = if is_whole { Some(self.carry.len()) } else { self.carry.iter().rposition(|byte| *byte == b'\n') };
        let lines = end.map(|end| self.carry.split_to(end)).unwrap_or_default().freeze();
        if self.carry.len() > LINE_LIMIT {
            return Err(DownloadError::BadLine {
                key: key(),
                problem: format!("it is longer than {LINE_LIMIT} bytes"),
            });
        }
        for line in lines.as_ref().split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            if shape == Shape::Lines {
                row(line);
                continue;
            }
            let bad = |error: serde_json::Error| DownloadError::BadLine { key: key(), problem: error.to_string() };
            let members: Members<'_> = serde_json::from_slice(line).map_err(bad)?;
            row(&serde_json::to_vec(&members).map_err(bad)?);
        }
        Ok(if is_whole { Piece::Last } else { Piece::Rows })
    }
}

/// An object's members as they are spelled, in their order, but for those left out.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if !LEFT_OUT.contains(&name.as_str()) {
                        members.push((name, value));
                    }
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_spelling() {
        let line = r#"{"line":2,"userId":1.50,"result":"done","reason":"a","postId":{ "a":1 },"p\u0061th":null}"#;
        let members: Members<'_> = serde_json::from_str(line).unwrap();
        assert_eq!(
            serde_json::to_string(&members).unwrap(),
            r#"{"userId":1.50,"result":"done","postId":{ "a":1 },"path":null}"#
        );
        assert!(serde_json::from_str::<Members<'_>>("[1]").is_err());
    }
}
