//! Items: what a job is made of, and the requests that lead to them.
//!
//! Plain values; how they come about is the definition's business.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// Field values by `[[items]]` name.
pub(crate) type Values = BTreeMap<String, BTreeMap<String, serde_json::Value>>;

/// One thing to fetch: a city. Its values are what templates see, its key is unique within its partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Unique within the job and its partition, and safe in an object key.
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

/// What a request asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// To read.
    #[default]
    Get,
    /// To make something.
    Post,
    /// To put something in the place of what is there.
    Put,
    /// To change a part.
    Patch,
    /// To remove.
    Delete,
}

impl Method {
    pub(crate) const ALL: [Self; 5] = [Self::Get, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// As HTTP spells it: `GET`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// A request to an upstream, relative to the base URL that the operator names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// What it asks for.
    pub method: Method,
    /// Absolute path, percent-encoded: values from an upstream cannot add segments.
    pub path: String,
    /// In place of the path, a whole address, which may be an upstream's. Where it may lead is not looked at yet.
    pub url: Option<String>,
    /// Query pairs, not yet encoded. They may hold secrets.
    pub query: Vec<(String, String)>,
    /// Names and values: each a line of visible ASCII, each name once. They may hold secrets.
    pub headers: Vec<(String, String)>,
    /// What is sent.
    pub body: Option<RequestBody>,
    /// What only the upstream's own origin is given.
    pub auth: Credentials,
    /// The path as it may be shown.
    pub shown: String,
}

/// What a request to the upstream's own origin is given last. All of it is secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// In the place of others of these names.
    pub headers: Vec<(String, String)>,
    /// In the place of others of these names.
    pub query: Vec<(String, String)>,
}

/// What a request carries. It may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestBody {
    /// The value of `Content-Type`, which is not among the headers.
    pub content_type: String,
    /// As it is sent.
    pub text: String,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("method", &self.method).field("shown", &self.shown).finish_non_exhaustive()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("content_type", &self.content_type).finish_non_exhaustive()
    }
}

/// Why a listing or an item cannot be used. Says where in the listing, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ItemError(pub String);
