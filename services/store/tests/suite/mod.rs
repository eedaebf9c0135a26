//! What every store behind `Store` must do, whichever it is. A store that cannot is named in the README.
//!
//! Each function is one promise; `contract!` makes a test of each for one kind of store.

use std::{
    collections::BTreeSet,
    io::Write,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_sdk_s3::Client;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use waybill_store::{Created, Embedded, Entry, Store, StoreError, Upload, UploadBody};

/// A store with an empty bucket of its own.
pub(crate) struct Subject {
    pub(crate) writer: Store,
    /// The same bucket, perhaps by another way.
    pub(crate) reader: Store,
    /// The same, without our client before it.
    pub(crate) client: Client,
    pub(crate) bucket: String,
    /// How many writers may race for a key.
    pub(crate) writers: usize,
    /// Kept until the test is over.
    pub(crate) embedded: Option<(Embedded, tempfile::TempDir)>,
}

/// Makes a test of every promise, for the subject that `subject()` in the same module gives.
macro_rules! contract {
    () => {
        contract! {
            a_created_object_is_never_touched_again
            one_of_many_creators_wins
            what_is_put_is_read_and_what_is_not_there_is_none
            any_name_is_a_key_and_comes_back
            listings_are_in_key_order_over_pages
            folders_are_those_with_something_in_them
            a_large_file_arrives_whole_with_its_metadata
            a_dropped_upload_leaves_no_parts
            a_stream_arrives_whole_or_not_at_all
            ranges_are_ranges
            metadata_that_is_too_big_is_refused
            deleting_twice_is_deleting_once
            readers_see_one_version_or_the_other
            a_bucket_that_is_not_there_is_said_so
        }
    };
    ($($promise:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let subject = subject().await;
                crate::suite::$promise(&subject).await;
                subject.clean().await;
            }
        )+
    };
}
pub(crate) use contract;

impl Subject {
    /// Removes the bucket where it outlives the test.
    pub(crate) async fn clean(&self) {
        if self.embedded.is_some() {
            return;
        }
        let entries = self.writer.list("", None, usize::MAX).await.unwrap();
        self.writer.delete(&entries.into_iter().map(|entry| entry.key).collect::<Vec<_>>()).await.unwrap();
        self.client.delete_bucket().bucket(&self.bucket).send().await.unwrap();
    }
}

const JSON: &str = "application/json";

fn random(len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    fastrand::fill(&mut bytes);
    bytes.into()
}

async fn keys(store: &Store, prefix: &str) -> Vec<String> {
    store.list(prefix, None, 10_000).await.unwrap().into_iter().map(|entry| entry.key).collect()
}

pub(crate) async fn a_created_object_is_never_touched_again(subject: &Subject) {
    let Subject { writer, reader, .. } = subject;
    let first = Bytes::from_static(b"{\"by\":1}");
    assert_eq!(writer.create("jobs/a.json", JSON, first.clone()).await.unwrap(), Created::New);
    assert_eq!(writer.create("jobs/a.json", JSON, Bytes::from_static(b"{\"by\":2}")).await.unwrap(), Created::Exists);
    assert_eq!(writer.create("jobs/a.json", JSON, random(5_000)).await.unwrap(), Created::Exists);
    assert_eq!(reader.get("jobs/a.json", 100).await.unwrap(), Some(first.clone()));
    // An answer that was lost and a retry look like this.
    assert_eq!(writer.create("jobs/a.json", JSON, first).await.unwrap(), Created::New);
    assert_eq!(keys(reader, "").await, ["jobs/a.json"], "the probe is gone");
}

pub(crate) async fn one_of_many_creators_wins(subject: &Subject) {
    let Subject { writer, reader, writers, .. } = subject;
    let exact = writer.refuses_overwrites().await.unwrap();
    for round in 0..4 {
        let key = format!("race/{round}");
        let create = |by: usize| {
            let (writer, key) = (writer.clone(), key.clone());
            tokio::spawn(async move { (by, writer.create(&key, JSON, Bytes::from(by.to_string())).await.unwrap()) })
        };
        let all = futures::future::join_all((0..*writers).map(create)).await;
        let won = all.into_iter().map(Result::unwrap).filter(|(_, created)| *created == Created::New);
        let won: Vec<usize> = won.map(|(by, _)| by).collect();
        let kept = reader.get(&key, 100).await.unwrap().unwrap();
        let kept: usize = std::str::from_utf8(&kept).unwrap().parse().unwrap();
        if exact {
            assert_eq!(won, [kept]);
        } else {
            assert!(won.contains(&kept), "{kept} of {won:?}");
        }
    }
}

pub(crate) async fn what_is_put_is_read_and_what_is_not_there_is_none(subject: &Subject) {
    let Subject { writer, reader, .. } = subject;
    assert_eq!(reader.get("a/b", 10).await.unwrap(), None);
    assert_eq!(reader.head("a/b").await.unwrap(), None);
    for body in [random(1_000), random(300_000), Bytes::new()] {
        writer.put("a/b", JSON, body.clone()).await.unwrap();
        assert_eq!(reader.get("a/b", body.len()).await.unwrap(), Some(body.clone()));
        let head = reader.head("a/b").await.unwrap().unwrap();
        assert_eq!(head.size, body.len() as u64);
        assert!(head.metadata.is_empty());
        let entry = reader.list("a/", None, 10).await.unwrap().pop().unwrap();
        assert_eq!((entry.key.as_str(), entry.size, entry.etag), ("a/b", head.size, head.etag));
        if let Some(limit) = body.len().checked_sub(1) {
            assert!(matches!(reader.get("a/b", limit).await, Err(StoreError::TooLarge { .. })));
        }
    }
}

pub(crate) async fn any_name_is_a_key_and_comes_back(subject: &Subject) {
    let Subject { writer, reader, .. } = subject;
    let names = [
        "plain",
        "with space",
        "with  two spaces and + and %20 and %",
        "\"quoted\" 'too' & <so> \\on",
        "emoji 🚌🚏",
        "新加坡",
        "São Tomé and Príncipe",
        "e\u{301} and é",
        "a@b",
        &"x".repeat(300),
        &"🚌".repeat(240),
    ];
    // moto's router knows no path with a line break.
    let control = subject.embedded.is_some().then_some("tab\tand\nline\u{1}");
    let mut expected = BTreeSet::new();
    for (at, name) in names.iter().chain(&control).enumerate() {
        let key = format!("data/{name}");
        let metadata = vec![("City".to_owned(), (*name).to_owned()), ("at".to_owned(), at.to_string())];
        let long = name.len() > 400;
        let metadata = if long { metadata[1..].to_vec() } else { metadata };
        let body = UploadBody::Bytes(Bytes::from(key.clone()));
        writer.upload(&key, Upload { content_type: JSON, metadata, body }).await.unwrap();
        assert_eq!(reader.get(&key, 2_000).await.unwrap(), Some(Bytes::from(key.clone())), "{name}");
        let head = reader.head(&key).await.unwrap().unwrap();
        if !long {
            assert_eq!(head.metadata["city"], *name);
        }
        assert_eq!(head.metadata["at"], at.to_string());
        expected.insert(key);
    }
    assert_eq!(keys(reader, "data/").await, expected.iter().cloned().collect::<Vec<_>>());
    for key in &expected {
        assert_eq!(keys(reader, key).await[0], *key);
    }
    // Metadata in any script, 300 characters of it.
    let name = "é".repeat(300);
    let metadata = vec![("name".to_owned(), name.clone())];
    writer.upload("m", Upload { content_type: JSON, metadata, body: UploadBody::Bytes(Bytes::new()) }).await.unwrap();
    assert_eq!(reader.head("m").await.unwrap().unwrap().metadata["name"], name);
    writer.delete(&expected.into_iter().collect::<Vec<_>>()).await.unwrap();
    assert_eq!(keys(reader, "").await, ["m"]);
}

pub(crate) async fn listings_are_in_key_order_over_pages(subject: &Subject) {
    let Subject { writer, reader, .. } = subject;
    let mut all: BTreeSet<String> = (0..1_030).map(|n| format!("p/{:03}/{n}", n % 50)).collect();
    all.extend(["p/a", "p/a.json", "p/a/b", "p/a-b/c", "p/a0", "q", "o/z"].map(str::to_owned));
    let put = |key: &String| {
        let (writer, key) = (writer.clone(), key.clone());
        async move { writer.put(&key, JSON, Bytes::from_static(b"{}")).await }
    };
    stream::iter(&all).map(put).buffer_unordered(32).try_collect::<()>().await.unwrap();
    let under_p: Vec<String> = all.iter().filter(|key| key.starts_with("p/")).cloned().collect();
    assert_eq!(keys(reader, "p/").await, under_p);
    assert_eq!(keys(reader, "").await, all.iter().cloned().collect::<Vec<_>>());
    assert_eq!(keys(reader, "p/a").await, ["p/a", "p/a-b/c", "p/a.json", "p/a/b", "p/a0"]);
    assert_eq!(keys(reader, "nothing/").await, [""; 0]);
    // From any key on, be it there or not, and no more than asked for.
    for after in ["p/020/1020", "p/02", "p/a", "p/a/", "p/zzz", "a", "q"] {
        for limit in [0, 1, 7, 1_000] {
            let page = reader.list("p/", Some(after), limit).await.unwrap();
            let expected = under_p.iter().filter(|key| key.as_str() > after).take(limit);
            assert!(page.iter().map(|entry| &entry.key).eq(expected), "{limit} after {after}");
        }
    }
    // What was acknowledged is listed, and what was deleted is not.
    writer.put("p/000/new", JSON, Bytes::new()).await.unwrap();
    assert!(keys(reader, "p/000/").await.contains(&"p/000/new".to_owned()));
    writer.delete(&["p/000/new".to_owned()]).await.unwrap();
    assert!(!keys(reader, "p/000/").await.contains(&"p/000/new".to_owned()));
}

pub(crate) async fn folders_are_those_with_something_in_them(subject: &Subject) {
    let Subject { writer, reader, .. } = subject;
    let keys =
        ["jobs/2024-05-01/x/y", "jobs/2024-05-02/x", "jobs/2024-05-02-b/x", "jobs/2024-05-020/x", "jobs/file", "top"];
    for key in keys {
        writer.put(key, JSON, Bytes::new()).await.unwrap();
    }
    let days = ["2024-05-01", "2024-05-02-b", "2024-05-02", "2024-05-020"];
    assert_eq!(reader.folders("jobs/", None, 10).await.unwrap(), days);
    assert_eq!(reader.folders("jobs/", Some("2024-05-01"), 2).await.unwrap(), days[1..3]);
    assert_eq!(reader.folders("jobs/", Some("2024-05-02"), 10).await.unwrap(), days[3..]);
    assert_eq!(reader.folders("jobs/", Some("2024-05-01a"), 10).await.unwrap(), days[1..]);
    assert_eq!(reader.folders("", None, 10).await.unwrap(), ["jobs"]);
    assert_eq!(reader.folders("none/", None, 10).await.unwrap(), [""; 0]);
    assert_eq!(reader.folders("jobs/", None, 0).await.unwrap(), [""; 0]);
    writer.delete(&["jobs/2024-05-01/x/y".to_owned()]).await.unwrap();
    assert_eq!(reader.folders("jobs/", None, 10).await.unwrap(), days[1..], "an empty folder is none");
}

/// A file that has no name any more, of random bytes.
fn unlinked(len: usize) -> (Arc<std::fs::File>, Bytes) {
    let bytes = random(len);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    (Arc::new(file), bytes)
}

pub(crate) async fn a_large_file_arrives_whole_with_its_metadata(subject: &Subject) {
    const MIB: usize = 1024 * 1024;
    let Subject { writer, reader, .. } = subject;
    for len in [0, 100_000, 16 * MIB, 17 * MIB + 3] {
        let (file, bytes) = unlinked(len);
        let metadata = vec![("bus-count".to_owned(), "7".to_owned()), ("city".to_owned(), "São Tomé".to_owned())];
        let upload = Upload { content_type: JSON, metadata, body: UploadBody::File { file, len: len as u64 } };
        writer.upload("data/large.json", upload).await.unwrap();
        let head = reader.head("data/large.json").await.unwrap().unwrap();
        assert_eq!((head.size, head.metadata["city"].as_str()), (len as u64, "São Tomé"));
        assert_eq!(head.metadata["bus-count"], "7");
        let parts = head.etag.trim_matches('"').rsplit_once('-').map_or(1, |(_, parts)| parts.parse().unwrap());
        assert_eq!(parts > 1, len > 16 * MIB, "{}", head.etag);
        let read = reader.get("data/large.json", len).await.unwrap().unwrap();
        assert!(read == bytes, "{len} bytes came back as others");
    }
}

pub(crate) async fn a_dropped_upload_leaves_no_parts(subject: &Subject) {
    let Subject { writer, reader, client, bucket, .. } = subject;
    let under_way = || async {
        let listed = client.list_multipart_uploads().bucket(bucket).send().await.unwrap();
        listed.uploads().len()
    };
    let (file, bytes) = unlinked(17 * 1024 * 1024);
    let body = UploadBody::File { file, len: bytes.len() as u64 };
    let store = writer.clone();
    let upload = tokio::spawn(async move {
        store.upload("dropped", Upload { content_type: JSON, metadata: Vec::new(), body }).await
    });
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while under_way().await == 0 && !upload.is_finished() {
        assert!(tokio::time::Instant::now() < deadline, "the upload never began");
    }
    upload.abort();
    if !upload.await.is_err_and(|error| error.is_cancelled()) {
        // It was faster than the abort: there is an object then.
        assert!(reader.head("dropped").await.unwrap().is_some());
    }
    while under_way().await > 0 {
        assert!(tokio::time::Instant::now() < deadline, "the upload was not aborted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A file that is shorter than it was said to be fails, and is aborted before the error is returned.
    let (file, bytes) = unlinked(17 * 1024 * 1024);
    let body = UploadBody::File { file, len: bytes.len() as u64 + 1 };
    let failed = writer.upload("short", Upload { content_type: JSON, metadata: Vec::new(), body }).await;
    assert!(failed.is_err());
    assert_eq!(under_way().await, 0);
    assert_eq!(reader.head("short").await.unwrap(), None);
}

pub(crate) async fn a_stream_arrives_whole_or_not_at_all(subject: &Subject) {
    const PART: usize = 8 * 1024 * 1024;
    let Subject { writer, reader, client, bucket, .. } = subject;
    for len in [0, 5, PART, 2 * PART + 3] {
        let bytes = random(len);
        let chunks = (0..len).step_by(100_000).map(|at| bytes.slice(at..len.min(at + 100_000)));
        let chunks = stream::iter(chunks.map(Ok::<_, StoreError>).collect::<Vec<_>>());
        assert_eq!(writer.upload_stream("stream", "text/csv", chunks).await.unwrap(), len as u64);
        let read = reader.get("stream", len).await.unwrap().unwrap();
        assert!(read == bytes, "{len} bytes came back as others");
    }
    for chunks in [1, 3] {
        let cut = StoreError::Unavailable { operation: "test", key: String::new(), reason: "cut".to_owned() };
        let chunks = stream::iter(vec![random(PART); chunks].into_iter().map(Ok).chain([Err(cut)]));
        assert!(writer.upload_stream("cut", "text/csv", chunks).await.unwrap_err().to_string().contains("cut"));
    }
    assert_eq!(reader.head("cut").await.unwrap(), None);
    let under_way = client.list_multipart_uploads().bucket(bucket).send().await.unwrap();
    assert_eq!(under_way.uploads().len(), 0);
}

pub(crate) async fn ranges_are_ranges(subject: &Subject) {
    let Subject { writer, client, bucket, .. } = subject;
    let bytes = random(700_000);
    writer.put("r", JSON, bytes.clone()).await.unwrap();
    let ranges = [
        ("bytes=0-0", 0..1),
        ("bytes=10-600000", 10..600_001),
        ("bytes=699999-", 699_999..700_000),
        ("bytes=-5", 699_995..700_000),
    ];
    for (header, range) in ranges {
        let part = client.get_object().bucket(bucket).key("r").range(header).send().await.unwrap();
        assert_eq!(part.content_range().unwrap(), format!("bytes {}-{}/700000", range.start, range.end - 1));
        let body = part.body.collect().await.unwrap().into_bytes();
        assert_eq!(body, bytes.slice(range), "{header}");
    }
    assert_eq!(writer.get_range("r", 10, 100).await.unwrap().unwrap(), bytes.slice(10..110));
    assert_eq!(writer.get_range("r", 699_999, 100).await.unwrap().unwrap(), bytes.slice(699_999..));
    assert_eq!(writer.get_range("r", 7, 0).await.unwrap().unwrap(), "");
    assert_eq!(writer.get_range("none", 7, 1).await.unwrap(), None);
    assert!(matches!(writer.get_range("r", 700_000, 1).await, Err(StoreError::Refused { .. })));
    let listed = writer.list("r", None, 1).await.unwrap().remove(0);
    for (range, part) in [(None, bytes.clone()), (Some(699_000..800_000), bytes.slice(699_000..))] {
        let read = writer.get_entry("r", range, 700_000).await.unwrap().unwrap();
        // A listing has its times to the millisecond, and a header to the second.
        let age = listed.modified.duration_since(read.0.modified).unwrap_or_default();
        assert!(age < Duration::from_secs(1) && read.0.modified > SystemTime::UNIX_EPOCH, "{read:?}");
        assert_eq!(read, (Entry { modified: read.0.modified, ..listed.clone() }, part));
    }
    assert_eq!(writer.get_entry("none", None, 1).await.unwrap(), None);
    let beyond = client.get_object().bucket(bucket).key("r").range("bytes=700000-").send().await;
    assert_eq!(beyond.unwrap_err().raw_response().unwrap().status().as_u16(), 416);
}

pub(crate) async fn metadata_that_is_too_big_is_refused(subject: &Subject) {
    let upload = |value: String| Upload {
        content_type: JSON,
        metadata: vec![("n".to_owned(), value)],
        body: UploadBody::Bytes(Bytes::new()),
    };
    subject.writer.upload("fits", upload("x".repeat(2_047))).await.unwrap();
    let error = subject.writer.upload("big", upload("é".repeat(400))).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }));
    assert_eq!(
        error.to_string(),
        "the object store refused PutObject big: its metadata has 2401 bytes, and S3 takes at most 2048"
    );
    assert_eq!(keys(&subject.reader, "").await, ["fits"]);
}

pub(crate) async fn deleting_twice_is_deleting_once(subject: &Subject) {
    let Subject { writer, reader, .. } = subject;
    for key in ["d/a", "d/b", "d/c"] {
        writer.put(key, JSON, Bytes::new()).await.unwrap();
    }
    writer.delete(&[]).await.unwrap();
    for _ in 0..2 {
        writer.delete(&["d/a".to_owned()]).await.unwrap();
        writer.delete(&["d/b".to_owned(), "d/none".to_owned()]).await.unwrap();
        assert_eq!(keys(reader, "d/").await, ["d/c"]);
    }
    assert_eq!(writer.create("d/a", JSON, Bytes::new()).await.unwrap(), Created::New, "a key can be used again");
}

pub(crate) async fn readers_see_one_version_or_the_other(subject: &Subject) {
    let Subject { writer, reader, .. } = subject;
    let version = |fill: u8| Bytes::from(vec![fill; 20_000 + usize::from(fill)]);
    writer.put("v", JSON, version(0)).await.unwrap();
    let store = writer.clone();
    let writing = tokio::spawn(async move {
        for fill in 1..20 {
            store.put("v", JSON, version(fill)).await.unwrap();
        }
    });
    let mut newest = 0;
    while !writing.is_finished() {
        let seen = reader.get("v", 100_000).await.unwrap().unwrap();
        assert_eq!(seen, version(seen[0]));
        assert!(seen[0] >= newest, "an older version came back");
        newest = seen[0];
    }
    writing.await.unwrap();
    assert_eq!(reader.get("v", 100_000).await.unwrap().unwrap(), version(19));
}

pub(crate) async fn a_bucket_that_is_not_there_is_said_so(subject: &Subject) {
    subject.reader.check().await.unwrap();
    let config = subject.client.config().to_builder();
    let store = Store::with_config(config, "waybill-no-such-bucket", Duration::from_secs(5), Some(true));
    let said = |error: StoreError| {
        assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
        error.to_string()
    };
    let error = said(store.check().await.unwrap_err());
    let expected = "bucket waybill-no-such-bucket does not exist: create it, or set WAYBILL_S3_BUCKET to one that does";
    assert_eq!(error, format!("the object store refused ListObjectsV2: {expected}"));
    assert!(said(store.get("k", 1).await.unwrap_err()).contains("NoSuchBucket"));
    assert!(said(store.list("", None, 1).await.unwrap_err()).contains("NoSuchBucket"));
}
