//! Our answers beside PostgreSQL's, which `scripts/record-postgres` has written down.
//!
//! `differences.ndjson` lists every query that is answered otherwise, with our answer and the reason. The test fails when
//! a difference comes, goes, or changes.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod data;
mod spelling;

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc, time::Duration};

use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use waybill_tables::sql::{Engine, Session};

/// What was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Rows(Vec<Vec<Option<String>>>),
    Error(String),
}

#[derive(Debug, Deserialize)]
struct Recorded {
    sql: String,
    #[serde(flatten)]
    answer: Answer,
}

#[derive(Debug, Serialize, Deserialize)]
struct Difference {
    sql: String,
    ours: Answer,
    why: String,
}

fn lines<T: for<'a> Deserialize<'a>>(name: &str) -> Vec<T> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/postgres").join(name);
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn ours(session: &Session, sql: &str) -> Answer {
    let answer = async {
        let batches: Vec<_> = session.query(sql, Duration::from_secs(60)).await?.try_collect().await?;
        Ok::<_, waybill_tables::sql::QueryError>(batches.iter().flat_map(spelling::rows).collect())
    };
    answer.await.map_or_else(|error| Answer::Error(error.to_string()), Answer::Rows)
}

/// Errors are in other words, and that there is one is enough.
fn is_same(ours: &Answer, theirs: &Answer) -> bool {
    match (ours, theirs) {
        (Answer::Rows(ours), Answer::Rows(theirs)) => {
            let (ours, theirs) = (ours.iter().flatten(), theirs.iter().flatten());
            ours.clone().count() == theirs.clone().count()
                && ours.zip(theirs).all(|(ours, theirs)| spelling::is_same(ours.as_deref(), theirs.as_deref()))
        }
        (Answer::Error(_), Answer::Error(_)) => true,
        _ => false,
    }
}

#[tokio::test]
async fn answers_are_postgresqls_but_for_the_known_differences() {
    let scratch = tempfile::tempdir().unwrap();
    let session = Engine::new(scratch.path()).unwrap().session(Arc::new(data::Data::read()));
    let mut known: BTreeMap<_, _> =
        lines::<Difference>("differences.ndjson").into_iter().map(|known| (known.sql.clone(), known)).collect();
    let recorded = lines::<Recorded>("answers.ndjson");
    assert!(recorded.len() > 400, "only {} answers are recorded", recorded.len());
    let mut surprises = Vec::new();
    for Recorded { sql, answer: theirs } in recorded {
        let ours = ours(&session, &sql).await;
        let known = known.remove(&sql);
        let surprise = match (is_same(&ours, &theirs), known) {
            (true, None) => continue,
            (true, Some(known)) => format!("no difference any more; it was known as: {}", known.why),
            (false, None) => "a new difference".to_owned(),
            (false, Some(known)) if known.ours == ours => continue,
            (false, Some(known)) => format!("known as another difference: {:?}", known.ours),
        };
        let line = serde_json::to_string(&Difference { sql, ours, why: surprise }).unwrap();
        surprises.push(format!("{line}\n    PostgreSQL: {theirs:?}"));
    }
    surprises.extend(known.into_keys().map(|sql| format!("{sql}\n    PostgreSQL's answer is not recorded")));
    assert!(surprises.is_empty(), "{} surprises:\n{}", surprises.len(), surprises.join("\n"));
}

#[test]
fn every_question_is_recorded() {
    let recorded: Vec<_> = lines::<Recorded>("answers.ndjson").into_iter().map(|recorded| recorded.sql).collect();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/postgres");
    let questions = fs::read_dir(folder.join("questions")).unwrap().map(|file| file.unwrap().path());
    let mut queries: Vec<_> = questions.map(|path| fs::read_to_string(path).unwrap().trim().to_owned()).collect();
    assert!(queries.len() >= 6);
    let cases = fs::read_to_string(folder.join("cases.sql")).unwrap();
    queries.extend(cases.lines().filter(|line| !line.is_empty() && !line.starts_with("--")).map(str::to_owned));
    let missing: Vec<_> = queries.iter().filter(|sql| !recorded.contains(sql)).collect();
    assert!(missing.is_empty(), "run scripts/record-postgres, which has not seen {missing:#?}");
}
