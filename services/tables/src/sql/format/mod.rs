//! How an answer is spelled: a piece of the output for each batch of rows, so that no answer is in memory whole.

mod binary;
mod lines;
pub(super) mod text;

use std::io;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};

use crate::sql::{Answer, QueryError};

/// A format that programs read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An array of objects, one a line.
    Json,
    /// An object a line.
    Ndjson,
    /// A line of names, then a line for each row.
    Csv,
    /// Arrow's IPC stream.
    Arrow,
    /// A Parquet file.
    Parquet,
}

/// Spells batches. A piece that is never finished does not look whole.
trait Encoder: Send {
    /// What comes before any row.
    fn begin(&mut self) -> io::Result<Vec<u8>>;
    fn batch(&mut self, batch: &RecordBatch) -> io::Result<Vec<u8>>;
    /// What comes after the last row.
    fn end(self: Box<Self>) -> io::Result<Vec<u8>>;
}

impl Format {
    fn encoder(self, schema: &SchemaRef) -> io::Result<Box<dyn Encoder>> {
        Ok(match self {
            Self::Json => Box::new(lines::Json::default()),
            Self::Ndjson => Box::new(lines::Ndjson),
            Self::Csv => Box::new(lines::Csv::new(schema)),
            Self::Arrow => Box::new(binary::Arrow::new(schema)?),
            Self::Parquet => Box::new(binary::Parquet::new(schema)?),
        })
    }

    /// The answer in this format. An error ends it, before its end.
    ///
    /// # Errors
    /// The format has no spelling for a column's type.
    pub fn encode(
        self,
        answer: Answer,
    ) -> Result<impl Stream<Item = Result<Bytes, QueryError>> + Send + 'static, QueryError> {
        let encoder = self.encoder(&answer.schema()).map_err(unspellable)?;
        let begun = (answer, Some(encoder), true);
        Ok(stream::try_unfold(begun, async |(mut answer, mut encoder, is_first)| {
            let Some(mut open) = encoder.take() else { return Ok(None) };
            if is_first {
                let piece = open.begin().map_err(unspellable)?;
                return Ok(Some((piece, (answer, Some(open), false))));
            }
            match answer.next().await.transpose()? {
                Some(batch) => {
                    let piece = open.batch(&batch).map_err(unspellable)?;
                    Ok(Some((piece, (answer, Some(open), false))))
                }
                None => Ok(Some((open.end().map_err(unspellable)?, (answer, None, false)))),
            }
        })
        .filter(|piece| std::future::ready(!piece.as_ref().is_ok_and(Vec::is_empty)))
        .map(|piece| piece.map(Bytes::from)))
    }
}

/// Memory takes what is written, so that only a value or a type can be at fault.
fn unspellable(error: io::Error) -> QueryError {
    QueryError::Failed(format!("the answer cannot be written in this format: {error}"))
}

#[cfg(test)]
mod tests {
    use arrow::ipc::reader::StreamReader;
    use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReader;
    use futures::TryStreamExt;

    use super::{text::text_table, *};
    use crate::sql::fixture::{TIME, session};

    const MOVIES: &str = "select *, duration_mins / 8.0::float8 as eighth from movie";

    async fn encoded(format: Format, sql: &str) -> Result<Vec<u8>, QueryError> {
        let (_scratch, session) = session();
        let pieces: Vec<Bytes> = format.encode(session.query(sql, TIME).await?)?.try_collect().await?;
        Ok(pieces.concat())
    }

    async fn lines(format: Format, sql: &str) -> String {
        String::from_utf8(encoded(format, sql).await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn json_is_an_array_of_objects() {
        let json = lines(Format::Json, MOVIES).await;
        insta::assert_snapshot!(json, @r#"
        [
        {"title":"One, \"1\"","duration_mins":90,"price":12.50,"added_at":"2021-12-25T07:00:00Z","eighth":11.25},
        {"title":"Two\nLines","duration_mins":120,"price":null,"added_at":"2021-12-25T07:00:00.500Z","eighth":15.0},
        {"title":null,"duration_mins":null,"price":-0.05,"added_at":null,"eighth":null}
        ]
        "#);
        let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(rows[0]["added_at"], "2021-12-25T07:00:00Z");
        assert_eq!(lines(Format::Json, "select email from \"user\"").await, "[]\n");
        let nested = lines(
            Format::Json,
            "select array[1, 2] as l, interval '1 day' as i, '1.50'::numeric(9,2) as d, 'NaN'::float8 as n",
        )
        .await;
        insta::assert_snapshot!(nested, @r#"
        [
        {"l":[1,2],"i":"1 days","d":1.50,"n":null}
        ]
        "#);
    }

    #[tokio::test]
    async fn ndjson_is_an_object_a_line() {
        insta::assert_snapshot!(lines(Format::Ndjson, MOVIES).await, @r#"
        {"title":"One, \"1\"","duration_mins":90,"price":12.50,"added_at":"2021-12-25T07:00:00Z","eighth":11.25}
        {"title":"Two\nLines","duration_mins":120,"price":null,"added_at":"2021-12-25T07:00:00.500Z","eighth":15.0}
        {"title":null,"duration_mins":null,"price":-0.05,"added_at":null,"eighth":null}
        "#);
        assert_eq!(lines(Format::Ndjson, "select email from \"user\"").await, "");
    }

    #[tokio::test]
    async fn csv_has_names_and_quotes() {
        insta::assert_snapshot!(lines(Format::Csv, MOVIES).await, @r#"
        title,duration_mins,price,added_at,eighth
        "One, ""1""",90,12.50,2021-12-25T07:00:00Z,11.25
        "Two
        Lines",120,,2021-12-25T07:00:00.500Z,15.0
        ,,-0.05,,
        "#);
        assert_eq!(lines(Format::Csv, "select email from \"user\"").await, "email\n");
        insta::assert_snapshot!(lines(Format::Csv, "select array[1, 2] as l, interval '1 day' as i, '2021-12-25'::date as d").await, @r#"
        l,i,d
        "[1, 2]",1 days,2021-12-25
        "#);
    }

    #[tokio::test]
    async fn arrow_and_parquet_are_read_again() {
        let arrow = encoded(Format::Arrow, MOVIES).await.unwrap();
        let batches: Vec<_> = StreamReader::try_new(&arrow[..], None).unwrap().collect::<Result<_, _>>().unwrap();
        let parquet = Bytes::from(encoded(Format::Parquet, MOVIES).await.unwrap());
        let read: Vec<_> = ParquetRecordBatchReader::try_new(parquet, 1024).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!((batches.len(), read.len()), (1, 1));
        assert_eq!(batches[0].columns(), read[0].columns());
        let empty = encoded(Format::Arrow, "select email from \"user\"").await.unwrap();
        assert_eq!(StreamReader::try_new(&empty[..], None).unwrap().schema().field(0).name(), "email");
    }

    #[tokio::test]
    async fn an_answer_that_fails_on_the_way_does_not_look_whole() {
        let (_scratch, session) = session();
        let failing = "select 1 / (500000 - n) as n from generate_series(1, 1000000) as g(n)";
        let mut pieces = Box::pin(Format::Json.encode(session.query(failing, TIME).await.unwrap()).unwrap());
        let mut text = Vec::new();
        let error = loop {
            match pieces.next().await.expect("it fails") {
                Ok(piece) => text.extend(piece),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, QueryError::Failed(_)), "{error}");
        assert!(text.len() > 1_000 && serde_json::from_slice::<serde_json::Value>(&text).is_err());
        assert!(pieces.next().await.is_none());
    }

    #[tokio::test]
    async fn a_table_is_for_people() {
        let (_scratch, session) = session();
        let of = async |sql: &str| text_table(session.query(sql, TIME).await.unwrap()).await.unwrap();
        insta::assert_snapshot!(of(MOVIES).await, @r#"
         title      duration_mins  price  added_at                  eighth 
         One, "1"              90  12.50  2021-12-25T07:00:00Z       11.25 
         Two Lines            120   null  2021-12-25T07:00:00.500Z    15.0 
         null                null  -0.05  null                        null 
        (3 rows)
        "#);
        insta::assert_snapshot!(of("show tables").await, @r#"
         table_name 
         movie      
         user       
        (2 rows)
        "#);
        let long = of("select n from generate_series(1, 5000) as g(n)").await;
        assert!(long.ends_with("(1000 rows, and there are more)\n") && long.lines().count() == 1_002);
        assert!(of("select repeat('a', 300) || chr(27) as a").await.contains(&format!(" {}…", "a".repeat(200))));
    }
}
