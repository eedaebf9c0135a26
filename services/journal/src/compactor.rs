//! Merges segments and snapshots into fewer objects.
//!
//! Reads some, writes their merge under a new name, and then deletes exactly what it has read: in this order, so that
//! everything is in some object at any time. Any number of compactors may run, and each may die at any point; at worst
//! they leave objects that say the same thing twice, which a later compaction merges.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    pin::pin,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use futures::TryStreamExt;
use waybill_store::StoreError;

use crate::{
    Follower, Journal, Options, Unreadable, View, frame,
    journal::{Listed, Object, off_thread},
    name::Name,
};

/// Why a compaction ended early. Nothing is lost, and it can be tried again.
#[derive(Debug, thiserror::Error)]
pub enum CompactionError {
    /// A call to the store failed.
    #[error("failed to compact the journal: {0}")]
    Store(#[from] StoreError),
    /// The merge is larger than its inputs together, and than what can be read.
    #[error("a snapshot of {bytes} bytes would be too large to read")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
    },
}

/// What a compaction did.
#[derive(Debug)]
pub struct Compacted<V> {
    /// The objects that were read and deleted.
    pub inputs: usize,
    /// The key of the snapshot that was written.
    pub snapshot: String,
    /// The snapshot's bytes.
    pub bytes: usize,
    /// What it holds.
    pub view: V,
}

/// Compacts one source's journal, a step at a time.
pub struct Compactor<V> {
    journal: Journal<V>,
    follower: Option<Follower<V>>,
    /// What cannot be read, with its ETag, so that it is not tried again in each step.
    unreadable: Mutex<HashMap<String, String>>,
}

impl<V: View> Compactor<V> {
    /// A compactor. `follower` is spared reading what the compactor writes.
    pub fn new(journal: &Journal<V>, follower: Option<&Follower<V>>) -> Self {
        Self { journal: journal.clone(), follower: follower.cloned(), unreadable: Mutex::default() }
    }

    /// Does one compaction, or returns `None` where none is due: one of segments, else of snapshots of one tier. After
    /// `Some` another may be due.
    ///
    /// # Errors
    /// Where the store fails. What was written and deleted until then leaves the journal as valid as before.
    pub async fn compact(&self) -> Result<Option<Compacted<V>>, CompactionError> {
        let inputs = self.due().await?;
        let Some((names, keys, view)) = self.merge(inputs).await? else { return Ok(None) };
        let size = keys.iter().map(|(_, size)| size).sum();
        let keys: Vec<_> = keys.into_iter().map(|(key, _)| key).collect();
        let (object, view) = off_thread(size, move || (frame::encode_snapshot(&view), view)).await;
        let bytes = object.len();
        let Some(snapshot) = self.replace(&names, &keys, object).await? else { return Ok(None) };
        Ok(Some(Compacted { inputs: keys.len(), snapshot, bytes, view }))
    }

    /// Replaces the objects that the follower's view holds by one snapshot of it, where that is
    /// [`Options::collapse_factor`] times smaller than they are: a view may have dropped most of what they say, for a fact
    /// that outranks it, and objects of the largest tier are not merged any more. Reads none of them. Returns whether it
    /// did.
    ///
    /// # Errors
    /// As [`Self::compact`].
    pub async fn collapse(&self) -> Result<bool, CompactionError> {
        let Some(follower) = self.follower.clone() else { return Ok(false) };
        let options = &self.journal.options;
        let (mut objects, mut start_after) = (Vec::new(), None);
        loop {
            let (page, next) = self.journal.page(start_after.as_deref()).await?;
            objects.extend(page);
            if next.is_none() || objects.len() >= options.compact_inputs {
                break;
            }
            start_after = next;
        }
        objects.truncate(options.compact_inputs);
        let size = |objects: &[Listed]| objects.iter().map(|listed| listed.size).sum::<u64>();
        let (objects, object) = off_thread(size(&objects), move || follower.snapshot_of(objects)).await;
        if objects.is_empty() || (object.len() as u64).saturating_mul(options.collapse_factor) > size(&objects) {
            return Ok(false);
        }
        let names: Vec<_> = objects.iter().filter_map(|listed| listed.name).collect();
        let keys: Vec<_> = objects.into_iter().map(|listed| listed.key).collect();
        Ok(self.replace(&names, &keys, object).await?.is_some())
    }

    /// Writes a snapshot that holds all of the objects `names`, and then deletes them. Returns its key; `None` where there is
    /// no name that sorts after theirs.
    async fn replace(&self, names: &[Name], keys: &[String], object: Bytes) -> Result<Option<String>, CompactionError> {
        let bytes = object.len();
        let options = &self.journal.options;
        if bytes > options.object_bytes {
            return Err(CompactionError::TooLarge { bytes });
        }
        let name = Name::snapshot((options.clock)(), tier(bytes, options.tier_bytes), names);
        let Some(name) = name else { return Ok(None) };
        let snapshot = self.journal.key(name);
        self.journal.bucket.put(&snapshot, object).await?;
        if let Some(follower) = &self.follower {
            follower.replaced(names, name);
        }
        self.journal.bucket.delete(keys).await?;
        tracing::debug!(s3_key = snapshot, inputs = keys.len(), bytes, "compacted the journal");
        Ok(Some(snapshot))
    }

    /// What is to be merged now.
    async fn due(&self) -> Result<Vec<Listed>, StoreError> {
        let options = &self.journal.options;
        let (mut segments, mut tiers, mut start_after) = (Vec::new(), BTreeMap::<u8, Vec<Listed>>::new(), None);
        loop {
            let (page, next) = self.journal.page(start_after.as_deref()).await?;
            for listed in self.readable(page) {
                match listed.name {
                    Some(Name::Segment(_)) => segments.push(listed),
                    Some(Name::Snapshot(_, tier)) => tiers.entry(tier).or_default().push(listed),
                    None => {}
                }
            }
            // So many segments are due, whatever else there is.
            if next.is_none() || segments.len() >= options.compact_inputs.max(options.compact_segments) {
                break;
            }
            start_after = next;
        }
        let oldest = segments.first().and_then(|listed| listed.name).map_or(u64::MAX, Name::milliseconds);
        let age = u128::from((options.clock)().saturating_sub(oldest));
        if segments.len() >= options.compact_segments || (segments.len() > 1 && age >= options.compact_age.as_millis())
        {
            return Ok(fitting(segments, options));
        }
        let mut due = tiers.into_values().filter(|snapshots| snapshots.len() >= options.compact_fan_in);
        Ok(due.find_map(|snapshots| Some(fitting(snapshots, options)).filter(|fit| fit.len() > 1)).unwrap_or_default())
    }

    /// The names, the keys with their sizes, and the merge of what can be read of `inputs`. `None` for fewer than two.
    async fn merge(&self, inputs: Vec<Listed>) -> Result<Option<Merged<V>>, StoreError> {
        let (mut names, mut keys, mut merged) = (Vec::new(), Vec::new(), V::default());
        let mut read = pin!(self.journal.read_all(inputs));
        while let Some((listed, object)) = read.try_next().await? {
            match object {
                Object::View(view) => {
                    merged = off_thread(listed.size, move || {
                        merged.merge(view);
                        merged
                    })
                    .await;
                    names.extend(listed.name);
                    keys.push((listed.key, listed.size));
                }
                // Another compactor has it in a snapshot of its own.
                Object::Gone => {}
                Object::Unreadable(error) => self.leave_out(listed, &error),
            }
        }
        Ok((keys.len() > 1).then_some((names, keys, merged)))
    }

    fn leave_out(&self, listed: Listed, error: &Unreadable) {
        tracing::warn!(%error, "an object of the journal cannot be compacted and is left alone");
        if !error.is_transient() {
            let mut unreadable = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
            unreadable.insert(listed.key, listed.etag);
        }
    }

    fn readable(&self, mut page: Vec<Listed>) -> Vec<Listed> {
        let known = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        page.retain(|listed| known.get(&listed.key) != Some(&listed.etag));
        page
    }
}

type Merged<V> = (Vec<Name>, Vec<(String, u64)>, V);

/// The first of `objects` that may be merged at once.
fn fitting(mut objects: Vec<Listed>, options: &Options) -> Vec<Listed> {
    objects.truncate(options.compact_inputs);
    let mut left = options.object_bytes as u64;
    objects.retain(|listed| {
        let fits = listed.size <= left;
        left -= if fits { listed.size } else { 0 };
        fits
    });
    objects
}

/// Each tier's snapshots are four times as large as those of the tier below.
fn tier(bytes: usize, unit: usize) -> u8 {
    let tier = (bytes / unit.max(1)).checked_ilog(4).map_or(0, |power| power + 1);
    u8::try_from(tier).unwrap_or(u8::MAX)
}

impl<V> fmt::Debug for Compactor<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compactor").field("journal", &self.journal).finish_non_exhaustive()
    }
}
