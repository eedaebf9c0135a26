//! The embedded store as other people's tools see it: boto3, signed and not, on its port.

mod serve;

use std::{env, process::Command};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use waybill_store::{Embedded, Upload, UploadBody};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boto3_lists_and_reads_and_cannot_write() {
    let python = env::var_os("WAYBILL_TEST_PYTHON").expect("set WAYBILL_TEST_PYTHON: run scripts/test");
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(folder.path()).await.unwrap();
    let store = embedded.store("bucket").unwrap();
    let keys = ["data/50 % + \"q\" 🚌.json", "data/a b/x", "data/新加坡", "other/x", "plain", "z.json"];
    for key in keys {
        let metadata = vec![("bus-count".to_owned(), "7".to_owned())];
        let body = UploadBody::Bytes(Bytes::from(format!("body of {key}")));
        store.upload(key, Upload { content_type: "text/plain", metadata, body }).await.unwrap();
    }

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn({
        let (embedded, shutdown) = (embedded.clone(), shutdown.clone());
        async move { serve::reads(&embedded, listener, shutdown).await }
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/read_with_boto3.py");
    let run = move || Command::new(python).args([script, &endpoint]).env("no_proxy", "127.0.0.1").output().unwrap();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    shutdown.cancel();
    serving.await.unwrap();

    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    let each = |value: fn(&str) -> Value| -> Value { keys.iter().map(|key| ((*key).to_owned(), value(key))).collect() };
    assert_eq!(
        seen,
        json!({
            "buckets": ["bucket"],
            "location": null,
            "order": keys,
            "sizes": each(|key| json!("body of ".len() + key.len())),
            "bodies": each(|key| json!(format!("body of {key}"))),
            "metadata": each(|_| json!({ "bus-count": "7" })),
            "etags_match": true,
            "folders": ["data/", "other/"],
            "top": ["plain", "z.json"],
            "put": "AccessDenied",
            "delete": "AccessDenied",
            "delete_many": "AccessDenied",
            "create_bucket": "AccessDenied",
            "begin_upload": "AccessDenied",
            "missing": "NoSuchKey",
            "no_bucket": "NoSuchBucket",
            "wrong": "SignatureDoesNotMatch",
        })
    );
    assert_eq!(store.list("", None, 100).await.unwrap().len(), keys.len());
}
