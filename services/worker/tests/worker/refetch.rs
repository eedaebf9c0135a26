//! The same date again: what is unchanged is not stored again, what changed is there once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use waybill_ledger::State;

use crate::support::{BUSES, PATIENCE, Reply, System, Upstream, buses, file, until};

#[tokio::test]
async fn an_etag_that_still_holds_is_unchanged() {
    let upstream = Upstream::with_cities(1).await;
    upstream.on(&file(0), |asked| match asked.header("if-none-match") {
        Some("\"v1\"") => Reply::status(304).header("ETag", "\"v1\""),
        _ => Reply::body(buses(10)).header("ETag", "\"v1\"").header("Last-Modified", "Wed, 01 May 2024 08:00:00 GMT"),
    });
    let system = System::start(BUSES, upstream).await;
    let first = system.good_job().await;
    let before = system.data().await;
    let second = system.good_job().await;
    assert_eq!((first.tasks.stored, second.tasks.unchanged), (1, 1));
    assert_eq!((second.records, second.bytes), (10, buses(10).len() as u64));
    assert_eq!(system.tasks(&second).await[0].done.as_ref().unwrap().object, before[0].key);
    let after = system.data().await;
    assert_eq!((after.len(), &after[0].key), (1, &before[0].key));
    let asked = system.upstream.asked(&file(0));
    assert_eq!(asked[1].header("if-modified-since"), Some("Wed, 01 May 2024 08:00:00 GMT"));
}

#[tokio::test]
async fn the_same_bytes_are_unchanged_without_any_validator() {
    let system = System::start(BUSES, Upstream::with_cities(2).await).await;
    system.good_job().await;
    let before: Vec<_> = system.data().await.into_iter().map(|object| object.key).collect();
    let second = system.good_job().await;
    let after: Vec<_> = system.data().await.into_iter().map(|object| object.key).collect();
    assert_eq!((second.tasks.unchanged, before), (2, after));
}

#[tokio::test]
async fn changed_data_leaves_one_object_per_item() {
    let upstream = Upstream::with_cities(3).await;
    let system = System::start(BUSES, upstream).await;
    system.good_job().await;
    system.upstream.on(&file(1), |_| Reply::body(buses(25)));
    let second = system.good_job().await;
    assert_eq!((second.tasks.stored, second.tasks.unchanged), (1, 2));
    let data = system.data().await;
    let counts: Vec<_> = data.iter().map(|object| object.head.metadata["bus-count"].as_str()).collect();
    assert_eq!(counts, ["10", "25", "10"]);
}

#[tokio::test]
async fn another_definition_checks_the_same_bytes_again() {
    let upstream = Upstream::with_cities(1).await;
    upstream.on(&file(0), |asked| match asked.header("if-none-match") {
        Some(_) => Reply::status(304),
        None => Reply::body(buses(10)).header("ETag", "\"v1\""),
    });
    let mut system = System::start(BUSES, upstream.clone()).await;
    system.good_job().await;
    system.stop().await;
    let definition =
        BUSES.replace("bus_count       = \"count\"", "bus_count = \"count\"\nmost = { max = \"passengers\" }");
    assert_ne!(definition, BUSES);
    let system = system.with_definition(&definition);
    let second = system.good_job().await;
    assert_eq!(second.tasks.stored, 1);
    assert_eq!(upstream.asked(&file(0))[1].header("if-none-match"), None);
    let data = system.data().await;
    assert_eq!((data.len(), data[0].head.metadata["most"].as_str()), (1, "9"));
}

#[tokio::test]
async fn two_jobs_for_one_date_at_once_leave_one_object_per_item() {
    let upstream = Upstream::with_cities(8).await;
    let turn = Arc::new(AtomicUsize::new(0));
    for city in 0..8 {
        let turn = turn.clone();
        upstream.on(&file(city), move |_| Reply::body(buses(turn.fetch_add(1, Ordering::SeqCst))));
    }
    let mut system = System::stopped(BUSES, upstream, PATIENCE).await;
    system.worker.housekeeping = Duration::from_millis(20);
    let jobs = [system.submit().await, system.submit().await, system.submit().await];
    system.run();
    for job in jobs {
        assert_eq!(system.ended(job).await.state, State::Succeeded);
    }
    // Tasks that store at the same moment may not see each other: the sweep sees all.
    let swept = async {
        loop {
            let data = system.data().await;
            if data.len() <= 8 {
                break data;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let data = tokio::time::timeout(Duration::from_secs(15), swept).await.expect("what is superseded is removed");
    assert_eq!(data.len(), 8, "{data:?}");
    for object in data {
        let records = object.head.metadata["records"].parse::<usize>().unwrap();
        assert_eq!(object.body, buses(records), "metadata and bytes are of one fetch");
    }
}

#[tokio::test]
async fn an_older_fetch_that_ends_later_does_not_hide_a_newer_one() {
    let upstream = Upstream::with_cities(1).await;
    // The first download breaks off, and goes on only after the second job has stored what is newer.
    upstream.on(&file(0), |asked| match (asked.nth, asked.range()) {
        (0, _) => Reply::body(buses(500)).header("ETag", "\"old\"").cut(5_000),
        (_, Some(start)) => Reply::body(buses(500)).header("ETag", "\"old\"").from(start),
        _ => Reply::body(buses(600)).header("ETag", "\"new\""),
    });
    let slow = waybill_worker::RetryPolicy {
        initial: std::time::Duration::from_millis(400),
        max_wait: std::time::Duration::from_secs(1),
        ..PATIENCE
    };
    let mut system = System::stopped(BUSES, upstream, slow).await;
    system.run();
    let first = system.submit().await;
    until("the first download has begun", || system.upstream.asked(&file(0)).len() == 1).await;
    let second = system.good_job().await;
    assert!(!system.status(first).await.state.is_terminal());
    assert_eq!(system.ended(first).await.state, State::Succeeded);
    assert_eq!(second.records, 600);
    let data = system.data().await;
    assert_eq!((data.len(), data[0].head.metadata["records"].as_str()), (1, "600"));
}
