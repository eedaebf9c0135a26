//! The stylesheet and the script of all pages.

use std::sync::LazyLock;

use poem::{
    Endpoint, Request, Response,
    endpoint::make_sync,
    http::{StatusCode, header},
};
use sha2::{Digest, Sha256};

use crate::etag;

/// A file that pages load. Its address changes with its text, so that a browser may keep it.
#[derive(Debug)]
pub(crate) struct Asset {
    pub(crate) path: &'static str,
    content_type: &'static str,
    text: &'static str,
    version: String,
}

pub(crate) static STYLESHEET: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("/assets/waybill.css", "text/css; charset=utf-8", include_str!("waybill.css")));
pub(crate) static PROGRESS: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("/assets/progress.js", "text/javascript; charset=utf-8", include_str!("progress.js")));

impl Asset {
    fn new(path: &'static str, content_type: &'static str, text: &'static str) -> Self {
        let hash = base16ct::lower::encode_string(&Sha256::digest(text));
        Self { path, content_type, text, version: hash[..12].to_owned() }
    }

    /// Where a page loads it from.
    pub(crate) fn href(&self) -> String {
        format!("{}?v={}", self.path, self.version)
    }

    pub(crate) fn endpoint(&'static self) -> impl Endpoint<Output = Response> {
        make_sync(move |request: Request| {
            let tag = format!("\"{}\"", self.version);
            // An address without the version means the file as it is now.
            let is_versioned = request.uri().query().is_some_and(|query| query == format!("v={}", self.version));
            let caching = if is_versioned { "public, max-age=31536000, immutable" } else { "no-cache" };
            let response = Response::builder().header(header::ETAG, &tag).header(header::CACHE_CONTROL, caching);
            if etag::matches(request.header(header::IF_NONE_MATCH), &tag) {
                return response.status(StatusCode::NOT_MODIFIED).finish();
            }
            response.content_type(self.content_type).body(self.text)
        })
    }
}
