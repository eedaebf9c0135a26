//! Where a file to load comes from: a path, standard input, an HTTP server or S3. It is read once, as it is sent.

use std::{io, path::Path, time::Duration};

use anyhow::{Context, bail, ensure};
use futures::{Stream, TryStreamExt, stream};
use reqwest::{Client, Url};
use tokio_util::{bytes::Bytes, io::StreamReader};
use waybill_store::{Head, S3Settings, Store};

use crate::client::Upload;

/// How long a server may take to accept a connection, and between two pieces.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is asked of S3 at once.
const PART: usize = 8 << 20;

/// Opens what `--config` names.
pub(crate) async fn open(place: &str) -> anyhow::Result<Upload> {
    match Url::parse(place) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => over_http(url).await,
        Ok(url) if url.scheme() == "s3" => from_s3(&url).await,
        Ok(url) if url.has_host() => {
            bail!("--config: expected a path, http://, https:// or s3://, found {}://", url.scheme())
        }
        _ => Upload::open("--config", Path::new(place)).await,
    }
}

async fn over_http(url: Url) -> anyhow::Result<Upload> {
    let name = format!("--config: {}{}", url.host_str().unwrap_or_default(), url.path());
    let client = Client::builder().connect_timeout(PATIENCE).read_timeout(PATIENCE).build()?;
    // Its error would show the query, which may hold a password.
    let response = client.get(url).send().await.map_err(reqwest::Error::without_url).with_context(|| name.clone())?;
    ensure!(response.status().is_success(), "{name}: the server answers {}", response.status());
    let size = response.content_length();
    let chunks = response.bytes_stream().map_err(|error| io::Error::other(error.without_url()));
    Ok(Upload::new(StreamReader::new(chunks), size))
}

async fn from_s3(url: &Url) -> anyhow::Result<Upload> {
    let (bucket, key) = (url.host_str().unwrap_or_default().to_owned(), url.path().trim_start_matches('/').to_owned());
    ensure!(!bucket.is_empty() && !key.is_empty(), "--config: expected s3://BUCKET/KEY, found {url}");
    let settings = S3Settings { bucket, force_path_style: None, attempt_timeout: PATIENCE };
    let store = Store::connect(settings).await?;
    let head = store.head(&key).await?.with_context(|| format!("--config: there is no {url}"))?;
    let size = head.size;
    Ok(Upload::new(StreamReader::new(Box::pin(parts(store, key, head))), Some(size)))
}

/// A file in parts. One that was replaced meanwhile would be sent as a mixture, so its end is an error.
fn parts(store: Store, key: String, head: Head) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold((store, key, head, 0), |(store, key, head, offset)| async move {
        if offset >= head.size {
            return Ok(None);
        }
        let part = store.get_range(&key, offset, PART).await.map_err(io::Error::other)?;
        let part = part.filter(|part| !part.is_empty()).ok_or_else(|| io::Error::other(format!("{key} is gone")))?;
        let offset = offset + part.len() as u64;
        if offset >= head.size {
            let now = store.head(&key).await.map_err(io::Error::other)?;
            if now.is_none_or(|now| now.etag != head.etag) {
                return Err(io::Error::other(format!("{key} changed while it was read: load it again")));
            }
        }
        Ok(Some((part, (store, key, head, offset))))
    })
}
