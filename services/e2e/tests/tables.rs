//! Files loaded into tables, and tables asked in SQL: in one process, as separate services, alone, and as README.md says.

use std::{path::Path, process::Command};

use serde_json::{Value, json};
use waybill_e2e::{Mode, Process, System, binary, run};
use waybill_upstream::Options;

const MOVIES: &str = "title,duration_mins,original_language,size_mb
Alien,117,en,2100
\"Amélie, le film\",122,fr,1900
Broken,abc,en,1
Solaris,167,ru,
";
const MORE_MOVIES: &str = "title,duration_mins,original_language,size_mb
Alien,116,en,2100
Stalker,162,ru,2500
";
const REVIEWS: &str = r#"[
  {"id": "r1", "content": {"text": "cold"}, "rating": {"rate": 4, "label": "good"},
   "books": [{"metadata": {"title": "Solaris", "pages": 204}}, {"metadata": {"title": "Fiasco", "pages": 336}}],
   "movies": [{"id": 1, "title": "Solaris"}, {"id": 2, "title": "end"}, {"id": 3, "title": ""}]}
]"#;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a command prints, whose exit status must be this.
fn waybill(arguments: &[&str], environment: &[(String, String)], code: i32) -> String {
    let output = run(arguments, environment);
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "waybill {arguments:?}: {out}{error}");
    out
}

/// Loads a file of the test's folder.
fn load(folder: &Path, model: &str, file: (&str, &str), environment: &[(String, String)], code: i32) {
    let path = folder.join(file.0);
    std::fs::write(&path, file.1).expect("a file");
    let collector = file.0.rsplit('.').next().expect("an extension");
    waybill(
        &["load", "--model", model, "--collector", collector, "--config", &path.display().to_string()],
        environment,
        code,
    );
}

fn query(sql: &str, environment: &[(String, String)]) -> Value {
    serde_json::from_str(&waybill(&["query", "--format", "json", sql], environment, 0)).expect("JSON")
}

/// Two loads and a load of what refers to them, then questions.
fn load_and_ask(folder: &Path, loads: &[(String, String)], queries: &[(String, String)]) {
    // One row is not what the definition says; the others are loaded all the same.
    load(folder, "movie", ("movies.csv", MOVIES), loads, 1);
    load(folder, "movie", ("more.csv", MORE_MOVIES), loads, 0);
    load(folder, "review", ("reviews.json", REVIEWS), loads, 0);
    let movies = query("select title, duration_mins, size_mb from movie order by title", queries);
    assert_eq!(
        movies,
        json!([
            { "title": "Alien", "duration_mins": 116, "size_mb": 2100 },
            { "title": "Amélie, le film", "duration_mins": 122, "size_mb": 1900 },
            { "title": "Solaris", "duration_mins": 167, "size_mb": null },
            { "title": "Stalker", "duration_mins": 162, "size_mb": 2500 },
        ])
    );
    let joined =
        "select m.original_language, r.rating, r.book_title from review r join movie m on m.title = r.movie_title";
    assert_eq!(query(joined, queries), json!([{ "original_language": "ru", "rating": 4, "book_title": "Solaris" }]));
    let refused = run(&["query", "select titel from movie"], queries);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("title"), "{}", text(&refused.stderr));
    let written = run(&["query", "delete from movie"], queries);
    assert_eq!(written.status.code(), Some(1), "{}", text(&written.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_loaded_and_asked_in_one_process() {
    let system = System::start(Mode::OneProcess, Options::default()).await;
    tokio::task::block_in_place(|| load_and_ask(&system.folder(), &system.environment(), &system.environment()));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_loaded_and_asked_as_separate_services() {
    let system = System::start(Mode::Apart, Options::default()).await;
    let service = Process::start(&["tables".to_owned()], &system.environment());
    let mut queries = system.environment();
    queries.push(("WAYBILL_URL".to_owned(), service.url.clone()));
    tokio::task::block_in_place(|| load_and_ask(&system.folder(), &system.environment(), &queries));
}

/// As the old command did: nothing runs, and nothing is left running.
#[test]
fn files_are_loaded_and_asked_where_nothing_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data").display().to_string();
    // A port where nobody listens, so that no other Waybill of this machine is asked.
    let environment = [("WAYBILL_DATA", data.as_str()), ("WAYBILL_LISTEN", "127.0.0.1:9")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    waybill(&["init-db"], &environment, 0);
    load_and_ask(folder.path(), &environment, &environment);
}

/// What README.md shows of tables, line by line; it is not built by readme-check, since the feature takes long to build.
#[tokio::test(flavor = "multi_thread")]
async fn the_readme_is_right_about_tables() {
    let system = System::start(Mode::OneProcess, Options::default()).await;
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).expect("README.md");
    let section = readme.split("\n## Ask in SQL\n").nth(1).expect("the section");
    let block = section.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("its commands");
    let commands: Vec<_> =
        block.lines().filter(|line| !line.is_empty() && !line.starts_with("cargo install")).collect();
    assert!(commands.len() > 3, "{block}");
    let folder = binary().parent().expect("a folder").display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").expect("PATH"));
    for command in commands {
        let line = command.replace("localhost:8080", system.api.trim_start_matches("http://"));
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &line])
            .current_dir(system.folder())
            .envs(system.environment())
            .env("PATH", &path)
            .output()
            .expect("bash can be run");
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{command}: {said}");
    }
}
