//! A month's aggregate of one group: per object key, its statistics.
//!
//! An aggregate is derived. Losing one, or writing an older one over a newer one, costs a few HEADs. The bytes of a
//! key never change, so an entry is right for as long as the key is listed.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use waybill_source::Totals;
use waybill_store::{Store, StoreError};

/// The largest aggregate that is read: 100,000 objects of 300 bytes. A larger one is made anew each time.
const MAX_BYTES: usize = 32 << 20;

/// `stats/{source}/{group}/{yyyy-mm}.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Aggregate {
    /// The hash of the definition whose statistics these are. Aggregates of earlier versions, which call it otherwise,
    /// hold statistics of any meaning: they are made anew.
    added_up_for: String,
    /// Per key in data/, its statistics.
    pub(crate) objects: HashMap<String, Totals>,
}

impl Aggregate {
    pub(crate) fn new(definition: &str) -> Self {
        Self { added_up_for: definition.to_owned(), objects: HashMap::new() }
    }

    /// The stored aggregate, if it is for this definition and can be parsed; otherwise an empty one.
    pub(crate) async fn load(store: &Store, key: &str, definition: &str) -> Result<Self, StoreError> {
        let stored = match store.get(key, MAX_BYTES).await {
            Ok(stored) => stored,
            Err(StoreError::TooLarge { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(stored
            .and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok())
            .filter(|aggregate| aggregate.added_up_for == definition)
            .unwrap_or_else(|| Self::new(definition)))
    }

    /// Stores the aggregate. A failure is only logged: the answer is right without it.
    pub(crate) async fn save(&self, store: &Store, key: &str) {
        let json = serde_json::to_vec(self).expect("maps of strings and numbers have a JSON form");
        if json.len() > MAX_BYTES {
            return;
        }
        if let Err(error) = store.put(key, "application/json", json.into()).await {
            tracing::warn!(s3_key = key, %error, "failed to store an aggregate; the next answer takes longer");
        }
    }
}
