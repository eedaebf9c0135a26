//! Which format a client wants: `Accept` (RFC 9110 §12.5.1).

use poem::{http::StatusCode, web::Accept};
use waybill_web::Problem;

use crate::sql::Format;

/// How rows are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// By a program.
    In(Format),
    /// As a table of the first of them, by people.
    Table,
}

/// Media types, the first of equally wanted ones first.
const FORMATS: [(&str, Wanted); 7] = [
    ("application/json", Wanted::In(Format::Json)),
    ("application/x-ndjson", Wanted::In(Format::Ndjson)),
    ("application/ndjson", Wanted::In(Format::Ndjson)),
    ("text/csv", Wanted::In(Format::Csv)),
    ("application/vnd.apache.arrow.stream", Wanted::In(Format::Arrow)),
    ("application/vnd.apache.parquet", Wanted::In(Format::Parquet)),
    ("text/plain", Wanted::Table),
];

/// The most wanted format; JSON where nothing is said.
pub(super) fn wanted(Accept(wanted): &Accept) -> Result<Wanted, Problem> {
    if wanted.is_empty() {
        return Ok(Wanted::In(Format::Json));
    }
    let found =
        wanted.iter().filter(|range| !range.get_param("q").is_some_and(|of| is_zero(of.as_str()))).find_map(|range| {
            let range = range.essence_str();
            FORMATS.iter().find(|(media_type, _)| {
                range == "*/*"
                    || range == *media_type
                    || range.strip_suffix('*').is_some_and(|of| media_type.starts_with(of))
            })
        });
    found.map(|(_, wanted)| *wanted).ok_or_else(|| {
        let names: Vec<_> = FORMATS.iter().map(|(media_type, _)| *media_type).collect();
        let expected = format!("one of {}", names.join(", "));
        let detail = format!("header `Accept`: expected {expected}");
        Problem::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", detail).at("Accept").expecting(expected)
    })
}

/// Of quality 0 is what a client refuses.
fn is_zero(quality: &str) -> bool {
    quality.parse::<f32>().is_ok_and(|quality| quality <= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(accept: &[&str]) -> Result<Wanted, Problem> {
        wanted(&Accept(accept.iter().map(|range| range.parse().unwrap()).collect()))
    }

    #[test]
    fn the_most_wanted_format_is_taken() {
        assert_eq!(of(&[]).unwrap(), Wanted::In(Format::Json));
        assert_eq!(of(&["*/*"]).unwrap(), Wanted::In(Format::Json));
        assert_eq!(of(&["text/*"]).unwrap(), Wanted::In(Format::Csv));
        assert_eq!(of(&["image/png", "text/csv", "*/*"]).unwrap(), Wanted::In(Format::Csv));
        assert_eq!(of(&["text/csv; charset=utf-8"]).unwrap(), Wanted::In(Format::Csv));
        assert_eq!(of(&["application/x-ndjson"]).unwrap(), Wanted::In(Format::Ndjson));
        assert_eq!(of(&["application/vnd.apache.arrow.stream"]).unwrap(), Wanted::In(Format::Arrow));
        assert_eq!(of(&["application/vnd.apache.parquet;q=0.5"]).unwrap(), Wanted::In(Format::Parquet));
        assert_eq!(of(&["text/plain"]).unwrap(), Wanted::Table);
        assert_eq!(of(&["image/png", "application/json;q=0"]).unwrap_err().status, 406);
    }
}
