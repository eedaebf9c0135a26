//! A real RabbitMQ for tests, a prefix of their own on it, and a proxy in front of it that can fail.

mod private;
mod trouble;

use std::{env, future::Future, sync::Arc};

use futures::FutureExt;
use lapin::{Connection, ConnectionProperties, uri::AMQPUri};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use waybill_queue::{Metrics, RabbitMq, RabbitMqSettings};

/// The broker's URL.
pub(crate) fn url() -> String {
    env::var("WAYBILL_TEST_AMQP_URL").expect("set WAYBILL_TEST_AMQP_URL: run scripts/test")
}

/// A prefix that nobody else uses.
pub(crate) fn prefix() -> String {
    format!("test-{}", uuid::Uuid::now_v7().simple())
}

pub(crate) fn queue(url: String, prefix: &str) -> Arc<RabbitMq> {
    Arc::new(RabbitMq::new(RabbitMqSettings { url, prefix: prefix.into() }, &Metrics::default()).unwrap())
}

/// Runs a test with a prefix and an administrator's channel, and deletes what it declared, also when it fails.
pub(crate) async fn with_prefix<F: Future<Output = ()>>(test: impl FnOnce(String, lapin::Channel) -> F) {
    let prefix = prefix();
    let connection = Connection::connect(&url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let outcome = std::panic::AssertUnwindSafe(test(prefix.clone(), channel)).catch_unwind().await;
    let channel = connection.create_channel().await.unwrap();
    let delays = ["1s", "5s", "15s", "60s", "300s", "900s"].map(|step| format!("delay.{step}"));
    let others = ["dead", "plans", "tasks.buses", "tasks.weather"].map(str::to_owned);
    for name in delays.into_iter().chain(others).map(|name| format!("{prefix}.{name}")).chain([prefix.clone()]) {
        let _ = channel.queue_delete(name.as_str().into(), Default::default()).await;
        let _ = channel.exchange_delete(name.as_str().into(), Default::default()).await;
    }
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// What a [`Proxy`] does with connections.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    Forward,
    /// Hangs up on everyone who comes.
    Refuse,
    /// Lets nothing through, on those that are there too: neither an answer nor an end.
    Stall,
}

/// A TCP proxy in front of the broker.
pub(crate) struct Proxy {
    pub(crate) url: String,
    state: watch::Sender<State>,
    connections: watch::Receiver<usize>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    mode: Mode,
    /// A connection ends when there is one more than when it began.
    cuts: u64,
}

impl Proxy {
    pub(crate) async fn start(mode: Mode) -> Self {
        let mut uri: AMQPUri = url().parse().unwrap();
        let broker = (uri.authority.host.clone(), uri.authority.port);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        uri.authority.host = "127.0.0.1".into();
        uri.authority.port = listener.local_addr().unwrap().port();
        let (state, states) = watch::channel(State { mode, cuts: 0 });
        let (counter, connections) = watch::channel(0);
        let counter = Arc::new(counter);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let State { mode, cuts } = *states.borrow();
                if mode != Mode::Refuse {
                    let mut states = states.clone();
                    let forward = forward(client, broker.clone(), states.clone());
                    let counter = counter.clone();
                    tokio::spawn(async move {
                        counter.send_modify(|count| *count += 1);
                        tokio::select! {
                            _ = states.wait_for(|state| state.cuts > cuts) => {}
                            _ = forward => {}
                        }
                        counter.send_modify(|count| *count -= 1);
                    });
                }
            }
        });
        Self { url: uri.to_string(), state, connections }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.state.send_modify(|state| state.mode = mode);
    }

    /// How many there are now.
    pub(crate) fn connections(&self) -> usize {
        *self.connections.borrow()
    }

    /// Waits for a number of connections.
    pub(crate) async fn until(&self, reached: impl Fn(usize) -> bool) {
        self.connections.clone().wait_for(|count| reached(*count)).await.unwrap();
    }

    /// Hangs up on everyone.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }
}

async fn forward(client: TcpStream, broker: (String, u16), mut states: watch::Receiver<State>) -> Option<()> {
    states.wait_for(|state| state.mode == Mode::Forward).await.ok()?;
    let server = TcpStream::connect(broker).await.ok()?;
    let ((client_in, client_out), (server_in, server_out)) = (client.into_split(), server.into_split());
    tokio::select! {
        ended = pipe(client_in, server_out, states.clone()) => ended,
        ended = pipe(server_in, client_out, states) => ended,
    }
}

async fn pipe(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut states: watch::Receiver<State>,
) -> Option<()> {
    let mut bytes = vec![0; 65_536];
    loop {
        let read = from.read(&mut bytes).await.ok().filter(|read| *read > 0)?;
        states.wait_for(|state| state.mode == Mode::Forward).await.ok()?;
        to.write_all(&bytes[..read]).await.ok()?;
    }
}
