//! Values from the environment: without them a source is not served, and they are shown nowhere.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
};

use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use waybill_ledger::State;
use waybill_queue::{Queue, QueueName};

use crate::support::{BUSES, KEY, PATIENCE, Reply, System, Upstream, buses, eventually, file, weather};

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

/// All that is logged, at any level, of this thread.
#[derive(Debug, Clone, Default)]
struct Everything(Arc<Mutex<String>>);

impl Everything {
    fn take(&self, values: impl FnOnce(&mut Self)) {
        values(&mut self.clone());
    }
}

impl Visit for Everything {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{}={value:?} ", field.name());
        self.0.lock().unwrap().push_str(&text);
    }
}

impl Subscriber for Everything {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        self.take(|visitor| attributes.record(visitor));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        self.take(|visitor| values.record(visitor));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.take(|visitor| event.record(visitor));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn credentials_are_sent_with_every_page_and_shown_nowhere() {
    let basic = "bWU6czNjcmV0LWFwcGlk";
    for (auth, header, query) in [
        ("{ bearer = \"{{ env.KEY }}\" }", Some(("authorization", format!("Bearer {KEY}"))), None),
        ("{ basic = [\"me\", \"{{ env.KEY }}\"] }", Some(("authorization", format!("Basic {basic}"))), None),
        ("{ header = { X-Key = \"{{ env.KEY }}\" } }", Some(("x-key", KEY.to_owned())), None),
        ("{ query = { key = \"{{ env.KEY }}\" } }", None, Some(format!("key={KEY}"))),
    ] {
        let everything = Everything::default();
        let _guard = tracing::dispatcher::set_default(&Dispatch::new(everything.clone()));
        let definition = BUSES.replace("[[items]] ", &format!("auth = {auth}\n\n[[items]] "));
        let definition = definition.replace("/stats\"", "/stats\"\npagination = { type = \"link\" }");
        let upstream = Upstream::with_cities(2).await;
        // The next address repeats the key, and so does the refusal.
        let next = format!("</cities/0/stats?page=2&key={KEY}>; rel=next");
        upstream.on(&file(0), move |asked| match asked.nth {
            0 => Reply::body(buses(10)).header("Link", next.clone()),
            _ => Reply::body(buses(11)),
        });
        upstream.on(&file(1), move |_| Reply::body(format!("no: {KEY} {basic}")).with_status(401));
        let mut system = System::stopped(&definition, upstream, PATIENCE).await;
        system.worker.env.insert("KEY".to_owned(), KEY.to_owned());
        system.run();
        let status = system.job().await;
        assert_eq!((status.state, status.records), (State::Partial, 21), "{:?}", status.errors);
        let said = System::reason(&status);
        assert!(said.starts_with("the upstream answered 401 Unauthorized for /cities/1/stats: no: hidden "), "{said}");
        for asked in system.upstream.all_asked() {
            if let Some((name, value)) = &header {
                assert_eq!(asked.header(name), Some(value.as_str()), "{}", asked.path);
            }
            if let Some(query) = &query {
                assert_eq!(asked.query.matches(query.as_str()).count(), 1, "{}", asked.query);
            }
        }
        system.stop().await;
        let stored = system.whole_bucket().await;
        let logged = everything.0.lock().unwrap().clone();
        assert!(logged.contains("/cities/1/stats: no: hidden"));
        for secret in [KEY, if auth.contains("basic") { basic } else { KEY }] {
            assert!(!logged.contains(secret), "{auth}: {}", &logged[logged.find(secret).unwrap() - 200..][..300]);
            assert!(!stored.contains(secret) && !said.contains(secret), "{auth}");
        }
    }
}

#[tokio::test]
async fn what_is_shown_of_a_rejected_file_has_no_secret() {
    let definition = BUSES.replace("[[items]] ", "auth = { query = { key = \"{{ env.KEY }}\" } }\n\n[[items]] ");
    for path in ["/cities".to_owned(), file(0)] {
        let upstream = Upstream::with_cities(1).await;
        upstream.on(&path, |_| Reply::body(format!("<p>no: {KEY}</p>")));
        let mut system = System::stopped(&definition, upstream, PATIENCE).await;
        system.worker.env.insert("KEY".to_owned(), KEY.to_owned());
        system.run();
        let status = system.job().await;
        assert!(System::reason(&status).contains("<p>no: hidden</p>"), "{}", System::reason(&status));
        let quarantine = system.objects("quarantine/").await;
        let report = quarantine.iter().find(|object| object.key.ends_with(".report.json")).unwrap();
        assert!(String::from_utf8_lossy(&report.body).contains("<p>no: hidden</p>"));
    }
}
