//! Which posts came, and how often each: exact for a million different posts, in bounded memory.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::Value;

use crate::sites::post::{Post, hash};

/// More different posts than this are not told apart. A million take 70 MB at most.
const MOST_DISTINCT: usize = 1_000_000;
/// More repeated posts than this are not shown.
const MOST_SHOWN: usize = 10_000;
/// Of a title, or of a `userId` in JSON, so many characters are shown.
const MOST_CHARS: usize = 200;

/// Which posts came. A post came when its body was read whole and understood, whatever was answered; those that were
/// answered with 429 or 503 are counted apart, since nothing was done with them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Received {
    /// How many came.
    pub total: u64,
    /// How many different ones: their `userId`, `title` or `body` differ. `1` and `"1"` are the same.
    pub distinct: u64,
    /// How many of `distinct` came more than once.
    pub repeated_distinct: u64,
    /// What came more than once, by when it first did; the first 10,000.
    pub repeated: Vec<RepeatedPost>,
    /// How many came after a million different ones, and are not among them. They are in `total` only.
    pub untracked: u64,
    /// How many were answered with 429 or 503, by status.
    pub refused: BTreeMap<u16, u64>,
}

/// A post that came more than once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RepeatedPost {
    /// As it was sent; what is longer than 200 characters in JSON is cut, and a string.
    #[serde(rename = "userId")]
    pub user_id: Value,
    /// Its first 200 characters.
    pub title: String,
    /// How often it came.
    pub count: u64,
}

/// The counts. Posts are known by hashes of 8 bytes: among a million, two share one with a chance of 1 to 37 million.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    posts: HashMap<u64, Times>,
    titles: HashMap<u64, u64>,
    /// Their counts are in `posts`.
    shown: Vec<(u64, Value, String)>,
    total: u64,
    distinct: u64,
    repeated: u64,
    untracked: u64,
    refused: BTreeMap<u16, u64>,
}

/// How often a post came.
#[derive(Debug, Default)]
struct Times {
    received: u32,
    /// Refused ones included, since the faults were set.
    asked: u32,
}

impl Counts {
    /// How many requests with this post there were before, since the faults were set. 0 for posts that are not tracked.
    pub(crate) fn ask(&mut self, post: &Post) -> u64 {
        let Some(times) = self.times(post) else { return 0 };
        times.asked = times.asked.saturating_add(1);
        u64::from(times.asked - 1)
    }

    /// Requests are counted from 0 again.
    pub(crate) fn forget_asked(&mut self) {
        self.posts.values_mut().for_each(|times| times.asked = 0);
    }

    pub(crate) fn count(&mut self, post: &Post) {
        self.total += 1;
        let Some(times) = self.times(post) else {
            self.untracked += 1;
            return;
        };
        times.received = times.received.saturating_add(1);
        match times.received {
            1 => self.distinct += 1,
            2 => {
                self.repeated += 1;
                if self.shown.len() < MOST_SHOWN {
                    self.shown.push((post.hash, cut(post.user_id()), cut_text(&post.title())));
                }
            }
            _ => {}
        }
        *self.titles.entry(post.title_hash).or_default() += 1;
    }

    pub(crate) fn refuse(&mut self, status: u16) {
        *self.refused.entry(status).or_default() += 1;
    }

    pub(crate) fn read(&self) -> Received {
        let count = |hash| self.posts.get(hash).map_or(0, |times| u64::from(times.received));
        let repeated = self.shown.iter().map(|(hash, user_id, title)| RepeatedPost {
            user_id: user_id.clone(),
            title: title.clone(),
            count: count(hash),
        });
        Received {
            total: self.total,
            distinct: self.distinct,
            repeated_distinct: self.repeated,
            repeated: repeated.collect(),
            untracked: self.untracked,
            refused: self.refused.clone(),
        }
    }

    /// How many of those that are tracked have this title.
    pub(crate) fn with_title(&self, title: &str) -> u64 {
        self.titles.get(&hash([title])).copied().unwrap_or_default()
    }

    fn times(&mut self, post: &Post) -> Option<&mut Times> {
        if self.posts.len() >= MOST_DISTINCT && !self.posts.contains_key(&post.hash) {
            return None;
        }
        Some(self.posts.entry(post.hash).or_default())
    }
}

fn cut(value: &Value) -> Value {
    let text = value.to_string();
    if text.chars().nth(MOST_CHARS).is_none() { value.clone() } else { cut_text(&text).into() }
}

fn cut_text(text: &str) -> String {
    text.chars().take(MOST_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn post(user_id: Value, title: &str) -> Post {
        let members = json!({ "userId": user_id, "title": title, "body": "b" });
        Post::new(members.as_object().unwrap().clone())
    }

    #[test]
    fn only_repeated_posts_are_shown() {
        let mut counts = Counts::default();
        for (user_id, title) in [(json!(1), "a"), (json!(2), "b"), (json!("1"), "a"), (json!(1), "a"), (json!(3), "b")]
        {
            counts.count(&post(user_id, title));
        }
        let received = counts.read();
        assert_eq!((received.total, received.distinct, received.repeated_distinct), (5, 3, 1));
        assert_eq!(received.repeated, [RepeatedPost { user_id: json!("1"), title: "a".into(), count: 3 }]);
        assert_eq!((counts.with_title("a"), counts.with_title("b"), counts.with_title("c")), (3, 2, 0));
    }

    #[test]
    fn what_is_shown_is_bounded() {
        let mut counts = Counts::default();
        let long = "é".repeat(100_000);
        for number in 0..MOST_SHOWN + 5 {
            let post = post(json!(number), "t");
            counts.count(&post);
            counts.count(&post);
        }
        let received = counts.read();
        assert_eq!((received.repeated_distinct, received.repeated.len()), (MOST_SHOWN as u64 + 5, MOST_SHOWN));
        let mut counts = Counts::default();
        counts.count(&post(json!([&long]), &long));
        counts.count(&post(json!([&long]), &long));
        let shown = &counts.read().repeated[0];
        assert_eq!((shown.title.chars().count(), shown.user_id.as_str().unwrap().chars().count()), (200, 200));
    }

    #[test]
    fn more_than_a_million_posts_are_counted_in_total() {
        let mut counts = Counts::default();
        let template = post(json!(1), "t");
        for hash in 0..MOST_DISTINCT as u64 + 3 {
            counts.count(&Post { hash, ..template.clone() });
        }
        counts.count(&Post { hash: 7, ..template });
        let received = counts.read();
        let expected = (MOST_DISTINCT as u64 + 4, MOST_DISTINCT as u64, 3, 1);
        assert_eq!((received.total, received.distinct, received.untracked, received.repeated_distinct), expected);
    }
}
