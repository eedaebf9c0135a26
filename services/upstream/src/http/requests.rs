//! What was asked for, and what was answered.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use serde::Serialize;

/// More different pages than this are not told apart. By the paths that tests ask for, they take 2 MB at most.
const MOST_PAGES: usize = 10_000;

/// Counters since the start. Requests to `/control` and `/posts/received` are not in them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// Requests for the list of cities.
    pub list: u64,
    /// Requests for a city's file.
    pub data: u64,
    /// Requests for weather.
    pub weather: u64,
    /// Those of them that came too early for the limit.
    pub violations: u64,
    /// Requests to `/posts` and `/posts/moved`.
    pub posts: PostRequests,
    /// All others.
    pub other: u64,
    /// Requests for pages, with the right credentials: by path, then by the number of the page. They are in `other`,
    /// too. 0 is a list of pages.
    pub pages: BTreeMap<String, BTreeMap<u64, u64>>,
    /// Requests for pages that came when 10,000 of them were told apart.
    pub untracked_pages: u64,
    /// Requests for tokens; they are in `other`, too.
    pub tokens: u64,
    /// Requests with credentials, of any kind, to another origin than that which wants them.
    pub leaked: u64,
    /// Answers by status, without posts that were not answered; 304 are those that saved a download, 206 the resumed ones.
    pub status: BTreeMap<u16, u64>,
    /// Bytes of bodies of files, as far as they were sent.
    pub bytes: u64,
    /// The most requests for files that were under way at one moment, to the last byte of the body.
    pub most_at_once: u64,
}

/// How many requests came for posts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PostRequests {
    /// All of them.
    pub requests: u64,
    /// Those that came too early for the limit.
    pub violations: u64,
}

impl Requests {
    /// How many requests for pages had this path.
    pub fn pages(&self, path: &str) -> u64 {
        self.pages.get(path).map_or(0, |pages| pages.values().sum())
    }

    /// How many requests for pages had this path, and asked for this page.
    pub fn page(&self, path: &str, number: u64) -> u64 {
        self.pages.get(path).and_then(|pages| pages.get(&number)).copied().unwrap_or_default()
    }

    /// How many answers had this status.
    pub fn answered(&self, status: u16) -> u64 {
        self.status.get(&status).copied().unwrap_or_default()
    }
}

/// The counters, shared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters(Arc<Mutex<Tally>>);

#[derive(Debug, Default)]
struct Tally {
    requests: Requests,
    under_way: u64,
    /// How many different pages there are in `requests`.
    pages: usize,
}

impl Counters {
    pub(crate) fn read(&self) -> Requests {
        self.lock().requests.clone()
    }

    pub(crate) fn asked(&self, path: &str) {
        let requests = &mut self.lock().requests;
        match path {
            "/cities" => requests.list += 1,
            path if path.starts_with("/cities/") => requests.data += 1,
            "/data/2.5/group" => requests.weather += 1,
            "/posts" | "/posts/moved" => requests.posts.requests += 1,
            _ => requests.other += 1,
        }
    }

    pub(crate) fn answered(&self, status: u16) {
        *self.lock().requests.status.entry(status).or_default() += 1;
    }

    pub(crate) fn page_asked(&self, path: &str, number: u64) {
        let tally = &mut *self.lock();
        if let Some(count) = tally.requests.pages.get_mut(path).and_then(|pages| pages.get_mut(&number)) {
            *count += 1;
        } else if tally.pages < MOST_PAGES {
            tally.pages += 1;
            tally.requests.pages.entry(path.to_owned()).or_default().insert(number, 1);
        } else {
            tally.requests.untracked_pages += 1;
        }
    }

    pub(crate) fn token_asked(&self) {
        self.lock().requests.tokens += 1;
    }

    pub(crate) fn leaked(&self) {
        self.lock().requests.leaked += 1;
    }

    pub(crate) fn violated(&self) {
        self.lock().requests.violations += 1;
    }

    pub(crate) fn post_violated(&self) {
        self.lock().requests.posts.violations += 1;
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.lock().requests.bytes += bytes as u64;
    }

    /// Counts a request for a file as under way until the answer is dropped.
    pub(crate) fn begin(&self) -> UnderWay {
        let mut tally = self.lock();
        tally.under_way += 1;
        tally.requests.most_at_once = tally.requests.most_at_once.max(tally.under_way);
        UnderWay(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().expect("nobody panics while counting")
    }
}

/// A request for a file that is under way.
#[derive(Debug)]
pub(crate) struct UnderWay(Counters);

impl UnderWay {
    pub(crate) fn counters(&self) -> &Counters {
        &self.0
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().under_way -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::{Counters, MOST_PAGES};

    #[test]
    fn pages_are_told_apart_up_to_a_bound() {
        let counters = Counters::default();
        for number in 0..MOST_PAGES as u64 + 5 {
            counters.page_asked("/a", number);
        }
        counters.page_asked("/a", 7);
        counters.page_asked("/b", 7);
        let requests = counters.read();
        assert_eq!(
            (requests.pages("/a"), requests.page("/a", 7), requests.page("/b", 7)),
            (MOST_PAGES as u64 + 1, 2, 0)
        );
        assert_eq!(requests.untracked_pages, 6);
    }
}
