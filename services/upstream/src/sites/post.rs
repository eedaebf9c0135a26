//! A post, and what tells it from others.

use std::borrow::Cow;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// A post that was understood.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    /// All that was sent.
    pub(crate) members: Map<String, Value>,
    /// Of `userId`, `title` and `body`.
    pub(crate) hash: u64,
    /// Of `title`.
    pub(crate) title_hash: u64,
}

impl Post {
    pub(crate) fn new(members: Map<String, Value>) -> Self {
        let [user_id, title, body] = ["userId", "title", "body"].map(|name| text(&members, name));
        let (hash, title_hash) = (hash([&*user_id, &*title, &*body]), hash([&*title]));
        Self { members, hash, title_hash }
    }

    pub(crate) fn user_id(&self) -> &Value {
        self.members.get("userId").unwrap_or(&Value::Null)
    }

    pub(crate) fn title(&self) -> Cow<'_, str> {
        text(&self.members, "title")
    }
}

/// A member as text: a row that is sent as JSON and as a form is the same post.
fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Cow<'a, str> {
    match members.get(name) {
        Some(Value::String(text)) => text.into(),
        Some(value) => value.to_string().into(),
        None => "".into(),
    }
}

/// The first 8 bytes of the SHA-256 of all texts and their lengths.
pub(crate) fn hash<const N: usize>(texts: [&str; N]) -> u64 {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text);
    }
    hasher.finalize().iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}
