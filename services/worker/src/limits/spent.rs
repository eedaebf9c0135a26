//! How long a source's rate has been used, written down in the bucket before it is used.
//!
//! The owner of a rate's lock may start requests only until a time that it has written as the name of an object:
//! `limits/{source}/{until}.{worker}`. A worker that gets the lock lists the names. What none of them covers was never
//! spent, so the first request of an idle source goes out at once. What one covers counts as spent. So the limit holds
//! over kills, stops and lost brokers, for one PUT a minute of activity.
//!
//! Clocks of two workers may differ by [`CLOCKS`]: a window begins so much later than the name says.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::Timestamp;
use waybill_store::{Store, StoreError};

/// For how long requests may go out after one object is written.
const AHEAD: Duration = Duration::from_secs(60);
/// How much the clocks of two workers may differ.
const CLOCKS: Duration = Duration::from_secs(5);
/// Between two tries to write.
const PAUSE: Duration = Duration::from_secs(1);
/// Names that are read: each owner leaves one, or two.
const MOST: usize = 1_000;
const TIME: &str = "%Y%m%dT%H%M%S%.3fZ";

/// What one owner of the lock knows and writes.
#[derive(Debug)]
pub(crate) struct Spent {
    store: Store,
    prefix: String,
    /// This worker's name.
    worker: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Until when earlier owners may have started requests; none did where there is none.
    before: Option<Instant>,
    /// Requests may go out until then.
    reserved_until: Option<Instant>,
    /// Objects that say less than the next one.
    keys: Vec<String>,
}

impl Spent {
    /// Reads what earlier owners wrote.
    pub(crate) async fn read(store: &Store, source: &str, worker: &str) -> Result<Self, StoreError> {
        let prefix = format!("limits/{source}/");
        let entries = store.list(&prefix, None, MOST).await?;
        let keys: Vec<String> = entries.into_iter().map(|entry| entry.key).collect();
        let (now, wall) = (Instant::now(), Timestamp::now());
        let latest = keys.iter().filter_map(|key| until(key.strip_prefix(&prefix)?)).max();
        let before = latest.map(|until| spent_until(until, now, wall));
        let state = Mutex::new(State { before, reserved_until: None, keys });
        Ok(Self { store: store.clone(), prefix, worker: worker.to_owned(), state })
    }

    /// Until when earlier owners may have started requests; at most `now`.
    pub(crate) fn before(&self, now: Instant) -> Option<Instant> {
        self.lock().before.map(|before| before.min(now))
    }

    /// Whether requests may go out now.
    pub(crate) fn is_reserved(&self, now: Instant) -> bool {
        self.lock().reserved_until.is_some_and(|until| now < until)
    }

    /// Writes that requests go out, unless that is written for long enough already. Returns after one try.
    pub(crate) async fn reserve(&self) {
        let (now, wall) = (Instant::now(), Timestamp::now());
        if self.lock().reserved_until.is_some_and(|until| now + AHEAD / 2 < until) {
            return;
        }
        let until = wall + AHEAD;
        let key = format!("{}{}.{}", self.prefix, until.strftime(TIME), self.worker);
        if let Err(error) = self.store.put(&key, "text/plain", Bytes::new()).await {
            tracing::warn!(%error, "failed to write down that a rate is used; no request goes out");
            tokio::time::sleep(PAUSE).await;
            return;
        }
        let older = {
            let mut state = self.lock();
            state.reserved_until = Some(now + AHEAD);
            std::mem::replace(&mut state.keys, vec![key])
        };
        // Requests wait for this function, and not for that.
        let store = self.store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.delete(&older).await {
                tracing::debug!(%error, "failed to delete what is outdated of a rate");
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time in a name.
fn until(name: &str) -> Option<Timestamp> {
    let (time, _) = name.rsplit_once('.')?;
    jiff::fmt::strtime::parse(TIME, time).ok()?.to_datetime().ok()?.in_tz("UTC").ok().map(|time| time.timestamp())
}

/// A time of the wall clock as one of this process, later by what clocks may differ. What lies in the future counts as
/// now, and what is too long ago for this process's clock as long ago as that can say.
fn spent_until(until: Timestamp, now: Instant, wall: Timestamp) -> Instant {
    let ago = Duration::try_from(wall.duration_since(until)).unwrap_or_default().saturating_sub(CLOCKS);
    now.checked_sub(ago).unwrap_or_else(|| now.checked_sub(Duration::from_secs(1)).unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use waybill_store::Embedded;

    use super::*;

    #[tokio::test]
    async fn an_idle_source_is_known_to_be_idle_and_a_used_one_to_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path()).await.unwrap().store("bucket").unwrap();
        let first = Spent::read(&store, "weather", "one").await.unwrap();
        assert_eq!(first.before(Instant::now()), None, "nobody ever asked");
        assert!(!first.is_reserved(Instant::now()), "nothing goes out before it is written");
        first.reserve().await;
        assert!(first.is_reserved(Instant::now()) && !first.is_reserved(Instant::now() + AHEAD));
        first.reserve().await;
        let now = Instant::now();
        let second = Spent::read(&store, "weather", "two").await.unwrap();
        assert!(second.before(now) >= Some(now), "the first may still be at it");
        second.reserve().await;
        let outdated_is_deleted = async {
            loop {
                let keys = store.list("limits/weather/", None, 10).await.unwrap();
                if keys.len() == 1 {
                    break assert!(keys[0].key.ends_with("Z.two"), "{keys:?}");
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), outdated_is_deleted).await.unwrap();
        assert_eq!(Spent::read(&store, "other", "two").await.unwrap().before(now), None);
    }

    #[test]
    fn a_time_in_a_name_is_read_as_it_was_written() {
        let at: Timestamp = "2024-05-01T08:00:00.123Z".parse().unwrap();
        assert_eq!(until(&format!("{}.018f3253-7a40", at.strftime(TIME))), Some(at));
        assert_eq!(until("garbage"), None);
    }

    #[test]
    fn clocks_may_differ() {
        let (now, wall) = (Instant::now(), Timestamp::now());
        let before = |seconds: i64| now - spent_until(wall - SignedDuration::from_secs(seconds), now, wall);
        assert_eq!(before(-50), Duration::ZERO, "a minute ahead");
        assert_eq!(before(3), Duration::ZERO, "within what clocks differ");
        assert_eq!(before(65), Duration::from_secs(60));
    }
}
