//! Whole histories on an embedded store: whatever is written, merged, killed and merged again, in any order, readers find
//! the totals of a naive count.

use std::collections::BTreeMap;

use futures::StreamExt;
use jiff::{Timestamp, civil::Date};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use waybill_store::{Embedded, Store};

use crate::{
    DayMerger, Flusher, Hits, HitsError, Metrics, PathCount, Query,
    compactor::Compactor,
    counter::{Counter, ENTRY},
    days::GRACE,
    files::{
        covers::Covers,
        encoder::Encoder,
        listing,
        merge::{CONTENT_TYPE, merge},
        name::{FileName, Kind},
        open_file::OpenFile,
        visible::Listed,
    },
    query,
};

const DAY: &str = "2024-05-01";

fn day() -> Date {
    DAY.parse().unwrap()
}

/// When [`DAY`] is long over.
fn later() -> Timestamp {
    "2024-05-02T08:00:00Z".parse().unwrap()
}

fn noon() -> Timestamp {
    "2024-05-01T12:00:00Z".parse().unwrap()
}

async fn bucket() -> (TempDir, Store) {
    let folder = TempDir::new().unwrap();
    let store = Embedded::open(folder.path()).await.unwrap().store("test").unwrap();
    (folder, store)
}

type Naive = BTreeMap<String, u64>;

async fn totals(store: &Store, query: Query) -> Result<Vec<(String, u64)>, HitsError> {
    let ranking = query::run(store, query).await?;
    Ok(ranking.map(|row| row.map(|PathCount { path, count }| (path.into_string(), count)).unwrap()).collect())
}

async fn all(store: &Store) -> Naive {
    totals(store, Query::default()).await.unwrap().into_iter().collect()
}

/// Writes a batch as a process of that number does.
async fn write(store: &Store, day: Date, boot: u128, batch: u64, rows: &[(String, u64)]) -> Listed {
    let boot = Uuid::from_u128(boot);
    let covers = Covers::of(boot, batch, batch);
    let mut encoder = Encoder::new(Vec::new(), &covers).unwrap();
    let sorted: BTreeMap<_, _> = rows.iter().cloned().collect();
    sorted.iter().for_each(|(path, count)| encoder.push(path, *count).unwrap());
    let bytes = encoder.finish().unwrap();
    let name = FileName { day, kind: Kind::Process { boot, from: batch, to: batch } };
    let size = bytes.len() as u64;
    store.put(&name.to_string(), CONTENT_TYPE, bytes.into()).await.unwrap();
    Listed { name, size, covers }
}

/// Merges `inputs` as a process does its own.
async fn widen(store: &Store, inputs: &[Listed]) -> Listed {
    let ends = |file: &Listed| match file.name.kind {
        Kind::Process { boot, from, to } => (boot, from, to),
        Kind::All { .. } => unreachable!("a process merges its own"),
    };
    let ((boot, from, _), (_, _, to)) = (ends(&inputs[0]), ends(inputs.last().unwrap()));
    merge(store, inputs, FileName { day: inputs[0].name.day, kind: Kind::Process { boot, from, to } }).await.unwrap()
}

/// What may happen to a day's files.
#[derive(Debug, Clone)]
enum Step {
    /// A process writes a batch, perhaps after its day was merged.
    Write { boot: usize, rows: Vec<(String, u64)> },
    /// The last batch is written again: its answer was lost.
    WriteAgain { boot: usize },
    /// A process merges its newest files that count; it may die before it deletes them.
    Widen { boot: usize, files: usize },
    /// A day is merged by so many at once, who have all seen the same files.
    MergeDay { at_once: u32 },
    /// Some of the files that do not count are deleted, as by one who dies in the middle.
    Delete { every: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let boot = 0_usize..3;
    let rows = proptest::collection::vec(("/[ab]{0,2}", 1_u64..9), 1..4);
    let step = prop_oneof![
        4 => (boot.clone(), rows).prop_map(|(boot, rows)| Step::Write { boot, rows }),
        1 => boot.clone().prop_map(|boot| Step::WriteAgain { boot }),
        2 => (boot, 2_usize..4).prop_map(|(boot, files)| Step::Widen { boot, files }),
        1 => (1_u32..4).prop_map(|at_once| Step::MergeDay { at_once }),
        2 => (1_usize..3).prop_map(|every| Step::Delete { every }),
    ];
    proptest::collection::vec(step, 1..24)
}

#[derive(Default)]
struct Process {
    next: u64,
    last: Option<Vec<(String, u64)>>,
    files: Vec<Listed>,
}

async fn play(steps: Vec<Step>) {
    let (_folder, store) = bucket().await;
    let mut processes: [Process; 3] = Default::default();
    let mut naive = Naive::new();
    for step in steps {
        match step {
            Step::Write { boot, rows } => {
                let process = &mut processes[boot];
                let rows: Vec<_> = rows.into_iter().collect::<Naive>().into_iter().collect();
                process.files.push(write(&store, day(), boot as u128, process.next, &rows).await);
                process.next += 1;
                rows.iter().for_each(|(path, count)| *naive.entry(path.clone()).or_default() += count);
                process.last = Some(rows);
            }
            Step::WriteAgain { boot } => {
                if let Some(rows) = &processes[boot].last {
                    write(&store, day(), boot as u128, processes[boot].next - 1, rows).await;
                }
            }
            Step::Widen { boot, files } => {
                let has_day = !store.list(&crate::files::name::folder_of_all(day()), None, 1).await.unwrap().is_empty();
                let mine = &mut processes[boot].files;
                if mine.len() >= files && !has_day {
                    let inputs = mine.split_off(mine.len() - files);
                    mine.push(widen(&store, &inputs).await);
                }
            }
            Step::MergeDay { at_once } => {
                let seen = listing::files(&store, day()).await.unwrap().visible;
                for id in 0..at_once {
                    // Not all of them have seen the newest.
                    let seen = &seen[..seen.len().saturating_sub(id as usize)];
                    if seen.len() > 1 {
                        let generation = seen.iter().map(|file| match file.name.kind {
                            Kind::All { generation, .. } => generation,
                            Kind::Process { .. } => 0,
                        });
                        let kind = Kind::All { generation: generation.max().unwrap() + 1, id: Uuid::now_v7() };
                        merge(&store, seen, FileName { day: day(), kind }).await.unwrap();
                    }
                }
            }
            Step::Delete { every } => {
                let covered = listing::files(&store, day()).await.unwrap().covered;
                let keys: Vec<_> = covered.iter().step_by(every).map(|file| file.name.to_string()).collect();
                if !keys.is_empty() {
                    store.delete(&keys).await.unwrap();
                }
            }
        }
        assert_eq!(all(&store).await, naive, "a reader between two steps");
    }
    // What is left is merged and deleted.
    let mut merger = DayMerger::new(store.clone());
    for _ in 0..3 {
        merger.turn(later()).await.unwrap();
        assert_eq!(all(&store).await, naive);
        tokio::time::advance(GRACE).await;
    }
    assert!(listing::files(&store, day()).await.unwrap().covered.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn readers_between_any_two_steps_find_every_hit_once(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(play(steps));
    }
}

/// A process that counts at noon of [`DAY`].
fn process(store: &Store) -> (Hits, Flusher) {
    Hits::new(store.clone(), Metrics::default(), noon)
}

#[tokio::test]
async fn what_is_counted_is_in_the_bucket_within_a_second_and_read_by_others() {
    let (_folder, store) = bucket().await;
    let (hits, flusher) = process(&store);
    let stop = CancellationToken::new();
    let running = tokio::spawn(flusher.run(stop.clone()));
    (0..3).for_each(|_| hits.count("/a"));
    hits.count("/b");
    let begun = std::time::Instant::now();
    while all(&store).await != Naive::from([("/a".to_owned(), 3), ("/b".to_owned(), 1)]) {
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "counts are written");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // The own counts are in the answer at once.
    hits.count("/b");
    let rows: Vec<_> = hits.rank(Query { limit: Some(1), ..Query::default() }).await.unwrap().collect();
    assert_eq!(rows.len(), 1);
    hits.count("/c");
    stop.cancel();
    running.await.unwrap();
    assert_eq!(all(&store).await["/c"], 1, "the last counts are written when the process ends");
    // Without a flusher everything is still read.
    assert_eq!(hits.rank(Query::default()).await.unwrap().count(), 3);
}

#[tokio::test]
async fn days_prefixes_and_limits_choose() {
    let (_folder, store) = bucket().await;
    for (at, day) in ["2024-04-30", "2024-05-01", "2024-05-02"].iter().enumerate() {
        let rows = [("/api/a".to_owned(), 1 + at as u64), (format!("/{day}"), 1)];
        write(&store, day.parse().unwrap(), 1, at as u64, &rows).await;
    }
    let named =
        |rows: Vec<(String, u64)>| rows.into_iter().map(|(path, count)| format!("{path}={count}")).collect::<Vec<_>>();
    let (from, to) = (Some(day()), Some("2024-05-02".parse().unwrap()));
    let query = Query { from, to, ..Query::default() };
    assert_eq!(named(totals(&store, query).await.unwrap()), ["/api/a=5", "/2024-05-01=1", "/2024-05-02=1"]);
    let query = Query { prefix: "/api/".to_owned(), ..Query::default() };
    assert_eq!(named(totals(&store, query).await.unwrap()), ["/api/a=6"]);
    let query = Query { limit: Some(2), ..Query::default() };
    assert_eq!(named(totals(&store, query).await.unwrap()), ["/api/a=6", "/2024-04-30=1"]);
    let query = Query { from: Some("2025-01-01".parse().unwrap()), ..Query::default() };
    assert!(totals(&store, query).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_process_merges_its_files_and_deletes_them_later() {
    let (_folder, store) = bucket().await;
    let boot = 7;
    let compactor = Compactor::new(store.clone(), Uuid::from_u128(boot), Metrics::default());
    // Two tiers, and some left over.
    for batch in 0..64 * 64 + 70 {
        compactor.written(write(&store, day(), boot, batch, &[("/a".to_owned(), 1)]).await);
        if batch % 500 == 0 {
            compactor.turn(day()).await.unwrap();
            assert_eq!(all(&store).await["/a"], batch + 1);
        }
    }
    compactor.turn(day()).await.unwrap();
    let files = listing::files(&store, day()).await.unwrap();
    assert_eq!(files.visible.len(), 1 + 1 + 6);
    assert_eq!(files.covered.len(), 64 * 64 + 64 + 64, "inputs stay for those who read them");
    tokio::time::advance(GRACE).await;
    compactor.turn(day()).await.unwrap();
    assert!(listing::files(&store, day()).await.unwrap().covered.is_empty());
    assert_eq!(all(&store).await, Naive::from([("/a".to_owned(), 64 * 64 + 70)]));
}

#[tokio::test(start_paused = true)]
async fn a_day_that_is_over_becomes_one_file_and_takes_in_what_comes_late() {
    let (_folder, store) = bucket().await;
    for boot in 0..5 {
        for batch in 0..3 {
            write(&store, day(), boot, batch, &[(format!("/{boot}"), 1), ("/all".to_owned(), 1)]).await;
        }
    }
    let mut merger = DayMerger::new(store.clone());
    let early = merger.turn("2024-05-02T01:59:59Z".parse().unwrap()).await.unwrap();
    assert_eq!(early.days, 0, "clocks may differ");
    assert_eq!(merger.turn(later()).await.unwrap().days, 1);
    write(&store, day(), 3, 3, &[("/late".to_owned(), 1)]).await;
    assert_eq!(all(&store).await["/late"], 1);
    assert_eq!(merger.turn(later()).await.unwrap().days, 1);
    assert_eq!(merger.turn(later()).await.unwrap().days, 0);
    tokio::time::advance(GRACE).await;
    // The second turn saw the first one's inputs; the third saw the rest.
    assert_eq!(merger.turn(later()).await.unwrap().deleted, 15 + 1 + 1);
    let files = listing::files(&store, day()).await.unwrap();
    assert_eq!((files.visible.len(), files.covered.len()), (1, 0));
    let counts = all(&store).await;
    assert_eq!((counts["/all"], counts["/3"], counts["/late"], counts.len()), (15, 3, 1, 7));
}

#[tokio::test]
async fn a_hundred_thousand_paths_are_written_early_and_in_many_row_groups() {
    let (_folder, store) = bucket().await;
    let counter = Counter::with_limits(Metrics::default(), 1_000 * (ENTRY + 5), usize::MAX);
    let (hits, flusher) = Hits::with_counter(store.clone(), counter, Metrics::default(), noon);
    let stop = CancellationToken::new();
    let running = tokio::spawn(flusher.run(stop.clone()));
    for n in 0..100_000 {
        hits.count(&format!("/{n:04}"));
        if n % 5_000 == 0 {
            tokio::task::yield_now().await;
        }
    }
    stop.cancel();
    running.await.unwrap();
    let counts = all(&store).await;
    assert_eq!((counts.len(), counts.values().sum::<u64>()), (100_000, 100_000));
    let wide = widen(&store, &listing::files(&store, day()).await.unwrap().visible).await;
    assert!(OpenFile::open(&store, wide.name, wide.size).await.unwrap().groups() > 1);
    assert_eq!(all(&store).await, counts);
}

#[tokio::test]
async fn what_is_no_file_of_counts_is_said_or_left_alone() {
    let (_folder, store) = bucket().await;
    let good = write(&store, day(), 1, 0, &[("/a".to_owned(), 1)]).await;
    store.put(&format!("hits/day={DAY}/notes.txt"), "text/plain", "x".into()).await.unwrap();
    store.put("hits/else/x", "text/plain", "x".into()).await.unwrap();
    assert_eq!(all(&store).await["/a"], 1);
    let whole = store.get(&good.name.to_string(), 1 << 20).await.unwrap().unwrap();
    let bad = FileName { day: day(), kind: Kind::Process { boot: Uuid::from_u128(2), from: 0, to: 0 } }.to_string();
    // Cut off at each place, and with each byte changed: an error or other numbers, and never a panic or a hang.
    for at in 0..whole.len() {
        let mut changed = whole.to_vec();
        changed[at] ^= 0x55;
        for bytes in [changed, whole[..at].to_vec()] {
            store.put(&bad, CONTENT_TYPE, bytes.into()).await.unwrap();
            match totals(&store, Query::default()).await {
                Ok(_) | Err(HitsError::Unreadable { .. } | HitsError::Panic) => {}
                Err(other) => panic!("{other}"),
            }
        }
    }
}

#[tokio::test]
async fn readers_go_on_while_a_process_counts_and_merges() {
    let (_folder, store) = bucket().await;
    let compactor = Compactor::new(store.clone(), Uuid::from_u128(1), Metrics::default());
    let writing = async {
        for batch in 0..300 {
            compactor.written(write(&store, day(), 1, batch, &[("/a".to_owned(), 1)]).await);
            if batch % 50 == 49 {
                compactor.turn(day()).await.unwrap();
            }
        }
    };
    let reading = async {
        let mut last = 0;
        while last < 300 {
            let now = all(&store).await.get("/a").copied().unwrap_or_default();
            assert!(now >= last && now <= 300, "{last} then {now}");
            last = now;
        }
    };
    let reads = futures::stream::once(reading);
    tokio::join!(writing, reads.collect::<Vec<_>>());
}
