//! How fast bodies are made: without a socket, and over loopback.
//!
//! Without a socket nobody reads the bytes, and the pool and the piece being made stay in the cache:
//! that figure only says how little the making costs. What a client can get is the other one.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::TryStreamExt;
use poem::{Endpoint, Request};
use waybill_upstream::{Options, Upstream};

const PATH: &str = "/cities/0/stats?date=2024-05-01";

fn generate(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    let options = Options { records: 2_400_000, exact: true, ..Options::default() };
    let upstream = Upstream::new(options);
    let app = upstream.app();
    let drain = || {
        runtime.block_on(async {
            let request = Request::builder().uri_str(PATH).finish();
            let mut body = app.call(request).await.expect("a city is served").into_body().into_bytes_stream();
            let mut bytes = 0;
            while let Some(piece) = body.try_next().await.expect("nothing fails here") {
                bytes += piece.len() as u64;
            }
            bytes
        })
    };
    let mut group = criterion.benchmark_group("a city of 2.4 million records");
    group.sample_size(10).throughput(Throughput::Bytes(drain()));
    group.bench_function("made, read by nobody", |bencher| bencher.iter(drain));

    let running = runtime.block_on(upstream.start()).expect("a port is free");
    let (url, client) = (format!("{}{PATH}", running.base_url()), reqwest::Client::new());
    group.bench_function("served and read, on one core", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let mut response = client.get(&url).send().await.expect("it is served");
                while response.chunk().await.expect("nothing fails here").is_some() {}
            });
        });
    });
    group.finish();
}

criterion_group!(benches, generate);
criterion_main!(benches);
