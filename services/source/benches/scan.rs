//! How fast a file of bus departures is scanned, with all checks and statistics of the shipped definition,
//! beside serde_json, which looks at the same fields, checks only their JSON types and keeps nothing.
//!
//! The last line is the ratio of the two, from runs that alternate, so that it holds on a noisy machine too.

mod serde_peer;

use std::{
    fmt::Write as _,
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput};
use waybill_source::{Catalog, Definition, Format, Scanned, Scanner};

use crate::serde_peer::Counted;

/// Large enough to fall out of every cache.
const DOCUMENT_BYTES: usize = 64 << 20;

/// What a worker gets from a connection at a time.
const PIECE_BYTES: usize = 64 << 10;

/// Pairs of runs for the ratio.
const PAIRS: usize = 7;

/// A day's file, in the proportions of the stand-in upstream: mostly whole seconds, some buses early, some
/// very late.
fn document() -> String {
    let mut random = fastrand::Rng::with_seed(7);
    let mut text = String::with_capacity(DOCUMENT_BYTES + 256);
    text.push('[');
    while text.len() < DOCUMENT_BYTES {
        let separator = if text.len() > 1 { "," } else { "" };
        let (hour, minute, second) = (random.u32(0..24), random.u32(0..60), random.u32(0..60));
        let (bus, passengers, accident) = (random.u32(1..1_000), random.u32(0..100), random.u32(0..1_000) == 0);
        let delay = match random.u32(0..100) {
            0..10 => format!("-PT{}S", random.u32(1..11) * 30),
            10..14 => format!("PT1H{}M", random.u32(1..60)),
            14..18 => format!("PT{}M", random.u32(1..60)),
            18 => "P1DT2H".to_owned(),
            19 => "PT0.5S".to_owned(),
            20..25 => "PT0S".to_owned(),
            _ => format!("PT{}S", random.u32(1..3_600)),
        };
        write!(
            text,
            r#"{separator}{{"departure-time":"2024-05-01T{hour:02}:{minute:02}:{second:02}","bus-type":"BUS-{bus}","passengers":{passengers},"delay":"{delay}","accident":{accident}}}"#
        )
        .expect("a string takes any text");
    }
    text.push(']');
    text
}

/// The same file with every value below another member, and the definition of it.
fn nested(document: &str) -> (Definition, String) {
    let mut text = document.to_owned();
    for (from, to) in [
        ("\"departure-time\":", "\"departure\":{\"time\":"),
        (",\"bus-type\":", "},\"bus\":{\"type\":"),
        (",\"delay\":", "},\"arrival\":{\"delay\":"),
        ("e}", "e}}"),
    ] {
        text = text.replace(from, to);
    }
    let mut definition = Catalog::shipped().get("buses").expect("it is shipped").text().to_owned();
    for (name, path) in [
        ("departure-time", "$.departure.time"),
        ("bus-type", "$.bus.type"),
        ("passengers", "$.bus.passengers"),
        ("delay", "$.arrival.delay"),
        ("accident", "$.arrival.accident"),
    ] {
        let field = format!("{{ name = \"{name}\",");
        definition = definition.replace(&field, &format!("{field} path = \"{path}\","));
    }
    (Definition::parse("nested.toml", &definition).expect("it is right"), text)
}

/// The same file in other spellings.
fn variants(document: &str) -> [(&'static str, Format, String); 3] {
    let lines = document[1..document.len() - 1].replace("},{", "}\n{");
    let mut csv = lines.replace(['{', '}'], "");
    for name in ["departure-time", "bus-type", "passengers", "delay", "accident"] {
        csv = csv.replace(&format!("\"{name}\":"), "");
    }
    [
        ("the same with spaces", Format::Json, document.replace(",\"", ", \"").replace("\":", "\": ")),
        ("the same as NDJSON", Format::Ndjson, lines),
        ("the same as CSV", Format::Csv, format!("departure-time,bus-type,passengers,delay,accident\n{csv}")),
    ]
}

fn scan(definition: &Definition, format: Format, document: &str) -> Scanned {
    let mut scanner = Scanner::new(format, definition.record_path(), definition.schema(), definition.statistics());
    for piece in document.as_bytes().chunks(PIECE_BYTES) {
        scanner.push(piece).expect("the document is right");
    }
    scanner.finish().expect("the document is whole")
}

fn typed(document: &str) -> Counted {
    serde_json::from_slice(document.as_bytes()).expect("the document is right")
}

fn seconds<T>(run: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    black_box(run());
    start.elapsed().as_secs_f64()
}

fn main() {
    let catalog = Catalog::shipped();
    let definition = catalog.get("buses").expect("it is shipped");
    let document = document();
    let scanned = scan(definition, Format::Json, &document);
    let Counted { records, passengers, accident } = typed(&document);
    let shown = definition.statistics().to_json(&scanned.totals);
    assert_eq!((scanned.records, shown["passenger_count"].as_i64()), (records, Some(passengers)));
    assert_eq!(shown["exist_accident"].as_bool(), Some(accident));

    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5))
        .configure_from_args();
    let mut group = criterion.benchmark_group("buses");
    group.throughput(Throughput::BytesDecimal(document.len() as u64));
    group.bench_function("scan, check and add up, in pieces of 64 KiB", |bencher| {
        bencher.iter(|| scan(definition, Format::Json, &document));
    });
    group.bench_function("serde_json, typed and borrowed, from a slice", |bencher| bencher.iter(|| typed(&document)));
    for (name, format, variant) in variants(&document) {
        assert_eq!(scan(definition, format, &variant), scanned);
        group.throughput(Throughput::BytesDecimal(variant.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| scan(definition, format, &variant)));
    }
    let (deeper, text) = nested(&document);
    assert_eq!(scan(&deeper, Format::Json, &text), scanned);
    group.throughput(Throughput::BytesDecimal(text.len() as u64));
    group.bench_function("the same, every value below another member", |bencher| {
        bencher.iter(|| scan(&deeper, Format::Json, &text));
    });
    group.finish();
    criterion.final_summary();

    let mut fastest = [f64::INFINITY; 2];
    for _ in 0..PAIRS {
        fastest[0] = fastest[0].min(seconds(|| scan(definition, Format::Json, &document)));
        fastest[1] = fastest[1].min(seconds(|| typed(&document)));
    }
    let [ours, theirs] = fastest.map(|seconds| document.len() as f64 / seconds / 1e6);
    println!("scan: {ours:.0} MB/s; serde_json: {theirs:.0} MB/s; ratio {:.2} (best of {PAIRS} each)", ours / theirs);
}
