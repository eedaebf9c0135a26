//! A process dies at any request to the store, or its answer is lost; then the load is made again.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};

use waybill_store::StoreError;

use crate::{
    LoadError,
    errors::Refused,
    load::tests::world::{World, film, films, read, staged},
};

/// Counts requests, and fails all from one on.
#[derive(Debug)]
pub(super) struct Faulty {
    inner: Arc<dyn ObjectStore>,
    requests: AtomicUsize,
    /// The first that fails.
    fails_from: usize,
    /// Whether that one does its work, and its answer is lost.
    works: bool,
    error: fn() -> Error,
}

/// What becomes of a request.
#[derive(PartialEq)]
enum Fate {
    Works,
    IsLost,
    AnswerIsLost,
}

impl Faulty {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, fails_from: usize, works: bool) -> Arc<Self> {
        Arc::new(Self { inner, requests: AtomicUsize::new(0), fails_from, works, error: lost })
    }

    /// One that refuses all requests from one on.
    fn denying(inner: Arc<dyn ObjectStore>, fails_from: usize) -> Arc<Self> {
        Arc::new(Self { inner, requests: AtomicUsize::new(0), fails_from, works: false, error: denied })
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn next(&self) -> Fate {
        match self.requests.fetch_add(1, Ordering::SeqCst) {
            at if at < self.fails_from => Fate::Works,
            at if at == self.fails_from && self.works => Fate::AnswerIsLost,
            _ => Fate::IsLost,
        }
    }

    async fn ask<T>(&self, request: impl Future<Output = Result<T>>) -> Result<T> {
        match self.next() {
            Fate::Works => request.await,
            Fate::IsLost => Err((self.error)()),
            Fate::AnswerIsLost => request.await.and(Err((self.error)())),
        }
    }

    fn stream<T: Send + 'static>(&self, items: BoxStream<'static, Result<T>>) -> BoxStream<'static, Result<T>> {
        let error = self.error;
        if self.next() == Fate::Works { items } else { stream::once(async move { Err(error()) }).boxed() }
    }
}

fn lost() -> Error {
    Error::Generic { store: "faulty", source: "no answer".into() }
}

/// As the bucket says it.
fn denied() -> Error {
    let (key, reason) = ("tables/film/x".to_owned(), "AccessDenied: no rights".to_owned());
    let source = StoreError::Refused { operation: "PutObject", key, reason };
    Error::Generic { store: "waybill", source: Box::new(source) }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.ask(self.inner.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.ask(self.inner.put_multipart_opts(location, options)).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.ask(self.inner.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.ask(self.inner.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.stream(self.inner.delete_stream(locations))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.stream(self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.stream(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.ask(self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.ask(self.inner.copy_opts(from, to, options)).await
    }
}

/// Fails at every request in turn from one on, of a load into a table of `before` loads.
async fn dies_at_any_request(before: usize, works: bool, from: usize) {
    let rows = || [film("0", 1), film("1", 2), film("new", 3)];
    let mut died = 0;
    for fails_from in from.. {
        let world = World::new().await;
        for n in 0..before {
            world.load(&films(), &n.to_string(), [film(&n.to_string(), 0)]).await.unwrap();
        }
        let faulty = Faulty::new(Arc::clone(world.tables.objects()), fails_from, works);
        let tables = world.through(faulty.clone());
        let loaded = tables.write(&films(), "load", staged(&films(), &world.scratch(), rows())).await;
        if loaded.is_err() {
            died += 1;
        }
        // Nothing of the load, or all of it.
        let seen = world.read("film").await;
        let was: Vec<_> = (0..before).map(|n| format!("{n},0")).collect();
        let mut is = vec!["0,1", "1,2"];
        let others: Vec<_> = (2..before).map(|n| format!("{n},0")).collect();
        is.extend(others.iter().map(String::as_str));
        is.push("new,3");
        is.sort_unstable();
        assert!(seen == was || seen == is, "after request {fails_from}: {seen:?}");

        let again = world.load(&films(), "load", rows()).await.unwrap();
        assert_eq!(world.read("film").await, is, "after request {fails_from}");
        let replaced = before.min(2) as u64;
        assert_eq!((again.inserted, again.replaced), (3 - replaced, replaced), "after request {fails_from}");
        let commits = world.commits("film").await;
        assert_eq!(commits, before + 2, "after request {fails_from}, a commit was made twice");
        if faulty.requests() <= fails_from {
            assert!(loaded.is_ok());
            break;
        }
    }
    assert!(died > 5, "{died} requests of a load failed it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_load_of_a_table_dies_at_any_request() {
    dies_at_any_request(0, false, 0).await;
    dies_at_any_request(0, true, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_load_dies_at_any_request() {
    dies_at_any_request(3, false, 0).await;
    dies_at_any_request(3, true, 0).await;
}

/// The tenth commit writes a checkpoint behind itself. What comes before is as in other loads.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_makes_a_checkpoint_dies_at_any_request() {
    dies_at_any_request(8, true, 25).await;
}

/// Trying again would read and sort the file again, for the same end. Of some requests libraries
/// keep no more than the error's text, such as of those for a data file's footer: they are tried again, and say what was
/// refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_the_store_refuses_is_not_tried_again() {
    let (mut refused, mut told) = (0, Vec::new());
    for fails_from in 0.. {
        let world = World::new().await;
        world.load(&films(), "1", [film("0", 1)]).await.unwrap();
        let denying = Faulty::denying(Arc::clone(world.tables.objects()), fails_from);
        let rows = staged(&films(), &world.scratch(), [film("0", 2), film("1", 2)]);
        match world.through(denying.clone()).write(&films(), "2", rows).await {
            Ok(_) if denying.requests() <= fails_from => break,
            // What follows the commit may fail.
            Ok(_) => {}
            Err(LoadError::Refused(Refused::Store(reason))) => {
                assert!(reason.contains("AccessDenied: no rights"), "request {fails_from}: {reason}");
                refused += 1;
            }
            Err(LoadError::Transient(error)) => {
                assert!(error.to_string().contains("AccessDenied: no rights"), "request {fails_from}: {error:?}");
                told.push(error);
            }
            Err(error) => panic!("request {fails_from}: {error:?}"),
        }
    }
    assert!(told.len() < refused, "{refused} requests refused the load; tried again after {told:?}");
    assert!(refused > 5, "{refused} requests of a load refused it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_of_a_store_that_is_away_is_an_error() {
    let world = World::new().await;
    world.load(&films(), "1", [film("Alien", 117)]).await.unwrap();
    let faulty = Faulty::new(Arc::clone(world.tables.objects()), 0, false);
    assert!(world.through(faulty.clone()).provider("film").await.is_err());
    assert!(read(&world.tables, "film").await.len() == 1 && faulty.requests() > 0);
}
