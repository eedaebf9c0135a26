//! A bounded LRU cache, and one of what is good enough for a moment. Their lock is never held across an await.

use std::{
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lru::LruCache;
use tokio::time::Instant;

/// The values used last, at most so many and of at most so much weight.
#[derive(Debug)]
pub struct Cache<K: Hash + Eq, V> {
    inner: Mutex<Inner<K, V>>,
    max_entries: usize,
    max_weight: usize,
}

#[derive(Debug)]
struct Inner<K: Hash + Eq, V> {
    entries: LruCache<K, (V, usize)>,
    weight: usize,
}

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    /// A cache of values whose weight does not matter.
    pub fn new(max_entries: usize) -> Self {
        Self::weighted(max_entries, usize::MAX)
    }

    /// A cache of values of so much weight together; one that is heavier alone is not kept.
    pub fn weighted(max_entries: usize, max_weight: usize) -> Self {
        // Unbounded for the crate, which would otherwise set aside memory for a full cache at once.
        let inner = Inner { entries: LruCache::unbounded(), weight: 0 };
        Self { inner: Mutex::new(inner), max_entries, max_weight }
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<V> {
        self.lock().entries.get(key).map(|(value, _)| value.clone())
    }

    /// Returns whether the key was there.
    pub fn insert(&self, key: K, value: V, weight: usize) -> bool {
        let mut inner = self.lock();
        let was_there = inner.entries.contains(&key);
        inner.put(key, value, weight, self.max_entries, self.max_weight);
        was_there
    }

    /// The value that is there, or else this one, which is then there.
    pub fn get_or_insert(&self, key: K, value: V, weight: usize) -> V {
        let mut inner = self.lock();
        if let Some((there, _)) = inner.entries.get(&key) {
            return there.clone();
        }
        inner.put(key, value.clone(), weight, self.max_entries, self.max_weight);
        value
    }

    /// Forgets a key.
    pub fn remove(&self, key: &K) {
        let mut inner = self.lock();
        if let Some((_, weight)) = inner.entries.pop(key) {
            inner.weight -= weight;
        }
    }

    /// Forgets those used last longest ago, as long as they are idle.
    pub fn remove_idle(&self, is_idle: impl Fn(&V) -> bool) {
        let mut inner = self.lock();
        while inner.entries.peek_lru().is_some_and(|(_, (value, _))| is_idle(value)) {
            let Some((_, (_, weight))) = inner.entries.pop_lru() else { break };
            inner.weight -= weight;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K, V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was found a moment ago: good enough for whoever polls, though others may have changed it since.
#[derive(Debug)]
pub(crate) struct Recent<K: Hash + Eq, V> {
    found: Cache<K, (Instant, V)>,
    within: Duration,
}

impl<K: Hash + Eq, V: Clone> Recent<K, V> {
    pub(crate) fn new(max_entries: usize, within: Duration) -> Self {
        Self { found: Cache::new(max_entries), within }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.found.get(key).filter(|(began, _)| began.elapsed() < self.within).map(|(_, value)| value)
    }

    /// `began` is when the look began.
    pub(crate) fn insert(&self, key: K, began: Instant, value: V) {
        self.found.insert(key, (began, value), 1);
    }

    pub(crate) fn remove(&self, key: &K) {
        self.found.remove(key);
    }
}

impl<K: Hash + Eq, V> Inner<K, V> {
    fn put(&mut self, key: K, value: V, weight: usize, max_entries: usize, max_weight: usize) {
        if weight > max_weight {
            // Alone too heavy: it must not push out all the others for nothing. What it replaces is outdated.
            if let Some((_, replaced)) = self.entries.pop(&key) {
                self.weight -= replaced;
            }
            return;
        }
        if let Some((_, replaced)) = self.entries.put(key, (value, weight)) {
            self.weight -= replaced;
        }
        self.weight += weight;
        while self.entries.len() > max_entries || self.weight > max_weight {
            let Some((_, (_, dropped))) = self.entries.pop_lru() else { break };
            self.weight -= dropped;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_entry_is_evicted() {
        let cache = Cache::new(2);
        cache.insert(1, 'a', 0);
        cache.insert(2, 'b', 0);
        cache.get(&1);
        cache.insert(3, 'c', 0);
        assert_eq!([cache.get(&1), cache.get(&2), cache.get(&3)], [Some('a'), None, Some('c')]);
    }

    #[test]
    fn idle_entries_are_removed_up_to_the_first_that_is_not() {
        let cache = Cache::weighted(10, 5);
        for (key, value) in [(1, 'a'), (2, 'b'), (3, 'c'), (4, 'a')] {
            cache.insert(key, value, 1);
        }
        cache.remove_idle(|value| *value < 'c');
        assert_eq!([cache.get(&1), cache.get(&2), cache.get(&3), cache.get(&4)], [None, None, Some('c'), Some('a')]);
        cache.insert(5, 'd', 3);
        assert_eq!([cache.get(&3), cache.get(&4), cache.get(&5)], [Some('c'), Some('a'), Some('d')]);
        cache.remove_idle(|_| true);
        assert_eq!([cache.get(&3), cache.get(&4), cache.get(&5)], [None; 3]);
    }

    #[test]
    fn the_weight_is_bounded_also_when_values_are_replaced_or_removed() {
        let cache = Cache::weighted(10, 10);
        for _ in 0..100 {
            cache.insert(1, 'a', 6);
            cache.remove(&1);
            cache.insert(1, 'a', 6);
        }
        cache.insert(2, 'b', 4);
        assert_eq!([cache.get(&1), cache.get(&2)], [Some('a'), Some('b')]);
        cache.insert(3, 'c', 1);
        assert_eq!([cache.get(&1), cache.get(&3)], [None, Some('c')]);
        cache.insert(4, 'd', 11);
        assert_eq!([cache.get(&2), cache.get(&4)], [Some('b'), None]);
        assert_eq!(cache.get_or_insert(2, 'x', 1), 'b');
        cache.insert(2, 'e', 11);
        assert_eq!([cache.get(&2), cache.get(&4)], [None, None], "what it would have replaced is outdated");
    }
}
