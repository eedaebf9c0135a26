//! The shape of the code: imports run downwards, every file says what it is for, files stay small.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// From the bottom up. A crate may use those before it, and a service no other service.
const ROOMS: [&[&str]; 7] = [
    &["telemetry"],
    &["source", "upstream", "web"],
    &["store", "queue"],
    &["ledger"],
    &["api", "worker", "stats"],
    &["waybill"],
    &["e2e"],
];

fn services() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn imports_run_downwards() {
    let floor = |room: &str| ROOMS.iter().position(|rooms| rooms.contains(&room));
    for entry in fs::read_dir(services()).expect("services/") {
        let folder = entry.expect("an entry").path();
        let Ok(manifest) = fs::read_to_string(folder.join("Cargo.toml")) else { continue };
        let room = folder.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let own = floor(&room).unwrap_or_else(|| panic!("services/{room} has no place in the order of the rooms"));
        let dependencies = manifest.split("[dev-dependencies]").next().unwrap_or_default();
        for line in dependencies.lines() {
            let Some(used) = line.strip_prefix("waybill-").and_then(|rest| rest.split(['.', ' ']).next()) else {
                continue;
            };
            let used_floor = floor(used).unwrap_or_else(|| panic!("{used} has no place in the order of the rooms"));
            assert!(used_floor < own, "services/{room} must not use {used}: imports run downwards only");
        }
    }
}

#[test]
fn only_one_room_names_a_foreign_part() {
    let rule = [
        ("lapin", &["queue", "e2e"][..]),
        ("aws-sdk-s3", &["store", "e2e"]),
        ("backoff", &["worker", "queue"]),
        ("opentelemetry", &["telemetry"]),
        ("tracing-opentelemetry", &["telemetry"]),
        ("tracing-subscriber", &["telemetry"]),
    ];
    for entry in fs::read_dir(services()).expect("services/") {
        let folder = entry.expect("an entry").path();
        let Ok(manifest) = fs::read_to_string(folder.join("Cargo.toml")) else { continue };
        let room = folder.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        for (part, allowed) in rule {
            let named = manifest.lines().any(|line| line.starts_with(&format!("{part}.")));
            assert!(!named || allowed.contains(&room.as_str()), "services/{room} must not name {part}");
        }
    }
}

#[test]
fn every_file_says_what_it_is_for_and_stays_small() {
    for file in rust_files(&services()) {
        let text = fs::read_to_string(&file).expect("a source file");
        assert!(text.starts_with("//!"), "{} does not open with `//!`", file.display());
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines().count();
        let is_test = file.components().any(|part| part.as_os_str() == "tests");
        assert!(is_test || code <= 400, "{} has {code} lines without its tests: split it", file.display());
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
