//! What an upstream knows: what it was made with, what was changed since, and what was asked.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    Changes, City, CityFault, Faults, Options, Received,
    files::{content::Content, file::CityFile, pool::Pool, spoil::spoil},
    http::requests::Counters,
    sites::{
        apis::sendgrid::Exports,
        atlas,
        day::Day,
        paged::{PageRefusal, PageRequest, PageTurn, Paged, TokenEndpoint},
        post::Post,
        post_rules::{PostTurn, Posts},
        weather_rules::{Refusal, Weather},
    },
};

/// Shared by all requests.
#[derive(Debug)]
pub(crate) struct State {
    /// As it was made; what can be changed is in `live`.
    pub(crate) options: Options,
    pub(crate) counters: Counters,
    pool: Arc<Pool>,
    live: Mutex<Live>,
}

/// What can be changed while it runs.
#[derive(Debug)]
struct Live {
    faults: Faults,
    manner: Manner,
    versions: HashMap<u64, u64>,
    cities: BTreeMap<u64, City>,
    /// Requests so far by city and day; kept only while there are faults.
    asked: HashMap<(u64, u64), u64>,
    weather: Weather,
    posts: Posts,
    paged: Paged,
    exports: Exports,
}

/// How an answer is given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) delay: Duration,
    pub(crate) bytes_per_second: Option<u64>,
    pub(crate) etag: bool,
    pub(crate) range: bool,
}

/// What a request for a file meets.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) content: Content,
    pub(crate) fault: Option<CityFault>,
    pub(crate) retry_after: u64,
}

impl State {
    pub(crate) fn new(options: Options) -> Self {
        let Options { ref faults, delay, bytes_per_second, etag, range, seed, .. } = options;
        let live = Live {
            faults: faults.clone(),
            manner: Manner { delay, bytes_per_second, etag, range },
            versions: HashMap::new(),
            cities: BTreeMap::new(),
            asked: HashMap::new(),
            weather: Weather::new(&options),
            posts: Posts::new(&options),
            paged: Paged::new(&options),
            exports: Exports::default(),
        };
        Self { pool: Arc::new(Pool::new(seed)), counters: Counters::default(), live: Mutex::new(live), options }
    }

    pub(crate) fn change(&self, changes: Changes) {
        let mut live = self.live();
        live.weather.change(&changes);
        live.posts.change(&changes);
        live.paged.change(&changes);
        let Changes { faults, delay, bytes_per_second, etag, range, versions, cities, .. } = changes;
        if let Some(faults) = faults {
            live.faults = faults;
            live.asked.clear();
        }
        let manner = &mut live.manner;
        manner.delay = delay.unwrap_or(manner.delay);
        manner.bytes_per_second = bytes_per_second.or(manner.bytes_per_second);
        manner.etag = etag.unwrap_or(manner.etag);
        manner.range = range.unwrap_or(manner.range);
        live.versions.extend(versions);
        live.cities.extend(cities.into_iter().map(|city| (city.id, city)));
    }

    /// One city more or less among the faults; the others' requests are not counted anew.
    pub(crate) fn change_city_fault(&self, city: u64, fault: Option<CityFault>) {
        let mut live = self.live();
        live.asked.retain(|(asked, _), _| *asked != city);
        match fault {
            Some(fault) => live.faults.cities.insert(city, fault),
            None => live.faults.cities.remove(&city),
        };
    }

    pub(crate) fn manner(&self) -> Manner {
        self.live().manner
    }

    /// At most `limit` cities with ids from `first` on, in order.
    pub(crate) fn cities(&self, first: u64, limit: usize) -> Vec<City> {
        let live = self.live();
        let made = (first..self.options.cities).map(|id| self.city(&live, id));
        let added = live.cities.range(first.max(self.options.cities)..).map(|(_, city)| city.clone());
        made.chain(added).take(limit).collect()
    }

    /// Counts a request for a file, and says what it meets; none for an unknown city.
    pub(crate) fn turn(&self, city: u64, day: Day) -> Option<Turn> {
        let live = &mut *self.live();
        if city >= self.options.cities && !live.cities.contains_key(&city) {
            return None;
        }
        let version = live.versions.get(&city).copied().unwrap_or_default();
        let fault = if live.faults.any() {
            let asked = live.asked.entry((city, day.number)).or_default();
            *asked += 1;
            live.faults.pick(self.options.seed, city, day.number, *asked - 1)
        } else {
            None
        };
        let records = atlas::records(&self.options, city, day, version);
        let file = CityFile::new(self.pool.clone(), self.options.seed, city, day, version, records);
        let content = match &fault {
            Some(fault) => spoil(fault, file),
            None => Content::File(file),
        };
        Some(Turn { content, fault, retry_after: live.faults.retry_after })
    }

    /// The cities whose weather is told to a request that arrives now, and the version of each.
    pub(crate) fn weather(&self, query: &HashMap<String, String>) -> Result<Vec<(u64, u64)>, Refusal> {
        let live = &mut *self.live();
        let cities = live.weather.ask(query).inspect_err(|refusal| {
            if matches!(refusal, Refusal::TooMany(_)) {
                self.counters.violated();
            }
        })?;
        let version = |id: &u64| live.versions.get(id).copied().unwrap_or_default();
        Ok(cities.iter().map(|id| (*id, version(id))).collect())
    }

    /// Lets a request to `/posts` pass that arrives now, or says how long to wait.
    pub(crate) fn post_arrives(&self) -> Result<(), Duration> {
        // The clock is read while nobody else can pass, so that times never go back.
        let live = &mut *self.live();
        live.posts.arrive(Instant::now()).inspect_err(|_| self.counters.post_violated())
    }

    /// Counts a post that was read whole, and says what it meets.
    pub(crate) fn post(&self, post: &Post) -> PostTurn {
        let live = &mut *self.live();
        live.posts.take(post, &live.faults)
    }

    /// Counts a post that was read whole at an address that knows no faults.
    pub(crate) fn post_moved(&self, post: &Post) {
        self.live().posts.received.count(post);
    }

    pub(crate) fn received(&self) -> Received {
        self.live().posts.received.read()
    }

    pub(crate) fn received_with_title(&self, title: &str) -> u64 {
        self.live().posts.received.with_title(title)
    }

    /// What a request for a page meets.
    pub(crate) fn page(&self, request: &PageRequest<'_>) -> Result<PageTurn, PageRefusal> {
        self.live().paged.ask(request)
    }

    pub(crate) fn token_endpoint(&self) -> TokenEndpoint {
        self.live().paged.endpoint()
    }

    pub(crate) fn token(&self) -> String {
        self.live().paged.token()
    }

    /// Begins an export, and says its number.
    pub(crate) fn begin_export(&self) -> u64 {
        self.live().exports.begin()
    }

    /// Counts a look at an export, and says whether it is ready; none for an unknown one.
    pub(crate) fn look_at_export(&self, number: u64) -> Option<bool> {
        self.live().exports.look(number)
    }

    fn city(&self, live: &Live, id: u64) -> City {
        live.cities.get(&id).cloned().unwrap_or_else(|| atlas::city(&self.options, id))
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().expect("nobody panics while holding it")
    }
}
