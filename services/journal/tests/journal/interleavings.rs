//! Writers, readers and compactors in any interleaving of their store calls. Compactors die at any step, writes fail
//! and take effect all the same, or much later.
//!
//! Every read has to hold everything that was committed before it began, and nothing that nobody wrote.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Waker},
    time::Duration,
};

use proptest::prelude::*;
use tokio_util::sync::CancellationToken;
use waybill_journal::{Committer, Compactor, Follower, Journal, ReadError};

use crate::{
    model::Model,
    view::{Totals, fact, options},
};

type Actor = Pin<Box<dyn Future<Output = ()>>>;

const WRITERS: u64 = 4;
const FACTS_OF_A_WRITER: u64 = 8;
const READS: usize = 8;
const MOST_STEPS: usize = 400_000;

#[derive(Default)]
struct History {
    written: BTreeSet<u64>,
    committed: BTreeSet<u64>,
}

fn simulate(seed: u64, compactors: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    // The schedule polls every actor itself; tokio's budget for a task would end somewhere in it.
    runtime.block_on(tokio::task::unconstrained(schedule(seed, compactors)));
}

async fn schedule(seed: u64, compactors: usize) {
    fastrand::seed(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    let model = Model::stepped();
    let journal = Journal::<Totals>::new(model.clone(), "buses", options());
    let history = Rc::new(RefCell::new(History::default()));

    // Two processes, each with a committer that feeds a follower; several writers and readers share them.
    let (mut working, mut background): (Vec<Actor>, Vec<Actor>) = (Vec::new(), Vec::new());
    let followers = [Follower::new(&journal), Follower::new(&journal)];
    let mut committers = Vec::new();
    for follower in &followers {
        let (committer, task) = Committer::new(&journal, Some(follower), CancellationToken::new());
        background.push(Box::pin(task.run()));
        committers.push((committer, follower.clone()));
    }
    for writer in 0..WRITERS {
        let (committer, follower) = committers[usize::try_from(writer).unwrap() % 2].clone();
        working.push(Box::pin(write(writer, committer, follower, Rc::clone(&history))));
    }
    drop(committers);
    for follower in [Some(&followers[0]), Some(&followers[0]), Some(&followers[1]), None, None] {
        working.push(Box::pin(read(journal.clone(), follower.cloned(), Rc::clone(&history))));
    }
    let new_compactor = |feeds: bool| -> Actor {
        let compactor = Compactor::new(&journal, feeds.then_some(&followers[1]));
        Box::pin(async move {
            loop {
                // Failures are part of the schedule.
                let has_compacted = match fastrand::u8(..4) {
                    0 => matches!(compactor.collapse().await, Ok(true)),
                    _ => matches!(compactor.compact().await, Ok(Some(_))),
                };
                if !has_compacted {
                    tokio::task::yield_now().await;
                }
            }
        })
    };
    let mut compacting: Vec<Actor> = (0..compactors).map(|index| new_compactor(index % 2 == 0)).collect();

    for step in 0.. {
        assert!(step < MOST_STEPS, "somebody is stuck");
        if working.is_empty() {
            break;
        }
        match random.u32(..1_000) {
            0..450 => poll_one(&mut working, &mut random),
            450..550 => poll_one(&mut background, &mut random),
            550..800 => poll_one(&mut compacting, &mut random),
            800..960 => model.land(&mut random),
            960..985 => model.fail(&mut random),
            985..995 => tokio::time::advance(Duration::from_secs(1)).await,
            _ if compacting.is_empty() => {}
            _ => {
                let index = random.usize(..compacting.len());
                compacting[index] = new_compactor(random.bool());
            }
        }
    }

    drop(compacting);
    model.land_all();
    let facts: Vec<_> = history.borrow().committed.iter().copied().map(fact).collect();
    assert_eq!(facts.len() as u64, WRITERS * FACTS_OF_A_WRITER, "every commit ends");
    let mut last = Box::pin(async {
        let cold = Follower::new(&journal);
        cold.fresh().await.unwrap();
        cold.read(|view| assert_eq!(*view, Totals::of(&facts)));
    });
    while last.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {}
}

async fn write(writer: u64, committer: Committer<Totals>, follower: Follower<Totals>, history: Rc<RefCell<History>>) {
    for number in 0..FACTS_OF_A_WRITER {
        let id = writer * 1_000 + number;
        history.borrow_mut().written.insert(id);
        committer.commit(fact(id)).await.unwrap();
        history.borrow_mut().committed.insert(id);
        assert!(follower.read(|view| view.has(id)), "a process sees its own commit at once");
    }
}

/// Reads with a follower that lives on, or with a new one every time.
async fn read(journal: Journal<Totals>, follower: Option<Follower<Totals>>, history: Rc<RefCell<History>>) {
    for _ in 0..READS {
        let follower = follower.clone().unwrap_or_else(|| Follower::new(&journal));
        let before = history.borrow().committed.clone();
        match follower.fresh().await {
            Ok(()) => {}
            Err(ReadError::Changed) => continue,
            Err(error) => panic!("{error}"),
        }
        follower.read(|view| {
            for id in before {
                assert!(view.has(id), "{id} was committed before the read began, and is not in it");
            }
            for id in view.amounts.keys() {
                assert!(history.borrow().written.contains(id), "nobody wrote {id}");
            }
        });
        assert!(follower.unreadable().is_empty());
    }
}

fn poll_one(actors: &mut Vec<Actor>, random: &mut fastrand::Rng) {
    if actors.is_empty() {
        return;
    }
    let index = random.usize(..actors.len());
    if actors[index].as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
        drop(actors.swap_remove(index));
    }
}

proptest! {
    // A seed does not lead to the same schedule again: the names are random.
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn readers_miss_nothing_beside_two_compactors(seed: u64) {
        simulate(seed, 2);
    }

    #[test]
    fn readers_miss_nothing_beside_five_compactors(seed: u64) {
        simulate(seed, 5);
    }

    #[test]
    fn readers_miss_nothing_without_a_compactor(seed: u64) {
        simulate(seed, 0);
    }
}
