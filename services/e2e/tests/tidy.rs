//! The shape of the code: imports run downwards, libraries stay with their owners, every file says what it is for.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// From the bottom up. A crate may use those before it, and a service no other service.
const LAYERS: [&[&str]; 8] = [
    &["telemetry"],
    &["source", "upstream", "web"],
    &["store", "queue"],
    &["journal", "hits"],
    &["ledger"],
    &["api", "worker", "stats", "tables"],
    &["waybill"],
    &["e2e"],
];

fn services() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn imports_run_downwards() {
    let layer = |name: &str| {
        let found = LAYERS.iter().position(|layer| layer.contains(&name));
        found.unwrap_or_else(|| panic!("services/{name} has no place in LAYERS"))
    };
    let mut imports = 0;
    for (name, manifest) in manifests() {
        let dependencies = manifest.split("[dev-dependencies]").next().unwrap_or_default();
        for line in dependencies.lines() {
            let Some(used) = line.strip_prefix("waybill-").and_then(|rest| rest.split(['.', ' ']).next()) else {
                continue;
            };
            imports += 1;
            assert!(layer(used) < layer(&name), "services/{name} must not use {used}: imports run downwards only");
        }
    }
    assert!(imports > 20, "only {imports} imports were found");
}

#[test]
fn only_the_crates_that_own_a_library_name_it() {
    let rules = [
        ("lapin", &["queue", "e2e"][..]),
        ("aws-sdk-s3", &["store", "e2e"]),
        ("backoff", &["worker", "queue"]),
        ("parquet", &["hits"]),
        ("datafusion", &["tables"]),
        ("deltalake-core", &["tables"]),
        ("delta_kernel", &["tables"]),
        ("opentelemetry", &["telemetry"]),
        ("tracing-opentelemetry", &["telemetry"]),
        ("tracing-subscriber", &["telemetry"]),
    ];
    let manifests = manifests();
    for (library, owners) in rules {
        let names_it = |manifest: &str| manifest.lines().any(|line| line.starts_with(&format!("{library}.")));
        let users: Vec<_> = manifests.iter().filter(|(_, manifest)| names_it(manifest)).map(|(name, _)| name).collect();
        assert!(!users.is_empty(), "nobody names {library}: the rule matches nothing");
        for user in users {
            assert!(owners.contains(&user.as_str()), "services/{user} must not name {library}");
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    let files = rust_files(&services());
    assert!(files.len() > 100, "only {} source files were found", files.len());
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file");
        assert!(text.starts_with("//!"), "{} does not open with `//!`", file.display());
    }
}

/// `tracing` keeps the text of an event in a field of this name, so another would replace it.
#[test]
fn no_log_field_is_called_message() {
    let is_message =
        |field: &str| field.split('=').next().unwrap_or_default().trim().trim_start_matches(['%', '?']) == "message";
    assert!(is_message("%message") && is_message(" message = 1") && !is_message("error = message"));
    let mut events = 0;
    for file in rust_files(&services()) {
        let text = fs::read_to_string(&file).expect("a source file");
        for level in ["error", "warn", "info", "debug", "trace"] {
            for event in text.split(&format!("tracing::{level}!(")).skip(1) {
                events += 1;
                // Up to the text of the event; `content = ?delivery.message` is no field of that name.
                let fields = event.split(['"', ';']).next().unwrap_or_default();
                let found = fields.split(',').find(|field| is_message(field));
                assert_eq!(found, None, "{}: a log field is called message", file.display());
            }
        }
    }
    assert!(events > 60, "only {events} events were found");
}

/// The crates below services/, each with its manifest.
fn manifests() -> Vec<(String, String)> {
    let entries = fs::read_dir(services()).expect("services/").map(|entry| entry.expect("an entry").path());
    let manifests: Vec<_> = entries
        .filter_map(|folder| {
            let manifest = fs::read_to_string(folder.join("Cargo.toml")).ok()?;
            Some((folder.file_name()?.to_str()?.to_owned(), manifest))
        })
        .collect();
    let layers: usize = LAYERS.iter().map(|layer| layer.len()).sum();
    assert_eq!(manifests.len(), layers, "every crate has its place in LAYERS");
    manifests
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
