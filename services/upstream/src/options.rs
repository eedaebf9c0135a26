//! What an upstream is made with, and what of it can be changed while it runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Deserialize;

use crate::{City, Collection, Faults, TokenEndpoint, sites::paged::collections};

/// What an upstream is made with.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The same seed: the same cities, the same bytes, the same faults.
    pub seed: u64,
    /// How many cities, with ids from 0.
    pub cities: u64,
    /// How many countries they are in; 0 counts as 1.
    pub countries: u64,
    /// Records in the file of a city and date: half to one and a half times as many, and sometimes
    /// none. A record is 114 bytes; there are at most 2^40 of them.
    pub records: u64,
    /// Exactly `records` in every file.
    pub exact: bool,
    /// What goes wrong with files.
    pub faults: Faults,
    /// The wait before every answer; in JSON and TOML an ISO 8601 duration or `50ms`.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::required")]
    pub delay: Duration,
    /// How fast the body of a file comes; none, or 0, is as fast as it can be made.
    pub bytes_per_second: Option<u64>,
    /// Whether files have an `ETag`, and `If-None-Match` is answered with 304.
    pub etag: bool,
    /// Whether files can be asked for in parts, with `Range` and `If-Range`.
    pub range: bool,
    /// The only `appid` that weather is told to.
    pub weather_key: String,
    /// How many cities' weather may be asked for in any window; beyond that is a violation, answered with
    /// 429 and `Retry-After`.
    pub weather_items_per_window: u64,
    /// The window's length, spelled like `delay`. It slides: it counts by when requests arrive, exactly.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::required")]
    pub weather_window: Duration,
    /// Ids of cities that have no weather: the whole request is answered with 404.
    pub weather_unknown: BTreeSet<u64>,
    /// Leave unknown cities out of the list instead.
    pub weather_leave_out_unknown: bool,
    /// How many requests to `/posts` may come in any window; beyond that is a violation, answered with 429
    /// and `Retry-After`. 0 is no limit.
    pub posts_per_window: u64,
    /// The window's length, spelled like `delay`. It counts by when requests arrive, exactly. The default is a
    /// tenth less than a second: of requests that start within the rate, some arrive up to so much closer together.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::required")]
    pub posts_window: Duration,
    /// What `/paged/{collection}` serves, by name. The default has one of each paging (`page`, `offset`, `cursor`,
    /// `last-id`, `link`, `next`, `list`, `none`), shape (`array`, `rates`, `lines`, `csv`, `rows`) and authentication
    /// (`bearer`, `basic`, `header`, `query`, `oauth`): 250 records each, 100 a page.
    pub collections: BTreeMap<String, Collection>,
    /// What `POST /paged/token` gives.
    pub token_endpoint: TokenEndpoint,
    /// Whether `PUT /control` and `GET /control` are there, for tests in another process, and whether the title
    /// of a post can ask for a fault. Whoever reaches the port may use them, so keep it on loopback.
    ///
    /// A title asks with its first word: `fault:400`, `fault:409`, `fault:422` and `fault:500` (that status),
    /// `fault:503` (once), `fault:429` (once, `Retry-After: 1`), `fault:hang-up` (no answer), `fault:301` and
    /// `fault:307` (to `/posts/moved`, which takes the post), `fault:elsewhere` (307 to another origin),
    /// `fault:slow` (after 5 s), `fault:html` (201 with a page in HTML), `fault:empty` (201 without a body). With
    /// 429 and 503 nothing was done.
    pub control: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            cities: 12,
            countries: 4,
            records: 2_000,
            exact: false,
            faults: Faults::default(),
            delay: Duration::ZERO,
            bytes_per_second: None,
            etag: true,
            range: true,
            weather_key: "test".to_owned(),
            weather_items_per_window: 60,
            weather_window: Duration::from_secs(60),
            weather_unknown: BTreeSet::new(),
            weather_leave_out_unknown: false,
            posts_per_window: 7,
            posts_window: Duration::from_millis(900),
            collections: collections(),
            token_endpoint: TokenEndpoint::default(),
            control: false,
        }
    }
}

/// What to change while it runs; what is not named stays as it is. This is the body of `PUT /control`:
/// `{"delay":"50ms","faults":{"cities":{"3":{"status":500}}},"versions":{"0":1}}`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Changes {
    /// All faults anew; requests are counted from 0 again.
    pub faults: Option<Faults>,
    /// See [`Options::delay`].
    #[serde(with = "jiff::fmt::serde::unsigned_duration::optional")]
    pub delay: Option<Duration>,
    /// See [`Options::bytes_per_second`]; 0 for full speed.
    pub bytes_per_second: Option<u64>,
    /// See [`Options::etag`].
    pub etag: Option<bool>,
    /// See [`Options::range`].
    pub range: Option<bool>,
    /// By city: which version of its data is served. Another version is other data, of other length,
    /// with another ETag; 0 is where it began. Cities that have weather are versioned by their ids too.
    pub versions: BTreeMap<u64, u64>,
    /// Cities to rename, or, with an id that there is not, to add.
    pub cities: Vec<City>,
    /// See [`Options::weather_key`].
    pub weather_key: Option<String>,
    /// See [`Options::weather_items_per_window`]. What passed before still counts.
    pub weather_items_per_window: Option<u64>,
    /// See [`Options::weather_window`].
    #[serde(with = "jiff::fmt::serde::unsigned_duration::optional")]
    pub weather_window: Option<Duration>,
    /// All of [`Options::weather_unknown`] anew.
    pub weather_unknown: Option<BTreeSet<u64>>,
    /// See [`Options::weather_leave_out_unknown`].
    pub weather_leave_out_unknown: Option<bool>,
    /// See [`Options::posts_per_window`]. What passed before still counts.
    pub posts_per_window: Option<u64>,
    /// See [`Options::posts_window`].
    #[serde(with = "jiff::fmt::serde::unsigned_duration::optional")]
    pub posts_window: Option<Duration>,
    /// Collections to add or to replace, by name, each whole: `{"page":{"faults":[{"status":{"page":2,"status":500}}]}}`.
    /// Their faults begin anew; see [`PagingFault`](crate::PagingFault).
    pub collections: BTreeMap<String, Collection>,
    /// See [`Options::token_endpoint`], all of it anew. Tokens that were given stay as they are.
    pub token_endpoint: Option<TokenEndpoint>,
}
