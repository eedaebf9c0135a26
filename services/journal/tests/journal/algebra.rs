//! However facts are cut, repeated, ordered and compacted, the view is that of one list of all of them.

use std::{
    future::Future,
    task::{Context, Waker},
};

use proptest::prelude::*;
use tokio_util::sync::CancellationToken;
use waybill_journal::{Committer, Compactor, Follower, Journal, Urgency, View};

use crate::{
    model::Model,
    view::{Fact, Totals, fact, facts, options},
};

proptest! {
    #[test]
    fn the_laws_of_a_view_hold(a in facts(50), b in facts(50), c in facts(50)) {
        let (a, b, c) = (Totals::of(&a), Totals::of(&b), Totals::of(&c));
        let merge = |left: &Totals, right: &Totals| {
            let mut merged = left.clone();
            merged.merge(right.clone());
            merged
        };
        prop_assert_eq!(&merge(&a, &a), &a);
        prop_assert_eq!(merge(&a, &b), merge(&b, &a));
        prop_assert_eq!(merge(&merge(&a, &b), &c), merge(&a, &merge(&b, &c)));
        prop_assert_eq!(&merge(&a, &Totals::default()), &a);
        for id in c.amounts.keys() {
            let mut applied = a.clone();
            applied.apply(&fact(*id));
            prop_assert_eq!(applied, merge(&a, &Totals::of([&fact(*id)])));
        }
        prop_assert_eq!(Totals::from_snapshot(a.to_snapshot()).unwrap(), a);
    }

    #[test]
    fn any_cut_and_any_compaction_is_the_fold_of_one_list(
        segments in proptest::collection::vec(facts(200), 1..20),
        repeated in proptest::collection::vec(0_usize..20, 0..6),
        lives in proptest::collection::vec((0_usize..3, 0_usize..60), 0..20),
        seed: u64,
    ) {
        fastrand::seed(seed);
        let mut random = fastrand::Rng::with_seed(seed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let expected = Totals::of(segments.iter().flatten());
        let written = Model::default();
        runtime.block_on(commit(&written, segments, &repeated));

        // The same objects, in a store in which compactors can be stopped after any call.
        let model = Model::stepped();
        for key in written.keys() {
            model.set(&key, written.body(&key));
        }
        let journal = Journal::<Totals>::new(model.clone(), "buses", options());
        let compactors: Vec<_> = (0..3).map(|_| Compactor::new(&journal, None)).collect();
        for (compactor, steps) in lives {
            let mut life = Box::pin(compactors[compactor].compact());
            for _ in 0..steps {
                if life.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                    break;
                }
                model.land(&mut random);
            }
        }
        model.land_all();
        let still = Model::default();
        for key in model.keys() {
            still.set(&key, model.body(&key));
        }
        runtime.block_on(async {
            let journal = Journal::<Totals>::new(still.clone(), "buses", options());
            let follower = Follower::new(&journal);
            follower.fresh().await.unwrap();
            follower.read(|view| assert_eq!(*view, expected));

            let compactor = Compactor::new(&journal, None);
            while compactor.compact().await.unwrap().is_some() {}
            let follower = Follower::new(&journal);
            follower.fresh().await.unwrap();
            follower.read(|view| assert_eq!(*view, expected));
            assert!(still.keys().len() < 12, "{:?}", still.keys());
        });
    }
}

async fn commit(model: &Model, segments: Vec<Vec<Fact>>, repeated: &[usize]) {
    let journal = Journal::<Totals>::new(model.clone(), "buses", options());
    let (committer, task) = Committer::new(&journal, None, CancellationToken::new());
    let task = tokio::spawn(task.run());
    let again = repeated.iter().filter_map(|index| segments.get(*index).cloned()).collect::<Vec<_>>();
    for group in segments.into_iter().chain(again) {
        committer.commit_group(group, Urgency::Prompt).await.unwrap();
    }
    drop(committer);
    task.await.unwrap();
}
