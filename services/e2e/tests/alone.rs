//! What is the same in every mode: the demo, settings, definitions, and who can look into the bucket.

use std::{io::Write, net::TcpStream, path::Path};

use waybill_e2e::{Mode, System, required, run};
use waybill_upstream::{Options, Upstream};

fn waybill(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    // What gets as far as its data must not leave them here.
    let folder = tempfile::tempdir().expect("a folder");
    let data = [("WAYBILL_DATA".to_owned(), folder.path().display().to_string())];
    let given = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let environment: Vec<_> = data.into_iter().chain(given).collect();
    let output = run(arguments, &environment);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_demo_ends_well_and_shows_statistics() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("demo").display().to_string();
    let (code, out, progress) = waybill(&["demo", "--exit", "--records", "500", "--data", &data], &[]);
    assert_eq!(code, Some(0), "{out}{progress}");
    assert!(progress.contains("buses date=2024-05-03: succeeded, 12 of 12 tasks"), "{progress}");
    assert!(out.contains("COUNTRY") && out.contains("AVERAGE_DELAY_S") && out.contains("2024-05-02"), "{out}");
}

#[test]
fn a_setting_that_cannot_be_read_is_refused_by_name() {
    let refused = |environment: &[(&str, &str)], name: &str| {
        let (code, _, error) = waybill(&["up"], environment);
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains(name), "{error}");
    };
    refused(&[("WAYBILL_LISTEN", "nowhere")], "listen");
    refused(&[("WAYBILL_BASE_URL", "http://127.0.0.1:1")], "base_url");
    refused(&[("WAYBILL_BASE_URL", "trams=http://127.0.0.1:1")], "trams");
    refused(&[("WAYBILL_BASE_URL", "buses=ftp://127.0.0.1")], "base_url");
    refused(&[("WAYBILL_SOURCES", "/no/such/folder")], "sources");
    refused(&[("WAYBILL_CONFIG", "/no/such/file.toml")], "/no/such/file.toml");
    refused(&[("WAYBILL_AMQP_URL", "http://guest:hunter2@localhost")], "amqp");
    let (_, _, error) = waybill(&["up"], &[("WAYBILL_AMQP_URL", "http://guest:hunter2@localhost")]);
    assert!(!error.contains("hunter2"), "a password is never shown: {error}");

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("waybill.toml");
    std::fs::write(&file, "lisen = '127.0.0.1:1'\n").expect("a file");
    refused(&[("WAYBILL_CONFIG", &file.display().to_string())], "lisen");
}

#[test]
fn a_separate_service_refuses_embedded_parts() {
    for target in ["api", "worker", "stats"] {
        let (code, _, error) = waybill(&[target], &[("WAYBILL_LISTEN", "127.0.0.1:0")]);
        assert_eq!(code, Some(1));
        assert!(error.contains("WAYBILL_S3_BUCKET"), "{error}");
    }
    let only_s3 =
        [("WAYBILL_LISTEN", "127.0.0.1:0"), ("WAYBILL_S3_BUCKET", "b"), ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")];
    let (_, _, error) = waybill(&["worker"], &only_s3);
    assert!(error.contains("WAYBILL_AMQP_URL"), "{error}");
}

#[test]
fn a_wrong_definition_is_refused_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("trams.toml");
    let shipped = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../source/sources/buses.toml"));
    let text = std::fs::read_to_string(shipped).expect("the shipped definition");
    std::fs::write(&file, text.replace("passengers\" }", "passenger\" }")).expect("a file");
    let name = file.display().to_string();
    let (code, _, error) = waybill(&["check", &name], &[]);
    assert_eq!(code, Some(1), "{error}");
    let line = text.lines().position(|line| line.contains("passenger_count")).expect("that line") + 1;
    assert!(error.contains(&format!("{name}:{line}:")) && error.contains("`passengers`"), "{error}");
    let (code, out, _) = waybill(&["check", &shipped.display().to_string()], &[]);
    assert_eq!(code, Some(0), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_names_its_proxy_and_asks_it_for_no_address_of_this_machine() {
    let nobody = "http://user:hunter2@127.0.0.1:1";
    let error = |url: String| {
        let (code, _, error) = waybill(&["jobs"], &[("WAYBILL_URL", &url), ("HTTP_PROXY", nobody), ("NO_PROXY", "")]);
        assert_eq!(code, Some(1), "{error}");
        assert!(!error.contains("hunter2"), "a password is never shown: {error}");
        error
    };
    let elsewhere = error("http://waybill.example".to_owned());
    assert!(elsewhere.contains("http://waybill.example through the proxy http://127.0.0.1:1"), "{elsewhere}");
    // Something that is no Waybill, and answers.
    let here = Upstream::new(Options::default()).start().await.expect("a free port");
    for url in [here.base_url().to_owned(), here.base_url().replace("127.0.0.1", "localhost")] {
        let answered = tokio::task::block_in_place(|| error(url));
        assert!(answered.contains("404") && !answered.contains("proxy"), "{answered}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_s3_clients_can_look_into_the_bucket() {
    let system = System::start(Mode::OneProcess, Options { cities: 3, records: 50, ..Options::default() }).await;
    system.fetch_buses("2024-05-01").await;
    let endpoint = system.processes[0].1.s3_url.clone().expect("the embedded S3 has an address");
    let script = r#"
import sys, boto3
from botocore import UNSIGNED
from botocore.config import Config
s3 = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1", config=Config(signature_version=UNSIGNED))
objects = s3.list_objects_v2(Bucket="waybill", Prefix="data/")["Contents"]
assert len(objects) == 3, objects
one = s3.get_object(Bucket="waybill", Key=objects[0]["Key"])
assert one["Metadata"]["bus-count"].isdigit(), one["Metadata"]
assert len(one["Body"].read()) == objects[0]["Size"]
try:
    s3.put_object(Bucket="waybill", Key="data/x", Body=b"x")
    sys.exit("an outsider could write")
except s3.exceptions.ClientError as error:
    assert error.response["Error"]["Code"] == "AccessDenied", error
"#;
    // Clients that never ask, and clients that never read, take nobody's place.
    let address = endpoint.trim_start_matches("http://");
    let mut others = Vec::new();
    for number in 0..300 {
        let mut other = TcpStream::connect(address).expect("a connection");
        if number % 2 == 0 {
            let list = format!("GET /waybill?list-type=2 HTTP/1.1\r\nhost: {address}\r\n\r\n");
            other.write_all(list.as_bytes()).expect("a request can be sent");
        }
        others.push(other);
    }
    let output = std::process::Command::new(required("WAYBILL_TEST_PYTHON"))
        .args(["-c", script, &endpoint])
        .output()
        .expect("python can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    drop(others);
    let rebound = reqwest::Client::new().get(format!("{endpoint}/waybill?list-type=2")).header("host", "evil.example");
    assert_eq!(rebound.send().await.expect("an answer").status(), 403);
}
