//! A source's limit holds over all workers together, also when one of them is gone in the middle.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use waybill_ledger::State;
use waybill_upstream::{Options, Running, Upstream as StandIn};

use crate::support::{BUSES, KEY, PATIENCE, Reply, System, Upstream, buses, cities, file, until, weather};

async fn system(definition: &str, options: Options) -> (System, StandIn, Running) {
    let stand_in = StandIn::new(Options { weather_key: KEY.to_owned(), ..options });
    let running = stand_in.start().await.unwrap();
    let mut system = System::stopped(definition, Upstream::start().await, PATIENCE).await;
    let source = system.worker.catalog.iter().next().unwrap().name().to_owned();
    system.worker.base_urls = HashMap::from([(source, running.base_url().to_owned())]);
    system.worker.env.insert("OPENWEATHER_API_KEY".to_owned(), KEY.to_owned());
    (system, stand_in, running)
}

fn a_strict_window() -> Options {
    Options { weather_items_per_window: 60, weather_window: Duration::from_secs(2), ..Options::default() }
}

#[tokio::test]
async fn a_rate_is_kept_and_nothing_is_refused() {
    let (mut system, stand_in, _running) = system(&weather(130, 20, 60), a_strict_window()).await;
    system.run();
    let status = system.good_job().await;
    assert_eq!((status.tasks.stored, status.records), (7, 130));
    let requests = stand_in.requests();
    assert_eq!((requests.weather, requests.violations), (7, 0));
    assert_eq!(system.data().await.len(), 7);
}

#[tokio::test]
async fn a_rate_outlives_the_worker_that_kept_it() {
    let (system, stand_in, _running) = system(&weather(70, 10, 60), a_strict_window()).await;
    let first = system.another();
    let job = system.submit().await;
    until("a request came", || stand_in.requests().weather >= 1).await;
    let _second = system.another();
    until("some more requests came", || stand_in.requests().weather >= 3).await;
    let seen = stand_in.requests().weather;
    drop(first);
    let status = system.ended(job).await;
    assert_eq!((status.state, status.records), (State::Succeeded, 70), "{:?}", status.errors);
    assert!(seen < 7, "the first worker did not do it all");
    assert_eq!(stand_in.requests().violations, 0);
    assert_eq!(system.data().await.len(), 7, "what was begun twice is there once");
}

#[tokio::test]
async fn a_concurrency_holds_over_two_workers() {
    let options = Options { cities: 40, records: 5, delay: Duration::from_millis(15), ..Options::default() };
    let (system, stand_in, _running) = system(&BUSES.replace("= 16 ", "= 3 "), options).await;
    let first = system.another();
    let _second = system.another();
    let job = system.submit().await;
    let status = system.ended(job).await;
    assert_eq!((status.state, status.tasks.total), (State::Succeeded, 40), "{:?}", status.errors);
    let most = stand_in.requests().most_at_once;
    assert!((2..=3).contains(&most), "{most} at once");
    let job = system.submit().await;
    until("the second job runs", || stand_in.requests().data >= 45).await;
    drop(first);
    assert_eq!(system.ended(job).await.state, State::Succeeded);
}

#[tokio::test]
async fn a_retry_after_pauses_its_lane_and_no_other() {
    let upstream = Upstream::start().await;
    upstream.on("/cities", |_| cities(3));
    for city in 0..3 {
        upstream.on(&file(city), |_| Reply::body(buses(3)));
    }
    let times = Arc::new(Mutex::new(Vec::new()));
    let asked_at = times.clone();
    upstream.on("/data/2.5/group", move |asked| {
        asked_at.lock().unwrap().push(Instant::now());
        match asked.nth {
            // Long enough for the other queue on a machine that is busy.
            0 => Reply::status(429).header("Retry-After", "2"),
            _ => Reply::body(r#"{"list":[{"id":0},{"id":1},{"id":2}]}"#),
        }
    });
    // A tenth of a second between two requests: the answer to the first is there before the second could go out.
    let mut system = System::stopped(&weather(6, 3, 60), upstream.clone(), PATIENCE).await;
    system.worker.env.insert("OPENWEATHER_API_KEY".to_owned(), KEY.to_owned());
    system.add(BUSES, &upstream.base_url());
    system.run();
    let job = system.submit_to("weather").await;
    until("it was asked for", || !times.lock().unwrap().is_empty()).await;
    let other = system.submit_to("buses").await;
    assert_eq!(system.ended(other).await.state, State::Succeeded);
    let asked = times.lock().unwrap().clone();
    assert_eq!(asked.len(), 1, "the other queue went on, and this one waits");
    system.ended(job).await;
    let asked = times.lock().unwrap().clone();
    assert_eq!(asked.len(), 3);
    assert!(asked[1] - asked[0] >= Duration::from_secs(2), "{:?}", asked[1] - asked[0]);
}

#[tokio::test]
async fn a_message_waits_on_the_lane_until_its_task_may_start() {
    let (mut system, stand_in, _running) = system(&weather(100, 20, 60), a_strict_window()).await;
    system.run();
    let job = system.submit().await;
    until("the first request came", || stand_in.requests().weather == 1).await;
    let queue_name = waybill_queue::QueueName::Source("weather".to_owned());
    // At most the next one was taken.
    let waiting = waybill_queue::Queue::waiting(&system.queue, &queue_name).await.unwrap();
    assert!(waiting >= 3, "{waiting}");
    system.ended(job).await;
}

#[tokio::test]
async fn the_first_request_of_an_idle_source_goes_out_at_once() {
    // One item in 20 minutes.
    let definition = weather(3, 1, 3).replace("per = \"PT2S\"", "per = \"PT1H\"");
    assert!(definition.contains("PT1H"));
    let (mut system, stand_in, _running) = system(&definition, a_strict_window()).await;
    let began = Instant::now();
    system.run();
    system.submit().await;
    until("the first request came", || stand_in.requests().weather == 1).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_restart_does_not_give_a_source_its_allowance_anew() {
    // What a busy machine delays on the way of a request is no violation here: an allowance given anew is more.
    let window = Options { weather_window: Duration::from_millis(1_700), ..a_strict_window() };
    let (mut system, stand_in, _running) = system(&weather(120, 20, 60), window).await;
    system.worker.retry.attempts = 20;
    let job = system.submit().await;
    for seen in 1..=4 {
        let worker = system.another();
        until("one more request came", || stand_in.requests().weather >= seen).await;
        drop(worker);
    }
    let _last = system.another();
    let status = system.ended(job).await;
    assert_eq!((status.state, status.records), (State::Succeeded, 120), "{:?}", status.errors);
    assert_eq!(stand_in.requests().violations, 0);
}

#[tokio::test]
async fn a_fast_rate_of_single_items_is_reached() {
    // As many answers are awaited at any time as begin within a second.
    let options = Options {
        weather_items_per_window: 20,
        weather_window: Duration::from_secs(1),
        delay: Duration::from_secs(1),
        ..Options::default()
    };
    let definition = weather(80, 1, 20).replace("per = \"PT2S\"", "per = \"PT1S\"");
    let (mut system, stand_in, _running) = system(&definition, options).await;
    system.run();
    let job = system.submit().await;
    until("the first request came", || stand_in.requests().weather >= 1).await;
    let (began, before) = (Instant::now(), stand_in.requests().weather);
    until("60 more came", || stand_in.requests().weather >= before + 60).await;
    let rate = 60.0 / began.elapsed().as_secs_f64();
    assert!(rate >= 12.0, "{rate:.0} a second of 20, where 16 are to be had on a machine that does nothing else");
    assert_eq!(system.ended(job).await.state, State::Succeeded);
    assert_eq!(stand_in.requests().violations, 0);
}

#[tokio::test]
async fn listings_are_requests_as_any_other() {
    let options = Options { cities: 6, records: 5, delay: Duration::from_millis(30), ..Options::default() };
    let (system, stand_in, _running) = system(&BUSES.replace("= 16 ", "= 1 "), options).await;
    let (_one, _other) = (system.another(), system.another());
    // Both workers plan, and one of them has the permit.
    let jobs = [system.submit().await, system.submit().await, system.submit().await, system.submit().await];
    for job in jobs {
        let status = system.ended(job).await;
        assert_eq!((status.state, status.tasks.total), (State::Succeeded, 6), "{:?}", status.errors);
    }
    assert_eq!(stand_in.requests().most_at_once, 1);
}

#[tokio::test]
async fn a_retry_after_of_a_listing_pauses_its_source() {
    let upstream = Upstream::start().await;
    let times = Arc::new(Mutex::new(Vec::new()));
    let asked_at = times.clone();
    upstream.on("/cities", move |asked| {
        asked_at.lock().unwrap().push(Instant::now());
        if asked.nth == 0 { Reply::status(429).header("Retry-After", "2") } else { cities(1) }
    });
    upstream.on(&file(0), |_| Reply::body(buses(3)));
    let mut system = System::stopped(BUSES, upstream, PATIENCE).await;
    system.run();
    let first = system.submit().await;
    until("it was asked for", || !times.lock().unwrap().is_empty()).await;
    let second = system.submit().await;
    for job in [first, second] {
        assert_eq!(system.ended(job).await.state, State::Succeeded);
    }
    let asked = times.lock().unwrap().clone();
    assert!(asked[1] - asked[0] >= Duration::from_secs(2), "{:?}", asked[1] - asked[0]);
}

#[tokio::test]
async fn a_redirect_takes_its_part_of_the_rate() {
    let upstream = Upstream::start().await;
    let times = Arc::new(Mutex::new(Vec::new()));
    for path in ["/data/2.5/group", "/again/1", "/again/2"] {
        let asked_at = times.clone();
        upstream.on(path, move |asked| {
            asked_at.lock().unwrap().push(Instant::now());
            let to = match asked.path.as_str() {
                "/data/2.5/group" => "/again/1",
                "/again/1" => "/again/2",
                _ => return Reply::body(r#"{"list":[{"id":0}]}"#),
            };
            Reply::status(307).header("Location", to)
        });
    }
    // One item in half a second.
    let mut system = System::stopped(&weather(1, 1, 4), upstream, PATIENCE).await;
    system.worker.env.insert("OPENWEATHER_API_KEY".to_owned(), KEY.to_owned());
    system.run();
    assert_eq!(system.job().await.state, State::Succeeded);
    let asked = times.lock().unwrap().clone();
    assert_eq!(asked.len(), 3);
    assert!(asked[2] - asked[0] >= Duration::from_millis(900), "{:?}", asked[2] - asked[0]);
}
