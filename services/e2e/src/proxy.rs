//! A TCP proxy that can be told to misbehave: it cuts, refuses, stalls, or spoils HTTP requests one by one.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use fastrand::Rng;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::fault::{self, Fault};

/// What the proxy does with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Passes them on.
    Fair,
    /// Closes new ones at once.
    Refuse,
    /// Takes new ones and says nothing.
    Stall,
    /// The same fault for every HTTP request.
    Http(Fault),
    /// A fault, drawn at random, for half of the HTTP requests.
    Gusts,
}

/// A proxy in front of one server.
#[derive(Debug, Clone)]
pub struct Proxy {
    address: SocketAddr,
    server: String,
    weather: Arc<watch::Sender<Weather>>,
    /// Connections of an earlier generation are cut.
    generation: Arc<watch::Sender<u64>>,
    rng: Arc<Mutex<Rng>>,
    faults: Arc<AtomicU64>,
}

impl Proxy {
    /// Listens on a free port and passes on to `server`, `host:port`. What is left to chance follows from `seed`.
    pub async fn start(server: &str, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let proxy = Self {
            address: listener.local_addr().expect("a listener has an address"),
            server: server.to_owned(),
            weather: Arc::new(watch::Sender::new(Weather::Fair)),
            generation: Arc::new(watch::Sender::new(0)),
            rng: Arc::new(Mutex::new(Rng::with_seed(seed))),
            faults: Arc::default(),
        };
        let this = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(this.clone().connection(client));
            }
        });
        proxy
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many HTTP requests met a fault so far.
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// From now on, for new connections; those that are open stay as they are.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Cuts every connection there is.
    pub fn cut(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    async fn connection(self, mut client: TcpStream) {
        let mut generation = self.generation.subscribe();
        generation.mark_unchanged();
        let mut rng = self.rng.lock().expect("no holder panics").fork();
        let weather = *self.weather.borrow();
        let work = async {
            match weather {
                Weather::Fair => {
                    if let Ok(mut server) = TcpStream::connect(&self.server).await {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                }
                Weather::Refuse => {}
                Weather::Stall => {
                    let mut fair = self.weather.subscribe();
                    let _ = fair.wait_for(|weather| *weather == Weather::Fair).await;
                }
                Weather::Http(fault) => self.request(client, Some(fault), &mut rng).await,
                Weather::Gusts => {
                    let fault = fault::draw(&mut rng);
                    self.request(client, fault, &mut rng).await;
                }
            }
        };
        tokio::select! { () = work => {}, _ = generation.changed() => {} }
    }
    async fn request(&self, client: TcpStream, fault: Option<Fault>, rng: &mut Rng) {
        // Whatever went wrong here, the connection breaks, and the client is told nothing more.
        let _ = fault::one_request(client, &self.server, fault, rng, &self.faults).await;
    }
}
