//! The embedded store survives `kill -9`: what was acknowledged is there, whole; nothing is there by half.
//!
//! The writer is this very test executable, started again with a variable set. It prints what was
//! acknowledged, after it was; the test kills it at a random moment, opens the folder and compares.

#![expect(clippy::unwrap_used, reason = "a test says where it stopped by panicking there")]

use std::{
    collections::HashMap,
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use waybill_store::{Created, Embedded, Store, Upload, UploadBody};

const FOLDER: &str = "WAYBILL_TEST_CRASH_FOLDER";
const ROUNDS: u64 = 18;
const WRITERS: usize = 4;
/// Eight bytes each: over 16 MiB, so in parts.
const LARGE: usize = 2_100_000;

/// A body that says itself whether it is whole: its length, then a random number over and over. What a
/// hash would do as well takes most of the time in a test that is not optimized.
fn body(len: usize) -> (Bytes, String) {
    let seed = fastrand::u64(1..);
    (whole(len, seed).into(), format!("{seed:016x}"))
}

fn whole(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = (len as u64).to_le_bytes().to_vec();
    bytes.extend(seed.to_le_bytes().repeat(len.max(1)));
    bytes
}

/// The number of a whole body.
fn seed_of(bytes: &[u8]) -> Option<String> {
    let len = u64::from_le_bytes(*bytes.first_chunk()?);
    let seed = u64::from_le_bytes(*bytes.get(8..)?.first_chunk()?);
    (bytes == whole(usize::try_from(len).ok()?, seed)).then(|| format!("{seed:016x}"))
}

async fn upload(store: &Store, key: &str, version: usize, body: UploadBody, seed: &str) {
    let metadata = vec![("seed".to_owned(), seed.to_owned()), ("version".to_owned(), version.to_string())];
    store.upload(key, Upload { content_type: "application/octet-stream", metadata, body }).await.unwrap();
}

/// One line per acknowledged write, whole or not at all.
fn say(key: &str, version: usize, seed: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("acknowledged {key} {version} {seed}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Not a test of its own: what the other one starts and kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writer() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let embedded = Embedded::open(Path::new(&folder)).await.unwrap();
    let store = embedded.store("bucket").unwrap();
    let run = uuid::Uuid::now_v7().simple().to_string();
    let small = |writer: usize| {
        let (store, run) = (store.clone(), run.clone());
        tokio::spawn(async move {
            for version in 0.. {
                let (bytes, seed) = body(fastrand::usize(..50_000) >> fastrand::u32(..12));
                let new = format!("new/{run}/{}/{writer}-{version}", version / 10);
                if fastrand::bool() {
                    assert_eq!(store.create(&new, "text/plain", bytes.clone()).await.unwrap(), Created::New);
                } else {
                    upload(&store, &new, version, UploadBody::Bytes(bytes.clone()), &seed).await;
                }
                say(&new, version, &seed);
                let over = format!("over/{run}-{writer}");
                upload(&store, &over, version, UploadBody::Bytes(bytes), &seed).await;
                say(&over, version, &seed);
            }
        })
    };
    let mut tasks: Vec<_> = (0..WRITERS).map(small).collect();
    tasks.push(tokio::spawn(async move {
        let (bytes, seed) = body(LARGE);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let file = Arc::new(file);
        for version in 0.. {
            let key = format!("large/{run}/{version}");
            let body = UploadBody::File { file: Arc::clone(&file), len: bytes.len() as u64 };
            upload(&store, &key, version, body, &seed).await;
            say(&key, version, &seed);
        }
    }));
    futures::future::join_all(tasks).await;
}

/// Starts a writer, kills it some time after its first write below `first`, and returns what it said.
fn write_and_kill(folder: &Path, first: &'static str, after: Duration) -> Vec<(String, usize, String)> {
    let mut writer = Command::new(env::current_exe().unwrap())
        .args(["writer", "--exact", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let (begin, began) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || {
        let mut said = Vec::new();
        for line in lines.map_while(Result::ok) {
            // The test harness leaves its own words before the first one.
            let words = line.find("acknowledged ").map(|at| line[at..].split(' ').collect::<Vec<_>>());
            if let Some([_, key, version, seed]) = words.as_deref() {
                if seed.len() == 16 {
                    said.push(((*key).to_owned(), version.parse().unwrap(), (*seed).to_owned()));
                }
                if key.starts_with(first) {
                    let _ = begin.send(());
                }
            }
        }
        said
    });
    began.recv_timeout(Duration::from_secs(30)).expect("the writer never wrote");
    let until = Instant::now() + after;
    while Instant::now() < until && writer.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(writer.try_wait().unwrap().is_none(), "the writer gave up by itself");
    writer.kill().unwrap();
    writer.wait().unwrap();
    reading.join().unwrap()
}

/// Checks every object and every acknowledged write; how many objects there are.
async fn check(folder: &Path, said: &HashMap<String, (usize, String)>) -> usize {
    let embedded = Embedded::open(folder).await.unwrap();
    let drafts = std::fs::read_dir(folder.join("drafts")).unwrap().count();
    assert_eq!(drafts, 0, "what was under way is gone");
    let store = embedded.store("bucket").unwrap();
    let mut found = HashMap::new();
    let entries = store.list("", None, usize::MAX).await.unwrap();
    for entry in &entries {
        let bytes = store.get(&entry.key, 8 * LARGE + 8).await.unwrap().unwrap();
        assert_eq!(bytes.len() as u64, entry.size, "{}", entry.key);
        let seed = seed_of(&bytes).unwrap_or_else(|| panic!("{} is there by half", entry.key));
        let head = store.head(&entry.key).await.unwrap().unwrap();
        if let Some(with) = head.metadata.get("seed") {
            assert_eq!(*with, seed, "{} has another's metadata", entry.key);
        }
        let version = head.metadata.get("version").map(|version| version.parse::<usize>().unwrap());
        found.insert(entry.key.clone(), (version, seed));
    }
    for (key, (version, seed)) in said {
        let (found_version, found_seed) = found.get(key).unwrap_or_else(|| panic!("{key} is lost"));
        if key.starts_with("over/") {
            assert!(found_version.unwrap() >= *version, "{key} is an older version");
        } else {
            assert_eq!(found_seed, seed, "{key}");
        }
    }
    // So that the next rounds stay fast; deleting is under test, too.
    store.delete(&entries.into_iter().map(|entry| entry.key).collect::<Vec<_>>()).await.unwrap();
    found.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_leaves_every_acknowledged_object_and_none_by_half() {
    let folder = tempfile::tempdir().unwrap();
    let (mut acknowledged, mut large) = (0, 0);
    for round in 0..ROUNDS {
        let after = Duration::from_millis(fastrand::u64(..40 + 20 * round));
        let path = folder.path().to_owned();
        // A large object takes longer than most writers live.
        let first = if round % 6 == 5 { "large/" } else { "" };
        let said = tokio::task::spawn_blocking(move || write_and_kill(&path, first, after)).await.unwrap();
        acknowledged += said.len();
        large += said.iter().filter(|(key, ..)| key.starts_with("large/")).count();
        // Of an object that is written over and over, the last version counts.
        let said = said.into_iter().map(|(key, version, seed)| (key, (version, seed))).collect();
        check(folder.path(), &said).await;
    }
    println!("{acknowledged} writes were acknowledged, {large} of them in parts");
    assert!(acknowledged > 100 && large > 0, "{acknowledged} writes, {large} of them large, prove nothing");
}
