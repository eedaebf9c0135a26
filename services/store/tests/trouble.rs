//! What `/ready` says of a store that cannot be used: one line, with what to change, and no secret.

#![expect(clippy::unwrap_used, reason = "a test says where it stopped by panicking there")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region, retry::RetryConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use waybill_store::Store;

const SECRET: &str = "wr0ng-s3cret";

fn store(endpoint: &str, bucket: &str) -> Store {
    let config = Builder::new()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("AKIDWAYBILL", SECRET, None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(endpoint)
        .force_path_style(true);
    Store::with_config(config, bucket, Duration::from_secs(5), None)
}

/// A server that gives one answer to every request that begins with one of the methods, and `200` to every other.
async fn server(answers: &'static [(&'static str, &'static str)]) -> String {
    serve(|request| {
        answers.iter().find(|(method, _)| request.starts_with(method.as_bytes())).map(|(_, answer)| *answer)
    })
    .await
}

/// A server that gives each request the answer that is found for it, and `200` where there is none.
async fn serve(find: impl Fn(&[u8]) -> Option<&'static str> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let mut buffer = [0; 4_096];
                match stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => request.extend_from_slice(&buffer[..read]),
                }
            }
            let (head, body) = find(&request).map_or(("200 OK", ""), |answer| answer.split_once("\r\n\r\n").unwrap());
            let answer =
                format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    endpoint
}

const LISTED: &str = "200 OK\r\nContent-Type: application/xml\r\n\r\n<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
    <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><KeyCount>0</KeyCount></ListBucketResult>";

/// What is said, which must be one line.
async fn said(answers: &'static [(&'static str, &'static str)]) -> String {
    let store = store(&server(answers).await, "lake");
    let error = store.check_writes().await.unwrap_err().to_string();
    assert!(!error.contains('\n') && !error.contains(SECRET) && !error.contains("AKIDWAYBILL"), "{error}");
    assert!(store.check_writes().await.is_err(), "it is not forgotten: {error}");
    error
}

#[tokio::test]
async fn a_web_page_is_no_store() {
    const PAGE: &str = "200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<!doctype html><title>Console</title>";
    const GONE: &str = "404 Not Found\r\nContent-Type: text/html\r\n\r\n<html><h1>404</h1>\n\nAKIDWAYBILL</html>";
    for answers in [&[("GET", PAGE)] as &'static [_], &[("GET", GONE)]] {
        let error = said(answers).await;
        assert!(error.contains("answers with a web page") && error.contains("AWS_ENDPOINT_URL_S3"), "{error}");
    }
    let error = said(&[("GET", "200 OK\r\nContent-Type: application/json\r\n\r\n{}")]).await;
    assert!(error.contains("does not answer as S3 does") && error.contains("AWS_ENDPOINT_URL_S3"), "{error}");
}

#[tokio::test]
async fn each_refusal_says_what_to_change() {
    /// The answers, and what must be said.
    type Case = (&'static [(&'static str, &'static str)], &'static [&'static str]);
    const CASES: [Case; 7] = [
        (
            &[(
                "GET",
                "404 Not Found\r\nContent-Type: application/xml\r\n\r\n<Error><Code>NoSuchBucket</Code></Error>",
            )],
            &["bucket lake does not exist", "WAYBILL_S3_BUCKET"],
        ),
        (
            &[(
                "GET",
                "403 Forbidden\r\nContent-Type: application/xml\r\n\r\n<Error><Code>InvalidAccessKeyId</Code>\
                 <Message>AKIDWAYBILL is unknown</Message><AWSAccessKeyId>AKIDWAYBILL</AWSAccessKeyId></Error>",
            )],
            &["does not know the access key", "AWS_ACCESS_KEY_ID"],
        ),
        (
            &[(
                "GET",
                "403 Forbidden\r\nContent-Type: application/xml\r\n\r\n<Error><Code>SignatureDoesNotMatch</Code></Error>",
            )],
            &["the secret does not belong to the access key", "AWS_SECRET_ACCESS_KEY"],
        ),
        (
            &[(
                "GET",
                "403 Forbidden\r\nContent-Type: application/xml\r\n\r\n<Error><Code>AccessDenied</Code></Error>",
            )],
            &["may not list bucket lake", "s3:ListBucket", "AccessDenied"],
        ),
        (
            &[(
                "GET",
                "301 Moved\r\nContent-Type: application/xml\r\n\r\n<Error><Code>PermanentRedirect</Code></Error>",
            )],
            &["bucket lake is in another region", "AWS_REGION"],
        ),
        (
            &[
                ("GET", LISTED),
                (
                    "PUT",
                    "403 Forbidden\r\nContent-Type: application/xml\r\n\r\n<Error><Code>AccessDenied</Code></Error>",
                ),
            ],
            &["may not write to bucket lake", "s3:PutObject"],
        ),
        (
            &[("GET", "503 Slow Down\r\nContent-Type: application/xml\r\n\r\n<Error><Code>SlowDown</Code></Error>")],
            &["unavailable", "SlowDown"],
        ),
    ];
    for (answers, expected) in CASES {
        let error = said(answers).await;
        for part in expected {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}

#[tokio::test]
async fn nobody_at_home_is_told_from_a_refusal() {
    let error = store("http://127.0.0.1:1", "lake").check().await.unwrap_err().to_string();
    assert!(error.contains("unavailable") && error.contains("AWS_ENDPOINT_URL_S3"), "{error}");
    assert!(error.contains("Connection refused") && !error.contains('\n'), "{error}");
}

#[tokio::test]
async fn once_it_has_worked_a_head_is_enough() {
    let store = store(&server(&[("GET", LISTED), ("HEAD", "403 Forbidden\r\n\r\n")]).await, "lake");
    store.check_writes().await.unwrap();
    let error = store.check().await.unwrap_err().to_string();
    assert!(error.contains("may not list bucket lake") && error.contains("HTTP status 403"), "{error}");
}

#[tokio::test]
async fn a_full_disk_is_noticed_and_forgotten_once_there_is_room() {
    const FULL: &str =
        "507 Insufficient Storage\r\nContent-Type: application/xml\r\n\r\n<Error><Code>Full</Code></Error>";
    let is_full = Arc::new(AtomicBool::new(false));
    let full = is_full.clone();
    let endpoint = serve(move |request| match request {
        _ if request.starts_with(b"GET") => Some(LISTED),
        _ if request.starts_with(b"PUT") && full.load(Ordering::Relaxed) => Some(FULL),
        _ => None,
    });
    let store = store(&endpoint.await, "lake");
    let write = async || store.put("data/x", "text/plain", "x".into()).await;
    store.check_writes().await.unwrap();
    write().await.unwrap();
    is_full.store(true, Ordering::Relaxed);
    write().await.unwrap_err();
    let error = store.check_writes().await.unwrap_err().to_string();
    assert!(error.contains("Full"), "{error}");
    is_full.store(false, Ordering::Relaxed);
    store.check_writes().await.unwrap();
}

#[tokio::test]
async fn a_real_server_says_the_same() {
    let endpoint = std::env::var("WAYBILL_TEST_S3_ENDPOINT");
    let endpoint = endpoint.expect("set WAYBILL_TEST_S3_ENDPOINT: run scripts/test");
    let error = store(&endpoint, "waybill-is-not-there").check_writes().await.unwrap_err().to_string();
    assert!(error.contains("bucket waybill-is-not-there does not exist: create it"), "{error}");
}
