//! A cancelled job: what has not begun does not begin, what runs does not store.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use waybill_ledger::State;
use waybill_queue::{Queue, QueueName};
use waybill_upstream::{Options, Upstream as StandIn};

use crate::support::{BUSES, PATIENCE, System, Upstream, eventually, until};

#[tokio::test]
async fn nothing_is_stored_any_more() {
    let stand_in = StandIn::new(Options { cities: 6, delay: Duration::from_millis(200), ..Options::default() });
    let running = stand_in.start().await.unwrap();
    let mut system = System::stopped(&BUSES.replace("= 16 ", "= 2 "), Upstream::start().await, PATIENCE).await;
    system.worker.base_urls = HashMap::from([("buses".to_owned(), running.base_url().to_owned())]);
    system.run();
    let job = system.submit().await;
    until("two files are asked for", || stand_in.requests().data == 2).await;
    assert_eq!(system.ledger.cancel(job, Timestamp::now()).await.unwrap().state, State::Cancelled);
    let queue_name = QueueName::Source("buses".to_owned());
    eventually("all are taken", async || system.queue.waiting(&queue_name).await.unwrap() == 0).await;
    system.stop().await;
    assert_eq!(stand_in.requests().data, 2, "no other task was begun");
    assert_eq!((system.data().await.len(), system.queue.dead_letters().len()), (0, 0));
    let status = system.status(job).await;
    assert_eq!((status.state, status.tasks.pending), (State::Cancelled, 6));
}
