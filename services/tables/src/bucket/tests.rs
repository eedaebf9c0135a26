//! What Delta Lake and DataFusion ask of a store, on the embedded one.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStoreExt, PutMode, buffered::BufWriter};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use waybill_store::Embedded;

use super::*;

async fn bucket() -> (TempDir, Store, Bucket) {
    let folder = TempDir::new().unwrap();
    let store = Embedded::open(folder.path()).await.unwrap().store("tests").unwrap();
    (folder, store.clone(), Bucket::new(store))
}

async fn names(entries: BoxStream<'static, Result<ObjectMeta>>) -> Vec<String> {
    entries.map_ok(|object| object.location.to_string()).try_collect().await.unwrap()
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

#[tokio::test]
async fn objects_lie_below_tables_and_are_read_whole_in_ranges_and_by_head() {
    let (_folder, store, bucket) = bucket().await;
    let (a, none) = (path("movie/a.parquet"), path("movie/b"));
    bucket.put(&a, "0123456789".into()).await.unwrap();
    assert_eq!(store.get("tables/movie/a.parquet", 10).await.unwrap().unwrap(), "0123456789");

    let head = bucket.head(&a).await.unwrap();
    let whole = bucket.get(&a).await.unwrap();
    assert_eq!((head.size, &head.location, &head.e_tag), (10, &a, &whole.meta.e_tag));
    assert_eq!((whole.meta.size, whole.range.clone()), (10, 0..10));
    assert_eq!(whole.bytes().await.unwrap(), "0123456789");
    assert_eq!(bucket.get_range(&a, 2..5).await.unwrap(), "234");
    assert_eq!(bucket.get_ranges(&a, &[0..1, 8..10]).await.unwrap(), ["0", "89"]);
    for (range, part) in [(GetRange::Suffix(3), "789"), (GetRange::Offset(8), "89"), (GetRange::Bounded(7..99), "789")]
    {
        let read = bucket.get_opts(&a, GetOptions::new().with_range(Some(range))).await.unwrap();
        assert_eq!((read.meta.size, read.bytes().await.unwrap()), (10, Bytes::from(part)));
    }
    for missing in [bucket.get(&none).await.err(), bucket.head(&none).await.err()] {
        assert!(matches!(missing, Some(Error::NotFound { .. })), "{missing:?}");
    }
    assert!(bucket.get_range(&a, 10..11).await.is_err());
}

#[tokio::test]
async fn an_object_is_created_only_once_and_overwritten_only_if_asked() {
    let (_folder, _store, bucket) = bucket().await;
    let commit = path("movie/_delta_log/00000000000000000000.json");
    let create = || PutOptions::from(PutMode::Create);
    bucket.put_opts(&commit, "first".into(), create()).await.unwrap();
    let again = bucket.put_opts(&commit, "other".into(), create()).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    // An answer that was lost: the same bytes are the same commit.
    bucket.put_opts(&commit, "first".into(), create()).await.unwrap();
    bucket.put(&commit, "third".into()).await.unwrap();
    let third = bucket.get_range(&commit, 0..9).await.unwrap();
    assert_eq!(third, "third");
    assert!(bucket.copy(&commit, &path("movie/c")).await.is_err());
}

#[tokio::test]
async fn a_commit_that_was_read_is_read_again_only_if_a_listing_shows_another() {
    let (_folder, store, bucket) = bucket().await;
    let log = path("movie/_delta_log");
    let commit = log.clone().join("00000000000000000000.json");
    let read = async || bucket.get(&commit).await.unwrap().bytes().await.unwrap();
    bucket.put(&commit, "first".into()).await.unwrap();
    assert_eq!(read().await, "first");
    // Another program deleted the table, and made it anew.
    store.put(&key(&commit), "application/json", "other".into()).await.unwrap();
    assert_eq!(read().await, "first");
    assert_eq!(names(bucket.list(Some(&log))).await.len(), 1);
    assert_eq!(read().await, "other");
}

#[tokio::test]
async fn listings_end_at_whole_segments_and_begin_after_an_offset() {
    let (_folder, store, bucket) = bucket().await;
    store.put("data/x", "text/plain", "outside".into()).await.unwrap();
    let all = ["a/1", "a/2", "a/b/3", "ab/4"];
    for name in all {
        bucket.put(&path(name), name.into()).await.unwrap();
    }
    assert_eq!(names(bucket.list(None)).await, all);
    let a = path("a");
    assert_eq!(names(bucket.list(Some(&a))).await, all[..3]);
    assert_eq!(names(bucket.list_with_offset(Some(&a), &path("a/1"))).await, all[1..3]);
    let level = bucket.list_with_delimiter(Some(&a)).await.unwrap();
    assert_eq!(level.common_prefixes, [path("a/b")]);
    assert_eq!(level.objects.iter().map(|object| object.location.as_ref()).collect::<Vec<_>>(), ["a/1", "a/2"]);

    let deleted = bucket.delete_stream(stream::iter([Ok(path("a/1")), Ok(path("a/none"))]).boxed());
    assert_eq!(deleted.try_collect::<Vec<_>>().await.unwrap().len(), 2);
    assert_eq!(names(bucket.list(None)).await, all[1..]);
}

#[tokio::test]
async fn a_large_object_goes_up_in_parts_and_one_that_is_given_up_leaves_nothing() {
    let (_folder, _store, bucket) = bucket().await;
    let bytes: Vec<u8> = (0..40_000_000_u32).map(|i| (i % 251) as u8).collect();
    let large = path("movie/large");
    let mut writer = BufWriter::new(Arc::new(bucket.clone()), large.clone());
    writer.write_all(&bytes).await.unwrap();
    writer.shutdown().await.unwrap();
    assert_eq!(bucket.get(&large).await.unwrap().bytes().await.unwrap(), bytes);

    let given_up = path("movie/given-up");
    let mut writer = BufWriter::new(Arc::new(bucket.clone()), given_up.clone());
    writer.write_all(&bytes).await.unwrap();
    writer.abort().await.unwrap();
    assert!(bucket.head(&given_up).await.is_err());
}
