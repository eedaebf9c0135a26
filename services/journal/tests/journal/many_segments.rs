//! A thousand segments before anyone compacts.

use tokio_util::sync::CancellationToken;
use waybill_journal::{Committer, Compactor, Follower, Journal, Options};

use crate::{
    model::Model,
    view::{Totals, fact},
};

const WRITERS: u64 = 1_000;

#[tokio::test(start_paused = true)]
async fn a_thousand_writers_are_compacted_to_a_few_objects() {
    let model = Model::default();
    let journal = Journal::<Totals>::new(model.clone(), "buses", Options { page: 100, ..Options::default() });
    for id in 0..WRITERS {
        let (committer, task) = Committer::new(&journal, None, CancellationToken::new());
        tokio::spawn(task.run());
        committer.commit(fact(id)).await.unwrap();
    }
    assert_eq!(model.keys().len(), 1_000);
    let expected = Totals::of(&(0..WRITERS).map(fact).collect::<Vec<_>>());
    let follower = Follower::new(&journal);
    follower.fresh().await.unwrap();
    follower.read(|view| assert_eq!(*view, expected));
    assert!(model.lists() <= 11);

    let compactor = Compactor::new(&journal, None);
    let done = compactor.compact().await.unwrap().unwrap();
    assert_eq!(done.inputs, 1_000);
    assert!(compactor.compact().await.unwrap().is_none());
    assert_eq!(model.keys(), [done.snapshot]);
    let follower = Follower::new(&journal);
    follower.fresh().await.unwrap();
    follower.read(|view| assert_eq!(*view, expected));
}

/// With a pass after every 32 segments, the number of objects and what is rewritten of a fact grow with the logarithm.
#[tokio::test(start_paused = true)]
async fn a_long_life_leaves_few_objects_and_rewrites_little() {
    let model = Model::default();
    let options = Options { tier_bytes: 1 << 10, compact_segments: 8, ..Options::default() };
    let journal = Journal::<Totals>::new(model.clone(), "buses", options);
    let compactor = Compactor::new(&journal, None);
    let (committer, task) = Committer::new(&journal, None, CancellationToken::new());
    tokio::spawn(task.run());
    let (mut most, mut rewritten) = (0, 0);
    for id in 0..5_000 {
        committer.commit(fact(id)).await.unwrap();
        if id % 8 == 7 {
            while let Some(done) = compactor.compact().await.unwrap() {
                rewritten += done.bytes;
            }
        }
        most = most.max(model.keys().len());
    }
    let total: usize = model.keys().iter().filter_map(|key| Some(model.body(key)?.len())).sum();
    assert!(most < 40, "{most} objects at once");
    assert!(rewritten < 10 * total, "{rewritten} bytes were written for {total}");
}
