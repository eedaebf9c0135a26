//! Values from the environment: without them a source is not served, and they are shown nowhere.

use waybill_ledger::State;
use waybill_queue::{Queue, QueueName};

use crate::support::{BUSES, KEY, PATIENCE, Reply, System, Upstream, eventually, weather};

#[tokio::test]
async fn a_source_that_lacks_its_key_is_not_served_and_the_others_are() {
    let upstream = Upstream::with_cities(2).await;
    let mut system = System::stopped(&weather(4, 2, 600), upstream.clone(), PATIENCE).await;
    system.add(BUSES, &upstream.base_url());
    system.run();
    let job = system.submit_to("weather").await;
    let other = system.submit_to("buses").await;
    assert_eq!(system.ended(other).await.state, State::Succeeded);
    let queue_name = QueueName::Source("weather".to_owned());
    eventually("both wait", async || system.queue.waiting(&queue_name).await.unwrap() >= 2).await;
    assert_eq!(system.status(job).await.state, State::Running);
    assert!(upstream.asked("/data/2.5/group").is_empty());
}

#[tokio::test]
async fn a_listing_that_lacks_its_key_fails_by_its_name() {
    let definition =
        BUSES.replace("path    = \"/cities\"", "path = \"/cities\"\nquery = { key = \"{{ env.CITIES_KEY }}\" }");
    let system = System::start(&definition, Upstream::with_cities(1).await).await;
    let status = system.job().await;
    assert_eq!(status.state, State::Failed);
    assert!(System::reason(&status).contains("`CITIES_KEY`"), "{}", System::reason(&status));
}

#[tokio::test]
async fn a_secret_is_sent_and_kept_nowhere() {
    let upstream = Upstream::start().await;
    upstream.on("/data/2.5/group", |asked| match asked.query.contains("id=0") {
        true => Reply::body(r#"{"list":[{"id":0},{"id":1}]}"#),
        false => Reply::json(&serde_json::json!({"cod": 401, "message": format!("Invalid API key {KEY}.\u{7}")}))
            .with_status(401),
    });
    let mut system = System::stopped(&weather(4, 2, 600), upstream, PATIENCE).await;
    system.worker.env.insert("OPENWEATHER_API_KEY".to_owned(), KEY.to_owned());
    system.run();
    let status = system.job().await;
    assert_eq!((status.state, status.tasks.stored), (State::Partial, 1));
    assert_eq!(
        System::reason(&status),
        "the upstream answered 401 Unauthorized for /data/2.5/group: Invalid API key hidden.\\u{7}"
    );
    assert!(system.upstream.asked("/data/2.5/group")[0].query.contains(KEY));
    assert!(!system.whole_bucket().await.contains(KEY));
    assert!(!format!("{:?}", system.queue.dead_letters()).contains(KEY));
}
