//! A broker that has to be reached by TLS, and one that refuses: `/ready` says in one line what to change, and no line
//! shows the password.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use waybill_e2e::{Process, rabbitmqctl, required, wait_until};
use waybill_upstream::{Options, Upstream};

/// `host:port` of the broker of the tests.
fn broker() -> String {
    let url = required("WAYBILL_TEST_AMQP_URL");
    url.rsplit('@').next().unwrap_or_default().trim_end_matches('/').to_owned()
}

/// A process whose queue is at `amqp_url`, with a log in `folder`.
fn start(folder: &Path, amqp_url: &str, more: &[(&str, String)]) -> Process {
    std::fs::create_dir_all(folder).expect("a folder");
    let path = |name: &str| folder.join(name).display().to_string();
    let variables = [
        ("WAYBILL_LISTEN", "127.0.0.1:0".to_owned()),
        ("WAYBILL_S3_LISTEN", "127.0.0.1:0".to_owned()),
        ("WAYBILL_DATA", path("data")),
        ("WAYBILL_AMQP_URL", amqp_url.to_owned()),
        ("WAYBILL_LOG", "debug".to_owned()),
        ("WAYBILL_TEST_LOG_FILE", path("log")),
    ];
    let variables = variables.iter().chain(more).map(|(name, value)| ((*name).to_owned(), value.clone()));
    Process::start(&["up".to_owned()], &variables.collect::<Vec<_>>())
}

async fn queue_of(process: &Process) -> String {
    let answer = reqwest::get(format!("{}/ready", process.url)).await.expect("an answer");
    let answer: Value = answer.json().await.expect("a report");
    answer["checks"]["queue"].as_str().unwrap_or_default().to_owned()
}

/// What `/ready` says of the queue, once it says this.
async fn says(process: &Process, expected: &str) -> String {
    let what = format!("/ready to say {expected:?}");
    wait_until(&what, async || Some(queue_of(process).await).filter(|said| said.contains(expected))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_is_tried_again_and_says_what_to_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let user = format!("user-{}", uuid::Uuid::now_v7().simple());
    let url = format!("amqp://{user}:hunter2@{}", broker());
    let process = start(folder.path(), &url, &[]);
    let said = says(&process, "correct the user or the password").await;
    assert!(said.contains(&user) && !said.contains('\n'), "{said}");

    // It goes on by itself once the user is there.
    rabbitmqctl(&["add_user", &user, "hunter2"]);
    let said = says(&process, "permissions").await;
    assert!(said.contains("virtual host `/`"), "{said}");
    rabbitmqctl(&["set_permissions", "-p", "/", &user, ".*", ".*", ".*"]);
    says(&process, "ok").await;
    rabbitmqctl(&["delete_user", &user]);
    drop(process);
    let log = std::fs::read_to_string(folder.path().join("log")).expect("a log");
    assert!(log.contains("correct the user") && !log.contains("hunter2"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_host_that_is_none_says_what_to_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let process = start(folder.path(), &format!("amqp://guest:guest@{}/nowhere", broker()), &[]);
    let said = says(&process, "virtual host `nowhere`").await;
    assert!(said.contains("correct the path") && !said.contains('\n'), "{said}");
}

#[test]
fn a_url_that_is_none_is_refused_by_the_name_of_its_setting() {
    for url in ["https://guest:hunter2@localhost", "guest:hunter2@localhost", "amqp://guest:hunter2@localhost:port"] {
        let variables = [("WAYBILL_AMQP_URL".to_owned(), url.to_owned())];
        let output = waybill_e2e::run(&["up"], &variables);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && error.contains("amqp_url") && !error.contains("hunter2"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_is_reached_by_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority =
        CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("a certificate");
    let key = KeyPair::generate().expect("a key");
    let names = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let certificate = names.signed_by(&key, &authority).expect("a certificate");
    std::fs::write(path("authority.pem"), authority.pem()).expect("a file");
    std::fs::write(path("certificate.pem"), certificate.pem()).expect("a file");
    std::fs::write(path("key.pem"), key.serialize_pem()).expect("a file");
    let port = TcpListener::bind("127.0.0.1:0").await.and_then(|taken| taken.local_addr()).expect("a port").port();
    rabbitmqctl(&[
        "eval",
        &format!(
            "rabbit_networking:ensure_ssl(), rabbit_networking:start_ssl_listener({{\"127.0.0.1\", {port}}}, \
             [{{certfile, \"{}\"}}, {{keyfile, \"{}\"}}], 2).",
            path("certificate.pem"),
            path("key.pem")
        ),
    ]);
    let vhost = format!("tls-{}", uuid::Uuid::now_v7().simple());
    rabbitmqctl(&["add_vhost", &vhost]);
    rabbitmqctl(&["set_permissions", "-p", &vhost, "guest", ".*", ".*", ".*"]);

    let url = format!("amqps://guest:guest@localhost:{port}/{vhost}");
    let stranger = start(&folder.path().join("stranger"), &url, &[("WAYBILL_TEST_LOG_FILE", path("stranger.log"))]);
    let said = says(&stranger, "SSL_CERT_FILE").await;
    assert!(said.contains("authority that is not trusted"), "{said}");
    drop(stranger);
    let trusted = ("SSL_CERT_FILE", path("authority.pem"));
    let misnamed = format!("amqps://guest:guest@127.0.0.1:{port}/{vhost}");
    let process = start(folder.path(), &misnamed, std::slice::from_ref(&trusted));
    says(&process, "is not for 127.0.0.1").await;
    drop(process);
    let plain = format!("amqps://guest:guest@{}/{vhost}", broker().replace("127.0.0.1", "localhost"));
    let process = start(folder.path(), &plain, std::slice::from_ref(&trusted));
    says(&process, "does not speak TLS").await;
    drop(process);

    let upstream = Upstream::new(Options { cities: 3, records: 20, ..Options::default() }).start().await;
    let upstream = upstream.expect("an upstream");
    let base_url = ("WAYBILL_BASE_URL", format!("buses={}", upstream.base_url()));
    let process = start(folder.path(), &url, &[trusted, base_url]);
    says(&process, "ok").await;
    let http = reqwest::Client::new();
    let body = json!({ "source": "buses", "params": { "date": "2024-05-01" } });
    let answer = http.post(format!("{}/v1/jobs", process.url)).json(&body).send().await.expect("an answer");
    let job: Value = answer.json().await.expect("a job");
    let job = format!("{}/v1/jobs/{}", process.url, job["id"].as_str().expect("an id"));
    wait_until("the job to succeed", async || {
        let job: Value = http.get(&job).send().await.ok()?.json().await.ok()?;
        (job["state"] == "succeeded").then_some(())
    })
    .await;
    rabbitmqctl(&["delete_vhost", &vhost]);
}
