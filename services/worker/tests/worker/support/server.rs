//! An HTTP server that answers as a test says, and remembers what it was asked. Written on a socket,
//! because a real one would not let a body break off where the test wants it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

use super::Reply;

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) query: String,
    /// By lower-case name.
    headers: HashMap<String, String>,
    /// How often this path was asked for before.
    pub(crate) nth: usize,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Where the range begins that is asked for.
    pub(crate) fn range(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

type Answer = dyn Fn(&Asked) -> Reply + Send + Sync;

#[derive(Default)]
struct State {
    routes: Mutex<HashMap<String, Arc<Answer>>>,
    asked: Mutex<Vec<Asked>>,
}

/// The server; it ends with its last clone.
#[derive(Clone)]
pub(crate) struct Upstream {
    address: SocketAddr,
    state: Arc<State>,
    _accepting: Arc<AbortOnDrop>,
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let accepting = tokio::spawn({
            let state = state.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, state.clone()));
                }
            }
        });
        Self { address, state, _accepting: Arc::new(AbortOnDrop(accepting.abort_handle())) }
    }

    /// Lists so many cities, each with ten buses.
    pub(crate) async fn with_cities(count: usize) -> Self {
        let upstream = Self::start().await;
        upstream.on("/cities", move |_| super::cities(count));
        for city in 0..count {
            upstream.on(&super::file(city), |_| Reply::body(super::buses(10)));
        }
        upstream
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers a path so from now on.
    pub(crate) fn on(&self, path: &str, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
        self.state.routes.lock().unwrap().insert(path.to_owned(), Arc::new(answer));
    }

    /// Every request, in the order in which they came.
    pub(crate) fn all_asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap().clone()
    }

    /// Every request for a path.
    pub(crate) fn asked(&self, path: &str) -> Vec<Asked> {
        self.state.asked.lock().unwrap().iter().filter(|asked| asked.path == path).cloned().collect()
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let mut buffer = Vec::new();
    while let Some(head) = read_head(&mut stream, &mut buffer).await {
        let reply = answer(&head, &state);
        if reply.hang_up {
            return;
        }
        if reply.silent {
            // Until the client goes away.
            let _ = stream.read(&mut [0; 1]).await;
            return;
        }
        if send(&mut stream, &reply).await.is_none() {
            return;
        }
    }
}

fn answer(head: &str, state: &State) -> Reply {
    let mut lines = head.lines();
    let target = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let route = state.routes.lock().unwrap().get(path).cloned();
    let mut all = state.asked.lock().unwrap();
    let nth = all.iter().filter(|asked| asked.path == path).count();
    let asked = Asked { path: path.to_owned(), query: query.to_owned(), headers, nth };
    all.push(asked.clone());
    drop(all);
    route.map_or_else(|| Reply::status(404), |answer| answer(&asked))
}

async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = buffer.split_off(end + 4);
            let head = std::mem::replace(buffer, rest);
            return String::from_utf8(head).ok();
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

async fn send(stream: &mut TcpStream, reply: &Reply) -> Option<()> {
    stream.write_all(reply.head().as_bytes()).await.ok()?;
    let body = reply.cut.map_or(&*reply.body, |cut| &reply.body[..cut]);
    if reply.chunked {
        for piece in body.chunks(3_000) {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await.ok()?;
            stream.write_all(piece).await.ok()?;
            stream.write_all(b"\r\n").await.ok()?;
        }
    } else if reply.status != 304 {
        stream.write_all(body).await.ok()?;
    }
    if reply.cut.is_some() {
        // What was sent has to arrive before the end does.
        stream.flush().await.ok()?;
        stream.shutdown().await.ok()?;
        return None;
    }
    if reply.chunked {
        stream.write_all(b"0\r\n\r\n").await.ok()?;
    }
    Some(())
}
