//! The scanner from outside: what it refuses and how it says so, and properties on random documents.

mod accepted;
mod pages;
mod paths;
mod properties;
mod rejected;

use crate::{
    Constraints, Decimal, Field, FieldPath, FieldType, Literal, Statistic, TimeFormat, path::RecordStep, scan::*,
};

/// The fields of system 1, of which `accident` may be missing here, and one of each other type.
fn schema() -> Schema {
    let required = || Constraints { required: true, ..Constraints::default() };
    let field = |name: &str, kind, constraints| Field {
        name: name.into(),
        path: FieldPath::member(name),
        kind,
        format: TimeFormat::Iso,
        constraints,
    };
    let rating = || Constraints {
        minimum: Some("-10".parse().unwrap()),
        maximum: Some("10.5".parse().unwrap()),
        ..Constraints::default()
    };
    let colours = || Constraints { one_of: Some(vec!["red".into(), "grün".into()]), ..Constraints::default() };
    Schema {
        fields: vec![
            field("departure-time", FieldType::Datetime, required()),
            field("bus-type", FieldType::String, required()),
            field("passengers", FieldType::Integer, Constraints { minimum: Some(Decimal::ZERO), ..required() }),
            field("delay", FieldType::Duration, required()),
            field("accident", FieldType::Boolean, Constraints::default()),
            field("rating", FieldType::Number, rating()),
            field("colour", FieldType::String, colours()),
            field("day", FieldType::Date, Constraints::default()),
        ],
        is_closed: false,
    }
}

fn statistics() -> Statistics {
    let list = [
        ("bus_count", Statistic::Count),
        ("passenger_count", Statistic::Sum(2)),
        ("exist_accident", Statistic::Any(4)),
        ("only_accidents", Statistic::All(4)),
        ("average_delay_s", Statistic::Avg { field: 3, decimals: 0 }),
        ("least_rating", Statistic::Min(5)),
        ("most_passengers", Statistic::Max(2)),
        ("rating", Statistic::Avg { field: 5, decimals: 3 }),
        ("red", Statistic::CountWhere { field: 6, equals: Literal::String("red".into()) }),
        ("green", Statistic::CountWhere { field: 6, equals: Literal::String("grün".into()) }),
        ("nines", Statistic::CountWhere { field: 1, equals: Literal::String("Linie \"9¾\"".into()) }),
        ("empty", Statistic::CountWhere { field: 2, equals: Literal::Integer(0) }),
        ("quiet", Statistic::CountWhere { field: 4, equals: Literal::Boolean(false) }),
    ];
    Statistics { list: list.map(|(name, statistic)| (name.to_owned(), statistic)).into() }
}

/// One record that is right, as members.
const RIGHT: &str =
    r#""departure-time":"2024-05-01T08:44:00","bus-type":"BUS-1","passengers":71,"delay":"PT1980S","accident":true"#;

fn scanner(format: Format, members: &[&str]) -> Scanner {
    let members = members.iter().map(|member| RecordStep::Member((*member).to_owned()));
    let path = RecordPath { steps: members.chain([RecordStep::Each]).collect() };
    Scanner::new(format, &path, &schema(), &statistics())
}

fn scan_pieces<'a>(mut scanner: Scanner, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Scanned, Rejection> {
    for piece in pieces {
        scanner.push(piece)?;
    }
    scanner.finish()
}

/// What comes out, whole and cut in several ways, which must be the same.
fn scan_at(format: Format, members: &[&str], bytes: &[u8]) -> Result<Scanned, Rejection> {
    let whole = scan_pieces(scanner(format, members), [bytes]);
    for size in [1, 2, 7, 1_000] {
        let cut = scan_pieces(scanner(format, members), bytes.chunks(size));
        assert_eq!(cut, whole, "in pieces of {size}: {:?}", String::from_utf8_lossy(bytes));
    }
    whole
}

fn scan(bytes: impl AsRef<[u8]>) -> Result<Scanned, Rejection> {
    scan_at(Format::Json, &[], bytes.as_ref())
}
