//! The contract suite, on every kind of store.

#![expect(clippy::unwrap_used, reason = "a test says where it stopped by panicking there")]

mod serve;
mod suite;

use std::time::Duration;

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Builder, Credentials, Region},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use waybill_store::{Embedded, Store};

use crate::suite::{Subject, contract};

const TIMEOUT: Duration = Duration::from_secs(20);

/// An embedded store that is also on a port.
async fn embedded() -> (Store, Builder, (Embedded, tempfile::TempDir)) {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(folder.path()).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = Builder::new()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("waybill", "waybill", None, None, "test"))
        .endpoint_url(format!("http://{}", listener.local_addr().unwrap()))
        .force_path_style(true);
    let serving = embedded.clone();
    tokio::spawn(async move { serve::reads(&serving, listener, CancellationToken::new()).await });
    (embedded.store("bucket").unwrap(), port, (embedded, folder))
}

mod in_process {
    use super::*;

    async fn subject() -> Subject {
        let (store, port, embedded) = embedded().await;
        Subject {
            reader: store.clone(),
            writer: store,
            client: Client::from_conf(port.build()),
            bucket: "bucket".to_owned(),
            writers: 64,
            embedded: Some(embedded),
        }
    }

    contract!();
}

mod through_the_port {
    use super::*;

    async fn subject() -> Subject {
        let (writer, port, embedded) = embedded().await;
        Subject {
            writer,
            reader: Store::with_config(port.clone(), "bucket", TIMEOUT, None),
            client: Client::from_conf(port.build()),
            bucket: "bucket".to_owned(),
            writers: 64,
            embedded: Some(embedded),
        }
    }

    contract!();
}

/// Any S3 server: moto in the tests, others by hand.
mod server {
    use super::*;

    async fn subject() -> Subject {
        let endpoint = std::env::var("WAYBILL_TEST_S3_ENDPOINT");
        let endpoint = endpoint.expect("set WAYBILL_TEST_S3_ENDPOINT: run scripts/test");
        let shared = aws_config::defaults(BehaviorVersion::v2026_01_12()).endpoint_url(endpoint).load().await;
        let config = Builder::from(&shared).force_path_style(true);
        let client = Client::from_conf(config.clone().build());
        let bucket = format!("waybill-{}", uuid::Uuid::now_v7().simple());
        client.create_bucket().bucket(&bucket).send().await.unwrap();
        let store = Store::with_config(config, &bucket, TIMEOUT, None);
        // moto looks whether there is an object and then writes, without a lock: what it promises to one writer
        // after the other is all that a test can rely on.
        Subject { reader: store.clone(), writer: store, client, bucket, writers: 1, embedded: None }
    }

    contract!();
}
