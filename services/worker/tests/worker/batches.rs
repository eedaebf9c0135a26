//! Batches: several items with one request, and what becomes of those that the upstream does not have.

use std::{collections::BTreeSet, collections::HashMap, time::Duration};

use jiff::Timestamp;
use waybill_ledger::State;
use waybill_upstream::{Options, Running, Upstream as StandIn};

use crate::support::{KEY, PATIENCE, Reply, System, Upstream, weather};

const GROUP: &str = "/data/2.5/group";

async fn against_the_stand_in(unknown: &[u64], leave_out: bool) -> (System, StandIn, Running) {
    let stand_in = StandIn::new(Options {
        weather_key: KEY.to_owned(),
        weather_unknown: unknown.iter().copied().collect::<BTreeSet<_>>(),
        weather_leave_out_unknown: leave_out,
        weather_items_per_window: 600,
        weather_window: Duration::from_secs(2),
        ..Options::default()
    });
    let running = stand_in.start().await.unwrap();
    let mut system = System::stopped(&weather(16, 8, 600), Upstream::start().await, PATIENCE).await;
    system.worker.base_urls = HashMap::from([("weather".to_owned(), running.base_url().to_owned())]);
    system.worker.env.insert("OPENWEATHER_API_KEY".to_owned(), KEY.to_owned());
    system.run();
    (system, stand_in, running)
}

async fn ids(system: &System) -> BTreeSet<u64> {
    let bodies = system.data().await.into_iter().map(|object| object.body);
    let list = bodies.flat_map(|body| {
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        body["list"].as_array().unwrap().iter().map(|city| city["id"].as_u64().unwrap()).collect::<Vec<_>>()
    });
    let all: Vec<_> = list.collect();
    let ids: BTreeSet<_> = all.iter().copied().collect();
    assert_eq!(ids.len(), all.len(), "no city is there twice");
    ids
}

#[tokio::test]
async fn an_unknown_id_is_found_and_the_others_arrive() {
    let (system, stand_in, _running) = against_the_stand_in(&[5], false).await;
    let status = system.job().await;
    assert_eq!((status.state, status.tasks.stored, status.records), (State::Partial, 2, 15));
    assert_eq!(status.errors.len(), 1);
    assert_eq!((status.errors[0].task, status.errors[0].items.as_slice()), (Some(0), ["5".to_owned()].as_slice()));
    assert_eq!(
        status.errors[0].failure.reason,
        "5: the upstream answered 404 Not Found for /data/2.5/group: city not found"
    );
    assert_eq!(ids(&system).await, (0..16).filter(|id| *id != 5).collect());
    // 0-7, 0-3, 4-7, 4-5, 4, 5, 6-7; and the other batch.
    let requests = stand_in.requests();
    assert_eq!((requests.weather, requests.violations), (8, 0));
    // All of the one fetch are there, and go with the next.
    assert_eq!(system.data().await.len(), 3 + 1);
    // Tried again in vain, and once the upstream has it.
    let job = status.request.job;
    system.ledger.retry(job, Timestamp::now()).await.unwrap();
    let status = system.ended(job).await;
    assert_eq!((status.state, status.tasks.incomplete, status.records), (State::Partial, 1, 15));
    assert_eq!(stand_in.requests().weather, 8 + 7);
    stand_in.change(waybill_upstream::Changes { weather_unknown: Some(BTreeSet::new()), ..Default::default() });
    system.ledger.retry(job, Timestamp::now()).await.unwrap();
    let status = system.ended(job).await;
    assert_eq!((status.state, status.tasks.incomplete, status.records), (State::Succeeded, 0, 16));
    assert_eq!(stand_in.requests().weather, 8 + 7 + 1);
    let status = system.good_job().await;
    assert_eq!((status.tasks.stored, status.tasks.unchanged), (0, 2));
    assert_eq!(ids(&system).await, (0..16).collect());
    assert_eq!(system.data().await.len(), 2);
}

#[tokio::test]
async fn an_id_that_the_answer_leaves_out_is_reported() {
    let (system, stand_in, _running) = against_the_stand_in(&[0, 9], true).await;
    let status = system.job().await;
    assert_eq!((status.state, status.records), (State::Partial, 14));
    let items: Vec<_> = status.errors.iter().map(|error| (error.task, error.items.clone())).collect();
    assert_eq!(items, [(Some(0), vec!["0".to_owned()]), (Some(1), vec!["9".to_owned()])]);
    assert_eq!(stand_in.requests().weather, 2);
    // Once more, where nothing is new: still reported.
    let again = system.job().await;
    assert_eq!((again.state, again.tasks.unchanged, again.errors.len()), (State::Partial, 2, 2));
}

#[tokio::test]
async fn a_batch_of_which_nothing_is_there_has_failed() {
    let (system, _stand_in, _running) = against_the_stand_in(&(8..16).collect::<Vec<_>>(), false).await;
    let status = system.job().await;
    assert_eq!((status.state, status.tasks.stored, status.tasks.failed), (State::Partial, 1, 1));
    let reason = System::reason(&status);
    assert!(reason.starts_with("the upstream has none of 8 items: 8: the upstream answered 404"), "{reason}");
    assert_eq!(ids(&system).await, (0..8).collect());
}

#[tokio::test]
async fn a_batch_that_fails_its_checks_is_quarantined_whole() {
    let upstream = Upstream::start().await;
    upstream.on(GROUP, |_| Reply::body(r#"{"list":[{"id":"one"}]}"#));
    let mut system = System::stopped(&weather(2, 2, 600), upstream, PATIENCE).await;
    system.worker.env.insert("OPENWEATHER_API_KEY".to_owned(), KEY.to_owned());
    system.run();
    let status = system.job().await;
    assert_eq!(status.state, State::Failed);
    assert!(System::reason(&status).starts_with("the file was rejected: "));
    assert_eq!((system.data().await.len(), system.objects("quarantine/").await.len()), (0, 2));
}
