//! What the standard variables do. A process's variables are its own, so each case is this very test
//! executable, started again with other ones; it prints what came of it.

#![expect(clippy::unwrap_used, reason = "a test says where it stopped by panicking there")]

mod serve;

use std::{env, process::Command, time::Duration};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use waybill_store::{Embedded, S3Settings, Store};

const CASE: &str = "WAYBILL_TEST_CONNECT";

/// Not a test of its own: what the other one starts.
#[tokio::test]
async fn case() {
    if env::var_os(CASE).is_none() {
        return;
    }
    let said = match Store::connect(settings()).await {
        Ok(store) => format!("check {:?}, list {:?}", store.check().await, store.list("", None, 10).await),
        Err(error) => format!("connect {error:?}"),
    };
    println!("said: {said}");
}

fn settings() -> S3Settings {
    S3Settings { bucket: "bucket".to_owned(), force_path_style: None, attempt_timeout: Duration::from_secs(5) }
}

fn with(variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["case", "--exact", "--nocapture"]).env(CASE, "1");
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.env("AWS_ACCESS_KEY_ID", "waybill").env("AWS_SECRET_ACCESS_KEY", "waybill").env("HOME", "/nowhere");
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let Some((_, said)) = said.split_once("said: ") else { panic!("{}", String::from_utf8_lossy(&output.stderr)) };
    said.lines().next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_standard_variables_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(folder.path()).await.unwrap();
    embedded.store("bucket").unwrap().put("k", "text/plain", Bytes::from_static(b"x")).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn({
        let (embedded, shutdown) = (embedded.clone(), shutdown.clone());
        async move { serve::reads(&embedded, listener, shutdown).await }
    });
    let cases = move || {
        let listed = with(&[("AWS_ENDPOINT_URL_S3", &endpoint), ("AWS_ENDPOINT_URL", "http://127.0.0.1:1")]);
        assert!(listed.starts_with("check Ok(()), list Ok([Entry { key: \"k\", size: 1,"), "{listed}");

        let listed = with(&[("AWS_ENDPOINT_URL", &endpoint), ("AWS_CA_BUNDLE", "/none.pem")]);
        assert!(listed.starts_with("check Ok(()), list Ok([Entry"), "plain HTTP needs no certificates: {listed}");

        let wrong = with(&[("AWS_ENDPOINT_URL", &endpoint), ("AWS_SECRET_ACCESS_KEY", "wr0ng-s3cret")]);
        assert!(wrong.contains("set AWS_SECRET_ACCESS_KEY"), "{wrong}");
        assert!(wrong.contains("SignatureDoesNotMatch") && !wrong.contains("wr0ng-s3cret"), "{wrong}");

        let nobody = with(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:1")]);
        assert!(nobody.contains("Unavailable") && nobody.contains("Connection refused"), "{nobody}");

        let no_url = with(&[("AWS_ENDPOINT_URL_S3", "127.0.0.1:1")]);
        assert!(no_url.contains("Refused") && no_url.contains("AWS_ENDPOINT_URL_S3 must be a URL"), "{no_url}");

        let nothing = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", ""), ("AWS_EC2_METADATA_DISABLED", "true")];
        let anonymous = with(&[&[("AWS_ENDPOINT_URL", endpoint.as_str())], &nothing[..]].concat());
        assert!(anonymous.contains("no credentials were found: set AWS_ACCESS_KEY_ID"), "{anonymous}");
    };
    tokio::task::spawn_blocking(cases).await.unwrap();
    shutdown.cancel();
    serving.await.unwrap();
}
