//! A dropped download goes on where it stopped, where the upstream lets it.

use waybill_ledger::State;

use crate::support::{Asked, BUSES, Reply, System, Upstream, buses, file};

const ETAG: &str = "\"v1\"";

/// Breaks the file off `drops` times, each time after a third of what is left, and lets it be resumed.
fn broken(body: String, drops: usize) -> impl Fn(&Asked) -> Reply + Send + Sync {
    move |asked| {
        let reply = Reply::body(body.clone()).header("ETag", ETAG).header("Accept-Ranges", "bytes");
        let (left, reply) = match asked.range().filter(|_| asked.header("if-range") == Some(ETAG)) {
            Some(start) => (body.len() - start, reply.from(start)),
            None => (body.len(), reply),
        };
        if asked.nth < drops { reply.cut(left / 3) } else { reply }
    }
}

#[tokio::test]
async fn a_dropped_download_goes_on() {
    // Below and beyond what is taken without a thread and kept in memory.
    for records in [100, 5_000, 20_000] {
        let body = buses(records);
        let upstream = Upstream::with_cities(1).await;
        upstream.on(&file(0), broken(body.clone(), 2));
        let system = System::start(BUSES, upstream).await;
        let status = system.good_job().await;
        assert_eq!((status.records, status.bytes), (records as u64, body.len() as u64));
        let asked = system.upstream.asked(&file(0));
        let first = body.len() / 3;
        let second = first + (body.len() - first) / 3;
        assert_eq!(asked.iter().map(Asked::range).collect::<Vec<_>>(), [None, Some(first), Some(second)]);
        assert!(asked[1..].iter().all(|asked| asked.header("if-range") == Some(ETAG)));
        assert!(system.data().await[0].body == body);
    }
}

#[tokio::test]
async fn another_file_meanwhile_is_taken_from_its_beginning() {
    let upstream = Upstream::with_cities(1).await;
    upstream.on(&file(0), |asked| {
        if asked.nth == 0 {
            Reply::body(buses(500)).header("ETag", ETAG).cut(5_000)
        } else {
            Reply::body(buses(400)).header("ETag", "\"v2\"")
        }
    });
    let system = System::start(BUSES, upstream).await;
    let status = system.good_job().await;
    assert_eq!(status.records, 400);
    let data = system.data().await;
    assert_eq!((&data[0].body[..], &data[0].head.metadata["etag"][..]), (buses(400).as_bytes(), "\"v2\""));
    assert_eq!(system.upstream.asked(&file(0))[1].range(), Some(5_000));
}

#[tokio::test]
async fn a_wrong_part_is_never_glued_on() {
    let body = buses(500);
    let right = |body: &str| Reply::body(body).header("ETag", ETAG);
    let whole = body.clone();
    type Answer = Box<dyn Fn(&Asked) -> Reply + Send + Sync>;
    let wrong: Vec<Answer> = vec![
        // Another beginning, another file, another length, none of it said, no rest.
        Box::new(move |_| right(&buses(500)).from(4_999)),
        Box::new(move |_| Reply::body(buses(500)).header("ETag", "\"v2\"").from(5_000)),
        Box::new(move |_| right(&buses(501)).from(5_000)),
        Box::new(move |_| Reply::status(206).header("ETag", ETAG)),
        Box::new(move |_| Reply::status(416)),
    ];
    for (case, second) in wrong.into_iter().enumerate() {
        let upstream = Upstream::with_cities(1).await;
        let whole = whole.clone();
        upstream.on(&file(0), move |asked| match asked.nth {
            0 => right(&whole).cut(5_000),
            1 => second(asked),
            _ => right(&whole),
        });
        let system = System::start(BUSES, upstream).await;
        system.good_job().await;
        let asked = system.upstream.asked(&file(0));
        assert_eq!(asked.iter().map(Asked::range).collect::<Vec<_>>(), [None, Some(5_000), None], "case {case}");
        assert!(system.data().await[0].body == body, "case {case}");
    }
}

#[tokio::test]
async fn without_a_strong_validator_it_begins_anew() {
    let upstream = Upstream::with_cities(3).await;
    let answers = [
        |reply: Reply| reply,
        |reply: Reply| reply.header("ETag", "W/\"v1\""),
        |reply: Reply| reply.header("ETag", ETAG).header("Accept-Ranges", "none"),
    ];
    for (city, with) in answers.into_iter().enumerate() {
        upstream.on(&file(city), move |asked| {
            let reply = with(Reply::body(buses(500)));
            if asked.nth == 0 { reply.cut(5_000) } else { reply }
        });
    }
    let system = System::start(BUSES, upstream).await;
    system.good_job().await;
    for city in 0..3 {
        let asked = system.upstream.asked(&file(city));
        assert_eq!(asked.iter().map(Asked::range).collect::<Vec<_>>(), [None, None], "{city}");
    }
    assert!(system.data().await.iter().all(|object| object.body == buses(500)));
}

#[tokio::test]
async fn a_length_that_is_not_as_announced_is_a_failure() {
    // All that comes is a whole document, and yet not all that was announced.
    let upstream = Upstream::with_cities(1).await;
    upstream.on(&file(0), |_| {
        let body = buses(10);
        Reply::body(format!("{body}   ")).cut(body.len())
    });
    let system = System::start(BUSES, upstream).await;
    let status = system.job().await;
    assert_eq!(status.state, State::Failed);
    assert!(System::reason(&status).starts_with("the download of /cities/0/stats broke off"), "{status:?}");
    assert!(system.data().await.is_empty());
}
