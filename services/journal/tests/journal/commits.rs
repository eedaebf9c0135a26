//! What a committer promises its callers while the store is well, away, and gone.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures::future::join_all;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use waybill_journal::{CommitError, Committer, Follower, InvalidSnapshot, Journal, Options, Urgency, View};

use crate::{
    model::Model,
    view::{Totals, fact, options},
};

struct Rig {
    model: Model,
    journal: Journal<Totals>,
    committer: Committer<Totals>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

fn rig(options: Options) -> Rig {
    let model = Model::default();
    let journal = Journal::new(model.clone(), "buses", options);
    let shutdown = CancellationToken::new();
    let (committer, task) = Committer::new(&journal, None, shutdown.clone());
    Rig { model, journal, committer, shutdown, task: tokio::spawn(task.run()) }
}

impl Rig {
    fn commit(&self, id: u64) -> JoinHandle<Result<(), CommitError>> {
        let committer = self.committer.clone();
        tokio::spawn(async move { committer.commit(fact(id)).await })
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_committer_does_not_wait() {
    let rig = rig(options());
    let began = Instant::now();
    rig.committer.commit(fact(1)).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(rig.model.keys().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn entries_that_come_together_are_one_segment() {
    let rig = rig(options());
    for result in join_all((0..500).map(|id| rig.committer.commit(fact(id)))).await {
        result.unwrap();
    }
    assert!(rig.model.keys().len() <= 2, "{:?}", rig.model.keys());
}

#[tokio::test(start_paused = true)]
async fn relaxed_commits_wait_for_company_and_prompt_ones_take_them_along() {
    let rig = rig(options());
    let began = Instant::now();
    rig.committer.commit_group(vec![fact(1)], Urgency::Relaxed).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(100) && began.elapsed() < Duration::from_millis(110));

    let began = Instant::now();
    let relaxed = rig.committer.commit_group(vec![fact(2)], Urgency::Relaxed);
    let (relaxed, prompt) = tokio::join!(relaxed, rig.committer.commit(fact(3)));
    relaxed.and(prompt).unwrap();
    assert!(began.elapsed() < Duration::from_millis(5));
    assert_eq!(rig.model.keys().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_segment_has_bounds_and_a_group_stays_whole() {
    let rig = rig(Options { segment_entries: 10, ..options() });
    let groups = (0..20).map(|group| {
        let facts = (group * 4..group * 4 + 4).map(fact).collect();
        rig.committer.commit_group(facts, Urgency::Prompt)
    });
    for result in join_all(groups).await {
        result.unwrap();
    }
    assert_eq!(rig.model.keys().len(), 10, "two groups of four each: {:?}", rig.model.keys());
    let error = rig.committer.commit_group((0..11).map(fact).collect(), Urgency::Prompt).await;
    assert!(matches!(error, Err(CommitError::TooLarge { entries: 11, .. })));
    rig.committer.commit_group(Vec::new(), Urgency::Prompt).await.unwrap();
    let follower = Follower::new(&rig.journal);
    follower.fresh().await.unwrap();
    follower.read(|view| assert_eq!(view.amounts.len(), 80));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_acknowledged_while_the_store_refuses_and_memory_is_bounded() {
    let rig = rig(Options { queue_bytes: 10_000, ..options() });
    rig.model.refuse(true);
    let commits: Vec<_> = (0..2_000).map(|id| rig.commit(id)).collect();
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert!(commits.iter().all(|commit| !commit.is_finished()));
    assert!((9_000..=10_000).contains(&rig.committer.pending_bytes()), "{}", rig.committer.pending_bytes());

    let tries = rig.model.puts();
    assert!((100..400).contains(&tries.len()), "one try every few seconds, not {}", tries.len());
    assert!(tries.iter().all(|put| *put == tries[0]), "the same bytes under the same name");

    rig.model.refuse(false);
    for commit in commits {
        commit.await.unwrap().unwrap();
    }
    assert_eq!(rig.committer.pending_bytes(), 0);
    let follower = Follower::new(&rig.journal);
    follower.fresh().await.unwrap();
    follower.read(|view| assert_eq!(*view, Totals::of(&(0..2_000).map(fact).collect::<Vec<_>>())));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_writes_what_was_handed_in() {
    let rig = rig(options());
    let commits: Vec<_> = (0..50).map(|id| rig.commit(id)).collect();
    tokio::task::yield_now().await;
    rig.shutdown.cancel();
    for commit in commits {
        commit.await.unwrap().unwrap();
    }
    rig.task.await.unwrap();
    assert!(matches!(rig.committer.commit(fact(99)).await, Err(CommitError::NotCommitted)));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_the_waiting_for_a_store_that_refuses() {
    let rig = rig(Options { queue_bytes: 3_000, ..options() });
    rig.model.refuse(true);
    let first = rig.commit(0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let later: Vec<_> = (1..100).map(|id| rig.commit(id)).collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    rig.shutdown.cancel();
    let Err(CommitError::Unknown(Some(error))) = first.await.unwrap() else { panic!("it was tried") };
    assert!(error.to_string().contains("a fault"));
    for commit in later {
        assert!(matches!(commit.await.unwrap(), Err(CommitError::NotCommitted)), "it was never tried");
    }
    rig.task.await.unwrap();
    assert!(began.elapsed() <= Duration::from_secs(6), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_committer_whose_task_died_says_so() {
    let rig = rig(options());
    rig.model.refuse(true);
    let commit = rig.commit(1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.task.abort();
    assert!(matches!(commit.await.unwrap(), Err(CommitError::Unknown(None))));
    assert!(matches!(rig.committer.commit(fact(2)).await, Err(CommitError::NotCommitted)));
}

#[tokio::test(start_paused = true)]
async fn a_process_sees_its_own_commit_without_a_request() {
    let model = Model::default();
    let journal = Journal::new(model.clone(), "buses", options());
    let follower = Follower::<Totals>::new(&journal);
    let (committer, task) = Committer::new(&journal, Some(&follower), CancellationToken::new());
    tokio::spawn(task.run());
    committer.commit(fact(1)).await.unwrap();
    follower.read(|view| assert!(view.has(1)));
    assert_eq!((model.lists(), model.gets()), (0, 0));
    follower.fresh().await.unwrap();
    assert_eq!(model.gets(), 0, "what was written here is not read");
}

/// Counts how many of it are in memory.
struct Counted(());

static COUNTED: AtomicUsize = AtomicUsize::new(0);

impl Default for Counted {
    fn default() -> Self {
        COUNTED.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        COUNTED.fetch_sub(1, Ordering::SeqCst);
    }
}

impl View for Counted {
    type Entry = ();
    type Snapshot = ();

    const SCHEMA: u16 = 1;

    fn apply(&mut self, (): &()) {}

    fn merge(&mut self, _: Self) {}

    fn to_snapshot(&self) {}

    fn from_snapshot((): ()) -> Result<Self, InvalidSnapshot> {
        Ok(Self::default())
    }
}

#[tokio::test]
async fn a_committer_keeps_no_view_in_memory() {
    let journal: Journal<Counted> = Journal::new(Model::default(), "buses", options());
    let follower = Follower::new(&journal);
    let (committer, task) = Committer::new(&journal, Some(&follower), CancellationToken::new());
    tokio::spawn(task.run());
    committer.commit(()).await.unwrap();
    assert_eq!(COUNTED.load(Ordering::SeqCst), 1);
    drop(follower);
    assert_eq!(COUNTED.load(Ordering::SeqCst), 0);
    committer.commit(()).await.unwrap();
}
