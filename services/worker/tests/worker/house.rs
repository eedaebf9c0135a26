//! The housekeeper, one at a time.

use std::time::Duration;

use waybill_ledger::State;
use waybill_queue::{Queue, QueueName};

use crate::support::{BUSES, PATIENCE, System, Upstream};

const SOON: Duration = Duration::from_millis(20);

#[tokio::test]
async fn superseded_objects_are_removed_by_whoever_keeps_house() {
    let mut system = System::stopped(BUSES, Upstream::with_cities(1).await, PATIENCE).await;
    system.worker.housekeeping = SOON;
    let lock = system.queue.try_lock("housekeeper").await.unwrap().unwrap();
    system.run();
    let key = |second: u32| {
        format!("data/buses/country=peru/date=2024-05-01/0-city-0.20240501T0800{second:02}.000000Z-0123456789ab.json")
    };
    for second in [3, 1, 2] {
        system.store.put(&key(second), "application/json", "[]".into()).await.unwrap();
    }
    tokio::time::sleep(4 * SOON).await;
    assert_eq!(system.data().await.len(), 3, "somebody else keeps house");
    drop(lock);
    while system.data().await.len() > 1 {
        tokio::time::sleep(SOON).await;
    }
    assert_eq!(system.data().await[0].key, key(3));
}

#[tokio::test]
async fn tasks_that_the_queue_lost_are_sent_again() {
    let mut system = System::stopped(&BUSES.replace("= 16 ", "= 2 "), Upstream::with_cities(3).await, PATIENCE).await;
    system.worker.housekeeping = SOON;
    system.worker.lost_after = Duration::from_millis(100);
    // Nobody may run anything, until the queue has lost it.
    let mut permits = Vec::new();
    for number in 0..2 {
        permits.push(system.queue.try_lock(&format!("permit.buses.{number}")).await.unwrap().unwrap());
    }
    system.run();
    let job = system.submit().await;
    let mut thief = system.queue.consume(&QueueName::Source("buses".to_owned())).await.unwrap();
    for _ in 0..3 {
        thief.next().await.unwrap().ack().await;
    }
    drop(thief);
    drop(permits);
    let status = system.ended(job).await;
    assert_eq!((status.state, status.tasks.stored), (State::Succeeded, 3));
}
