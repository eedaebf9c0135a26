//! Items: what a job is made of, and the requests that lead to them.
//!
//! Plain values; how they come about is the definition's business.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// Field values by `[[items]]` name.
pub(crate) type Values = BTreeMap<String, BTreeMap<String, serde_json::Value>>;

/// One thing to fetch: a city. Its values are what templates see, its key is unique within the job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Unique within the job and safe in an object key.
    pub key: String,
    /// Field values by `[[items]]` name: `{"city": {"id": 0, "name": "South Stephen"}}`.
    pub values: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
    /// Why it cannot be fetched: it has no key of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// An item in the making: the values of the levels expanded so far. The default has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemDraft {
    /// As in [`Item::values`].
    pub values: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
}

/// A request to an upstream, relative to the base URL that the operator names.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// Absolute path, percent-encoded: values from an upstream cannot add segments. It may hold a secret.
    pub path: String,
    /// Query pairs, not yet encoded. They may hold secrets.
    pub query: Vec<(String, String)>,
    /// The path as it may be shown: with `hidden` in the place of every value from the environment, or the
    /// template itself where that makes no path.
    pub shown: String,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("shown", &self.shown).finish_non_exhaustive()
    }
}

/// Why a listing or an item cannot be used. Says where in the listing, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ItemError(pub String);
