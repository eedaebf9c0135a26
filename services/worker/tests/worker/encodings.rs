//! Bodies with a `Content-Encoding`: asked for, decoded, and stored as what they are decoded.

use compression_codecs::{
    EncodeV2, GzipEncoder,
    core::{
        Level,
        util::{PartialBuffer, WriteBuffer},
    },
};
use waybill_ledger::State;

use crate::support::{Asked, BUSES, Reply, System, Upstream, buses, cities_json, file};

const ETAG: &str = "\"v1-gzip\"";

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut codec = GzipEncoder::new(Level::Fastest.into());
    let mut output = vec![0; plain.len() + 1_000];
    let mut buffer = WriteBuffer::new_initialized(&mut output);
    let mut input = PartialBuffer::new(plain);
    while !input.unwritten().is_empty() {
        codec.encode(&mut input, &mut buffer).unwrap();
    }
    while !codec.finish(&mut buffer).unwrap() {}
    let written = buffer.written_len();
    output.truncate(written);
    output
}

fn encoded(plain: impl AsRef<[u8]>) -> Reply {
    Reply::body(gzip(plain.as_ref())).header("Content-Encoding", "gzip")
}

#[tokio::test]
async fn files_and_listings_are_stored_decoded() {
    let upstream = Upstream::start().await;
    upstream.on("/cities", |_| encoded(cities_json(3)));
    upstream.on(&file(0), |_| encoded(buses(5_000)));
    upstream.on(&file(1), |_| encoded(buses(10)).chunked());
    // Said to be encoded, and not.
    upstream.on(&file(2), |_| Reply::body(buses(10)).header("Content-Encoding", "br"));
    let system = System::start(BUSES, upstream).await;
    let status = system.good_job().await;
    let bytes = buses(5_000).len() + 2 * buses(10).len();
    assert_eq!((status.records, status.bytes), (5_020, bytes as u64));
    for (object, records) in system.data().await.iter().zip([5_000, 10, 10]) {
        assert!(object.body == buses(records), "{records}");
        assert_eq!(object.head.metadata["bytes"], buses(records).len().to_string());
    }
}

#[tokio::test]
async fn a_body_that_is_not_encoded_as_it_says_fails_at_once() {
    let upstream = Upstream::with_cities(3).await;
    let said = |body: &[u8]| Reply::body(body).header("Content-Encoding", "gzip");
    upstream.on(&file(0), move |_| said(&[0xff; 1_000]));
    upstream.on(&file(1), move |_| {
        let mut body = gzip(b"[]");
        let checksum = body.len() - 8;
        body[checksum] ^= 1;
        said(&body)
    });
    let system = System::start(BUSES, upstream).await;
    let status = system.job().await;
    assert_eq!((status.tasks.stored, status.tasks.failed), (1, 2));
    for (city, task) in system.tasks(&status).await[..2].iter().enumerate() {
        let reason = &task.failure.as_ref().unwrap().reason;
        let expected = format!("the upstream answered {} with the Content-Encoding `gzip`, ", file(city));
        assert!(reason.starts_with(&expected), "{reason}");
        assert_eq!(system.upstream.asked(&file(city)).len(), 1);
    }
}

#[tokio::test]
async fn a_stream_that_ends_in_its_middle_is_no_file() {
    // Every byte that was announced comes; and those that come are a whole document once decoded.
    let upstream = Upstream::with_cities(1).await;
    upstream.on(&file(0), |_| {
        let mut body = gzip(buses(10).as_bytes());
        body.truncate(body.len() - 8);
        Reply::body(body).header("Content-Encoding", "gzip").header("ETag", ETAG)
    });
    let system = System::start(BUSES, upstream).await;
    let status = system.job().await;
    assert_eq!(status.state, State::Failed);
    let expected = "the download of /cities/0/stats ended in the middle of its Content-Encoding `gzip`";
    assert_eq!(System::reason(&status), expected);
    assert!(system.upstream.asked(&file(0)).iter().all(|asked| asked.range().is_none()), "there is no rest");
    assert!(system.data().await.is_empty());
}

#[tokio::test]
async fn a_dropped_download_goes_on_in_the_encoded_bytes() {
    let upstream = Upstream::with_cities(2).await;
    let broken = |says_encoding: bool| {
        move |asked: &Asked| {
            let body = gzip(buses(20_000).as_bytes());
            let reply = Reply::body(body.clone()).header("ETag", ETAG);
            let cut = body.len() / 3;
            match asked.range().filter(|_| asked.header("if-range") == Some(ETAG)) {
                None => reply.header("Content-Encoding", "gzip").cut(cut),
                Some(start) if says_encoding => reply.header("Content-Encoding", "gzip").from(start),
                Some(start) => reply.from(start),
            }
        }
    };
    // A 206 may leave the header out.
    upstream.on(&file(0), broken(true));
    upstream.on(&file(1), broken(false));
    let system = System::start(BUSES, upstream).await;
    system.good_job().await;
    let cut = gzip(buses(20_000).as_bytes()).len() / 3;
    for (city, object) in system.data().await.iter().enumerate() {
        assert!(object.body == buses(20_000));
        let asked = system.upstream.asked(&file(city));
        assert_eq!(asked.iter().map(Asked::range).collect::<Vec<_>>(), [None, Some(cut)]);
    }
}

#[tokio::test]
async fn a_part_of_another_encoding_is_never_glued_on() {
    let upstream = Upstream::with_cities(1).await;
    upstream.on(&file(0), |asked| match asked.nth {
        0 => encoded(buses(5_000)).header("ETag", ETAG).cut(1_000),
        1 => encoded(buses(5_000)).header("ETag", ETAG).header("Content-Encoding", "br").from(1_000),
        _ => Reply::body(buses(10)),
    });
    let system = System::start(BUSES, upstream).await;
    assert_eq!(system.good_job().await.records, 10);
    let ranges: Vec<_> = system.upstream.asked(&file(0)).iter().map(Asked::range).collect();
    assert_eq!(ranges, [None, Some(1_000), None]);
}

#[tokio::test]
async fn a_bomb_ends_at_the_limit() {
    let definition = BUSES.replace("\"10 GB\"", "\"300 KB\"");
    let upstream = Upstream::with_cities(1).await;
    upstream.on(&file(0), |_| encoded(format!("[{}]", " ".repeat(50 << 20))));
    let system = System::start(&definition, upstream).await;
    let status = system.job().await;
    let reason = System::reason(&status);
    assert!(reason.contains("expected at most 300000 bytes, found more"), "{reason}");
    let quarantine = system.tasks(&status).await[0].failure.clone().unwrap().quarantine.unwrap();
    assert_eq!(system.objects(&quarantine).await[0].body.len(), 300_000);
}
