//! Times one file of bus departures for `scripts/bench`: `scan_file PATH json|ndjson|csv RUNS [serde]`.
//!
//! Prints one JSON object a run: the seconds, the records, and the statistics of the shipped definition. With
//! `serde`, serde_json reads the records instead: typed, borrowed, from memory; it checks only their JSON types and
//! counts passengers and accidents. Reading the file is part of the time on both sides.

#[path = "../benches/serde_peer/mod.rs"]
mod serde_peer;

use std::{
    error::Error,
    fs::{self, File},
    io::Read,
    time::Instant,
};

use serde_json::{Value, json};
use waybill_source::{Catalog, Format, Scanner};

use crate::serde_peer::{Counted, Departure};

/// What a worker gets from a connection at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// One side: it reads the file at a path, and returns the statistics.
type Side = fn(&str, Format) -> Result<Value, Box<dyn Error>>;

fn scan(path: &str, format: Format) -> Result<Value, Box<dyn Error>> {
    let catalog = Catalog::shipped();
    let definition = catalog.get("buses").ok_or("the shipped definition")?;
    let mut scanner = Scanner::new(format, definition.record_path(), definition.schema(), definition.statistics());
    let mut file = File::open(path)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        scanner.push(&chunk[..read]).map_err(|error| format!("{error:?}"))?;
    }
    let scanned = scanner.finish().map_err(|error| format!("{error:?}"))?;
    Ok(definition.statistics().to_json(&scanned.totals).into())
}

fn serde(path: &str, format: Format) -> Result<Value, Box<dyn Error>> {
    let bytes = fs::read(path)?;
    let mut counted = Counted::default();
    if format == Format::Json {
        counted = serde_json::from_slice(&bytes)?;
    } else {
        for record in serde_json::Deserializer::from_slice(&bytes).into_iter::<Departure<'_>>() {
            counted.add(&record?);
        }
    }
    let Counted { records, passengers, accident } = counted;
    Ok(json!({ "bus_count": records, "passenger_count": passengers, "exist_accident": accident }))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (path, format, runs, read): (_, _, _, Side) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..]
    {
        [path, format, runs] => (path, format, runs, scan),
        [path, format, runs, "serde"] => (path, format, runs, serde),
        _ => return Err("expected PATH json|ndjson|csv RUNS [serde]".into()),
    };
    let format = match format {
        "json" => Format::Json,
        "ndjson" => Format::Ndjson,
        "csv" => Format::Csv,
        _ => return Err(format!("expected json, ndjson or csv, found {format:?}").into()),
    };
    for _ in 0..runs.parse::<usize>()? {
        let begun = Instant::now();
        let statistics = read(path, format)?;
        println!("{}", json!({ "seconds": begun.elapsed().as_secs_f64(), "statistics": statistics }));
    }
    Ok(())
}
