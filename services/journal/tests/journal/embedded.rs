//! On a real store: the embedded one.

use std::time::Duration;

use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use waybill_journal::{Committer, Compactor, Follower, Journal, Options, Urgency};
use waybill_store::Embedded;

use crate::view::{Totals, fact};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_on_the_embedded_store() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(folder.path()).await.unwrap();
    let store = embedded.store("waybill").unwrap();
    let options = Options { compact_segments: 4, relaxed_linger: Duration::from_millis(5), ..Options::default() };
    let journal = Journal::<Totals>::new(store.clone(), "buses", options);
    // Another source's journal, whose name begins alike.
    let other = Journal::<Totals>::new(store.clone(), "buses-2", Options::default());
    store.put("journal/buses/segments/garbage", "text/plain", "garbage".into()).await.unwrap();

    let followers = [Follower::new(&journal), Follower::new(&journal)];
    let stop = CancellationToken::new();
    let compacting: Vec<_> = (0..2)
        .map(|index| {
            let (compactor, stop) = (Compactor::new(&journal, Some(&followers[index])), stop.clone());
            tokio::spawn(async move {
                while !stop.is_cancelled() {
                    compactor.compact().await.unwrap();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
        })
        .collect();
    let mut writing = Vec::new();
    for (process, follower) in (0_u64..).zip(&followers) {
        let (committer, task) = Committer::new(&journal, Some(follower), CancellationToken::new());
        tokio::spawn(task.run());
        for writer in 0..4 {
            let (committer, reader) = (committer.clone(), followers[usize::from(process == 0)].clone());
            writing.push(tokio::spawn(async move {
                for number in 0..20 {
                    let id = process * 10_000 + writer * 1_000 + number;
                    committer.commit_group(vec![fact(id)], Urgency::Relaxed).await.unwrap();
                    reader.fresh().await.unwrap();
                    reader.read(|view| assert!(view.has(id), "{id}"));
                }
            }));
        }
    }
    for done in join_all(writing).await {
        done.unwrap();
    }
    stop.cancel();
    for done in join_all(compacting).await {
        done.unwrap();
    }
    let follower = Follower::new(&journal);
    follower.fresh().await.unwrap();
    follower.read(|view| assert_eq!(view.amounts.len(), 160));
    assert_eq!(follower.unreadable().len(), 1);
    let objects = store.list("journal/buses/", None, 1_000).await.unwrap();
    assert!(objects.len() < 25, "{} objects are left", objects.len());
    let follower = Follower::new(&other);
    follower.fresh().await.unwrap();
    follower.read(|view| assert_eq!(*view, Totals::default()));
}
