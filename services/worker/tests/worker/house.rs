//! The housekeeper, one at a time.

use std::time::Duration;

use jiff::Timestamp;
use waybill_ledger::State;
use waybill_queue::{Queue, QueueName};

use crate::{
    support::{BUSES, KEY, PATIENCE, Reply, System, Upstream, eventually, weather},
    versions::{fetched, id},
};

const SOON: Duration = Duration::from_millis(20);

#[tokio::test]
async fn superseded_objects_are_removed_by_the_housekeeper() {
    let mut system = System::stopped(BUSES, Upstream::with_cities(1).await, PATIENCE).await;
    system.worker.housekeeping = SOON;
    let hold = system.queue.try_lock("housekeeper").await.unwrap().unwrap();
    system.run();
    let mut keys = Vec::new();
    for second in [3, 1, 2] {
        let at = Timestamp::from_second(1_714_550_400 + second).unwrap();
        keys.push(fetched(&system, at, 10, Some(id(at))).await);
    }
    tokio::time::sleep(4 * SOON).await;
    assert_eq!(system.data().await.len(), 3, "another worker is the housekeeper");
    drop(hold);
    eventually("two are removed", async || system.data().await.len() == 1).await;
    assert_eq!(system.data().await[0].key, keys[0]);
}

#[tokio::test]
async fn tasks_that_the_queue_lost_are_republished() {
    let upstream = Upstream::start().await;
    upstream.on("/data/2.5/group", |asked| {
        let id = asked.query.split('&').find_map(|pair| pair.strip_prefix("id=")).unwrap().to_owned();
        Reply::body(format!(r#"{{"list":[{{"id":{id}}}]}}"#))
    });
    let mut system = System::stopped(&weather(3, 1, 60), upstream, PATIENCE).await;
    system.worker.env.insert("OPENWEATHER_API_KEY".to_owned(), KEY.to_owned());
    system.worker.housekeeping = SOON;
    system.worker.lost_after = Duration::from_millis(100);
    // Nobody may run anything, until the queue has lost it.
    let lock = system.queue.try_lock("rate.weather").await.unwrap().unwrap();
    system.run();
    let job = system.submit().await;
    let mut thief = system.queue.consume(&QueueName::Source("weather".to_owned()), 1).await.unwrap();
    for _ in 0..3 {
        thief.next().await.unwrap().ack().await;
    }
    drop(thief);
    drop(lock);
    let status = system.ended(job).await;
    assert_eq!((status.state, status.tasks.stored), (State::Succeeded, 3));
}
