//! A view that has become much smaller than its journal is written anew.

use tokio_util::sync::CancellationToken;
use waybill_journal::{Committer, Compactor, Follower, Journal, Options, Urgency};

use crate::{
    model::Model,
    view::{Fact, Totals, fact},
};

/// What is said again and again is once in the view.
async fn say(journal: &Journal<Totals>, facts: &[Fact], times: usize) {
    let (committer, task) = Committer::new(journal, None, CancellationToken::new());
    tokio::spawn(task.run());
    for _ in 0..times {
        committer.commit_group(facts.to_vec(), Urgency::Prompt).await.unwrap();
    }
}

async fn follower(journal: &Journal<Totals>) -> Follower<Totals> {
    let follower = Follower::new(journal);
    follower.fresh().await.unwrap();
    follower
}

#[tokio::test]
async fn a_view_that_is_much_smaller_than_its_objects_takes_their_place() {
    let model = Model::default();
    let journal = Journal::<Totals>::new(model.clone(), "buses", Options::default());
    model.set("journal/buses/segments/garbage", Some("garbage".into()));
    let facts: Vec<_> = (0..100).map(fact).collect();
    say(&journal, &facts, 20).await;
    let behind = follower(&journal).await;
    let ahead = follower(&journal).await;
    // It is in no view yet, and stays.
    let late = [fact(1_000)];
    say(&journal, &late, 1).await;

    assert!(Compactor::new(&journal, Some(&ahead)).collapse().await.unwrap());
    assert_eq!(model.keys().len(), 3, "the garbage, what was late, and a snapshot: {:?}", model.keys());
    let all = Totals::of(facts.iter().chain(&late));
    for follower in [&behind, &ahead, &follower(&journal).await] {
        follower.fresh().await.unwrap();
        follower.read(|view| assert_eq!(*view, all));
        assert_eq!(follower.unreadable().len(), 1);
    }
    for again in [Some(&ahead), Some(&behind), None] {
        assert!(!Compactor::new(&journal, again).collapse().await.unwrap());
    }
}

#[tokio::test]
async fn a_view_that_is_hardly_smaller_stays_as_it_is() {
    let model = Model::default();
    let journal = Journal::<Totals>::new(model.clone(), "buses", Options::default());
    say(&journal, &(0..100).map(fact).collect::<Vec<_>>(), 2).await;
    let follower = follower(&journal).await;
    let before = model.keys();
    assert!(!Compactor::new(&journal, Some(&follower)).collapse().await.unwrap());
    assert_eq!(model.keys(), before);
}
