//! Keeps the files of a process few: merges 64 of a tier into one of the next, and deletes what it has merged, later.
//!
//! Only files of the day that it is are merged: those of a day that is over belong to [`crate::DayMerger`].

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{Timestamp, civil::Date};
use tokio::time::{Instant, sleep};
use uuid::Uuid;
use waybill_store::Store;

use crate::{
    HitsError, Metrics,
    days::GRACE,
    files::{
        merge::merge,
        name::{FileName, Kind, folder_of_all, utc_day},
        visible::Listed,
    },
};

/// Files that are merged together. A count is written again once for each tier, and a process that writes each second of a
/// day has at most 63 + 63 + 22 files.
const FAN_IN: usize = 64;
/// How often it is looked whether there are so many: nothing is asked of the store for that.
const INTERVAL: Duration = Duration::from_secs(5);

/// The same after a failure.
const RETRY: Duration = Duration::from_secs(60);

/// The files of this process.
#[derive(Debug)]
pub(crate) struct Compactor {
    store: Store,
    boot: Uuid,
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Files that count, by day, in the order of their batches, with their tiers.
    files: BTreeMap<Date, Vec<(u32, Listed)>>,
    /// Files that were merged, and when.
    covered: Vec<(Instant, String)>,
}

impl Compactor {
    pub(crate) fn new(store: Store, boot: Uuid, metrics: Metrics) -> Self {
        Self { store, boot, metrics, state: Mutex::default() }
    }

    /// Takes note of a file that is in the bucket now.
    pub(crate) fn written(&self, file: Listed) {
        self.state().files.entry(file.name.day).or_default().push((0, file));
    }

    /// Until it is dropped, which may be at any step.
    pub(crate) async fn run(&self, now: fn() -> Timestamp) -> Infallible {
        loop {
            sleep(INTERVAL).await;
            if let Err(error) = self.turn(utc_day(now())).await {
                self.metrics.failures.inc();
                tracing::warn!(%error, "failed to merge files of counts; tried again");
                sleep(RETRY).await;
            }
        }
    }

    /// Merges what is due, and deletes what was merged a while ago.
    pub(crate) async fn turn(&self, today: Date) -> Result<(), HitsError> {
        self.state().files.retain(|day, _| *day == today);
        while let Some((tier, inputs)) = self.due(today) {
            if !self.store.list(&folder_of_all(today), None, 1).await?.is_empty() {
                // By another's clock this day is over.
                self.state().files.remove(&today);
                break;
            }
            let merged = self.merge(today, &inputs).await?;
            self.metrics.files.inc();
            self.replace(tier, &inputs, merged);
        }
        self.delete().await
    }

    /// The first [`FAN_IN`] files of a tier that has so many. A tier's files follow one another.
    fn due(&self, day: Date) -> Option<(u32, Vec<Listed>)> {
        let state = self.state();
        let files = state.files.get(&day)?;
        files.chunk_by(|(a, _), (b, _)| a == b).find(|files| files.len() >= FAN_IN).map(|files| {
            let inputs = files[..FAN_IN].iter().map(|(_, file)| file.clone()).collect();
            (files[0].0, inputs)
        })
    }

    async fn merge(&self, day: Date, inputs: &[Listed]) -> Result<Listed, HitsError> {
        let batches = inputs.iter().filter_map(|file| match file.name.kind {
            Kind::Process { from, to, .. } => Some((from, to)),
            Kind::All { .. } => None,
        });
        let (from, to) = batches.fold((u64::MAX, 0), |(first, last), (from, to)| (first.min(from), last.max(to)));
        merge(&self.store, inputs, FileName { day, kind: Kind::Process { boot: self.boot, from, to } }).await
    }

    fn replace(&self, tier: u32, inputs: &[Listed], merged: Listed) {
        let mut state = self.state();
        if let Some(files) = state.files.get_mut(&merged.name.day)
            && let Some(first) = files.iter().position(|(_, file)| file.name == inputs[0].name)
        {
            files.splice(first..first + inputs.len(), [(tier + 1, merged)]);
        }
        let now = Instant::now();
        state.covered.extend(inputs.iter().map(|file| (now, file.name.to_string())));
    }

    async fn delete(&self) -> Result<(), HitsError> {
        let old: Vec<String> = {
            let state = self.state();
            let old = state.covered.iter().take_while(|(merged, _)| merged.elapsed() >= GRACE);
            old.map(|(_, key)| key.clone()).collect()
        };
        if !old.is_empty() {
            self.store.delete(&old).await?;
            self.state().covered.drain(..old.len());
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
