//! Tests beyond the contract suite: the folder on disk, and requests that our own client never sends.

use std::{collections::BTreeSet, path::Path};

use aws_sdk_s3::{
    Client,
    error::ProvideErrorMetadata,
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;
use s3s::dto::StreamingBlob;

use crate::{Created, embedded::*};

fn client(embedded: &Embedded) -> Client {
    embedded.tree.make_bucket("bucket").unwrap();
    Client::from_conf(embedded.in_process().build())
}

fn drafts(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("drafts")).unwrap().count()
}

#[tokio::test]
async fn a_folder_is_held_by_one_and_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(folder.path()).await.unwrap();
    let error = Embedded::open(folder.path()).await.unwrap_err().to_string();
    assert_eq!(error, format!("{}: another process has this store open", folder.path().display()));
    let store = embedded.store("bucket").unwrap();
    store.put("a/b", "text/plain", Bytes::from_static(b"x")).await.unwrap();
    std::fs::write(folder.path().join("drafts/waybill-left"), "half an object").unwrap();
    std::fs::write(folder.path().join("drafts/another's"), "kept").unwrap();
    drop(embedded);
    drop(store);
    let embedded = Embedded::open(folder.path()).await.unwrap();
    assert_eq!(drafts(folder.path()), 1);
    let store = embedded.store("bucket").unwrap();
    assert_eq!(store.get("a/b", 1).await.unwrap().unwrap(), "x");
    assert_eq!(store.create("a/b", "text/plain", Bytes::new()).await.unwrap(), Created::Exists);
}

#[tokio::test]
async fn a_folder_of_another_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lock"), "waybill embedded store, format 2\n").unwrap();
    let error = Embedded::open(folder.path()).await.unwrap_err().to_string();
    assert!(error.contains("not a store that this version can read"), "{error}");
    let file = folder.path().join("lock");
    assert!(Embedded::open(&file).await.is_err());
}

#[tokio::test]
async fn a_bucket_s_name_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(folder.path()).await.unwrap();
    for name in ["", "..", "a/b", "UPPER", "ab"] {
        assert!(matches!(embedded.store(name), Err(StoreError::Refused { .. })), "{name}");
    }
}

#[tokio::test]
async fn a_body_that_ends_early_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(folder.path()).await.unwrap();
    let disk = disk::Disk::new(Arc::clone(&embedded.tree));
    let bytes = Bytes::from(vec![7; 5 * 1024 * 1024]);
    let whole = [Ok(bytes.clone()), Ok(bytes.clone())];
    let broken = [Ok(bytes), Err(io::Error::other("the connection broke"))];
    for chunks in [whole, broken] {
        let body = StreamingBlob::wrap(futures::stream::iter(chunks));
        let received = disk.receive(Some(body), Some(10 * 1024 * 1024 + 1), |_, _| Ok(())).await;
        assert_eq!(*received.unwrap_err().code(), s3s::S3ErrorCode::IncompleteBody);
        assert_eq!(drafts(folder.path()), 0);
    }
}

#[tokio::test]
async fn parts_are_checked_before_they_become_an_object() {
    const PART: usize = 5 * 1024 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(folder.path()).await.unwrap();
    let client = client(&embedded);
    let begun = client.create_multipart_upload().bucket("bucket").key("k").metadata("a", "b").send().await.unwrap();
    let id = begun.upload_id().unwrap();
    let send = async |number: i32, len: usize| {
        let body = ByteStream::from(vec![u8::try_from(number).unwrap(); len]);
        let call = client.upload_part().bucket("bucket").key("k").upload_id(id).part_number(number).body(body);
        CompletedPart::builder().part_number(number).set_e_tag(call.send().await.unwrap().e_tag).build()
    };
    let (first, second, third) = (send(1, PART).await, send(2, 10).await, send(3, 20).await);
    let complete = async |parts: &[&CompletedPart]| {
        let upload = parts.iter().fold(CompletedMultipartUpload::builder(), |all, part| all.parts((*part).clone()));
        let call = client.complete_multipart_upload().bucket("bucket").key("k").upload_id(id);
        let answer = call.multipart_upload(upload.build()).if_none_match("*").send().await;
        answer.map(|done| done.e_tag.unwrap()).map_err(|error| error.code().unwrap().to_owned())
    };
    let other = CompletedPart::builder().part_number(2).e_tag("0123").build();
    let missing = CompletedPart::builder().part_number(9).build();
    assert_eq!(complete(&[&second, &first]).await.unwrap_err(), "InvalidPartOrder");
    assert_eq!(complete(&[&first, &other]).await.unwrap_err(), "InvalidPart");
    assert_eq!(complete(&[&first, &missing]).await.unwrap_err(), "InvalidPart");
    assert_eq!(complete(&[&second, &third]).await.unwrap_err(), "EntityTooSmall");
    let listed = client.list_parts().bucket("bucket").key("k").upload_id(id).max_parts(2).send().await.unwrap();
    assert_eq!(listed.parts().iter().map(|part| part.size.unwrap()).collect::<Vec<_>>(), [PART as i64, 10]);
    assert_eq!((listed.is_truncated, listed.next_part_number_marker.as_deref()), (Some(true), Some("2")));
    // Sent again, a part takes the place of the first one; what is not asked for is dropped.
    let second = send(2, 30).await;
    let etag = complete(&[&first, &second]).await.unwrap();
    assert!(etag.ends_with("-2\""), "{etag}");
    let head = client.head_object().bucket("bucket").key("k").send().await.unwrap();
    assert_eq!((head.content_length, head.e_tag.as_deref()), (Some(PART as i64 + 30), Some(etag.as_str())));
    assert_eq!(head.metadata.unwrap()["a"], "b");
    assert_eq!(complete(&[&first, &second]).await.unwrap_err(), "NoSuchUpload");
    assert_eq!(drafts(folder.path()), 0);

    let again = client.create_multipart_upload().bucket("bucket").key("k").send().await.unwrap();
    let call = client.upload_part().bucket("bucket").key("k").upload_id(again.upload_id().unwrap()).part_number(1);
    call.body(ByteStream::from_static(b"x")).send().await.unwrap();
    let upload = CompletedMultipartUpload::builder().parts(CompletedPart::builder().part_number(1).build()).build();
    let call = client.complete_multipart_upload().bucket("bucket").key("k").upload_id(again.upload_id().unwrap());
    let refused = call.multipart_upload(upload).if_none_match("*").send().await.unwrap_err();
    assert_eq!(refused.code(), Some("PreconditionFailed"), "create-only holds for parts, too");
    assert_eq!(drafts(folder.path()), 0, "a part is removed once its bytes are in the object's file");
}

#[tokio::test]
async fn what_would_be_ignored_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(folder.path()).await.unwrap();
    let client = client(&embedded);
    let put = || client.put_object().bucket("bucket").key("k").body(ByteStream::from_static(b"x"));
    let code = |error: &dyn ProvideErrorMetadata| error.code().map(str::to_owned);
    for call in [put().if_match("*"), put().if_none_match("\"x\""), put().content_md5("x"), put().checksum_sha256("x")]
    {
        assert_eq!(code(&call.send().await.unwrap_err()).as_deref(), Some("NotImplemented"));
    }
    let listing = client.list_objects_v2().bucket("bucket").delimiter("-").send().await.unwrap_err();
    assert_eq!(code(&listing).as_deref(), Some("NotImplemented"));
    assert_eq!(client.list_objects_v2().bucket("bucket").send().await.unwrap().key_count, Some(0));
}

#[tokio::test]
async fn conditions_on_reads_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(folder.path()).await.unwrap();
    let client = client(&embedded);
    let etag = client.put_object().bucket("bucket").key("k").send().await.unwrap().e_tag.unwrap();
    let get = || client.get_object().bucket("bucket").key("k");
    let status = |error: &aws_sdk_s3::error::SdkError<_, aws_sdk_s3::config::http::HttpResponse>| {
        error.raw_response().unwrap().status().as_u16()
    };
    assert!(get().if_match(&etag).send().await.is_ok());
    assert_eq!(status(&get().if_match("\"other\"").send().await.map(drop).unwrap_err()), 412);
    assert_eq!(status(&get().if_none_match(&etag).send().await.map(drop).unwrap_err()), 304);
    assert!(get().if_none_match("\"other\"").send().await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_follow_writers() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(folder.path()).await.unwrap();
    let store = embedded.store("bucket").unwrap();
    let work = |worker: usize| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut mine = BTreeSet::new();
            for round in 0..40 {
                let key = format!("w{worker}/{}/{}", round % 3, round % 7);
                if mine.contains(&key) {
                    store.delete(std::slice::from_ref(&key)).await.unwrap();
                    mine.remove(&key);
                } else {
                    store.put(&key, "text/plain", Bytes::from(round.to_string())).await.unwrap();
                    mine.insert(key);
                }
                let listed = store.list(&format!("w{worker}/"), None, 100).await.unwrap();
                assert!(listed.into_iter().map(|entry| entry.key).eq(mine.iter().cloned()));
            }
        })
    };
    futures::future::join_all((0..4).map(work)).await.into_iter().for_each(Result::unwrap);
}

#[test]
fn a_full_disk_is_said_so() {
    let error = disk::failure(io::Error::from(io::ErrorKind::StorageFull));
    assert_eq!((error.code().as_str(), error.status_code().unwrap().as_u16()), ("InsufficientStorage", 507));
}
