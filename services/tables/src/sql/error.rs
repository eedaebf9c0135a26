//! Why there is no answer, for the person who asked.

use std::time::Duration;

use arrow::error::ArrowError;
use datafusion::{
    common::{DataFusionError, SchemaError},
    sql::sqlparser::parser::ParserError,
};

use crate::sql::{engine, session::MAX_SQL, statement::Refused};

/// Names this much alike are meant: `moive` and `movie`.
const ALIKE: f64 = 0.75;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The query is not right.
    #[error("{0}")]
    Invalid(Mistake),
    /// It is no query.
    #[error("{0}")]
    Refused(String),
    /// The text is longer than any query may be.
    #[error("the query is {0} bytes long; at most {MAX_SQL} are read")]
    TooLong(usize),
    /// The query is right, but not for this data: a division by zero, a text that is no number.
    #[error("{0}")]
    Failed(String),
    /// It needs more memory than there is.
    #[error(
        "the query needs more memory than there is for all queries ({} MiB): select fewer columns, filter before joining, \
         or group by fewer values",
        engine::MEMORY / (1024 * 1024)
    )]
    Memory,
    /// It needs more scratch space than there is.
    #[error(
        "the query needs more scratch space than there is for all queries ({} GiB): filter before sorting or grouping",
        engine::SCRATCH / (1024 * 1024 * 1024)
    )]
    Scratch,
    /// The time is up.
    #[error("the query was stopped after {} seconds; a longer `timeout` may help, or a filter", .0.as_secs_f64())]
    Timeout(Duration),
    /// Others run, and did not end in time.
    #[error("too many queries run at the moment; the same query may succeed later")]
    Busy,
    /// The tables cannot be read. The text is for the log.
    #[error("the tables cannot be read: {0}")]
    Unreadable(String),
    /// A mistake of ours. The text is for the log.
    #[error("{0}")]
    Internal(String),
}

/// What is wrong with a query, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// In words.
    pub text: String,
    /// The line and the column, both from 1.
    pub place: Option<(u64, u64)>,
    /// What may have been meant.
    pub meant: Option<String>,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.text)?;
        match &self.meant {
            Some(meant) => write!(f, "; did you mean `{meant}`?"),
            None => Ok(()),
        }
    }
}

impl QueryError {
    /// What an error of the engine means, where tables of these names are known.
    pub(super) fn new(error: &DataFusionError, tables: &[String]) -> Self {
        // Several mistakes are told one by one.
        if let DataFusionError::Collection(errors) = error
            && let Some(first) = errors.first()
        {
            return Self::new(first, tables);
        }
        let place = error
            .diagnostic()
            .and_then(|diagnostic| diagnostic.span)
            .filter(|span| span.start.line > 0)
            .map(|span| (span.start.line, span.start.column));
        let invalid = |text, meant| Self::Invalid(Mistake { text, place, meant });
        match error.find_root() {
            DataFusionError::SQL(error, _) => Self::Invalid(syntax(error)),
            DataFusionError::Plan(text) => match missing_table(text) {
                Some(name) => invalid(no_table(name, tables), alike(name, tables.iter().map(String::as_str))),
                None => invalid(first_line(text), suggested(text)),
            },
            DataFusionError::SchemaError(error, _) => match &**error {
                SchemaError::FieldNotFound { field, valid_fields } => {
                    let meant = alike(&field.name, valid_fields.iter().map(|field| field.name.as_str()));
                    invalid(no_column(&field.name, valid_fields.iter().map(|field| field.name.as_str())), meant)
                }
                other => invalid(other.to_string(), None),
            },
            DataFusionError::NotImplemented(text) => {
                invalid(format!("this is not supported: {}", first_line(text)), None)
            }
            DataFusionError::Execution(text) => Self::Failed(first_line(text)),
            DataFusionError::ArrowError(error, _) => Self::Failed(arrow_error(error)),
            DataFusionError::ResourcesExhausted(text) if text.contains("disk") => Self::Scratch,
            DataFusionError::ResourcesExhausted(text) => {
                tracing::info!(cause = %text, "a query needed too much memory");
                Self::Memory
            }
            DataFusionError::External(error) => match error.downcast_ref::<Refused>() {
                Some(Refused(why)) => Self::Refused(why.clone()),
                None => Self::Unreadable(error.to_string()),
            },
            error @ (DataFusionError::ObjectStore(_)
            | DataFusionError::IoError(_)
            | DataFusionError::ParquetError(_)) => Self::Unreadable(error.to_string()),
            other => Self::Internal(other.to_string()),
        }
    }
}

/// Without the kind: it is always a cast that failed, a division by zero, or the like.
fn arrow_error(error: &ArrowError) -> String {
    match error {
        ArrowError::CastError(text)
        | ArrowError::ParseError(text)
        | ArrowError::ComputeError(text)
        | ArrowError::ArithmeticOverflow(text) => first_line(text),
        other => first_line(&other.to_string()),
    }
}

/// The parser says where at the end of its text: `… at Line: 1, Column: 8`.
fn syntax(error: &ParserError) -> Mistake {
    let (ParserError::ParserError(text) | ParserError::TokenizerError(text)) = error else {
        return Mistake { text: "the query is nested too deeply".to_owned(), place: None, meant: None };
    };
    let parts = text.rsplit_once(" at Line: ").and_then(|(text, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((text, (line.parse().ok()?, column.trim().parse().ok()?)))
    });
    let (text, place) = parts.map_or((text.as_str(), None), |(text, place)| (text, Some(place)));
    let text = text.strip_prefix("Expected: ").map_or_else(|| text.to_owned(), |rest| format!("expected {rest}"));
    Mistake { text, place, meant: None }
}

/// `table 'waybill.public.moive' not found` → `moive`, or the whole name where the schema is not the usual one.
fn missing_table(text: &str) -> Option<&str> {
    let name = text.strip_prefix("table '")?.split_once("' not found")?.0;
    Some(name.strip_prefix("waybill.public.").or_else(|| name.strip_prefix("waybill.")).unwrap_or(name))
}

fn no_table(name: &str, tables: &[String]) -> String {
    if name.starts_with("information_schema.") || name.starts_with("pg_catalog.") {
        return format!("there is no table `{name}`: SHOW TABLES and DESCRIBE say what there is");
    }
    let mut known: Vec<_> = tables.iter().map(String::as_str).collect();
    known.sort_unstable();
    format!("there is no table `{name}`; {}", listed("the tables are", "there are no tables yet", &known))
}

fn no_column<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.collect();
    format!("there is no column `{name}`; {}", listed("here are", "no columns are known here", &known))
}

/// At most twenty names: an answer is read by people.
fn listed(prefix: &str, nothing: &str, names: &[&str]) -> String {
    if names.is_empty() {
        return nothing.to_owned();
    }
    let shown = names.iter().take(20).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let more = if names.len() > 20 { ", …" } else { "" };
    format!("{prefix} {shown}{more}")
}

fn alike<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let likeness = |known: &str| strsim::jaro_winkler(&name.to_lowercase(), &known.to_lowercase());
    let best = known.map(|known| (likeness(known), known)).max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(likeness, _)| *likeness >= ALIKE).map(|(_, known)| known.to_owned())
}

/// The engine's own suggestion of a function, where it is alike: `invalid function 'lenght'. Did you mean 'length'?`
fn suggested(text: &str) -> Option<String> {
    let (before, after) = text.split_once("Did you mean '")?;
    let (name, suggested) = (before.split('\'').nth(1)?, after.split('\'').next()?);
    alike(name, std::iter::once(suggested))
}

/// What follows is candidates, types, or advice for people who write Rust.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let line = line.strip_prefix("Internal error: ").unwrap_or(line);
    let line =
        [", errors: ", " to the signature "].iter().fold(line, |line, end| line.split(end).next().unwrap_or(line));
    let line = line.trim_end_matches(['.', ' ']);
    let mut characters = line.chars();
    match (characters.next(), characters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(characters).collect(),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::sql::fixture::{TIME, all, session};

    #[tokio::test]
    async fn mistakes_say_what_where_and_what_was_meant() {
        let (_scratch, session) = session();
        let mut said = Vec::new();
        for sql in [
            "selekt 1",
            "select from movie",
            "select 1 +\nfrom movie",
            "select 'a",
            "select titel from movie",
            "select m.titel from movie m",
            "select x from movie",
            "select Title, \"Title\" from movie",
            "select * from moive",
            "select * from public.films",
            "select * from other.movie",
            "select lenght(title) from movie",
            "select title from movie group by duration_mins",
            "select title from movie where duration_mins = 'long'",
            "select title + 1 from movie",
            "select sum(title) from movie",
            "select 1 / 0",
            "select 'a'::int",
            "select '2021-13-01'::timestamp",
            "select title as a, duration_mins as a from movie",
            "select title from movie, movie as other",
            "select 1 union select 1, 2",
            "select (select 1, 2)",
            "select (select duration_mins from movie)",
            "select * from movie where count(*) > 1",
            "select '1'::money",
            "select * from movie for update",
            "select * from movie limit -1",
            "select substring('a' similar 'b' escape 'c')",
        ] {
            let error = all(session.query(sql, TIME).await).await.map(|_| "no error".to_owned());
            said.push(format!("{sql} → {}", error.unwrap_or_else(|error| error.to_string())));
        }
        insta::assert_snapshot!(said.join("\n"), @r#"
        selekt 1 → line 1, column 1: expected an SQL statement, found: selekt
        select from movie → no error
        select 1 +
        from movie → line 2, column 1: there is no column `from`; no columns are known here
        select 'a → line 1, column 8: Unterminated string literal
        select titel from movie → line 1, column 8: there is no column `titel`; here are `title`, `duration_mins`, `price`, `added_at`; did you mean `title`?
        select m.titel from movie m → line 1, column 8: there is no column `titel`; here are `title`, `duration_mins`, `price`, `added_at`; did you mean `title`?
        select x from movie → line 1, column 8: there is no column `x`; here are `title`, `duration_mins`, `price`, `added_at`
        select Title, "Title" from movie → line 1, column 15: there is no column `Title`; here are `title`, `duration_mins`, `price`, `added_at`; did you mean `title`?
        select * from moive → line 1, column 15: there is no table `moive`; the tables are `movie`, `user`; did you mean `movie`?
        select * from public.films → line 1, column 15: there is no table `films`; the tables are `movie`, `user`
        select * from other.movie → line 1, column 15: there is no table `other.movie`; the tables are `movie`, `user`
        select lenght(title) from movie → line 1, column 8: invalid function 'lenght'; did you mean `length`?
        select title from movie group by duration_mins → line 1, column 8: column in SELECT must be in GROUP BY or an aggregate function: While expanding wildcard, column "movie.title" must appear in the GROUP BY clause or must be part of an aggregate function, currently only "movie.duration_mins" appears in the SELECT clause satisfies this requirement
        select title from movie where duration_mins = 'long' → cannot cast string 'long' to value of Int64 type
        select title + 1 from movie → line 1, column 8: cannot coerce arithmetic expression Utf8 + Int64 to valid types
        select sum(title) from movie → function 'sum' failed to match any signature
        select 1 / 0 → divide by zero error
        select 'a'::int → cannot cast string 'a' to value of Int32 type
        select '2021-13-01'::timestamp → error parsing timestamp from '2021-13-01': error parsing date
        select title as a, duration_mins as a from movie → projections require unique expression names but the expression "movie.title AS a" at position 0 and "movie.duration_mins AS a" at position 1 have the same name. Consider aliasing ("AS") one of them
        select title from movie, movie as other → line 1, column 8: Ambiguous reference to unqualified field title
        select 1 union select 1, 2 → line 1, column 1: UNION queries have different number of columns
        select (select 1, 2) → too many columns! The subquery should only return one column: Int64(1), Int64(2)
        select (select duration_mins from movie) → scalar subquery returned more than one row
        select * from movie where count(*) > 1 → aggregate functions are not allowed in the WHERE clause. Consider using HAVING instead
        select '1'::money → this is not supported: unsupported SQL type money
        select * from movie for update → no error
        select * from movie limit -1 → LIMIT must be >= 0, '-1' was provided
        select substring('a' similar 'b' escape 'c') → line 1, column 22: expected IN or BETWEEN after NOT, found: similar
        "#);
    }
}
