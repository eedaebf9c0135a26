//! What a request for weather meets: the key, the most ids, unknown cities, and the limit over a window.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use crate::{Changes, Options, sites::window::Window};

/// The most ids of one request.
const MOST: usize = 20;

/// What a request meets, and what passed so far.
#[derive(Debug)]
pub(crate) struct Weather {
    key: String,
    items_per_window: u64,
    window: Duration,
    unknown: BTreeSet<u64>,
    leave_out_unknown: bool,
    passed: Window,
}

/// Why there is no weather.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 400: which parameter is wrong.
    Wrong(&'static str),
    /// 401: which key it expects.
    Key { expected: String },
    /// 404.
    Unknown,
    /// 429: how long to wait.
    TooMany(Duration),
}

impl Weather {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            key: options.weather_key.clone(),
            items_per_window: options.weather_items_per_window,
            window: options.weather_window,
            unknown: options.weather_unknown.clone(),
            leave_out_unknown: options.weather_leave_out_unknown,
            passed: Window::default(),
        }
    }

    /// Takes over what is named. What passed before still counts.
    pub(crate) fn change(&mut self, changes: &Changes) {
        if let Some(key) = &changes.weather_key {
            self.key.clone_from(key);
        }
        if let Some(unknown) = &changes.weather_unknown {
            self.unknown.clone_from(unknown);
        }
        self.items_per_window = changes.weather_items_per_window.unwrap_or(self.items_per_window);
        self.window = changes.weather_window.unwrap_or(self.window);
        self.leave_out_unknown = changes.weather_leave_out_unknown.unwrap_or(self.leave_out_unknown);
    }

    /// The cities whose weather is told to a request that arrives now. Every id counts against the limit, known
    /// or not, once the key and the request are right.
    pub(crate) fn ask(&mut self, query: &HashMap<String, String>) -> Result<Vec<u64>, Refusal> {
        if query.get("appid") != Some(&self.key) {
            return Err(Refusal::Key { expected: self.key.clone() });
        }
        let ids = query.get("id").ok_or(Refusal::Wrong("id"))?;
        let ids: Vec<u64> =
            ids.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| Refusal::Wrong("id"))?;
        if ids.len() > MOST {
            return Err(Refusal::Wrong("id: more than 20"));
        }
        // The clock is read while nobody else can pass, so that times never go back.
        let passed = self.passed.pass(Instant::now(), ids.len() as u64, self.items_per_window, self.window);
        passed.map_err(Refusal::TooMany)?;
        let (unknown, known): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| self.unknown.contains(id));
        if unknown.is_empty() || self.leave_out_unknown { Ok(known) } else { Err(Refusal::Unknown) }
    }
}
