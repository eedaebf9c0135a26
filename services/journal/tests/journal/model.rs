//! A store in memory whose every call is a step of a schedule: it takes effect some time between the call and the
//! answer, or after a caller that went away, or not.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::Bytes;
use waybill_journal::Bucket;
use waybill_store::{Entry, StoreError};

#[derive(Clone, Default)]
pub(crate) struct Model {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    objects: Mutex<BTreeMap<String, Stored>>,
    flights: Mutex<Vec<Flight>>,
    /// Whether calls wait for the schedule.
    stepped: bool,
    refuses: AtomicBool,
    lists: AtomicUsize,
    gets: AtomicUsize,
    /// Every PUT that was tried, in order.
    puts: Mutex<Vec<(String, Bytes)>>,
}

struct Stored {
    body: Bytes,
    /// As listed: larger than the body for an object that would not fit into memory.
    size: u64,
}

/// A write that is under way.
struct Flight {
    key: String,
    /// `None` deletes.
    body: Option<Bytes>,
    answer: Arc<Mutex<Option<Result<(), StoreError>>>>,
}

impl Model {
    pub(crate) fn stepped() -> Self {
        Self { inner: Arc::new(Inner { stepped: true, ..Inner::default() }) }
    }

    /// Lets a random write that is under way take effect.
    pub(crate) fn land(&self, random: &mut fastrand::Rng) {
        let mut flights = self.inner.flights.lock().unwrap();
        if flights.is_empty() {
            return;
        }
        let index = random.usize(..flights.len());
        let flight = flights.swap_remove(index);
        self.set(&flight.key, flight.body);
        flight.answer.lock().unwrap().get_or_insert(Ok(()));
    }

    /// Tells a random writer that its write failed. It may take effect later all the same.
    pub(crate) fn fail(&self, random: &mut fastrand::Rng) {
        let mut flights = self.inner.flights.lock().unwrap();
        if flights.is_empty() {
            return;
        }
        let index = random.usize(..flights.len());
        flights[index].answer.lock().unwrap().get_or_insert(Err(unavailable()));
        if random.bool() {
            flights.swap_remove(index);
        }
    }

    pub(crate) fn land_all(&self) {
        while !self.inner.flights.lock().unwrap().is_empty() {
            self.land(&mut fastrand::Rng::with_seed(0));
        }
    }

    pub(crate) fn refuse(&self, refuses: bool) {
        self.inner.refuses.store(refuses, Ordering::SeqCst);
    }

    pub(crate) fn set(&self, key: &str, body: Option<Bytes>) {
        let mut objects = self.inner.objects.lock().unwrap();
        match body {
            Some(body) => objects.insert(key.to_owned(), Stored { size: body.len() as u64, body }),
            None => objects.remove(key),
        };
    }

    /// An object that says it has `size` bytes.
    pub(crate) fn declare(&self, key: &str, size: u64) {
        self.inner.objects.lock().unwrap().insert(key.to_owned(), Stored { body: Bytes::new(), size });
    }

    pub(crate) fn body(&self, key: &str) -> Option<Bytes> {
        self.inner.objects.lock().unwrap().get(key).map(|stored| stored.body.clone())
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.inner.objects.lock().unwrap().keys().cloned().collect()
    }

    pub(crate) fn puts(&self) -> Vec<(String, Bytes)> {
        self.inner.puts.lock().unwrap().clone()
    }

    pub(crate) fn lists(&self) -> usize {
        self.inner.lists.load(Ordering::SeqCst)
    }

    pub(crate) fn gets(&self) -> usize {
        self.inner.gets.load(Ordering::SeqCst)
    }

    async fn step(&self) -> Result<(), StoreError> {
        if self.inner.stepped {
            let mut polled = false;
            poll_fn(|context| {
                context.waker().wake_by_ref();
                if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
        if self.inner.refuses.load(Ordering::SeqCst) { Err(unavailable()) } else { Ok(()) }
    }

    /// Starts writes, which take effect in any order, and waits for all of them.
    async fn write(&self, writes: Vec<(String, Option<Bytes>)>) -> Result<(), StoreError> {
        let mut answers = Vec::new();
        for (key, body) in writes {
            let answer = Arc::default();
            answers.push(Arc::clone(&answer));
            self.inner.flights.lock().unwrap().push(Flight { key, body, answer });
        }
        if !self.inner.stepped {
            self.land_all();
        }
        poll_fn(|context| {
            if answers.iter().all(|answer| answer.lock().unwrap().is_some()) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        answers.into_iter().try_for_each(|answer| answer.lock().unwrap().take().expect("an answer"))
    }
}

#[async_trait]
impl Bucket for Model {
    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.inner.lists.fetch_add(1, Ordering::SeqCst);
        self.step().await?;
        let page = {
            let objects = self.inner.objects.lock().unwrap();
            let after = objects.iter().filter(|(key, _)| {
                key.starts_with(prefix) && start_after.is_none_or(|start_after| key.as_str() > start_after)
            });
            let entry = |(key, stored): (&String, &Stored)| Entry {
                key: key.clone(),
                size: stored.size,
                etag: format!(
                    "{:x}",
                    stored.body.iter().fold(7_u64, |sum, byte| sum * 31 % 1_000_003 + u64::from(*byte))
                ),
                modified: SystemTime::UNIX_EPOCH,
            };
            after.take(limit).map(entry).collect()
        };
        self.step().await?;
        Ok(page)
    }

    async fn get(&self, key: &str, limit: usize) -> Result<Option<Bytes>, StoreError> {
        self.inner.gets.fetch_add(1, Ordering::SeqCst);
        self.step().await?;
        let body = self.body(key);
        self.step().await?;
        match body {
            Some(body) if body.len() > limit => Err(StoreError::TooLarge { key: key.to_owned(), limit }),
            body => Ok(body),
        }
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        self.inner.puts.lock().unwrap().push((key.to_owned(), body.clone()));
        self.step().await?;
        self.write(vec![(key.to_owned(), Some(body))]).await
    }

    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        self.step().await?;
        self.write(keys.iter().map(|key| (key.clone(), None)).collect()).await
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable { operation: "PutObject", key: String::new(), reason: "a fault".to_owned() }
}
