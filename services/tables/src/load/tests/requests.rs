//! How many S3 requests a small load and a look at a table take: what the README says.

use prometheus_client::{encoding::text::encode, registry::Registry};
use waybill_store::Metrics;

use crate::{
    Tables,
    load::tests::world::{World, film, films, staged},
};

/// Counts the requests of a process.
struct Counted {
    registry: Registry,
    tables: Tables,
}

impl Counted {
    fn new(world: &World) -> Self {
        let mut registry = Registry::default();
        let store = world.store.with_metrics(&Metrics::register(&mut registry));
        Self { tables: Tables::new(store, world.scratch()).unwrap(), registry }
    }

    fn requests(&self) -> u64 {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        let counts = text.lines().filter(|line| line.starts_with("s3_requests_total{"));
        counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_load_takes_so_many_requests_however_many_there_were() {
    let world = World::new().await;
    let (counted, mut loads, mut before) = (Counted::new(&world), Vec::new(), 0);
    for n in 0..24 {
        let rows = staged(&films(), &world.scratch(), [film(&format!("{n:02}"), n)]);
        counted.tables.write(&films(), &n.to_string(), rows).await.unwrap();
        loads.push(counted.requests() - before);
        before = counted.requests();
    }
    counted.tables.provider("film").await.unwrap().unwrap();
    let open = counted.requests() - before;
    println!("loads: {loads:?}; open: {open}");
    // A checkpoint every tenth commit keeps them so.
    assert!(loads.iter().all(|&load| (1..60).contains(&load)), "{loads:?}");
    assert!(open < 20, "{open}");
}
