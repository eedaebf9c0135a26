//! Which months a source's index has, and whether anything changed in them: one LIST.

use std::{collections::BTreeMap, pin::pin};

use futures::TryStreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use waybill_journal::ReadError;
use waybill_store::{Entry, StoreError};

use crate::{
    LedgerError,
    index::{
        keys::{built_key, folder, place},
        object_index::Index,
    },
};

/// `journal/{source}/index/built.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Built {
    /// When every object in data/ had been looked at.
    pub built: Timestamp,
    /// How many there were.
    pub objects: u64,
}

/// The months of a source's index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Months {
    /// Whether the index was ever completed; without that it may lack what earlier releases stored.
    pub is_built: bool,
    /// By month, the hash of the names of its objects, which are never written twice: as long as it stays the same, so
    /// do the rows.
    pub hashes: BTreeMap<String, [u8; 32]>,
}

impl Index {
    /// Lists a source's journals: everything that was committed before this call is in what is listed.
    pub async fn months(&self, source: &str) -> Result<Months, StoreError> {
        let mut hashes: BTreeMap<String, Sha256> = BTreeMap::new();
        let mut is_built = false;
        let folder = folder(source);
        let mut pages = pin!(self.store.pages(&folder));
        while let Some(page) = pages.try_next().await? {
            for entry in &page {
                match entry.key.strip_prefix(&folder).and_then(place) {
                    Some(Some(month)) => {
                        if !hashes.contains_key(month) {
                            hashes.insert(month.to_owned(), Sha256::new());
                        }
                        let Some(hash) = hashes.get_mut(month) else { continue };
                        hash.update(format!("{} {}\n", entry.key, entry.etag));
                    }
                    Some(None) => is_built = true,
                    None => {}
                }
            }
        }
        let hashes = hashes.into_iter().map(|(month, hash)| (month, hash.finalize().into())).collect();
        Ok(Months { is_built, hashes })
    }

    /// The bytes of a month's journal.
    pub(super) async fn bytes(&self, source: &str, month: &str) -> Result<u64, ReadError> {
        let folder = format!("{}{month}/", folder(source));
        let sum = |bytes, page: Vec<Entry>| bytes + page.iter().map(|entry| entry.size).sum::<u64>();
        Ok(self.store.pages(&folder).try_fold(0, async |bytes, page| Ok(sum(bytes, page))).await?)
    }

    pub(super) async fn set_built(&self, source: &str, built: &Built) -> Result<(), LedgerError> {
        let json = serde_json::to_vec(built).expect("a time and a number are JSON");
        Ok(self.store.put(&built_key(source), "application/json", json.into()).await?)
    }
}
