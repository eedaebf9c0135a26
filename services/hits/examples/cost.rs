//! What counting costs a request: `cargo run --release -p waybill-hits --example cost`.

use std::{hint::black_box, time::Instant};

use jiff::Timestamp;
use waybill_hits::{Hits, Metrics};
use waybill_store::Embedded;

const HITS: usize = 5_000_000;
/// As many different paths as the requests of one known client have in a second.
const PATHS: usize = 5_683;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let store = Embedded::open(folder.path()).await?.store("hits")?;
    let paths: Vec<String> = (0..PATHS).map(|n| format!("/api/segment{}/segment{}/{n}", n % 17, n % 101)).collect();
    for threads in [1, 2, 4] {
        let (hits, _flusher) = Hits::new(store.clone(), Metrics::default(), Timestamp::now);
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (hits, paths) = (&hits, &paths);
                scope.spawn(move || (thread..HITS).for_each(|n| hits.count(black_box(&paths[n % PATHS]))));
            }
        });
        let nanoseconds = begun.elapsed().as_nanos() / (HITS * threads) as u128;
        println!("{threads} threads: {nanoseconds} ns a hit of the wall clock, over {PATHS} paths");
    }
    Ok(())
}
