//! A file that was fetched, and what says which version of it that is.

use reqwest::header::{ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use waybill_source::{Format, Rejection, Scanned};
use waybill_store::UploadBody;

/// What an upstream said of a file, to be sent back the next time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Validators {
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
}

/// A file, whole, and what is known of it.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// Its bytes.
    pub(crate) body: UploadBody,
    /// How many they are.
    pub(crate) bytes: u64,
    /// Its records added up, or why it is not accepted.
    pub(crate) scanned: Result<Scanned, Rejection>,
    /// Of its bytes, in hex.
    pub(crate) sha256: String,
    /// The upstream's.
    pub(crate) validators: Validators,
    /// How it is spelled.
    pub(crate) format: Format,
    /// How many answers it is made of, or which of them is not accepted, where there may be several.
    pub(crate) pages: Option<u64>,
}

impl Validators {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::to_owned);
        Self { etag: text(ETAG), last_modified: text(LAST_MODIFIED) }
    }

    /// The headers that ask for the file only if it has changed.
    pub(crate) fn ask_for_news(&self) -> HeaderMap {
        let pairs = [(IF_NONE_MATCH, &self.etag), (IF_MODIFIED_SINCE, &self.last_modified)];
        pairs.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?.parse().ok()?))).collect()
    }
}
