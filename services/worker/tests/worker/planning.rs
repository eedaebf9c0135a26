//! Plans: what an upstream lists, and what cannot be planned.

use waybill_ledger::State;

use crate::support::{BUSES, DATE, PATIENCE, Reply, System, Upstream, cities};

async fn failure(listing: Reply) -> (String, u32, System) {
    let upstream = Upstream::start().await;
    upstream.on("/cities", move |_| listing.clone());
    let system = System::start(BUSES, upstream).await;
    let status = system.job().await;
    assert_eq!((status.state, status.tasks.total), (State::Failed, 0));
    let failure = &status.errors[0].failure;
    (failure.reason.clone(), failure.attempts, system)
}

#[tokio::test]
async fn a_listing_that_cannot_be_used_fails_the_job_in_words() {
    let (reason, _, system) = failure(Reply::body("<html>")).await;
    let expected = "the listing /cities cannot be used: record 1, byte 0: expected an array of records, found an HTML page: \"<html>\"";
    assert_eq!(reason, expected);
    let quarantine = system.objects("quarantine/buses/listing=city/").await;
    let (report, kept): (Vec<_>, Vec<_>) = quarantine.iter().partition(|object| object.key.ends_with(".report.json"));
    assert_eq!((kept.len(), &kept[0].body[..]), (1, b"<html>".as_slice()));
    let report: serde_json::Value = serde_json::from_slice(&report[0].body).unwrap();
    assert_eq!((&report["path"], &report["item"], &report["bytes"]), (&"/cities".into(), &"city".into(), &6.into()));
    assert_eq!((&report["task"], &report["rejection"]["record"]), (&serde_json::Value::Null, &1.into()));
    let no_id = serde_json::json!([{"name": "A", "country": "B"}]);
    let (reason, ..) = failure(Reply::json(&no_id)).await;
    assert!(reason.starts_with("the listing /cities cannot be used: ") && reason.contains("`id`"), "{reason}");
}

#[tokio::test]
async fn what_is_listed_twice_is_one_item_and_only_items_without_a_key_of_their_own_fail() {
    let upstream = Upstream::with_cities(5).await;
    upstream.on("/cities", |_| {
        Reply::json(&serde_json::json!([
            {"id": 0, "name": "A", "country": "X"}, {"id": 1, "name": "B", "country": "X"},
            {"id": 0, "name": "A", "country": "X", "mayor": "somebody"},
            {"id": 2, "name": "C", "country": "X"}, {"id": 3, "name": "C", "country": "X"},
            {"id": 4, "name": "", "country": "X"},
        ]))
    });
    let definition = BUSES.replace("{{ city.id }}-{{ city.name | slug }}", "{{ city.name | slug }}");
    let definition = definition.replace("{{ city.name | slug }}", "{{ city.name }}");
    let system = System::start(&definition, upstream).await;
    let status = system.job().await;
    assert_eq!((status.state, status.tasks.stored, status.tasks.failed), (State::Partial, 2, 3));
    let failures: Vec<_> = system.tasks(&status).await.into_iter().filter_map(|task| task.failure).collect();
    let expected = "two items have the key `C`: the definition's `key` must tell them apart";
    assert_eq!([&failures[0].reason, &failures[1].reason], [expected; 2]);
    assert!(failures[2].reason.starts_with("the key cannot be made for "), "{}", failures[2].reason);
}

/// The same key in two partitions is two items.
#[tokio::test]
async fn windows_may_share_a_key_where_the_partition_tells_them_apart() {
    let definition = BUSES.replace("key     = \"{{ city.id }}-{{ city.name | slug }}\"\n", "");
    let definition = definition.replace(
        "[fetch]\n",
        "[[items]]\nname  = \"day\"\ndates = { from = \"2024-05-01\", to = \"2024-05-04\", step = \"P1D\" }\n\
         key   = \"all\"\n\n[fetch]\n",
    );
    let definition = definition.replace("date={{ params.date }}", "date={{ day.from }}");
    let upstream = Upstream::with_cities(1).await;
    let system = System::start(&definition, upstream).await;
    assert_eq!(system.good_job().await.tasks.stored, 3);
}

#[tokio::test]
async fn a_listing_is_tried_as_often_as_a_file() {
    let (reason, attempts, system) = failure(Reply::status(503)).await;
    assert_eq!((reason.as_str(), attempts), ("the upstream answered 503 Service Unavailable for /cities", 2));
    assert_eq!(system.upstream.asked("/cities").len(), (PATIENCE.tries * PATIENCE.attempts) as usize);
    assert_eq!(system.queue.dead_letters().len(), 1);

    let (reason, attempts, _) = failure(Reply::status(403)).await;
    assert_eq!((reason.as_str(), attempts), ("the upstream answered 403 Forbidden for /cities", 1));

    let upstream = Upstream::with_cities(2).await;
    upstream.on("/cities", |asked| if asked.nth < 4 { cities(2).cut(20) } else { cities(2) });
    let system = System::start(BUSES, upstream).await;
    assert_eq!(system.good_job().await.tasks.stored, 2);
}

#[tokio::test]
async fn a_plan_that_is_there_is_not_made_again() {
    let mut system = System::stopped(BUSES, Upstream::with_cities(3).await, PATIENCE).await;
    system.run();
    let status = system.good_job().await;
    // The plan's message once more, as after a lost acknowledgement.
    let job_id = status.request.job.to_string();
    let again = waybill_queue::PlanJob { job_id, source: "buses".into(), attempt: 2, requeued: false };
    let again = waybill_queue::Message::PlanJob(again);
    let queue = &system.worker.queue;
    queue.publish(&waybill_queue::QueueName::Plans, &again, std::time::Duration::ZERO).await.unwrap();
    system.good_job().await;
    assert_eq!(system.upstream.asked("/cities").len(), 2);
    assert_eq!(system.data().await.len(), 3);
}

#[tokio::test]
async fn no_cities_is_a_job_of_nothing() {
    let upstream = Upstream::with_cities(0).await;
    let system = System::start(BUSES, upstream).await;
    let status = system.good_job().await;
    assert_eq!((status.tasks.total, status.request.params.0["date"].as_str()), (0, DATE));
}

#[tokio::test]
async fn a_message_without_a_job_is_dead_lettered() {
    let system = System::start(BUSES, Upstream::with_cities(1).await).await;
    let unknown = uuid::Uuid::now_v7().to_string();
    for job_id in ["nonsense".to_owned(), unknown] {
        let message = waybill_queue::RunTask { job_id, source: "buses".into(), ..Default::default() };
        let message = waybill_queue::Message::RunTask(message);
        let queue_name = waybill_queue::QueueName::Source("buses".into());
        system.worker.queue.publish(&queue_name, &message, std::time::Duration::ZERO).await.unwrap();
    }
    crate::support::until("both are buried", || system.queue.dead_letters().len() == 2).await;
    let reasons: Vec<_> = system.queue.dead_letters().into_iter().map(|dead_letters| dead_letters.reason).collect();
    assert!(reasons.contains(&"the message names no job".to_owned()), "{reasons:?}");
    assert!(reasons.contains(&"there is no such job".to_owned()), "{reasons:?}");
    system.good_job().await;
}
