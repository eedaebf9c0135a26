//! What clients can do to a port, and that other clients do not notice.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::FutureExt;
use poem::{Endpoint, Response, endpoint::make_sync};
use poem_openapi::{Object, OpenApi, payload::Json};
use prometheus_client::{encoding::text::encode, registry::Registry};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use waybill_web::{AppConfig, ClientTimeouts, JsonBody, Metrics, Probes, Problem, Serving, Uploads, app, serve};

struct Things;

#[derive(Object, Deserialize)]
struct Thing {
    name: String,
}

#[OpenApi]
impl Things {
    /// Makes a thing.
    #[oai(path = "/things", method = "post")]
    async fn make(&self, thing: JsonBody<Thing>) -> Result<Json<String>, Problem> {
        Ok(Json(thing.0.name))
    }
}

/// A port that is served, until dropped.
struct Port {
    address: SocketAddr,
    registry: Registry,
    _stop: DropGuard,
}

impl Port {
    async fn open(app: impl Endpoint<Output = Response> + 'static, connections: usize) -> Self {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let short = Duration::from_millis(300);
        let timeouts = ClientTimeouts { idle: Duration::from_secs(1), head: short, write: short };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = Serving { connections, timeouts, metrics, ..Serving::default() };
        tokio::spawn(serve(listener, app, serving, stop.clone()));
        Self { address, registry, _stop: stop.drop_guard() }
    }

    async fn things(connections: usize) -> Self {
        let probes = Probes { checks: Vec::new(), warnings: Vec::new(), shutdown: CancellationToken::new() };
        Self::open(app(Things, probes, AppConfig::default()), connections).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// How many connections the metric says are open.
    fn connections(&self) -> u64 {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("http_connections ")).unwrap();
        line.parse().unwrap()
    }

    /// Another client, who must not notice anything.
    async fn is_well(&self) {
        let mut stream = self.connect().await;
        stream.write_all(b"GET /live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

/// What comes until the connection ends, which it must.
async fn rest(stream: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    // A reset is an end, too.
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut seen)).await.expect("the connection ends");
    String::from_utf8_lossy(&seen).into_owned()
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waited = timeout(Duration::from_secs(5), async {
        while !is_so() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what}"));
}

/// As browsers do, which read no answer before they have sent all.
#[tokio::test]
async fn a_client_that_sends_a_refused_file_to_its_end_gets_to_know_why() {
    const SIZE: usize = 50_000_000;
    let probes = Probes { checks: Vec::new(), warnings: Vec::new(), shutdown: CancellationToken::new() };
    let config = AppConfig { uploads: Uploads { paths: &["/things"], ..Uploads::default() }, ..AppConfig::default() };
    let port = Port::open(app(Things, probes, config), 100).await;
    let mut stream = port.connect().await;
    let head =
        format!("POST /things HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/csv\r\ncontent-length: {SIZE}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; SIZE]).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 415"), "{answer}");
}

#[tokio::test]
async fn idle_connections_keep_nobody_out() {
    let port = Port::things(100).await;
    let mut idle = Vec::new();
    for n in 0..2_000 {
        let mut stream = port.connect().await;
        if n % 2 == 0 {
            // Some have begun to ask: they are as idle as the others.
            stream.write_all(b"GET /live HT").await.unwrap();
        }
        idle.push(stream);
        if n % 200 == 0 {
            port.is_well().await;
        }
    }
    port.is_well().await;
    assert!(port.connections() <= 100, "{}", port.connections());
    drop(idle);
    until("all connections are closed", || port.connections() == 0).await;
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_given_up() {
    let port = Port::things(10).await;
    let mut stream = port.connect().await;
    let (mut reading, mut writing) = stream.split();
    let dripping = async {
        for byte in b"GET /live HTTP/1.1\r\nx-slow: ".iter().chain([b'a'; 1_000].iter()) {
            if writing.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    let mut seen = Vec::new();
    tokio::select! {
        _ = reading.read_to_end(&mut seen) => {}
        () = dripping => panic!("it was taken to its end"),
    }
    port.is_well().await;
}

#[tokio::test]
async fn a_connection_on_which_nothing_comes_is_closed() {
    let port = Port::things(10).await;
    let mut stream = port.connect().await;
    assert_eq!(rest(&mut stream).await, "");
    let mut stream = port.connect().await;
    for _ in 0..3 {
        // Kept for the next request, and longer than a head may take.
        stream.write_all(b"GET /live HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        sleep(Duration::from_millis(400)).await;
        while !matches!(stream.try_read(&mut [0; 4096]), Err(_) | Ok(0)) {}
    }
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn large_heads_are_refused() {
    let port = Port::things(10).await;
    let large = format!("x-large: {}\r\n", "a".repeat(1_000_000));
    let many: String = (0..1_000).map(|n| format!("x-{n}: a\r\n")).collect();
    for fields in [large, many] {
        let mut stream = port.connect().await;
        let request = format!("GET /live HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n");
        let _ = stream.write_all(request.as_bytes()).await;
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    port.is_well().await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_refused_and_the_client_gets_to_know() {
    let port = Port::things(10).await;
    let head = "POST /things HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    for framing in ["transfer-encoding: chunked\r\n\r\n", "content-length: 1000000000000\r\n\r\n"] {
        let mut stream = port.connect().await;
        stream.write_all(format!("{head}{framing}").as_bytes()).await.unwrap();
        let (mut reading, mut writing) = stream.into_split();
        let sending = tokio::spawn(async move {
            let chunk = format!("4000\r\n{}\r\n", "a".repeat(0x4000));
            while writing.write_all(chunk.as_bytes()).await.is_ok() {}
        });
        let mut seen = Vec::new();
        let _ = timeout(Duration::from_secs(5), reading.read_to_end(&mut seen)).await.expect("the connection ends");
        let answer = String::from_utf8_lossy(&seen);
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("/problems/payload-too-large"), "{answer}");
        sending.abort();
    }
    port.is_well().await;
}

#[tokio::test]
async fn who_does_not_read_is_not_written_to_for_ever() {
    let body = bytes::Bytes::from(vec![b'a'; 64 << 20]);
    let port = Port::open(make_sync(move |_| Response::builder().body(body.clone())), 10).await;
    let mut stream = port.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    until("it is answered", || port.connections() == 1).await;
    until("it is closed", || port.connections() == 0).await;
}

#[tokio::test]
async fn a_request_that_is_answered_is_not_closed_for_another() {
    let (entered, gate) = (Arc::new(tokio::sync::Notify::new()), CancellationToken::new());
    let slow = {
        let (entered, gate) = (Arc::clone(&entered), gate.clone());
        let run = move || {
            entered.notify_one();
            let gate = gate.clone();
            async move {
                gate.cancelled().await;
                Ok(())
            }
            .boxed()
        };
        waybill_web::Check { name: "slow", run: Box::new(run) }
    };
    let probes = Probes { checks: vec![slow], warnings: Vec::new(), shutdown: CancellationToken::new() };
    let port = Port::open(app((), probes, AppConfig::default()), 2).await;
    let mut stream = port.connect().await;
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    entered.notified().await;
    let mut others = Vec::new();
    for _ in 0..20 {
        others.push(port.connect().await);
    }
    port.is_well().await;
    gate.cancel();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_page_of_another_site_gets_nothing_done() {
    let port = Port::things(10).await;
    let own = port.address;
    let answer = async |head: String| {
        let mut stream = port.connect().await;
        stream.write_all(format!("{head}connection: close\r\ncontent-length: 0\r\n\r\n").as_bytes()).await.unwrap();
        rest(&mut stream).await.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let get = |more: &str| format!("GET /live HTTP/1.1\r\n{more}");
    let post = |more: &str| format!("POST /things HTTP/1.1\r\nhost: {own}\r\n{more}");
    for (head, status) in [
        (get(&format!("host: {own}\r\n")), "200"),
        (get("host: localhost:9\r\n"), "200"),
        (get("host: evil.example\r\n"), "403"),
        (get(""), "400"),
        (get("host: localhost\r\nhost: localhost\r\n"), "400"),
        (get(&format!("host: {own}\r\nsec-fetch-site: cross-site\r\n")), "200"),
        ("GET /live HTTP/1.0\r\n".to_owned(), "200"),
        (format!("GET //metrics HTTP/1.1\r\nhost: {own}\r\n"), "404"),
        // It has no body that could be read: so far it came.
        (post(""), "415"),
        (post("sec-fetch-site: same-origin\r\n"), "415"),
        (post(&format!("origin: http://{own}\r\n")), "415"),
        (post("sec-fetch-site: cross-site\r\n"), "403"),
        (post("sec-fetch-site: same-site\r\n"), "403"),
        (post("origin: http://evil.example\r\n"), "403"),
        (post("origin: null\r\n"), "403"),
    ] {
        assert_eq!(answer(head.clone()).await, status, "{head}");
    }
}
