//! What lies in the journal and is none of it, or is broken: each is told apart, left alone, and nothing else suffers.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use tokio_util::sync::CancellationToken;
use waybill_journal::{Committer, Compactor, Follower, Journal, Options, Reason, Unreadable, Urgency};

use crate::{
    model::Model,
    view::{Facts, Totals, fact, options},
};

/// Sorts before what is written now.
const SEGMENT: &str = "journal/buses/segments/01000000-0000-7000-8000-000000000001";
const SNAPSHOT: &str = "journal/buses/snapshots/01000000-0000-7000-8000-000000000001-00";

async fn commit(journal: &Journal<Totals>, ids: std::ops::Range<u64>) {
    let (committer, task) = Committer::new(journal, None, CancellationToken::new());
    let task = tokio::spawn(task.run());
    committer.commit_group(ids.map(fact).collect(), Urgency::Prompt).await.unwrap();
    drop(committer);
    task.await.unwrap();
}

/// The bytes of a good segment.
async fn segment() -> Bytes {
    let model = Model::default();
    commit(&Journal::new(model.clone(), "buses", options()), 0..3).await;
    model.puts().remove(0).1
}

/// What is reported of `body` under `key`, once four good segments beside it were read and compacted.
async fn reported(key: &str, place: impl FnOnce(&Model)) -> Reason {
    let model = Model::default();
    place(&model);
    let before = model.body(key);
    let journal = Journal::<Totals>::new(model.clone(), "buses", options());
    for id in 10..14 {
        commit(&journal, id..id + 1).await;
    }
    let follower = Follower::new(&journal);
    let compactor = Compactor::new(&journal, None);
    follower.fresh().await.unwrap();
    while compactor.compact().await.unwrap().is_some() {}
    let later = Follower::new(&journal);
    later.fresh().await.unwrap();
    let expected = Totals::of(&(10..14).map(fact).collect::<Vec<_>>());
    for follower in [&follower, &later] {
        follower.read(|view| assert_eq!(*view, expected));
        assert_eq!(follower.unreadable().len(), 1);
        assert_eq!(follower.unreadable()[0].key, key);
    }
    assert_eq!(model.body(key), before, "it is never touched");
    assert_eq!(model.keys().len(), 2, "the good ones were compacted: {:?}", model.keys());
    let gets = model.gets();
    later.fresh().await.unwrap();
    assert_eq!(model.gets(), gets, "it is not read again and again");
    drop(follower);
    let mut errors = later.unreadable();
    drop(later);
    let error = errors.remove(0);
    assert!(error.to_string().starts_with(&format!("{key} cannot be read: ")), "{error}");
    Arc::into_inner(error).map(|Unreadable { reason, .. }| reason).expect("the last one that has it")
}

async fn reported_of(key: &str, body: impl Into<Bytes>) -> Reason {
    let body = body.into();
    reported(key, |model| model.set(key, Some(body))).await
}

#[tokio::test(start_paused = true)]
async fn bad_objects_are_told_apart() {
    let good = segment().await;
    let changed = |at: usize, to: u8| {
        let mut body = good.to_vec();
        body[at] = to;
        body
    };
    assert!(matches!(reported_of(SEGMENT, "").await, Reason::Empty));
    assert!(matches!(reported_of(SEGMENT, "<html>no such page</html>").await, Reason::ForeignContent));
    assert!(matches!(reported_of(SEGMENT, vec![0; 4_096]).await, Reason::ForeignContent));
    assert!(matches!(reported_of(SEGMENT, good.slice(..5)).await, Reason::Length { expected: 48, found: 5 }));
    assert!(matches!(reported_of(SEGMENT, good.slice(..good.len() - 1)).await, Reason::Length { .. }));
    assert!(matches!(reported_of(SEGMENT, [&good[..], b"\n"].concat()).await, Reason::Length { .. }));
    assert!(matches!(reported_of(SEGMENT, changed(good.len() - 1, 0xAA)).await, Reason::Checksum));
    assert!(matches!(reported_of(SEGMENT, changed(20, 0xAA)).await, Reason::Checksum));
    assert!(matches!(reported_of(SEGMENT, changed(8, 2)).await, Reason::NewerFormat { found: 2, known: 1 }));
    assert!(matches!(reported_of(SNAPSHOT, good.clone()).await, Reason::WrongKind));
    assert!(matches!(reported_of(SEGMENT, framed(b'S', 3, &[0xFF; 9])).await, Reason::Decode(_)));
    // A segment whose one entry is no message.
    assert!(matches!(reported_of(SEGMENT, framed(b'S', 3, &[10, 1, 0xFF])).await, Reason::Decode(_)));
    assert!(matches!(reported_of(SEGMENT, framed(b'S', 3, &[])).await, Reason::EntryCount { found: 0, .. }));
    let many = [10, 0].repeat(10_001);
    assert!(matches!(reported_of(SEGMENT, framed(b'S', 3, &many)).await, Reason::EntryCount { found: 10_001, .. }));
    let newer = framed(b'S', 4, &[10, 0]);
    assert!(matches!(reported_of(SEGMENT, newer).await, Reason::NewerSchema { found: 4, known: 3 }));
    let wrong = Facts { last: [(1, fact(2))].into(), ..Facts::default() };
    let wrong = framed(b'M', 3, &wrong.encode_to_vec());
    assert!(matches!(reported_of(SNAPSHOT, wrong).await, Reason::View(_)));
    let foreign = "journal/buses/notes.txt";
    assert!(matches!(reported_of(foreign, good.clone()).await, Reason::ForeignName));
}

/// Header and message, as services/journal/README.md has them.
fn framed(kind: u8, schema: u16, message: &[u8]) -> Vec<u8> {
    use sha2::{Digest, Sha256};

    let mut object = b"waybill".to_vec();
    object.push(kind);
    object.extend(1_u16.to_le_bytes());
    object.extend(schema.to_le_bytes());
    object.extend(u32::try_from(message.len()).unwrap().to_le_bytes());
    let hash = Sha256::new().chain_update(&object).chain_update(message).finalize();
    object.extend(hash);
    object.extend(message);
    object
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_not_fetched() {
    let large = 200 << 20;
    let reason = reported(SEGMENT, |model| model.declare(SEGMENT, large)).await;
    assert!(matches!(reason, Reason::TooLarge { size, .. } if size == large));

    // A listing that lies: the limit holds while the object is read, too.
    let model = Model::default();
    let journal = Journal::<Totals>::new(model.clone(), "buses", Options { object_bytes: 100, ..options() });
    model.set(SEGMENT, Some(vec![1; 101].into()));
    let follower = Follower::new(&journal);
    follower.fresh().await.unwrap();
    assert_eq!(model.gets(), 0);
    assert!(matches!(follower.unreadable()[0].reason, Reason::TooLarge { size: 101, limit: 100 }));
}

#[tokio::test(start_paused = true)]
async fn what_was_repaired_is_read() {
    let model = Model::default();
    let journal = Journal::<Totals>::new(model.clone(), "buses", options());
    let good = segment().await;
    model.set(SEGMENT, Some(good.slice(..20)));
    let follower = Follower::new(&journal);
    follower.fresh().await.unwrap();
    assert_eq!(follower.unreadable().len(), 1);
    model.set(SEGMENT, Some(good));
    follower.fresh().await.unwrap();
    assert_eq!(follower.unreadable().len(), 0);
    follower.read(|view| assert!(view.has(2)));

    model.set(SNAPSHOT, Some("garbage".into()));
    follower.fresh().await.unwrap();
    assert_eq!(follower.unreadable().len(), 1);
    model.set(SNAPSHOT, None);
    follower.fresh().await.unwrap();
    assert_eq!(follower.unreadable().len(), 0, "what was removed is not reported any more");
}

/// Unreadable segments fill what a compactor looks at first, and do not stop it.
#[tokio::test(start_paused = true)]
async fn compaction_goes_on_behind_unreadable_objects() {
    let model = Model::default();
    let journal = Journal::<Totals>::new(model.clone(), "buses", options());
    for index in 0..12 {
        model.set(&format!("journal/buses/segments/01000000-0000-7000-8000-0000000000{index:02}"), Some("?".into()));
    }
    for id in 0..4 {
        commit(&journal, id..id + 1).await;
    }
    let compactor = Compactor::new(&journal, None);
    for _ in 0..8 {
        compactor.compact().await.unwrap();
    }
    let good = model.keys().len() - 12;
    assert!(good <= 2, "a snapshot, and perhaps the last segment: {:?}", model.keys());
}
