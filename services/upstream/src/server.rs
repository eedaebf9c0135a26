//! An upstream, and one that runs.

use std::{ops::Deref, sync::Arc, time::Duration};

use poem::{Endpoint, EndpointExt, IntoResponse, Response, Route, Server, listener::TcpAcceptor};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Changes, City, CityFault, Collection, Faults, Options, Received, Requests, TokenEndpoint,
    http::{control, problem::problem},
    sites::{apis, buses, paged, posts, stations, weather},
    state::State,
};

/// How long an answer may go on after the shutdown.
const GRACE: Duration = Duration::from_secs(1);

/// A stand-in upstream. Clones are the same one: what is changed on one is changed on all, also while
/// it serves.
#[derive(Debug, Clone)]
pub struct Upstream(Arc<State>);

impl Upstream {
    /// One that serves nothing yet.
    pub fn new(options: Options) -> Self {
        Self(Arc::new(State::new(options)))
    }

    /// Its routes: `/cities`, `/cities/{id}/stats?date=`, `/regions`, `/regions/{code}/stations`,
    /// `/stations/{id}/readings?day=`, `/data/2.5/group?id=&appid=`, `/posts`, `/posts/moved`,
    /// `/posts/received?title=`, `/paged/{collection}`, `/paged/token`, the APIs below `/guardian`, `/openaq`,
    /// `/openexchange`, `/sendgrid` and `/stripe`, and `/control` where that is on. Errors are problems (RFC 9457), but for the
    /// weather's, which are OpenWeather's, and those of posts, which are `{"message": "…"}`.
    pub fn app(&self) -> impl Endpoint<Output = Response> + use<> {
        let state = self.0.clone();
        let mut route = posts::add_to(weather::add_to(stations::add_to(buses::add_to(Route::new()))));
        route = apis::add_to(paged::add_to(route));
        if state.options.control {
            route = control::add_to(route);
        }
        let counters = state.counters.clone();
        route.data(state).around(move |routes, request| {
            let counters = counters.clone();
            async move {
                let counted = !["/control", posts::RECEIVED].contains(&request.uri().path());
                if counted {
                    counters.asked(request.uri().path());
                }
                let response = match routes.call(request).await {
                    Ok(response) => response.into_response(),
                    Err(error) => problem(error.status(), &error.to_string()),
                };
                if counted {
                    counters.answered(response.status().as_u16());
                }
                Ok(response)
            }
        })
    }

    /// Serves until `shutdown`; answers under way get a second more. Errors: the listener's.
    pub async fn serve(&self, listener: TcpListener, shutdown: CancellationToken) -> std::io::Result<()> {
        self.run(listener, shutdown, GRACE).await
    }

    /// Serves on a free port of 127.0.0.1, until what is returned is dropped. Errors: no port.
    pub async fn start(&self) -> std::io::Result<Running> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let base_url = format!("http://{}", listener.local_addr()?);
        let shutdown = CancellationToken::new();
        let (upstream, stop) = (self.clone(), shutdown.clone());
        let task = tokio::spawn(async move { upstream.run(listener, stop, Duration::ZERO).await });
        Ok(Running { upstream: self.clone(), base_url, stop: shutdown.drop_guard(), task })
    }

    async fn run(&self, listener: TcpListener, shutdown: CancellationToken, grace: Duration) -> std::io::Result<()> {
        let server = Server::new_with_acceptor(TcpAcceptor::from_tokio(listener)?).name("upstream");
        server.run_with_graceful_shutdown(self.app(), shutdown.cancelled(), Some(grace)).await
    }

    /// Changes what is named; requests that come later see it.
    pub fn change(&self, changes: Changes) {
        self.0.change(changes);
    }

    /// All faults anew; requests are counted from 0 again.
    pub fn set_faults(&self, faults: Faults) {
        self.change(Changes { faults: Some(faults), ..Changes::default() });
    }

    /// What one city's requests meet, counted from 0 again; the other faults stay.
    pub fn set_city_fault(&self, city: u64, fault: impl Into<Option<CityFault>>) {
        self.0.change_city_fault(city, fault.into());
    }

    /// Which version of a city's data is served, on every date: another version is other data, of
    /// other length unless `exact`, with another ETag. 0 is where it began.
    pub fn set_version(&self, city: u64, version: u64) {
        self.change(Changes { versions: [(city, version)].into(), ..Changes::default() });
    }

    /// Renames a city, or adds one with an id that there was not.
    pub fn set_city(&self, id: u64, name: &str, country: &str) {
        let city = City { id, name: name.to_owned(), country: country.to_owned() };
        self.change(Changes { cities: vec![city], ..Changes::default() });
    }

    /// Adds a collection, or replaces the one of this name; its faults begin anew.
    pub fn set_collection(&self, name: &str, collection: Collection) {
        self.change(Changes { collections: [(name.to_owned(), collection)].into(), ..Changes::default() });
    }

    /// What requests for a token get from now on; those that were given stay as they are.
    pub fn set_token_endpoint(&self, endpoint: TokenEndpoint) {
        self.change(Changes { token_endpoint: Some(endpoint), ..Changes::default() });
    }

    /// All cities that have no weather, anew.
    pub fn set_weather_unknown(&self, ids: impl IntoIterator<Item = u64>) {
        self.change(Changes { weather_unknown: Some(ids.into_iter().collect()), ..Changes::default() });
    }

    /// What was asked for and answered so far.
    pub fn requests(&self) -> Requests {
        self.0.counters.read()
    }

    /// Which posts came, and how often each.
    pub fn received(&self) -> Received {
        self.0.received()
    }

    /// How many of the posts that came have this title.
    pub fn received_with_title(&self, title: &str) -> u64 {
        self.0.received_with_title(title)
    }
}

/// An upstream that runs in this process; it stops when this is dropped, and every connection with it.
#[derive(Debug)]
pub struct Running {
    upstream: Upstream,
    base_url: String,
    stop: DropGuard,
    task: JoinHandle<std::io::Result<()>>,
}

impl Running {
    /// Where it is: `http://127.0.0.1:45678`, with no slash at the end.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Stops it, and returns once its port refuses connections.
    pub async fn stop(self) {
        drop(self.stop);
        // How it ended is of no interest to somebody who wanted it to end.
        let _ = self.task.await;
    }
}

impl Deref for Running {
    type Target = Upstream;
    fn deref(&self) -> &Upstream {
        &self.upstream
    }
}
