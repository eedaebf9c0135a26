//! How fast the rows of a table are read: a CSV with plain columns, the same with a column that a template makes, and the
//! same records as NDJSON and as JSON.

use std::{fmt::Write as _, hint::black_box};

use criterion::{Criterion, Throughput};
use waybill_source::{Catalog, Definition, RowReader};

/// Large enough to fall out of every cache.
const ROWS: usize = 200_000;

/// What a reader of an object gets at a time.
const PIECE_BYTES: usize = 64 << 10;

/// Streams as CSV, and as one JSON object a line.
fn files() -> (String, String) {
    let mut random = fastrand::Rng::with_seed(7);
    let mut csv = "movie_title,user_email,size_mb,start_at,end_at\n".to_owned();
    let mut lines = String::new();
    for _ in 0..ROWS {
        let (movie, user, size) = (random.u32(0..10_000), random.u32(0..1_000_000), random.f64() * 2_000.0);
        let (day, hour, second) = (random.u32(10..28), random.u32(10..20), random.u32(10..60));
        let start = format!("2021-12-{day}T{hour}:30:{second}.099+0100");
        let end = format!("2021-12-{day}T{}:30:{second}.512+0100", hour + 2);
        writeln!(csv, "The Movie {movie},user{user}@example.org,{size},{start},{end}")
            .expect("a string takes any text");
        writeln!(
            lines,
            r#"{{"movie_title":"The Movie {movie}","user_email":"user{user}@example.org","size_mb":{size},"start_at":"{start}","end_at":"{end}"}}"#
        )
        .expect("a string takes any text");
    }
    (csv, lines)
}

fn read(definition: &Definition, file: &str) -> usize {
    let mut rows = 0;
    let mut each = |row: waybill_source::TableRow| rows += usize::from(black_box(row).cells.is_ok());
    let mut reader = RowReader::new(definition).expect("it has a table");
    for piece in file.as_bytes().chunks(PIECE_BYTES) {
        reader.push(piece, &mut each).expect("the file is right");
    }
    reader.finish(&mut each).expect("the file is right");
    rows
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let stream = Catalog::shipped().with_tables().get("stream").expect("it is shipped").text().to_owned();
    let plain = format!("{}[table]\nmode = \"append\"\n", stream.split("[table]").next().unwrap_or_default());
    let (csv, lines) = files();
    let json = format!("[{}]", lines.trim_end().replace('\n', ",\n"));
    let upload = |text: &str, format: &str| text.replace("upload = \"csv\"", &format!("upload = \"{format}\""));
    let cases = [
        ("csv", plain.clone(), &csv),
        ("csv with a template", stream, &csv),
        ("ndjson", upload(&plain, "ndjson"), &lines),
        ("json", upload(&plain, "json"), &json),
    ];
    for (name, text, file) in cases {
        let definition = Definition::parse("stream.toml", &text).expect("it is right");
        assert_eq!(read(&definition, file), ROWS);
        let mut group = criterion.benchmark_group(format!("rows of {name}, {} MB", file.len() / 1_000_000));
        group.throughput(Throughput::Elements(ROWS as u64)).sample_size(10);
        group.bench_function("read", |bencher| bencher.iter(|| read(&definition, file)));
        group.finish();
    }
    criterion.final_summary();
}
