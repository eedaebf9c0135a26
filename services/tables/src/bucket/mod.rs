//! The bucket's `tables/` as an [`ObjectStore`], by which Delta Lake and DataFusion read and write. Nothing but
//! waybill-store talks to S3.
//!
//! A commit is an object that is created only once. Where the store ignores that condition, the bucket looks first and
//! reads back: of two writers at the same instant both may believe that they have committed, so a table there needs
//! one writer at a time, which its lock provides.

mod commits;
mod multipart;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};
use waybill_store::{Created, Entry, Store, StoreError};

use crate::bucket::{commits::Commits, multipart::Parts};

/// Where tables lie in the bucket.
pub(crate) const FOLDER: &str = "tables/";
/// What S3 lists in a page, and deletes in a call, at most.
const PAGE: usize = 1_000;
/// The largest object, or range of one, that is read in one piece. Data files are read in ranges of a few MiB, so this is
/// about the log: a commit or a checkpoint has some 300 bytes for each data file.
const LARGEST_READ: usize = 256 * 1024 * 1024;

/// The tables of a bucket.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    store: Store,
    commits: Arc<Commits>,
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FOLDER)
    }
}

impl Bucket {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, commits: Arc::default() }
    }

    async fn create(&self, location: &Path, body: Bytes) -> Result<()> {
        let key = key(location);
        let created = self.store.create(&key, content_type(location), body.clone()).await.map_err(failed)?;
        let is_ours = match created {
            Created::Exists => false,
            Created::New if self.store.refuses_overwrites().await.map_err(failed)? => true,
            Created::New => self.store.get(&key, body.len()).await.is_ok_and(|found| found.as_ref() == Some(&body)),
        };
        if is_ours { Ok(()) } else { Err(Error::AlreadyExists { path: key, source: "another writer made it".into() }) }
    }

    /// An object's size and time, as a listing has them: a HEAD has no time in [`Store`].
    async fn meta(&self, location: &Path) -> Result<ObjectMeta> {
        let key = key(location);
        let found = self.store.list(&key, None, 1).await.map_err(failed)?.pop();
        found.filter(|entry| entry.key == key).map(meta).transpose()?.ok_or_else(|| absent(location))
    }

    async fn read(&self, location: &Path, range: Option<Range<u64>>) -> Result<(ObjectMeta, Range<u64>, Bytes)> {
        let (key, from) = (key(location), range.as_ref().map_or(0, |range| range.start));
        let is_whole = range.is_none();
        let found = match self.commits.get(&key).filter(|_| is_whole) {
            Some(kept) => Some(kept),
            None => self.store.get_entry(&key, range, LARGEST_READ).await.map_err(failed)?,
        };
        let (entry, bytes) = found.ok_or_else(|| absent(location))?;
        if is_whole {
            self.commits.keep(&entry, &bytes);
        }
        Ok((meta(entry)?, from..from + bytes.len() as u64, bytes))
    }

    fn entries(&self, prefix: String, after: Option<String>) -> BoxStream<'static, Result<ObjectMeta>> {
        let bucket = self.clone();
        let pages = stream::try_unfold(Some(after), move |after| {
            let (bucket, prefix) = (bucket.clone(), prefix.clone());
            async move {
                let Some(after) = after else { return Ok(None) };
                let page = bucket.store.list(&prefix, after.as_deref(), PAGE).await.map_err(failed)?;
                page.iter().for_each(|entry| bucket.commits.listed(entry));
                // A page that is not full is the last.
                let next = page.get(PAGE - 1).map(|last| Some(last.key.clone()));
                Ok::<_, Error>(Some((stream::iter(page.into_iter().map(meta)), next)))
            }
        });
        pages.try_flatten().boxed()
    }
}

#[async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let body = Bytes::from(payload);
        match options.mode {
            PutMode::Create => self.create(location, body).await?,
            PutMode::Overwrite => {
                self.store.put(&key(location), content_type(location), body).await.map_err(failed)?;
            }
            PutMode::Update(_) => return Err(unsupported("a write on the condition of an ETag")),
        }
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Parts::begin(self.store.clone(), key(location), content_type(location))))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.version.is_some() {
            return Err(unsupported("a version of an object"));
        }
        let range = match &options.range {
            _ if options.head => None,
            None => None,
            Some(GetRange::Bounded(range)) => Some(range.clone()),
            Some(range) => {
                let size = self.meta(location).await?.size;
                Some(range.as_range(size).map_err(|error| generic(error.into()))?)
            }
        };
        let (meta, range, bytes) = match options.head {
            true => (self.meta(location).await?, 0..0, Bytes::new()),
            false => self.read(location, range).await?,
        };
        options.check_preconditions(&meta)?;
        let payload = GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed());
        Ok(GetResult { payload, meta, range, attributes: Attributes::new() })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.store.clone();
        let deleted = locations.chunks(PAGE).then(move |chunk| {
            let store = store.clone();
            async move {
                let paths = chunk.into_iter().collect::<Result<Vec<_>>>()?;
                let keys: Vec<_> = paths.iter().map(key).collect();
                store.delete(&keys).await.map_err(failed)?;
                Ok::<_, Error>(stream::iter(paths.into_iter().map(Ok)))
            }
        });
        deleted.try_flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.entries(folder(prefix), None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.entries(folder(prefix), Some(key(offset)))
    }

    /// Lists everything below the prefix, and keeps what lies directly in it.
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let depth = prefix.map_or(0, |prefix| prefix.parts().count()) + 1;
        let (mut folders, mut objects) = (BTreeSet::new(), Vec::new());
        let mut entries = self.list(prefix);
        while let Some(object) = entries.try_next().await? {
            if object.location.parts().count() == depth {
                objects.push(object);
            } else {
                folders.insert(object.location.parts().take(depth).collect::<Path>());
            }
        }
        Ok(ListResult { common_prefixes: folders.into_iter().collect(), objects })
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(unsupported("a copy"))
    }
}

fn key(location: &Path) -> String {
    format!("{FOLDER}{location}")
}

/// Prefixes are whole segments: `a` is none of `ab/c`.
fn folder(prefix: Option<&Path>) -> String {
    match prefix.filter(|prefix| !prefix.as_ref().is_empty()) {
        Some(prefix) => format!("{FOLDER}{prefix}/"),
        None => FOLDER.to_owned(),
    }
}

fn meta(entry: Entry) -> Result<ObjectMeta> {
    let location = Path::parse(entry.key.strip_prefix(FOLDER).unwrap_or(&entry.key))?;
    let e_tag = Some(entry.etag);
    Ok(ObjectMeta { location, last_modified: entry.modified.into(), size: entry.size, e_tag, version: None })
}

fn content_type(location: &Path) -> &'static str {
    match location.extension() {
        Some("json") => "application/json",
        Some("parquet") => "application/vnd.apache.parquet",
        _ => "application/octet-stream",
    }
}

fn failed(error: StoreError) -> Error {
    generic(Box::new(error))
}

fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic { store: "waybill", source }
}

fn absent(location: &Path) -> Error {
    Error::NotFound { path: location.to_string(), source: "no such object".into() }
}

fn unsupported(what: &str) -> Error {
    Error::NotSupported { source: format!("{what} is not asked of a store").into() }
}
