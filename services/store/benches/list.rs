//! A page of 1,000 among 100,000 objects of one folder, and writes of 170 KB, on the embedded store.
//!
//! `cargo bench -p waybill-store`. The target for a page is 20 ms.

use std::{
    hint::black_box,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::{StreamExt, stream};
use tokio::runtime::Runtime;
use waybill_store::{Created, Embedded, Store};

const OBJECTS: usize = 100_000;
const PREFIX: &str = "data/country=x/date=2024-05-01/";

/// 100,000 objects, made as copies of one file: writing them through the store would take a minute.
fn fill(runtime: &Runtime, folder: &Path) {
    let embedded = runtime.block_on(Embedded::open(folder)).expect("a fresh folder");
    let store = embedded.store("bucket").expect("a fresh folder");
    let first = format!("{PREFIX}first.json");
    runtime.block_on(store.put(&first, "application/json", Bytes::from_static(b"[]"))).expect("an empty disk");
    let path: PathBuf = folder.join("buckets/bucket").join(PREFIX);
    for n in 0..OBJECTS {
        std::fs::copy(path.join("first.json@"), path.join(format!("{n:06}-city.json@"))).expect("an empty disk");
    }
}

fn list(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("threads");
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    fill(&runtime, folder.path());

    let cold = Instant::now();
    let embedded = runtime.block_on(Embedded::open(folder.path())).expect("nobody else has it");
    let store = embedded.store("bucket").expect("it is there");
    let page = |store: &Store, n: usize| {
        let after = format!("{PREFIX}{n:06}");
        let page = runtime.block_on(store.list(PREFIX, Some(&after), 1_000)).expect("the store answers");
        assert_eq!(page.len(), 1_000);
        page
    };
    page(&store, 0);
    println!("open and the first page of {OBJECTS}, nothing in memory: {:?}", cold.elapsed());

    let mut n = 0;
    criterion.bench_function("a page of 1,000 among 100,000", |bencher| {
        bencher.iter(|| {
            n = (n + 1_000) % (OBJECTS - 1_000);
            black_box(page(&store, n))
        });
    });
}

fn write(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("threads");
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let embedded = runtime.block_on(Embedded::open(folder.path())).expect("a fresh folder");
    let store = embedded.store("bucket").expect("a fresh folder");
    let body = Bytes::from(vec![b'x'; 170_000]);
    let mut group = criterion.benchmark_group("writes of 170 KB, 32 at once");
    group.throughput(Throughput::Elements(1)).sample_size(10).measurement_time(Duration::from_secs(5));
    let mut run = 0;
    group.bench_function("create", |bencher| {
        let _entered = runtime.enter();
        bencher.iter_custom(|count| {
            run += 1;
            let keys = (0..count).map(|n| format!("data/country=x/date={run:04}/{n}"));
            let began = Instant::now();
            let put = |key: String| {
                let (store, body) = (store.clone(), body.clone());
                // A task each, as workers have: the client's own work is spread over the cores, too.
                let task = async move { store.create(&key, "application/json", body).await };
                async move { tokio::spawn(task).await.expect("no panic").expect("the store answers") }
            };
            let all = stream::iter(keys).map(put).buffer_unordered(32);
            runtime.block_on(all.for_each(|created| async move { assert_eq!(created, Created::New) }));
            began.elapsed()
        });
    });
    group.finish();
}

// Writes first: ext4 avoids the inodes of the 100,000 files that the listing leaves deleted, which takes time.
criterion_group!(benches, write, list);
criterion_main!(benches);
