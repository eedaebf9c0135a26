//! What is known of an answer beside its records, and what follows from it.

use std::collections::BTreeMap;

use reqwest::{Response, Url, header::HeaderMap};
use serde_json::Value as Json;
use waybill_source::PageAnswer;

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    status: u16,
    headers: BTreeMap<String, String>,
    url: Url,
}

/// What is in it.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) records: u64,
    /// Without the records.
    pub(crate) body: Json,
    pub(crate) last: Option<Json>,
    /// Of the records' bytes.
    pub(crate) digest: u64,
}

impl Head {
    pub(crate) fn of(response: &Response) -> Self {
        let headers = by_name(response.headers());
        Self { status: response.status().as_u16(), headers, url: response.url().clone() }
    }

    pub(crate) fn with<'a>(&'a self, contents: &'a Contents) -> PageAnswer<'a> {
        PageAnswer {
            status: self.status,
            headers: &self.headers,
            url: &self.url,
            records: contents.records,
            body: Some(&contents.body).filter(|body| !body.is_null()),
            last: contents.last.as_ref(),
            digest: contents.digest,
        }
    }
}

/// Several headers of one name are one, with commas. What is no text is left out.
fn by_name(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut all = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let Ok(value) = value.to_str() else { continue };
        all.entry(name.as_str().to_owned())
            .and_modify(|all| {
                all.push_str(", ");
                all.push_str(value);
            })
            .or_insert_with(|| value.to_owned());
    }
    all
}
