//! A TCP proxy that can be told to misbehave: it cuts, refuses, stalls, or answers for the server.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What the proxy does with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Passes them on.
    Fair,
    /// Closes new ones at once.
    Refuse,
    /// Takes new ones and says nothing.
    Stall,
    /// Answers every request with this HTTP status, as an overloaded S3 does.
    Status(u16),
}

/// A proxy in front of one server.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    address: SocketAddr,
    weather: Arc<watch::Sender<Weather>>,
    /// Connections of an earlier generation are cut.
    generation: Arc<watch::Sender<u64>>,
}

impl Proxy {
    /// Listens on a free port and passes on to `server`, `host:port`.
    pub(crate) async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let proxy = Self {
            address: listener.local_addr().expect("a listener has an address"),
            weather: Arc::new(watch::Sender::new(Weather::Fair)),
            generation: Arc::new(watch::Sender::new(0)),
        };
        let (this, server) = (proxy.clone(), server.to_owned());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(this.clone().connection(client, server.clone()));
            }
        });
        proxy
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, for new connections; those that are open stay as they are.
    pub(crate) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Cuts every connection there is.
    pub(crate) fn cut(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    async fn connection(self, mut client: TcpStream, server: String) {
        let mut generation = self.generation.subscribe();
        generation.mark_unchanged();
        let weather = *self.weather.borrow();
        let work = async {
            match weather {
                Weather::Fair => {
                    if let Ok(mut server) = TcpStream::connect(server).await {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                }
                Weather::Refuse => {}
                Weather::Stall => {
                    let mut fair = self.weather.subscribe();
                    let _ = fair.wait_for(|weather| *weather == Weather::Fair).await;
                }
                Weather::Status(status) => {
                    let mut request = [0; 16_384];
                    let _ = client.read(&mut request).await;
                    let body =
                        "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
                    let head = format!(
                        "HTTP/1.1 {status} Trouble\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                        body.len()
                    );
                    let _ = client.write_all(format!("{head}{body}").as_bytes()).await;
                }
            }
        };
        tokio::select! { () = work => {}, _ = generation.changed() => {} }
    }
}
